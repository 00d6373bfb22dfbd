"""The project's folders, atomic writes, and arrays that are kept on disk.

What was computed is kept under a digest of the recording's content, the settings and the code, so
that nothing outdated is ever taken; the checksum of its zip finds every flipped bit, so that
nothing damaged is taken either.
"""

import ast
import contextlib
import functools
import gzip
import io
import multiprocessing
import os
import uuid
import zipfile
from pathlib import Path

import joblib
import numpy as np
import pooch

PACKAGE = Path(__file__).parent
WAY_OUT = "Copy or download it again, or leave it out; data/README.md says where it comes from."


def project():
    """Return the nearest folder upwards whose environment.yml is pathemo's; None outside of it."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        environment = folder / "environment.yml"
        if environment.is_file() and b"name: pathemo" in environment.read_bytes().splitlines():
            return folder
    return None


def data_root(root=None):
    """Return the corpora's folder: `root`, else PATHEMO_DATA, else data/ of the project or here."""
    root = root or os.environ.get("PATHEMO_DATA") or (project() or Path.cwd()) / "data"
    return Path(root).expanduser().absolute()


def cache_folder():
    """Return the folder of all that is kept: PATHEMO_CACHE, else the user's own."""
    folder = Path(os.environ.get("PATHEMO_CACHE") or pooch.os_cache("pathemo"))
    return folder.expanduser().absolute()


def walk(folder, above=()):
    """Yield the files below a folder in order, those behind links too; hidden ones do not count.

    A link that leads back to a folder above is not followed, nor what may not be read.
    """
    real = folder.resolve()
    for path in sorted(folder.glob("[!.]*")) if real not in above else ():
        if path.is_dir():
            yield from walk(path, (*above, real))
        elif path.is_file():
            yield path


def n_processes(n_jobs):
    """Return how many processes joblib may use: `n_jobs`, or 1 where none can be started."""
    try:
        [multiprocessing.Lock() for _ in range(20)]  # about what joblib takes
    except (ImportError, OSError):  # /dev/shm is not there, read-only or full
        return 1
    return n_jobs


@contextlib.contextmanager
def reading(path, kind, *errors):
    """Name a file, the `kind` of it, and a way out, in what reading it raises.

    With `errors`, as with OSError, libraries say that it is damaged.

    Raises
    ------
    FileNotFoundError
        Nothing is there.
    ValueError
        It is empty, a pointer of Git LFS, or reading it raised one of the errors or a ValueError,
        whose way out counts where it ends in a full stop.
    """
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path}: no such {kind}. {WAY_OUT}")
    head = b""
    try:
        with open(path, "rb") as file:
            head = file.read(24)
        if not head:
            raise ValueError("it is empty (0 bytes)")
        if head == b"version https://git-lfs.":
            raise ValueError("it is a pointer of Git LFS: `git lfs pull` gets the file.")
        yield
    except (OSError, *errors) as problem:
        reason = getattr(problem, "strerror", None) or getattr(problem, "error_string", problem)
        if head[4:8] == b"ftyp" and b"moov" not in Path(path).read_bytes():
            reason = "an MP4 without its index: recording or copying it was broken off"
        raise ValueError(f"{path}: it is damaged or no {kind} ({reason}). {WAY_OUT}") from problem
    except ValueError as problem:
        way_out = "" if str(problem).endswith(".") else f". {WAY_OUT}"  # it may have its own
        raise ValueError(f"{path}: {problem}{way_out}") from None


@contextlib.contextmanager
def writing(path):
    """Name a path, and PATHEMO_CACHE where it is below, in the OSError of what writes it."""
    try:
        yield
    except OSError as problem:
        reason = f"could not be written: {problem.strerror or problem}"
        if Path(path).is_relative_to(cache_folder()):
            reason += "; PATHEMO_CACHE may name another folder for the cache"
        raise OSError(problem.errno, reason, str(path)) from problem


@contextlib.contextmanager
def atomic_write(path):
    """Give a file to write bytes to; it gets its name, and replaces what had it, when all of it is
    there.

    Of several who write one name at once the last one's stays. OSError as of `writing`, and nothing
    is left behind.
    """
    path = Path(path)
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(unfinished, "wb") as file:
                yield file
            unfinished.replace(path)
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink()


