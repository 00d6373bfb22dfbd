"""Log-mel spectrograms, whole or in segments of one length, as convolutional modules take them."""

import numpy as np
import torch
from torchaudio.transforms import AmplitudeToDB, MelSpectrogram

from .. import files
from .recordings import MEDIA, RATE, decode

HOP, N_FRAMES = 0.032, 48  # [s] between frames of a segment, whose windows are twice as long


def log_mel(y, *, sampling_rate, n_mels=64, window=0.032, hop=0.010, fmin=50.0, fmax=14000.0):
    """Return the log-mel spectrogram (n_mels, 1 + n_samples // hop) as float32 [dB].

    It equals librosa's: Hann window, ends mirrored, Slaney's scale and norm; the defaults are
    CNN-14's, at 32 kHz and at 16 kHz.

    Parameters
    ----------
    y : (n_samples,) float array, at least one window long
    sampling_rate : int [Hz]
    window, hop : float [s]
    fmin, fmax : float [Hz], fmax is at most half the sampling rate

    Source
    ------
    Kong et al. 2020 (PANNs), section III.

    >>> log_mel(np.zeros(16000), sampling_rate=16000).shape
    (64, 101)
    """
    n_fft, step = round(window * sampling_rate), round(hop * sampling_rate)
    if len(y) < n_fft:
        raise ValueError(f"{len(y)} samples are less than a window ({n_fft}): pad them")
    slaney = {"norm": "slaney", "mel_scale": "slaney"}
    fmax = min(fmax, sampling_rate / 2)
    mel = MelSpectrogram(sampling_rate, n_fft, None, step, fmin, fmax, n_mels=n_mels, **slaney)
    return AmplitudeToDB("power")(mel(torch.as_tensor(np.float32(y)))).numpy()


def segments(index, *, speed=1.0, n_jobs=-1):
    """Return log-mel segments (n_segments, 32, 48) [dB] of 1.5 s, and the clip of each.

    Segments overlap by half and cover the clip evenly; one that is too short is centred between
    frames of silence. Levels are relative to the loudest band of the clip and cut off 60 dB below
    it. The second array (n_segments,) holds positions in the index. Segments are kept in the cache.
    Parameters and errors are those of `functionals`.
    """
    clips = files.per_recording(index, MEDIA, _segments, (speed,), n_jobs=n_jobs)
    return np.concatenate(clips), np.repeat(np.arange(len(clips)), [len(clip) for clip in clips])


def _segments(path, speed):
    y = decode(path, sampling_rate=round(RATE / speed))
    y = np.pad(y, max(0, round(HOP * RATE) - len(y)))  # a window at least
    mel = log_mel(y, sampling_rate=RATE, n_mels=32, window=2 * HOP, hop=HOP)
    mel = np.maximum(mel - mel.max(), -60)
    short = max(0, N_FRAMES - mel.shape[1])
    mel = np.pad(mel, ((0, 0), (short // 2, short - short // 2)), constant_values=-60)
    rest = mel.shape[1] - N_FRAMES
    starts = np.linspace(0, rest, 1 + round(2 * rest / N_FRAMES)).round().astype(int)
    return np.stack([mel[:, start : start + N_FRAMES] for start in starts])
