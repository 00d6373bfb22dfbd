"""Getting a corpus: downloaded and verified where licence and site allow, else the exact steps."""

import errno
import shutil
import zipfile
from pathlib import Path

import filelock
import pooch
import requests

from ..files import cache_folder, data_root, walk
from .reading import READERS, SYNTHETIC, fetch_command, is_published, load, published, refuse, scan

# Trained by others: file, address, hash (none: a folder of the Hugging Face hub), and whom to cite.
MODELS = {
    "cnn14": (
        "Cnn14_mAP=0.431.pth",
        "https://zenodo.org/records/3987831/files/Cnn14_mAP%3D0.431.pth",
        "md5:541141fa2ee191a88f24a3219fff024e",
        "Kong et al. (2020), PANNs: large-scale pretrained audio networks. Licence: CC BY 4.0",
    ),
    "mn04": (
        "mn04_as_mAP_432.pt",
        "https://github.com/fschmid56/EfficientAT/releases/download/v0.0.1/mn04_as_mAP_432.pt",
        "sha256:899a8c6217063f6941793102a2780b3dd788ab11fce468d9cf5f0577c453321c",
        "Schmid et al. (2023), Efficient large-scale audio tagging. Licence: MIT",
    ),
    "whisper-tiny.en": (
        "whisper-tiny.en",
        "openai/whisper-tiny.en",
        None,
        "Radford et al. (2023), Robust speech recognition via weak supervision. Licence: MIT",
    ),
}


def fetch(name, root=None, *, parts=("audio",)):
    """Return the folder of a corpus, there and verified; None while steps (printed) are up to you.

    `parts` says what to download: "audio"; for RAVDESS also "video" (24 archives) and "landmarks".
    Archives (.zip) that you put into the folder are unpacked. What is there is never touched.
    Interrupting is safe: repeat to go on. Who fetches the same at the same time waits. A name of
    `MODELS` fetches that model instead.

    FileExistsError if the folder holds the synthetic corpus, another OSError if the site could not
    be reached, the folder not be written, or there is no room; ValueError for an unknown part, an
    archive that is damaged or to be unpacked by hand, files that are not the published ones, or a
    corpus that is not complete. A refused archive leaves nothing behind.
    """
    if name in MODELS:
        file, address, known_hash, citation = MODELS[name]
        get = download if known_hash else _snapshot
        path = get(address, known_hash, data_root(root) / "models", file)
        print(f"{name}: {path}\nPlease cite {citation}")
        return path
    if name not in READERS:
        valid = ", ".join([*READERS, *MODELS])
        raise ValueError(f"unknown corpus or network {name!r}; valid: {valid}")
    reader, folder = READERS[name], data_root(root) / name
    if (folder / SYNTHETIC).is_file():
        raise FileExistsError(f"{folder} holds the synthetic corpus; give another root")
    if reader.DOWNLOADS and not {*parts} <= {*reader.DOWNLOADS}:
        valid = ", ".join(reader.DOWNLOADS)
        raise ValueError(f"no parts {', '.join(parts)} of {reader.TITLE}; valid: {valid}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder.with_name(f".{name}.lock")).acquire()
    except OSError as error:
        way_out = "give another root (--root); what lies there is read as it is"
        reason = f"nothing can be written there ({error.strerror}): {way_out}"
        raise OSError(error.errno, reason, str(folder)) from error
    with lock:  # released however this ends
        for archive in archives(folder):
            if archive.parent == folder and not archive.with_suffix("").exists():
                install(archive, archive.with_suffix(""), reader)
        for part in parts:
            for address, known_hash, place in reader.DOWNLOADS.get(part, ()):
                _fetch_archive(reader, part, folder / place, address, known_hash)
    files, problems, others = scan(reader, folder)
    if not (files or problems or reader.DOWNLOADS):
        print(reader.STEPS.format(home=reader.HOME, folder=folder) + others)
        print(f"Then run `{fetch_command(name, root)}`: it unpacks archives and checks every clip.")
        return None
    print(f"{reader.TITLE}: {len(load(name, root))} clips in {folder}")
    print(f"Please cite {reader.CITATION}. Licence: {reader.LICENCE}")
    return folder


def model(name, root=None):
    """Return the verified file of a model of `MODELS` that has a hash, in models/ of the data root.

    FileNotFoundError where it is not there, ValueError where it is not the published file.
    """
    file, _, known_hash, _ = MODELS[name]
    path = data_root(root) / "models" / file
    way_out = f'`{fetch_command(name, root)}` gets it; see "Weights" in data/README.md'
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there; {way_out}")
    kind, _, digest = known_hash.partition(":")
    if pooch.file_hash(path, kind) != digest:
        raise ValueError(f"{path} is not the published model; {way_out}")
    return path


def download(address, known_hash, folder, name):
    """Return a file, downloaded unless it is there, and verified.

    A hash that is itself an address is looked up in the list of files of a Zenodo record.
    """
    try:
        if known_hash and known_hash.startswith("http"):
            record = requests.get(known_hash, timeout=30)
            record.raise_for_status()
            hashes = {entry["key"]: entry["checksum"] for entry in record.json()["files"]}
            known_hash = hashes[Path(address).name]
        return Path(pooch.retrieve(address, known_hash, name, folder, progressbar=True))
    except (OSError, LookupError, TypeError) as error:  # or a record without it
        raise OSError(f"{address} could not be fetched into {folder}: {error}") from error


def _snapshot(address, _, folder, name):
    """Return the folder of an encoder: its configuration and weights, downloaded unless there."""
    kept = ["config.json", "preprocessor_config.json", "model.safetensors"]
    try:
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(address, local_dir=folder / name, allow_patterns=kept))
    except (ImportError, OSError, ValueError) as error:
        reason = f"{address} could not be fetched into {folder / name}: {error}"
        way_out = 'the package of the hub comes with python -m pip install "pathemo[pretrained]"'
        raise OSError(f"{reason}; put its {', '.join(kept)} there, or: {way_out}") from error


