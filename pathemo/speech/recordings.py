"""Recordings decoded, or refused by name: any format that soundfile or PyAV reads."""

import hashlib
import os
import struct
from pathlib import Path

import av
import numpy as np
import soundfile
import soxr

from .. import files

MEDIA = "audio", "video"  # columns of an index: the first that a clip has counts
SILENCE = 1e-4  # of full scale (-80 dB): what never leaves its mean by more holds nothing
UNKNOWN = 0x7FFFF000  # [bytes] this and more are announced by what was written to a pipe


def decode(path, *, sampling_rate):
    """Return the sound of a recording (n_samples,) as float32 of full scale 1.

    Channels are averaged. soundfile reads WAV and FLAC, PyAV all else, such as the sound track of
    AVI or MP4; soxr resamples. A cut file is told by its header, which announces more than is
    there (that of an MKV does not, so a cut MKV passes). What was changed within the samples is
    told in a FLAC alone, by their checksum.

    Parameters
    ----------
    path : str or Path
    sampling_rate : int [Hz]

    Raises
    ------
    FileNotFoundError
        Nothing is there.
    ValueError
        It is empty, no recording, damaged, truncated, silent, not finite, or a video without a
        sound track.
    """
    with files.reading(path, "recording", soundfile.LibsndfileError, av.FFmpegError):
        _check_length(path)
        if Path(path).suffix.lower() in (".wav", ".flac"):
            channels, rate = soundfile.read(path, dtype="float32", always_2d=True)
            _check_content(path, channels)
            y = channels.mean(axis=1)
        else:
            y, rate = _sound_track(path)
        if len(y) == 0:
            raise ValueError("it is empty (0 samples)")
        if not np.isfinite(y).all():
            raise ValueError("it has samples that are not finite numbers")
        if np.abs(y - y.mean()).max() < SILENCE:
            raise ValueError(f"it is silent: no sample is {SILENCE:g} of full scale off the mean")
    return soxr.resample(y, rate, sampling_rate)


def _check_length(path):
    """Refuse a WAV or AVI shorter than its header says: the readers would accept it."""
    with open(path, "rb") as file:
        name, n_announced = struct.unpack("<4sI", file.read(8).ljust(8))
        n_bytes = file.seek(0, os.SEEK_END)
    if name == b"RIFF" and n_bytes < n_announced < UNKNOWN:
        raise ValueError(f"it is truncated: {n_announced} bytes announced, {n_bytes} there")


def _check_content(path, channels):
    """Refuse other samples than a FLAC announces, and a WAV whose header or length is wrong."""
    content = Path(path).read_bytes()
    if content.startswith(b"fLaC") and soundfile.info(path).subtype == "PCM_16":
        digest, announced = hashlib.md5((channels * 2**15).astype("<i2")).digest(), content[26:42]
        if any(announced) and announced != digest:
            raise ValueError("it has other samples than it announces")
    if content[8:12] != b"WAVE" or int.from_bytes(content[4:8], "little") >= UNKNOWN:
        return
    end = 12
    while end + 8 <= len(content):
        name, size = struct.unpack_from("<4sI", content, end)
        if name == b"fmt ":
            form = struct.unpack_from("<HHIIHH", content, end + 8)
            kind, n_channels, rate, speed, width, bits = form
            if kind in (1, 3) and (speed != rate * width or width != n_channels * -(-bits // 8)):
                raise ValueError("its header contradicts itself")
        end += 8 + size + size % 2
    if len(content) not in (end, end - size % 2):  # the byte that makes a size even may be lacking
        raise ValueError(f"its parts end at {end} bytes, it has {len(content)}")


def _sound_track(path):
    """Return samples (n_samples,) of a video and their rate [Hz]."""
    with av.open(path) as container:
        if not container.streams.audio:
            raise ValueError("it has no sound track")
        stream = container.streams.audio[0]
        to_float = av.AudioResampler(format="fltp")
        frames = (part for frame in container.decode(stream) for part in to_float.resample(frame))
        parts = [part.to_ndarray() for part in frames]  # (n_channels, n_samples) each
        y = np.hstack(parts or [np.empty((1, 0))]).mean(axis=0)
        n_announced = (stream.duration or 0) * stream.time_base * stream.rate
        if len(y) < n_announced - 0.1 * stream.rate:  # codecs drop a little at the ends
            raise ValueError(
                f"it is truncated: {int(n_announced)} samples announced, {len(y)} there"
            )
        return y, stream.rate
