"""From the files of a corpus to its index table, with every problem named."""

import hashlib
import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pooch

from . import emodb, enterface, ravdess, savee

READERS = {reader.NAME: reader for reader in (emodb, enterface, ravdess, savee)}
CORPORA = tuple(READERS)
COLUMNS = ["clip", "corpus", "speaker", "gender", "emotion", "statement", "audio", "video", "landmarks"]
ENDINGS = {"audio": (".wav", ".flac"), "video": (".avi", ".mp4"), "landmarks": (".csv", ".csv.gz")}
SYNTHETIC = "SYNTHETIC.txt"  # a synthetic corpus carries its own list of files

CHECKSUMS = Path(__file__).parents[1] / "checksums"  # in a wheel
if not CHECKSUMS.is_dir():
    CHECKSUMS = Path(__file__).parents[2] / "data" / "checksums"  # in the project


class File(NamedTuple):
    """A recording, there or expected: its path, what the path says, size [bytes], sha256 if published."""

    path: Path
    said: dict
    size: int | None
    sha256: str | None = None


def reader_of(name):
    """The module that reads a corpus."""
    if name not in READERS:
        raise ValueError(f"unknown corpus {name!r}; valid: {', '.join(CORPORA)}; for your own see from_table")
    return READERS[name]


def data_root(root=None):
    """Folder that holds the corpora: `root`, else PATHEMO_DATA, else data/ of the project, else ./data."""
    root = root or os.environ.get("PATHEMO_DATA")
    if not root:
        here = Path.cwd()
        project = next((p for p in (here, *here.parents) if (p / "environment.yml").is_file()), here)
        root = project / "data"
    return Path(root).expanduser().absolute()


def found(name, root=None):
    """Whether any recording of the corpus is there, complete or not."""
    return any(scan(reader_of(name), data_root(root) / name))


def load(name, root=None, *, complete=True):
    """Index table of a corpus: one row a clip, sorted by clip.

    Parameters
    ----------
    name : str
        One of `CORPORA`.
    root : path, optional
        Folder that holds the corpora, see `data_root`.
    complete : bool
        Whether to refuse missing clips and clips that are not among the published ones. A medium that is
        there at all must be there for every clip that the list of files has it for.

    Returns
    -------
    index : DataFrame
        Columns `COLUMNS`, of dtype string; paths of absent media are NA. `index.attrs["version"]` is
        "recorded-" or "synthetic-" and 8 hex digits that stand for the files' names and sizes.

    Raises
    ------
    FileNotFoundError
        There is no recording of the corpus.
    ValueError
        Unknown, empty, doubled, missing or unexpected files: all of them in one message.
    """
    reader, folder = reader_of(name), data_root(root) / name
    section = f'see "{reader.TITLE}" in data/README.md'
    files, problems = scan(reader, folder)
    if not files and not problems:
        what = "holds no recording of it" if folder.is_dir() else "does not exist"
        way_out = f"`python -m pathemo fetch {name}` gets it or says how to; {section}"
        raise FileNotFoundError(f"{reader.TITLE} not found: {folder} {what}; {way_out}")
    way_out = "Get these files anew or take away what does not belong there"
    if complete:
        problems += compare(files, published(reader, folder))
        way_out += ", or load a part of the corpus with complete=False"
    refuse(problems, f"{reader.TITLE} in {folder}", f"{way_out}; {section}")

    rows = [
        file.said | {"corpus": name, "gender": reader.SPEAKERS[file.said["speaker"]], medium: str(file.path)}
        for (_, medium), file in files.items()
    ]
    index = pd.DataFrame(rows).groupby("clip", as_index=False).first()  # joins the media of a clip, sorts
    index = index.reindex(columns=COLUMNS).astype("string")
    kind = "synthetic" if (folder / SYNTHETIC).is_file() else "recorded"
    names = (f"{file.path.relative_to(folder).as_posix()} {file.size}" for file in files.values())
    index.attrs["version"] = f"{kind}-{digest(names)}"
    return index


def digest(lines):
    """First 8 hex digits of the sha256 of the sorted lines."""
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:8]


def refuse(problems, where, way_out, limit=20):
    """Raise one ValueError that names all problems (the first `limit`), if there are any."""
    if problems:
        more = [f"and {len(problems) - limit} more"] if len(problems) > limit else []
        lines = [f"{where}: problems: {len(problems)}", *problems[:limit], *more]
        raise ValueError("\n  ".join(lines) + f"\n{way_out}.")


def recordings(reader, folder):
    """Files below the folder that end like recordings, hidden ones left out, sorted by name."""
    endings = tuple(ending for medium in reader.MEDIA for ending in ENDINGS[medium])
    paths = (path for path in folder.rglob("*") if path.name.lower().endswith(endings) and path.is_file())
    shown = (path for path in paths if "/." not in "/" + path.relative_to(folder).as_posix())
    return sorted(shown, key=lambda path: (path.name, path))


