"""What was made of recordings, kept on disk: under their content, and whole or not at all.

The folder is PATHEMO_CACHE, else the user's own. Names of entries are digests of the file's content, the
settings and the code that made them, so that nothing outdated is ever taken.
"""

import os
from pathlib import Path

import joblib
import numpy as np
import pooch


def folder():
    """Folder of all that is cached."""
    return Path(os.environ.get("PATHEMO_CACHE") or pooch.os_cache("pathemo"))


def arrays(index, media, make, settings, *, kind, code, shape, dtype=np.float32, given=None, n_jobs=-1,
           few=50):
    """Array of each row's recording, cached: a list in the order of the index.

    Parameters
    ----------
    index : DataFrame with the column clip
    media : tuple of str
        Columns of files; the first that a row has counts.
    make : function
        `make(path, *settings)` is the array, or raises FileNotFoundError or ValueError, which name the file.
    kind, code : str
        Folder of the entries, and digest of the code that `make` runs.
    shape : tuple of int
        One -1 stands for any number; an entry that does not fit was cut, and is made again.
    given : list
        Last argument of `make`, one a row, which follows from file and settings, so is no part of the name.
    n_jobs, few : int
        Processes; -1: one a processor. Fewer missing arrays than `few` are made sooner in this process.

    ValueError names all rows that have no usable recording; the others stay cached.
    """
    paths = index.reindex(columns=media).bfill(axis=1).iloc[:, 0]
    given = {path: [last] for path, last in zip(paths, given)} if given else {}
    home = folder() / kind  # processes may have been started with another PATHEMO_CACHE
    entries = {  # None: no such file
        path: home / joblib.hash([pooch.file_hash(path), settings, code]) if os.path.isfile(path) else None
        for path in paths.dropna().unique()
    }
    made = {path: _recall(entry, shape, dtype) for path, entry in entries.items()}
    missing = [path for path, found in made.items() if found is None]
    with joblib.parallel_config("loky", n_jobs=1 if len(missing) < few else n_jobs, inner_max_num_threads=1):
        new = joblib.Parallel()(
            joblib.delayed(_make)(entries[path], shape, dtype, make, path, *settings, *given.get(path, []))
            for path in missing
        )
    made.update(zip(missing, new))
    lacks = "neither " + " nor ".join(media) if len(media) > 1 else f"no {media[0]}"
    problems = [f"{clip}: the clip has {lacks}" for clip in index.loc[paths.isna(), "clip"]]
    problems += [str(found) for found in made.values() if isinstance(found, Exception)]
    if problems:
        more = [f"and {len(problems) - 20} more"] if len(problems) > 20 else []
        listed = "\n".join(problems[:20] + more)
        raise ValueError(f"{len(problems)} recordings of {len(index)} clips cannot be used:\n{listed}")
    return [made[path] for path in paths]


def _recall(entry, shape, dtype):
    """Cached array; None where it has yet to be made, or was cut."""
    try:
        return np.fromfile(entry, dtype).reshape(shape) if entry else None
    except (OSError, ValueError):
        return None


def _make(entry, shape, dtype, make, *arguments):
    """Array, now cached, or the error that says why there is none."""
    try:
        made = np.ascontiguousarray(make(*arguments), dtype).reshape(shape)
    except (FileNotFoundError, ValueError) as problem:
        return problem
    entry.parent.mkdir(parents=True, exist_ok=True)
    unfinished = entry.with_suffix(f".{os.getpid()}")
    made.tofile(unfinished)
    unfinished.replace(entry)  # whoever reads meanwhile never sees half an entry
    return made
