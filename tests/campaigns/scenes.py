"""Work that is killed, done by two at once, or done on a full disk; each function runs in a
`Worker`.
"""

import contextlib
import hashlib
import io
import os
import random
import resource
import signal
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import readers

SOUNDS = {
    f"wav/03a0{text}{letter}a.wav": f"{text}{letter}".encode() * 20_000
    for text in "1245"
    for letter in "FNW"
}
SOUNDS["wav/03a01Fa.wav"] = random.Random(0).randbytes(
    15_000
)  # most of the archive: the others pack well


def killed(work, n_kills, seed):
    """How many of so many processes were killed at random moments of `work`; the last one was left
    alone.
    """
    draw, kills = random.Random(seed), 0
    started = time.monotonic()
    assert _fork(lambda: work("alone")) == 0
    duration = time.monotonic() - started
    for _ in range(n_kills):
        kills += _fork(lambda: work("killed"), draw.uniform(0, 0.3 * duration)) == -signal.SIGKILL
    assert _fork(lambda: work("killed")) == 0
    return kills


def together(*works):
    """Exit codes of processes that work at the same time."""
    pids = [_start(work) for work in works]
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]


def _fork(work, delay=None):
    pid = _start(work)
    if delay is not None:
        time.sleep(delay)
        os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _start(work):
    pid = os.fork()
    if pid:
        return pid
    try:
        work()
        os._exit(0)
    except BaseException as error:
        os.write(1, f"{error!r}\n".encode())
        os._exit(1)


def content(folder):
    """Contents of the files below a folder that are no locks and no remains of a killed process."""
    files = (path for path in Path(folder).rglob("*") if path.is_file())
    files = (
        path
        for path in files
        if path.suffix not in (".lock", ".part") and not path.name.startswith("tmp")
    )
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def index_of(root, n_clips=8):
    """Index of a few clips of the synthetic EMO-DB."""
    from pathemo import corpora, speech  # noqa: F401 (processes that are forked from this one have it)

    return corpora.load("emodb", root)[:n_clips].reset_index(drop=True)


def extract(folder, index, name):
    """Write features of speech, with a cache of that name."""
    from pathemo import speech

    os.environ["PATHEMO_CACHE"] = str(folder / name)
    np.save(folder / name / f"{os.getpid()}.npy", speech.functionals(index, n_jobs=1))


def same_features(folder, *names):
    """Whether caches and features are the same; features are of as many processes as ended."""
    features = {path.read_bytes() for name in names for path in (folder / name).glob("*.npy")}
    one, other = (content(folder / name / "speech") for name in names)
    return len(features) == 1 and one == other


def killed_extraction(folder, root, n_kills, seed):
    """Kills; and whether cache and features are those of an extraction that was left alone."""
    index, folder = index_of(root), Path(folder)
    for name in ("alone", "killed"):
        (folder / name).mkdir()
    kills = killed(lambda name: extract(folder, index, name), int(n_kills), seed)
    return kills, same_features(folder, "alone", "killed")


def extractions_at_once(folder, root):
    """Exit codes; whether cache and features are those of one extraction; what was left behind."""
    index, folder = index_of(root), Path(folder)
    for name in ("alone", "both"):
        (folder / name).mkdir()
    codes = together(*[lambda: extract(folder, index, "both")] * 2)
    codes += together(lambda: extract(folder, index, "alone"))
    return (
        codes,
        same_features(folder, "alone", "both"),
        [path.name for path in folder.rglob("*.part")],
    )


@contextlib.contextmanager
def site(pause=0.0):
    """A server on loopback, which takes its time, as the home of a small EMO-DB; its list of files
    fits.
    """
    from pathemo.corpora import emodb, reading

    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in SOUNDS.items():
            file.writestr(name, data)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(packed.getvalue())))
            self.end_headers()
            with contextlib.suppress(OSError):  # whoever asked was killed
                for start in range(0, len(packed.getvalue()), 1000):
                    time.sleep(pause)
                    self.wfile.write(packed.getvalue()[start : start + 1000])

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    lines = [
        f"{name} sha256:{hashlib.sha256(data).hexdigest()} {len(data)}"
        for name, data in SOUNDS.items()
    ]
    before = reading.CHECKSUMS, emodb.DOWNLOADS, os.environ.get("NO_PROXY", "")
    reading.CHECKSUMS = Path(os.environ["PATHEMO_CACHE"])
    reading.CHECKSUMS.mkdir(parents=True, exist_ok=True)
    (reading.CHECKSUMS / "emodb.txt").write_text("\n".join(lines))
    emodb.DOWNLOADS = {
        "audio": [(f"http://127.0.0.1:{server.server_port}/download.zip", None, ".")]
    }
    os.environ["NO_PROXY"] = "127.0.0.1"
    try:
        yield server
    finally:
        reading.CHECKSUMS, emodb.DOWNLOADS, os.environ["NO_PROXY"] = before
        server.shutdown()
        server.server_close()


def fetch(root):
    """A fetch that says nothing."""
    from pathemo import corpora

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        corpora.fetch("emodb", root)


def killed_fetch(folder, n_kills, seed):
    """Kills; and whether what was fetched is what the site has."""
    folder = Path(folder)
    os.environ["PATHEMO_CACHE"] = str(folder / "cache")
    with site(pause=0.02):
        kills = killed(lambda name: fetch(folder / name), int(n_kills), seed)
    return kills, _is_whole(folder / "killed")


def fetches_at_once(folder):
    """Exit codes; whether what was fetched is what the site has; what was left behind."""
    folder = Path(folder)
    os.environ["PATHEMO_CACHE"] = str(folder / "cache")
    with site(pause=0.005):
        codes = together(*[lambda: fetch(folder / "data")] * 2)
    left = [path.name for path in (folder / "cache").rglob("*") if path.is_file()]
    return codes, _is_whole(folder / "data"), left


def _is_whole(root):
    there = {
        path.relative_to(root / "emodb").as_posix(): path.read_bytes()
        for path in root.rglob("*.wav")
    }
    return there == SOUNDS and not list(root.glob(".*.part"))


@contextlib.contextmanager
def full_disk(n_bytes):
    """A disk on which no file can have more bytes."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(n_bytes), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


def array_on_a_full_disk(path, n_bytes):
    """Array of a text, kept while the disk was full."""
    with full_disk(n_bytes):
        return readers.kept(path)


def text_on_a_full_disk(path, n_bytes):
    """A table written while the disk was full."""
    from pathemo import files

    text = pd.DataFrame(np.random.default_rng(0).random((500, 4))).to_csv()
    with full_disk(n_bytes):
        files.write_text(path, text)


def fetch_on_a_full_disk(folder, n_bytes):
    """A corpus fetched while the disk was full."""
    folder = Path(folder)
    os.environ["PATHEMO_CACHE"] = str(folder / "cache")
    with site(), full_disk(n_bytes):
        fetch(folder / "data")
    return _is_whole(folder / "data")
