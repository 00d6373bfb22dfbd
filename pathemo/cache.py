"""What was made of recordings, kept on disk: under their content, and whole or not at all.

The folder is PATHEMO_CACHE, else the user's own. Names of entries are digests of the file's
content, the settings and the code that made them, so that nothing outdated is ever taken. An entry
ends with a digest of itself and its name, so that nothing damaged is taken either."""

import contextlib
import hashlib
import os
import uuid
from pathlib import Path

import joblib
import numpy as np
import pooch

DIGEST = 8  # [bytes] at the end of an entry


def folder():
    """Folder of all that is cached."""
    return Path(os.environ.get("PATHEMO_CACHE") or pooch.os_cache("pathemo"))


@contextlib.contextmanager
def whole(path):
    """File to write bytes to; it gets its name, and replaces what had it, when all of it is there.

    OSError where that fails, for want of space perhaps: it names the file, and nothing is left
    behind. Several may write a file of one name at once: the last one's stays."""
    path = Path(path)
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with open(unfinished, "wb") as file:
            yield file
        unfinished.replace(path)
    except OSError as problem:
        reason = problem.strerror or problem
        raise OSError(problem.errno, f"could not be written: {reason}", str(path)) from problem
    finally:
        unfinished.unlink(missing_ok=True)


def arrays(
    index,
    media,
    make,
    settings,
    *,
    kind,
    code,
    shape,
    dtype=np.float32,
    given=None,
    n_jobs=-1,
    few=50,
):
    """Array of each row's recording, cached: a list in the order of the index.

    Parameters
    ----------
    index : DataFrame with the column clip
    media : tuple of str
        Columns of files; the first that a row has counts.
    make : function
        `make(path, *settings)` is the array, or raises FileNotFoundError or ValueError, which name
        the file.
    kind, code : str
        Folder of the entries, and digest of the code that `make` runs.
    shape : tuple of int
        One -1 stands for any number.
    given : list
        Last argument of `make`, one a row, which follows from file and settings, so is no part of
        the name.
    n_jobs, few : int
        Processes; -1: one a processor. Fewer missing arrays than `few` are made sooner in this
        process.

    ValueError names all rows that have no usable recording; the others stay cached.
    """
    paths = index.reindex(columns=media).bfill(axis=1).iloc[:, 0]
    given = {path: [last] for path, last in zip(paths, given)} if given else {}
    home = folder() / kind  # processes may have been started with another PATHEMO_CACHE
    entries = {  # None: no such file
        path: home / joblib.hash([pooch.file_hash(path), settings, code])
        if os.path.isfile(path)
        else None
        for path in paths.dropna().unique()
    }
    made = {path: entry and _recall(entry, shape, dtype) for path, entry in entries.items()}
    missing = [path for path, found in made.items() if found is None]
    with joblib.parallel_config(
        "loky", n_jobs=1 if len(missing) < few else n_jobs, inner_max_num_threads=1
    ):
        new = joblib.Parallel()(
            joblib.delayed(_make)(
                entries[path], shape, dtype, make, path, *settings, *given.get(path, [])
            )
            for path in missing
        )
    made.update(zip(missing, new))
    lacks = "neither " + " nor ".join(media) if len(media) > 1 else f"no {media[0]}"
    problems = [f"{clip}: the clip has {lacks}" for clip in index.loc[paths.isna(), "clip"]]
    problems += [str(found) for found in made.values() if isinstance(found, Exception)]
    if problems:
        more = [f"and {len(problems) - 20} more"] if len(problems) > 20 else []
        listed = "\n".join(problems[:20] + more)
        raise ValueError(
            f"{len(problems)} recordings of {len(index)} clips cannot be used:\n{listed}"
        )
    return [made[path] for path in paths]


def _recall(entry, shape, dtype):
    """Cached array; None where it has yet to be made, or is damaged."""
    try:
        content = np.fromfile(entry, np.uint8)
        made, digest = content[:-DIGEST], content[-DIGEST:]
        return made.view(dtype).reshape(shape) if digest.tobytes() == _digest(made, entry) else None
    except (OSError, ValueError):
        return None


def _digest(made, entry):
    """Digest of an array and of the name that it is kept under."""
    return hashlib.blake2b(made.data, key=entry.name.encode(), digest_size=DIGEST).digest()


def _make(entry, shape, dtype, make, *arguments):
    """Array, now cached, or the error that says why there is none."""
    try:
        made = np.ascontiguousarray(make(*arguments), dtype).reshape(shape)
    except (FileNotFoundError, ValueError) as problem:
        return problem
    entry.parent.mkdir(parents=True, exist_ok=True)
    with whole(entry) as file:
        file.write(made.data)
        file.write(_digest(made, entry))
    return made
