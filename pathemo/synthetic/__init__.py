"""Small corpora with the real names, folders and formats: nobody's voice and nobody's face.

`write` makes one corpus, `root` all four; voice.py is their sound, face.py their film, layout.py
their files."""

import shutil
from fractions import Fraction
from pathlib import Path

import av
import filelock
import joblib
import numpy as np
import pandas as pd
import pooch
import soundfile

from .. import cache
from ..corpora import reading
from . import face, voice
from .layout import FILES, clips

REGISTRY = reading.SYNTHETIC
# The recipe counts on whenever what is written changes, so that older folders are replaced.
HEADER = "# SYNTHETIC: made by pathemo.synthetic, seed {seed} (recipe 3)"


def write(name, root, seed=0):
    """Folder of a synthetic corpus under its real name, `root/name`: whole or not at all.

    One of the same seed is kept; a synthetic one of another seed, or with files missing, is
    replaced. The same seed and library versions give the same bytes. SYNTHETIC.txt lists name,
    sha256 and size of each. ValueError for an unknown name, FileExistsError where the folder holds
    what this function did not write."""
    reader = reading.reader_of(name)
    folder = Path(root).absolute() / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = folder.with_name(f".{name}.staging")
    with filelock.FileLock(folder.with_name(f".{name}.lock")):
        if folder.exists() and _is_current(reader, folder, seed):
            return folder
        shutil.rmtree(staging, ignore_errors=True)  # of a run that was killed
        new = staging / "new"
        joblib.Parallel(n_jobs=-1)(
            joblib.delayed(_write_clip)(clip, new, seed) for clip in clips(name)
        )
        lines = [HEADER.format(seed=seed)]
        for path in sorted(path for path in new.rglob("*") if path.is_file()):
            file = path.relative_to(new).as_posix()
            lines.append(f"{file} sha256:{pooch.file_hash(path)} {path.stat().st_size}")
        (new / REGISTRY).write_text("\n".join(lines) + "\n", encoding="utf-8")
        if folder.exists():
            folder.replace(staging / "old")
        new.replace(folder)
        shutil.rmtree(staging)
    return folder


def root():
    """Data root with all four synthetic corpora, written when absent: data/synthetic of the
    project.

    Without a project (the nearest folder upwards that holds environment.yml) it is in the cache's
    folder."""
    project = reading.project()
    data = (project / "data" if project else cache.folder()) / "synthetic"
    for name in FILES:
        write(name, data)
    return data


def _is_current(reader, folder, seed):
    """Whether the folder is a whole synthetic corpus of this seed; an error when it is not
    synthetic.
    """
    if not (folder / REGISTRY).is_file():
        raise FileExistsError(
            f"{folder} is no synthetic corpus (it has no {REGISTRY}), so it is left as it is; "
            "give another root for the synthetic one, or move this folder away"
        )
    if (
        not (folder / REGISTRY)
        .read_text(encoding="utf-8")
        .startswith(HEADER.format(seed=seed) + "\n")
    ):
        return False
    sizes = ((folder / file.path, file.size) for file in reading.published(reader, folder).values())
    return all(path.is_file() and path.stat().st_size == size for path, size in sizes)


def _write_clip(clip, folder, seed):
    """Write the files of one clip below the folder."""
    for file in filter(None, (clip.audio, clip.video, clip.landmarks)):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
    sound, sampling_rate = voice.speak(clip, seed), voice.SETTINGS[clip.corpus].sampling_rate
    if clip.audio:
        soundfile.write(folder / clip.audio, sound, sampling_rate, subtype="PCM_16")
    if clip.video or clip.landmarks:
        points = face.track(clip, sound, sampling_rate, seed)
    if clip.landmarks:
        columns = [f"{axis}_{point}" for axis in "xy" for point in range(68)]
        table = pd.DataFrame(points.swapaxes(1, 2).reshape(-1, 136).round(1), columns=columns)
        table.insert(0, "frame", np.arange(1, len(points) + 1))
        table.insert(1, "timestamp", (np.arange(len(points)) / face.FRAME_RATE).round(3))
        table.to_csv(
            folder / clip.landmarks, index=False, compression={"method": "gzip", "mtime": 0}
        )
    if clip.video:
        _write_film(folder / clip.video, face.film(clip, points, seed), sound, sampling_rate)


def _write_film(path, frames, sound, sampling_rate):
    """Write AVI or MP4 (MPEG-4 and MP3 in both) of RGB frames and sound."""
    with av.open(str(path), "w") as container:
        film = container.add_stream(
            "mpeg4", rate=face.FRAME_RATE, pix_fmt="yuv420p", bit_rate=200_000
        )
        film.height, film.width = frames.shape[1:3]
        film.codec_context.thread_count = 1  # the same bytes on any machine
        track = container.add_stream(
            "libmp3lame", rate=sampling_rate, layout="mono", bit_rate=64_000
        )
        samples = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
        samples.sample_rate = sampling_rate
        for number, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts, picture.time_base = number, Fraction(1, face.FRAME_RATE)
            container.mux(film.encode(picture))
        for packets in (film.encode(), track.encode(samples), track.encode()):
            container.mux(packets)
