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


def network(path):
    """Digest of a network's state."""
    from pathemo import PathNet

    return PathNet.load(path).fingerprint()


def small_evolution(path, generations=4):
    """Digest of what an evolution finds that goes on from the checkpoint, if there is one."""
    import joblib
    import torch

    from pathemo import PathNet, evolve
    from pathemo.examples import Examples

    torch.set_num_threads(1)
    draw, labels = np.random.default_rng(0), np.arange(30) % 3
    examples = Examples(draw.standard_normal((30, 5)), labels, [np.arange(30)])
    net = PathNet(5, seeds=[0], n_modules=4, n_active=2, width=3)
    net.add_head("a", 3)
    settings = dict(generations=generations, population_size=3, minibatches=2)
    found = evolve(net, "a", examples, checkpoint=path, checkpoint_every=1, **settings)
    return joblib.hash([found.populations, found.history, net.fingerprint()])


def cached(path):
    """Digest of the array of a text beside the cache, whose entry is at `path`."""
    import os

    from pathemo import cache

    os.environ["PATHEMO_CACHE"] = str(Path(path).parents[1])
    index = pd.DataFrame({"clip": ["a"], "text": [str(Path(path).parents[2] / "text")]})
    form = dict(kind="letters", code="1", shape=(-1, 4), dtype=np.int64)
    (made,) = cache.arrays(index, ("text",), letters, (), **form)
    return digest(made)


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
