"""What a campaign asks of each kind of file; answers are plain and small, so that processes can
send them.
"""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd

RATE = 16000


def digest(*arrays):
    """Digest of arrays, their shapes included."""
    parts = [
        str(np.shape(array)).encode() + np.ascontiguousarray(array).tobytes() for array in arrays
    ]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def sound(path):
    """Samples, whether all are finite, digest."""
    from pathemo import speech

    y = speech.decode(path, sampling_rate=RATE)
    return len(y), bool(np.isfinite(y).all()), digest(y)


def film(path):
    """Frames of five, their shapes."""
    from pathemo import faces

    return [image.shape for _, image in faces.frames(path, n_frames=5)]


def landmarks(path):
    """Frames, whether all functionals are finite, digest of the points, the points of a few
    frames.
    """
    from pathemo import faces

    time, points = faces.track(path)
    functionals = faces.functionals_of(time, points)
    return (
        len(points),
        bool(np.isfinite(functionals).all()),
        digest(points),
        points.round(6).tolist(),
    )


def own_table(path):
    """Rows of an own table."""
    from pathemo import corpora

    columns = ["clip", "speaker", "emotion", "audio"]
    return corpora.from_table(path)[columns].astype(object).where(pd.notna, "").to_numpy().tolist()


def kept(path):
    """Digest of the array kept at `path`, computed of the text beside it where there is none."""
    from pathemo import files

    return digest(files.load_or_compute(path, letters, Path(path).with_name("text")))


def letters(path):
    """Codes of a text, in fours."""
    return np.frombuffer(Path(path).read_bytes(), np.uint8).reshape(-1, 4)


def synthetic_list(path):
    """Files that a synthetic corpus announces."""
    from pathemo.corpora import emodb, reading

    return sorted(str(file.path) for file in reading.published(emodb, Path(path).parent).values())


def archive(path):
    """Files and contents of SAVEE, whose archive somebody put into its folder."""
    from pathemo import corpora
    from pathemo.corpora import reading

    folder = Path(path).parent
    reading.CHECKSUMS = folder.parents[1]
    try:
        corpora.fetch("savee", folder.parent)
    finally:
        beside = {file.name for file in [*folder.parent.iterdir(), *folder.iterdir()]}
        assert beside <= {"savee", ".savee.lock", "Audio.zip", "Audio"}, f"left behind: {beside}"
    files = (file for file in (folder / "Audio").rglob("*") if file.is_file())
    return {file.relative_to(folder / "Audio").as_posix(): file.read_bytes() for file in files}


def profile(path):
    """Why a profile was not run that is in order."""
    import os

    from pathemo import runner

    os.chdir(Path(path).parents[1])
    try:
        return runner.run("small")
    except RuntimeError as error:
        return str(error).partition(" in ")[0]