def archives(folder):
    """Return the .zip archives below a folder."""
    return [path for path in walk(folder) if path.suffix.lower() == ".zip"]


def _fetch_archive(reader, part, target, address, known_hash):
    """Download an archive into the cache, verify it, unpack it to its place and delete it."""
    if any(scan(reader, target)):
        print(f"{target} is there already; take it away to fetch it anew")
        return
    name = f"{reader.NAME}-{Path(address).name}"
    archive = download(address, known_hash, cache_folder() / "downloads", name)
    try:
        install(archive, target, reader, part)
    except ValueError:  # a bad archive is not kept for the next time, an interrupted one is
        archive.unlink()
        raise
    archive.unlink()


def install(archive, target, reader, part=None):
    """Unpack beside the target, verify the part's files, rename: the target is whole or absent.

    Archives in the archive are unpacked too.
    """
    staging = target.with_name(f".{target.name}.part")
    shutil.rmtree(staging, ignore_errors=True)  # of a run that was killed
    try:
        unpack(archive, staging)
        for inner in archives(staging):
            unpack(inner, inner.with_suffix(""))
            inner.unlink()
        files, *_ = scan(reader, staging)
        wrong = [
            f"{expected.path}: {'changed' if key in files else 'missing'}"
            for key, expected in published(reader, target).items()
            if key[1] == part and not is_published(staging, files.get(key), expected)
        ]
        where = f"{archive.name} of {reader.TITLE}"
        refuse(wrong, where, "Nothing was installed; fetch again later")
        if target.is_dir():
            target.rmdir()  # it is empty
        staging.rename(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def unpack(archive, folder):
    """Unpack a .zip archive: whatever its members are called, plain files inside the folder.

    ValueError if it is damaged or packed as zipfile does not read it, OSError if there is no room.
    """
    try:
        folder.mkdir(exist_ok=True)
        with zipfile.ZipFile(archive) as file:
            members = file.infolist()
            size, free = sum(m.file_size for m in members), shutil.disk_usage(folder).free
            if size > free:
                raise OSError(errno.ENOSPC, f"{size:,} bytes are in it, {free:,} are free")
            for member in members:  # some packers of Windows part folders by backslashes
                member.filename = member.filename.replace("\\", "/")
            file.extractall(folder, members)
    except OSError as error:
        reason = f"could not be unpacked to {folder}: {error.strerror}"
        raise OSError(error.errno, reason, f"{archive}") from error
    except Exception as error:  # each way of packing has errors of its own, Deflate64 another
        way_out = f"get it anew or, if it is whole, unpack it by hand into a folder {archive.stem}"
        raise ValueError(f"{archive.name} cannot be unpacked ({error}): {way_out}") from error
