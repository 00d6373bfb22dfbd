"""Getting a corpus: downloaded and verified where licence and site allow, else the exact steps."""

import os
import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

import pooch
import requests

from . import reading
from .reading import data_root, found, load, refuse


def fetch(name, root=None, *, parts=("audio",)):
    """Folder of the corpus once it is there and verified; None while steps are left to you (printed).

    What is there is never touched. Interrupting is safe: repeat to go on. Of SAVEE and eNTERFACE'05, archives
    (.zip) that you put into the folder are unpacked.

    Parameters
    ----------
    name : str
        One of `CORPORA`.
    root : path, optional
        Folder that holds the corpora, see `data_root`.
    parts : sequence of str
        What to download: "audio"; for RAVDESS also "video" (24 archives) and "landmarks".

    Raises
    ------
    ConnectionError
        The site could not be reached.
    ValueError
        An unknown part, a damaged or unsafe archive, files that are not the published ones, a corpus that is
        not complete. A refused archive leaves nothing behind.
    """
    reader, folder = reading.reader_of(name), data_root(root) / name
    if (folder / reading.SYNTHETIC).is_file():
        raise FileExistsError(f"{folder} holds the synthetic corpus; give another root for the recorded one")
    folder.mkdir(parents=True, exist_ok=True)
    unknown = [part for part in parts if part not in reader.DOWNLOADS]
    if reader.DOWNLOADS and unknown:
        valid = ", ".join(reader.DOWNLOADS)
        raise ValueError(f"no part {', '.join(unknown)} of {reader.TITLE}; valid: {valid}")
    for part in parts:
        for address, known_hash, place in reader.DOWNLOADS.get(part, []):
            target = folder / place
            if target.is_dir() and reading.recordings(reader, target):
                print(f"{target} is there already; take it away to fetch it anew")
                continue
            archive = download(address, known_hash, f"{name}-{Path(address).name}")
            try:
                install(archive, target, reader, part)
            except ValueError:  # a bad archive is not kept for the next time, an interrupted one is
                archive.unlink()
                raise
            archive.unlink()
    if not reader.DOWNLOADS:
        for archive in sorted(folder.glob("*.zip")):
            if not archive.with_suffix("").exists():
                install(archive, archive.with_suffix(""), reader)
    if not found(name, root):
        print(reader.STEPS.format(home=reader.HOME, folder=folder))
        print(f"Then run `python -m pathemo fetch {name}` again: it unpacks archives and checks every clip.")
        return None
    print(f"{reader.TITLE}: {len(load(name, root))} clips in {folder}, {reading.checksums(reader, folder)}")
    print(f"Please cite {reader.CITATION}. Licence: {reader.LICENCE}")
    return folder


def download(address, known_hash, file_name):
    """Archive in the cache, its checksum verified if one is known."""
    cache = Path(os.environ.get("PATHEMO_CACHE") or pooch.os_cache("pathemo")) / "downloads"
    try:
        if known_hash and known_hash.startswith("http"):
            answer = requests.get(known_hash, timeout=30)
            answer.raise_for_status()
            listed = {file["key"]: file["checksum"] for file in answer.json()["files"]}
            known_hash = listed[Path(address).name]
        browser = pooch.HTTPDownloader(progressbar=True)
        return Path(pooch.retrieve(address, known_hash, fname=file_name, path=cache, downloader=browser))
    except requests.RequestException as error:
        raise ConnectionError(f"{address} could not be fetched; try again later ({error})") from error


def install(archive, target, reader, part=None):
    """Unpack beside the target, verify the part's files, then rename: the target is whole or not there."""
    staging = target.with_name(f".{target.name}.part")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        unpack(archive, staging)
        files, _ = reading.scan(reader, staging)
        wrong = [
            f"{expected.path}: {'changed' if key in files else 'missing'}"
            for key, expected in reading.published(reader, target).items()
            if key[1] == part and (key not in files or reading.state(files[key], expected) != "ok")
        ]
        refuse(wrong, f"{archive.name} of {reader.TITLE}", "Nothing was installed; fetch again later")
        inner = staging / target.name  # some archives hold but a folder of their own name
        if target.is_dir():
            target.rmdir()  # empty, else an error that says so
        (inner if list(staging.iterdir()) == [inner] else staging).rename(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def unpack(archive, folder):
    """Unpack a .zip file into the folder; ValueError if it is damaged or anything in it points elsewhere."""
    try:
        with zipfile.ZipFile(archive) as members:
            unsafe = []
            for member in members.infolist():
                path = PurePosixPath(member.filename.replace("\\", "/"))
                kind = stat.S_IFMT(member.external_attr >> 16)  # 0 where the archive's maker did not say
                outside = path.is_absolute() or ".." in path.parts or ":" in member.filename
                if outside or kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                    unsafe.append(member.filename)
            refuse(unsafe, f"{archive.name} holds links or leads out of its folder", "Nothing was unpacked")
            members.extractall(folder)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ValueError(f"{archive.name} is not a whole .zip archive ({error}); fetch it again") from error