def read(reader, path):
    """(clip, medium) of a file and all that its path says; (None, None) when it is left out by rule."""
    said = reader.read_name(path)
    medium = next(m for m, endings in ENDINGS.items() if str(path).lower().endswith(endings))
    return ((said["clip"], medium), said) if said else (None, None)


def scan(reader, folder):
    """Recordings by (clip, medium), and what is wrong with single files.

    Two files of one clip and medium (.wav and .flac, or two copies) are a problem. Only RAVDESS has videos
    twice on purpose, with sound (01) and without (02): the first is taken.
    """
    files, problems = {}, []
    for path in recordings(reader, folder):
        name = path.relative_to(folder)
        try:
            key, said = read(reader, name)
        except ValueError as error:
            problems.append(str(error))
            continue
        if key is None:
            continue
        file = File(path, said, path.stat().st_size)
        if file.size == 0:
            problems.append(f"{name}: empty (0 bytes)")
        first = files.setdefault(key, file)
        if first is not file and first.said == said:
            problems.append(f"{name}: the same clip as {first.path.relative_to(folder)}; keep one of them")
    return files, problems


def published(reader, folder):
    """Files to expect by (clip, medium), from SYNTHETIC.txt of the folder, else from data/checksums."""
    listing = folder / SYNTHETIC
    if not listing.is_file():
        listing = CHECKSUMS / f"{reader.NAME}.txt"
        if reader.CLIPS:  # no checksums are published
            return {(clip, "video"): File(Path(clip), {}, None) for clip in reader.CLIPS}
    files = {}
    for line in sorted(listing.read_text(encoding="utf-8").splitlines()):
        if line and not line.startswith("#"):
            path, sha256, size = line.rsplit(" ", 2)
            key, said = read(reader, path)
            files.setdefault(key, File(Path(path), said, int(size), sha256.removeprefix("sha256:")))
    files.pop(None, None)  # all that is left out by rule
    return files


def compare(files, expected):
    """What is missing, and what is there but not among the expected clips."""
    clips, media = {clip for clip, _ in files}, {medium for _, medium in files}
    known = {clip for clip, _ in expected}
    missing = [key for key in expected if key not in files and (key[1] in media or key[0] not in clips)]
    strange = [key for key in files if key[0] not in known]
    return [f"{expected[key].path}: missing" for key in missing] + [
        f"{files[key].path.name}: not among the published clips" for key in strange
    ]


def state(file, expected):
    """How a file compares with the published one: "ok", "changed" or "unknown (why)"."""
    if expected is None or expected.sha256 is None:
        return "unknown (no checksum listed)"
    if file.path.suffix.lower() != expected.path.suffix.lower():
        return "unknown (converted, so not comparable)"
    same = file.size == expected.size and pooch.file_hash(file.path, alg="sha256") == expected.sha256
    return "ok" if same else "changed"


def checksums(reader, folder):
    """How the recordings compare with the published ones, in words: "1 changed, 479 ok"."""
    expected = published(reader, folder)
    states = Counter(state(file, expected.get(key)) for key, file in scan(reader, folder)[0].items())
    return ", ".join(f"{count} {words}" for words, count in sorted(states.items()))


def overview(root=None):
    """One row a corpus: where, clips found/expected, speakers, emotions, checksums, licence, next step."""
    rows = []
    for name, reader in READERS.items():
        folder = data_root(root) / name
        row = {"corpus": name, "where": str(folder), "licence": reader.LICENCE, "next step": "none: ready"}
        rows.append(row)
        try:
            files, expected = scan(reader, folder)[0], published(reader, folder)
            row["clips"] = f"{len({clip for clip, _ in files})}/{len({clip for clip, _ in expected})}"
            row["speakers"] = len({file.said["speaker"] for file in files.values()})
            row["emotions"] = len({file.said["emotion"] for file in files.values()})
            row["checksums"] = checksums(reader, folder)
            if (folder / SYNTHETIC).is_file():
                row |= {"where": f"{folder} (synthetic)", "licence": "none needed: synthetic"}
            load(name, root)
            if "changed" in row["checksums"]:
                row["next step"] = "ready, but see why files differ from the published ones"
        except FileNotFoundError:
            row |= {"where": "not found", "next step": f"python -m pathemo fetch {name}"}
        except (OSError, ValueError) as error:
            first = " ".join(line.strip() for line in str(error).splitlines()[:2])
            row["next step"] = f"{first} (pathemo.corpora.load({name!r}) names all)"
    order = ["corpus", "where", "clips", "speakers", "emotions", "checksums", "licence", "next step"]
    return pd.DataFrame(rows, columns=order)
