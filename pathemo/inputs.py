"""What the networks get of each clip: a log-mel image, or a sequence of what its face does.

`inputs` is "plain", or "speaker-normalised": values then have mean 0 and spread 1 over all moments
of a speaker's own unlabelled clips, as in `splits.speaker_normalise`."""

import numpy as np
import pooch

from . import cache, faces, nets, speech, splits
from .speech import spectrograms

CODE = (
    spectrograms.CODE + pooch.file_hash(nets.__file__) + pooch.file_hash(__file__)
)  # part of cache names


def log_mels(
    index,
    n_frames,
    *,
    inputs="plain",
    sampling_rate=16000,
    n_mels=64,
    window=0.032,
    hop=0.010,
    n_jobs=-1,
):
    """Log-mel images (n_clips, n_mels, n_frames) float32 [dB] of each clip's loudest stretch;
    cached.

    Levels are relative to the mean of that stretch, so that the distance of the microphone is no
    matter.

    Parameters
    ----------
    index : DataFrame with columns clip, audio, video (paths or NA)
    sampling_rate : int [Hz]
    window, hop : float [s]

    Raises
    ------
    ValueError
        Clips have no usable sound: all by name.
    """
    settings = n_frames, sampling_rate, n_mels, window, hop
    made = cache.arrays(
        index,
        ("audio", "video"),
        _image,
        settings,
        kind="speech",
        code=CODE,
        shape=(n_mels, n_frames),
        n_jobs=n_jobs,
    )
    images = np.stack(made)
    images -= images.mean(axis=(1, 2), keepdims=True)
    if inputs == "speaker-normalised":
        images = _by_speaker(images.swapaxes(1, 2), index).swapaxes(1, 2)
    return np.ascontiguousarray(images)


def _image(path, n_frames, sampling_rate, n_mels, window, hop):
    y = speech.decode(path, sampling_rate=sampling_rate)
    levels = speech.log_mel(y, sampling_rate=sampling_rate, n_mels=n_mels, window=window, hop=hop)
    return nets.loudest(levels, n_frames)


def sequences(index, features, n_moments, *, inputs="plain", n_jobs=-1):
    """Sequences (n_clips, n_moments, 27 + d) float32: the measures of a face at even moments of a
    clip.

    Beside those of each moment stand the clip's `features` (n_clips, d), which are taken as they
    are.

    Parameters
    ----------
    index : DataFrame with columns clip and landmarks
    """
    tracks = faces.landmarks(index, n_frames=n_moments, n_jobs=n_jobs)
    moving = np.stack([faces.measures(track) for track in tracks])
    moving = moving if inputs == "plain" else _by_speaker(moving, index)
    beside = np.repeat(features[:, None], n_moments, axis=1)
    return np.concatenate([moving, beside], axis=2, dtype=np.float32)


def _by_speaker(values, index):
    speaker = np.repeat(index["speaker"].to_numpy(str), values.shape[1])
    flat = splits.speaker_normalise(values.reshape(-1, values.shape[2]), speaker)
    return flat.reshape(values.shape)
