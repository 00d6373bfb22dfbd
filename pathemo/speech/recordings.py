"""Recordings decoded, or refused by name: any format that soundfile or PyAV reads."""

import hashlib
import os
import re
from pathlib import Path

import av
import numpy as np
import soundfile
import soxr

from .. import files

MEDIA = "audio", "video"  # columns of an index: the first that a clip has counts
RATE = 16000  # [Hz] of what features are computed of
SILENCE = 1e-4  # of full scale (-80 dB): what never leaves its mean by more holds nothing
LOUDEST = 100  # of full scale (40 dB): what goes beyond is no sound in floats
CANCELLED = 0.1  # of the loudest channel: a mean below this share is what two opposites leave
UNKNOWN = 0x7FFFF000  # [bytes] this and more are announced by a WAV or AVI that was never closed
ENDLESS = 2**63 - 1  # [samples] libsndfile's number of a FLAC that was never closed


def decode(path, *, sampling_rate):
    """Return the sound of a recording (n_samples,) as float32 of full scale 1.

    Channels are averaged; where they cancel, as those of a wrongly wired microphone do, the loudest
    is taken. soundfile reads WAV and FLAC, PyAV all else, such as the sound track of AVI or MP4;
    soxr resamples. A cut WAV, FLAC, AVI or MP4 is told by its header, which announces more than is
    there; other formats announce nothing, so what was cut of them passes. What was changed within
    the samples is told in a FLAC alone, by their checksum.

    `sampling_rate` is in [Hz].

    Raises
    ------
    FileNotFoundError
        Nothing is there.
    ValueError
        It is empty, no recording, damaged, truncated, silent, not finite or far beyond full scale,
        or a video without a sound track.
    """
    with files.reading(path, "recording", soundfile.LibsndfileError, av.FFmpegError):
        with open(path, "rb") as file:
            head = file.read(12)
        announced = int.from_bytes(head[4:8], "little")
        if head[8:] == b"AVI " and os.path.getsize(path) < announced < UNKNOWN:
            raise ValueError(f"it is truncated: its header announces {announced} bytes")
        is_mp4 = head[4:8] == b"ftyp"  # such as M4A, whatever it is called
        wav_or_flac = Path(path).suffix.lower() in (".wav", ".flac") and not is_mp4
        channels, rate = (_samples if wav_or_flac else _sound_track)(path)
        if len(channels) == 0:
            raise ValueError("it is empty (0 samples)")
        peak = np.abs(channels).max()
        if not peak < LOUDEST:
            raise ValueError(
                f"its peak is {peak:g} of full scale: divide integers stored as floats by theirs "
                "(32768 of 16 bits), or leave it out."
            )
        y = channels.mean(axis=1)
        loudest = channels[:, channels.std(axis=0).argmax()]
        if y.std() < CANCELLED * loudest.std():
            y = loudest
        if np.abs(y - y.mean()).max() < SILENCE:
            raise ValueError(
                f"it is silent: no sample is {SILENCE:g} of full scale off the mean; leave it out."
            )
    return soxr.resample(y, rate, sampling_rate)


def _samples(path):
    """Return samples (n_samples, n_channels) of a WAV or FLAC and their rate [Hz]."""
    with soundfile.SoundFile(path) as file:
        log, rate = file.extra_info, file.samplerate  # libsndfile tells all numbers of the header
        if (cut := re.search(r"^data : (\d+) \(should be", log, re.M)) and int(cut[1]) < UNKNOWN:
            raise ValueError(f"it is truncated: its header announces {cut[1]} bytes of samples")
        form = re.findall(r"(?:Block Align|Bit Width|Bytes/sec) +: (\d+)", log)
        if form and file.subtype.startswith(("PCM", "FLOAT")):
            align, bits, speed = map(int, form)
            width = file.channels * -(-bits // 8)  # [bytes]; align or speed may be wrong, not both
            odd = speed != rate * width and rate % 1000 and rate % 11025
            if (align or speed) and width not in (align, speed / rate) or odd:
                raise ValueError("its header contradicts itself")
        never_closed = file.frames == 0 and "\nEnd" not in log  # what follows is no other part
        if never_closed or file.frames == ENDLESS:
            return _sound_track(path)
        channels = file.read(dtype="float32", always_2d=True)
        content = Path(path).read_bytes()
        if content.startswith(b"fLaC") and file.subtype == "PCM_16" and any(content[26:42]):
            if hashlib.md5((channels * 2**15).astype("<i2")).digest() != content[26:42]:
                raise ValueError("it has other samples than it announces")
    return channels, rate


def _sound_track(path):
    """Return samples (n_samples, n_channels) of any recording or video and their rate [Hz]."""
    with av.open(path) as container:
        if not container.streams.audio:
            raise ValueError("it has no sound track: leave it out.")
        stream = container.streams.audio[0]
        to_float = av.AudioResampler(format="fltp")
        frames = (part for frame in container.decode(stream) for part in to_float.resample(frame))
        parts = [part.to_ndarray() for part in frames]  # (n_channels, n_samples) each
        channels = np.hstack(parts or [np.empty((1, 0))]).T
        seconds = float((stream.duration or 0) * stream.time_base)
        # Where the header counts no frames, FFmpeg guesses. Codecs drop a little at the ends.
        if stream.frames and len(channels) < (seconds - 0.1) * stream.rate:
            raise ValueError(f"it is truncated: {seconds:.1f} s announced, {len(channels)} samples")
        return channels, stream.rate
