"""Getting a corpus: downloaded and verified where licence and site allow, else the exact steps."""

import errno
import lzma
import re
import shutil
import stat
import zipfile
import zlib
from pathlib import Path

import filelock
import pooch
import requests

from .. import cache
from . import reading
from .reading import data_root, found, load, refuse

# What was trained by others: file, address, hash, and whom to cite
MODELS = {
    "yunet": (
        "face_detection_yunet_2023mar.onnx",
        "https://github.com/opencv/opencv_zoo/raw/main/models/face_detection_yunet/"
        "face_detection_yunet_2023mar.onnx",
        "sha256:8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
        "Wu et al. (2023), YuNet: a tiny millisecond-level face detector. Licence: MIT",
    ),
    "cnn14": (
        "Cnn14_mAP=0.431.pth",
        "https://zenodo.org/records/3987831/files/Cnn14_mAP%3D0.431.pth",
        "md5:541141fa2ee191a88f24a3219fff024e",
        "Kong et al. (2020), PANNs: large-scale pretrained audio neural networks. Licence: CC BY 4.0",
    ),
}
UNSAFE = re.compile(
    r"^/|[:\\]|(^|/)\.\.(/|$)"
)  # names in an archive that may lead out of its folder


def fetch(name, root=None, *, parts=("audio",)):
    """Folder of the corpus once it is there and verified; None while steps are left to you
    (printed).

    `parts` says what to download: "audio"; for RAVDESS also "video" (24 archives) and "landmarks".
    Archives (.zip) that you put into the folder of SAVEE or eNTERFACE'05 are unpacked. What is
    there is never touched. Interrupting is safe: repeat to go on. Who fetches the same at the same
    time waits. "yunet" and "cnn14" are names of models: those are fetched instead of a corpus, and
    their file is given.

    ConnectionError if the site could not be reached, FileExistsError if the folder holds the
    synthetic corpus, another OSError if there is no room, ValueError for an unknown part, a damaged
    or unsafe archive, files that are not the published ones, or a corpus that is not complete. A
    refused archive leaves nothing behind."""
    if name in MODELS:
        return fetch_model(name, root)
    reader, folder = reading.reader_of(name), data_root(root) / name
    if (folder / reading.SYNTHETIC).is_file():
        raise FileExistsError(
            f"{folder} holds the synthetic corpus; give another root for the recorded one"
        )
    unknown = ", ".join(part for part in parts if part not in reader.DOWNLOADS)
    if reader.DOWNLOADS and unknown:
        raise ValueError(
            f"no part {unknown} of {reader.TITLE}; valid: {', '.join(reader.DOWNLOADS)}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(
        folder.with_name(f".{name}.lock")
    ):  # the system releases it, however this ends
        for part in parts:
            for address, known_hash, place in reader.DOWNLOADS.get(part, ()):
                fetch_archive(reader, part, folder / place, address, known_hash)
        if not reader.DOWNLOADS:
            for archive in sorted(folder.glob("*.zip")):
                if not archive.with_suffix("").exists():
                    install(archive, archive.with_suffix(""), reader)
    if not reader.DOWNLOADS and not found(name, root):
        print(reader.STEPS.format(home=reader.HOME, folder=folder))
        print(
            f"Then run `python -m pathemo fetch {name}` again: it unpacks archives, checks every clip."
        )
        return None
    print(
        f"{reader.TITLE}: {len(load(name, root))} clips in {folder}, {reading.checksums(reader, folder)}"
    )
    print(f"Please cite {reader.CITATION}. Licence: {reader.LICENCE}")
    return folder


def model(name, root=None):
    """File of a model of `MODELS`, verified, in models/ of the data root.

    FileNotFoundError where it is not there, ValueError where it is another file than the published
    one."""
    file, _, known_hash, _ = MODELS[name]
    path, (algorithm, digest) = data_root(root) / "models" / file, known_hash.split(":")
    way_out = 'see "Weights" in data/README.md'
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is not there; `python -m pathemo fetch {name}` gets it; {way_out}"
        )
    if pooch.file_hash(path, algorithm) != digest:
        raise ValueError(
            f"{path} is not the published model: take it away and fetch it anew; {way_out}"
        )
    return path


