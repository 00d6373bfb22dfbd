"""From the files of a corpus to its index table, with every problem named."""

import hashlib
import shlex
import unicodedata
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pooch

from ..files import PACKAGE, data_root, walk
from . import emodb, enterface, ravdess, savee

READERS = {reader.NAME: reader for reader in (emodb, enterface, ravdess, savee)}
CORPORA = tuple(READERS)
COLUMNS = "clip corpus speaker gender emotion statement audio video landmarks".split()
ENDINGS = {".wav": "audio", ".flac": "audio", ".avi": "video", ".mp4": "video"}
ENDINGS |= {".csv": "landmarks"}  # or .csv.gz
SYNTHETIC = "SYNTHETIC.txt"  # a synthetic corpus carries its own list of files

CHECKSUMS = PACKAGE / "checksums"  # in a wheel
if not CHECKSUMS.is_dir():
    CHECKSUMS = PACKAGE.parent / "data/checksums"  # in the project


class File(NamedTuple):
    """A recording, there or published: path in the corpus, what its name says, size [bytes]."""

    path: Path
    said: dict
    size: int = 0
    sha256: str = ""

    @property
    def key(self):
        """Clip and medium."""
        return self.said["clip"], medium(self.path)


def medium(path):
    """Return what kind of recording a file is by its ending; None for other files."""
    return ENDINGS.get(Path(plain(path.name).lower().removesuffix(".gz")).suffix)


def plain(text):
    """Return a text in its composed Unicode form, without what nobody sees: blanks around it,
    more than one between words, and characters without width.

    >>> plain(" a\u0308 \u00a0b\u200bc ") == "\u00e4 bc"
    True
    """
    seen = (letter for letter in text if unicodedata.category(letter) != "Cf")
    return " ".join(unicodedata.normalize("NFC", "".join(seen)).split())


def fetch_command(name, root=None):
    """Return the command that fetches a corpus or a model, into the same root."""
    command = f"python -m pathemo fetch {name}"
    return f"{command} --root {shlex.quote(str(root))}" if root else command


def reader_of(name):
    """Return the module that reads a corpus; ValueError for an unknown name."""
    if name not in READERS:
        valid = ", ".join(CORPORA)
        raise ValueError(f"unknown corpus {name!r}; valid: {valid}; for your own see from_table")
    return READERS[name]


def found(name, root=None):
    """Return whether any recording of the corpus is there, complete or not."""
    return any(scan(reader_of(name), data_root(root) / name)[:2])


def load(name, root=None, *, complete=True):
    """Return the index table of a corpus, one of `CORPORA`: one row a clip, sorted by clip.

    Columns `COLUMNS`, of dtype string; paths of absent media are NA. `index.attrs["version"]` is
    "recorded-" or "synthetic-" and 8 hex digits that stand for the files' names and sizes.
    `complete` refuses missing clips and clips that are not among the published ones. A medium that
    is there at all must then be there for every clip that the list of files has it for.

    Raises
    ------
    FileNotFoundError
        There is no recording of the corpus.
    ValueError
        Files are unknown, empty, doubled, missing or unexpected: all by name.
    """
    reader, folder = reader_of(name), data_root(root) / name
    section = f'see "{reader.TITLE}" in data/README.md'
    files, problems, others = scan(reader, folder)
    if not files and not problems:
        what = "holds no recording of it" if folder.is_dir() else "does not exist"
        way_out = f"`{fetch_command(name, root)}` gets it or says how to; {section}"
        raise FileNotFoundError(f"{reader.TITLE} not found: {folder} {what}{others}; {way_out}")
    if complete:
        problems += compare(files, published(reader, folder))
    way_out = "Get these files anew, take away what does not belong there, or load a part with"
    refuse(problems, f"{reader.TITLE} in {folder}", f"{way_out} complete=False; {section}{others}")

    rows = [file.said | {medium: str(folder / file.path)} for (_, medium), file in files.items()]
    index = pd.DataFrame(rows).groupby("clip", as_index=False).first()  # joins media, sorts
    index = index.assign(corpus=name, gender=index["speaker"].map(reader.SPEAKERS))
    index = index.reindex(columns=COLUMNS).astype("string")
    kind = "synthetic" if (folder / SYNTHETIC).is_file() else "recorded"
    sizes = (f"{file.path.as_posix()} {file.size}" for file in files.values())
    index.attrs["version"] = f"{kind}-{digest(sizes)}"
    return index