def write_text(path, text):
    """Write a text at once, packed if the name ends in .gz."""
    data = text.encode("utf-8")
    with atomic_write(path) as file:
        file.write(gzip.compress(data, mtime=0) if Path(path).suffix == ".gz" else data)


class _Statements(ast.NodeTransformer):
    """Leaves out expressions that are no more than a constant: docstrings."""

    def visit_Expr(self, node):
        return None if isinstance(node.value, ast.Constant) else node


@functools.cache
def code_digest(*rooms):
    """Return a digest of what rooms of this package, modules or folders of them, do.

    Comments, docstrings and layout are no part of it.

    >>> code_digest("engine", "splits.py") == code_digest("engine")
    False
    """
    statements = {}
    for room in rooms:
        for file in (PACKAGE / room, *(PACKAGE / room).rglob("*.py")):
            if file.is_file():
                tree = _Statements().visit(ast.parse(file.read_bytes()))
                statements[str(file.relative_to(PACKAGE))] = ast.dump(tree)
    return joblib.hash(statements)


def recall(path):
    """Return the array that `keep` wrote; None where there is none, or it is damaged."""
    try:
        with zipfile.ZipFile(path) as archive:  # np.load would not read to where the checksum is
            return np.load(io.BytesIO(archive.read("array.npy")))
    except Exception:  # zip, zlib and npy each have errors of their own
        return None


def keep(path, array):
    """Write an array to a file at once, and return it."""
    with atomic_write(path) as file:
        np.savez(file, array=array)
    return array


def load_or_compute(path, compute, *arguments):
    """Return the array kept in a file; where there is no whole one, compute and keep it."""
    array = recall(path)
    return keep(path, np.asarray(compute(*arguments))) if array is None else array


def per_recording(index, media, compute, settings=(), *, given=None, calls=(), n_jobs=-1, few=50):
    """Return an array of each row's recording, kept in the cache: a list in the order of the index.

    Parameters
    ----------
    index : DataFrame with the column clip
    media : tuple of str
        Columns of files; the first that a row has counts.
    compute : function
        `compute(path, *settings)` gives the array, or raises FileNotFoundError or ValueError that
        name the file. Arrays are kept by the file's content, the settings, and the code of the
        function's room.
    given : list, optional
        Last argument of `compute`, one a row, which follows from file and settings.
    calls : tuple of str
        Other rooms whose code the function calls.
    n_jobs, few : int
        Processes; -1: one a processor. Fewer missing arrays than `few` are computed sooner in this
        process.

    Raises
    ------
    ValueError
        Recordings are missing or cannot be used: all by name; the arrays of the others stay kept.
    """
    paths = index.reindex(columns=media).bfill(axis=1).iloc[:, 0]
    given = {path: [last] for path, last in zip(paths, given)} if given else {}
    room = compute.__module__.removeprefix("pathemo.").split(".")[0]
    key = compute.__qualname__, settings, code_digest(room, *calls)
    home = cache_folder() / room  # processes may have been started with another PATHEMO_CACHE
    entries = {
        path: home / f"{joblib.hash([pooch.file_hash(path), *key])}.npz"
        for path in paths.dropna().unique()
        if os.path.isfile(path)
    }
    arrays = {path: recall(entries.get(path)) for path in paths.dropna().unique()}
    missing = [path for path, array in arrays.items() if array is None]
    new = joblib.Parallel(1 if len(missing) < few else n_processes(n_jobs))(
        joblib.delayed(_try)(entries.get(path), compute, path, *settings, *given.get(path, []))
        for path in missing
    )
    arrays.update(zip(missing, new))
    lacks = " and no ".join(media)
    problems = [f"{clip}: the clip has no {lacks}" for clip in index.loc[paths.isna(), "clip"]]
    problems += [str(array) for array in arrays.values() if isinstance(array, Exception)]
    if problems:
        count = f"{len(problems)} recordings of {len(index)} clips cannot be used:"
        more = [f"and {len(problems) - 20} more"] if len(problems) > 20 else []
        raise ValueError("\n".join([count, *problems[:20], *more]))
    return [arrays[path] for path in paths]


def _try(entry, compute, *arguments):
    """Return the array of one recording, kept from now on, or the error: why there is none."""
    try:
        array = np.ascontiguousarray(compute(*arguments))
    except (FileNotFoundError, ValueError) as problem:
        return problem
    return keep(entry, array)