def fetch_model(name, root=None):
    """Download a model of `MODELS` unless it is there, and verify it."""
    folder, (file, address, known_hash, citation) = data_root(root) / "models", MODELS[name]
    if not (folder / file).is_file():
        download(address, known_hash, folder, file)
    print(f"{name}: {model(name, root)}")
    print(f"Please cite {citation}")
    return folder / file


def download(address, known_hash, folder, name):
    """File of that name, downloaded unless it is there, its hash verified (or looked up, if an
    address).
    """
    try:
        if str(known_hash).startswith("http"):
            record = requests.get(known_hash, timeout=30)
            record.raise_for_status()
            hashes = {entry["key"]: entry["checksum"] for entry in record.json()["files"]}
            known_hash = hashes[Path(address).name]
        browser = pooch.HTTPDownloader(progressbar=True)
        return Path(pooch.retrieve(address, known_hash, name, folder, downloader=browser))
    except (
        requests.RequestException,
        LookupError,
        TypeError,
    ) as error:  # or a record without the hash
        raise ConnectionError(
            f"{address} could not be fetched; try again later ({error})"
        ) from error
    except OSError as error:
        reason = f"{address} could not be kept: {error.strerror}"
        raise OSError(error.errno, reason, f"{folder / name}") from error


def fetch_archive(reader, part, target, address, known_hash):
    """Download an archive into the cache, verify it, unpack it to its place and delete it."""
    if any(reading.scan(reader, target)):
        print(f"{target} is there already; take it away to fetch it anew")
        return
    name = f"{reader.NAME}-{Path(address).name}"
    archive = download(address, known_hash, cache.folder() / "downloads", name)
    try:
        install(archive, target, reader, part)
    except ValueError:  # a bad archive is not kept for the next time, an interrupted one is
        archive.unlink()
        raise
    archive.unlink()


def install(archive, target, reader, part=None):
    """Unpack beside the target, verify the part's files, then rename: the target is whole or not
    there.
    """
    staging = target.with_name(f".{target.name}.part")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        staging.mkdir()
        unpack(archive, staging)
        files, _ = reading.scan(reader, staging)
        wrong = [
            f"{expected.path}: {'changed' if key in files else 'missing'}"
            for key, expected in reading.published(reader, target).items()
            if key[1] == part
            and (key not in files or reading.state(staging, files[key], expected) != "ok")
        ]
        refuse(
            wrong, f"{archive.name} of {reader.TITLE}", "Nothing was installed; fetch again later"
        )
        inner = staging / target.name  # some archives hold but a folder of their own name
        if target.is_dir():
            target.rmdir()  # empty, else an error that says so
        (inner if list(staging.iterdir()) == [inner] else staging).rename(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def unpack(archive, folder):
    """Unpack a .zip file; ValueError if it is damaged or anything in it points out of the
    folder.
    """
    try:
        with zipfile.ZipFile(archive) as members:
            unsafe = [
                member.filename
                for member in members.infolist()
                if UNSAFE.search(member.filename) or stat.S_ISLNK(member.external_attr >> 16)
            ]
            refuse(
                unsafe,
                f"{archive.name} holds links or leads out of its folder",
                "Nothing was unpacked",
            )
            size, free = (
                sum(file.file_size for file in members.infolist()),
                shutil.disk_usage(folder).free,
            )
            if size > free:
                raise OSError(errno.ENOSPC, f"{size:,} bytes are in it, {free:,} are free")
            members.extractall(folder)
    except (
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        IndexError,
        RuntimeError,
        UnicodeError,
    ) as error:
        raise ValueError(
            f"{archive.name} is not a whole .zip archive ({error}); fetch it again"
        ) from error
    except OSError as error:
        reason = f"could not be unpacked to {folder}: {error.strerror}"
        raise OSError(error.errno, reason, f"{archive}") from error