def digest(lines):
    """Return the first 8 hex digits of the sha256 of the sorted lines."""
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:8]


def refuse(problems, where, way_out):
    """Raise one ValueError that names all problems (the first 20), if there are any."""
    if problems:
        more = [f"and {len(problems) - 20} more"] if len(problems) > 20 else []
        lines = [f"{where}: problems: {len(problems)}", *problems[:20], *more]
        raise ValueError("\n  ".join(lines) + f"\n{way_out}.")


def scan(reader, folder):
    """Return recordings by (clip, medium), what is wrong with files, and a clause on other files.

    Two files of one clip and medium (.wav and .flac, or two copies) are a problem. Only RAVDESS has
    videos twice on purpose, with sound (01) and without (02): the first is taken.
    """
    files, problems, others = {}, [], Counter()
    places = walk(folder, folder.resolve().parents)
    for place in sorted(places, key=lambda place: (place.name, place)):
        path = place.relative_to(folder)
        if medium(path) not in reader.MEDIA:
            others[path.suffix.lower() or path.name] += 1
            continue
        try:
            said = reader.read_name(Path(*map(plain, path.parts)))
        except ValueError as error:
            problems.append(str(error))
            continue
        if said:  # else it is left out
            file = File(path, said, place.stat().st_size)
            first = files.setdefault(file.key, file)
            if file.size == 0:
                problems.append(f"{path}: empty (0 bytes)")
            if first is not file and first.said == said:
                problems.append(f"{path}: the same clip as {first.path}; keep one of them")
    there = ", ".join(f"{count} {ending}" for ending, count in others.most_common(5))
    clause = f"; {there} lie there: unpack or convert what is a recording to {reader.GRAMMAR}"
    return files, problems, clause if others else ""


def published(reader, folder):
    """Return the files to expect by (clip, medium), from the list in the folder or the corpus's.

    ValueError where the list is damaged.
    """
    files, listing = {}, folder / SYNTHETIC
    if not listing.is_file():
        listing = CHECKSUMS / f"{reader.NAME}.txt"
    try:
        for line in sorted(listing.read_text(encoding="utf-8").splitlines()):
            if line.startswith("#"):
                continue
            path, sha256, size = line.rsplit(" ", 2)
            file = File(Path(path), reader.read_name(path), int(size), sha256)
            if file.said:
                files.setdefault(file.key, file)
    except ValueError as problem:
        way_out = "get it anew, a synthetic corpus as a whole"
        raise ValueError(f"{listing}: it is damaged ({problem}); {way_out}") from None
    return files


def compare(files, expected):
    """Return what is missing, and what is there but not among the expected clips."""
    if not files:
        return []
    clips, media = map(set, zip(*files))
    known, problems = {clip for clip, _ in expected}, []
    for (clip, medium), file in expected.items():
        if (clip, medium) not in files and (medium in media or clip not in clips):
            problems.append(f"{file.path}: missing")
    for (clip, _), file in files.items():
        if clip not in known:
            problems.append(f"{file.path}: not among the published clips")
    return problems


def is_published(folder, file, expected):
    """Return whether a file is there, and byte for byte the published one."""
    if not file or not expected or file.size != expected.size:
        return False
    return f"sha256:{pooch.file_hash(folder / file.path)}" == expected.sha256


def overview(root=None):
    """Return a table of the corpora: where, clips found/expected, how many files are unchanged."""
    rows = []
    for name, reader in READERS.items():
        folder = data_root(root) / name
        files, problems, others = scan(reader, folder)
        expected = published(reader, folder)
        problems += compare(files, expected)
        n_clips, n_expected = (len({clip for clip, _ in keys}) for keys in (files, expected))
        same = sum(is_published(folder, file, expected.get(key)) for key, file in files.items())
        step = "none: ready" if files else f"{fetch_command(name, root)}{others}"
        if problems:
            step = f"mend {problems[0]} ({len(problems)} in all: pathemo.corpora.load names them)"
        synthetic = (folder / SYNTHETIC).is_file()
        note = " (synthetic)" if synthetic else "" if files else " (not found)"
        row = {"corpus": name, "where": f"{folder}{note}", "clips": f"{n_clips}/{n_expected}"}
        row |= {"checksums": f"{same} of {len(files)} files verified", "next step": step}
        rows.append(row)
    return pd.DataFrame(rows)
