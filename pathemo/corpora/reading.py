"""From the files of a corpus to its index table, with every problem named."""

import hashlib
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pooch

from ..files import PACKAGE, data_root
from . import emodb, enterface, ravdess, savee

READERS = {reader.NAME: reader for reader in (emodb, enterface, ravdess, savee)}
CORPORA = tuple(READERS)
COLUMNS = "clip corpus speaker gender emotion statement audio video landmarks".split()
ENDINGS = {"audio": (".wav", ".flac"), "video": (".avi", ".mp4"), "landmarks": (".csv", ".csv.gz")}
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
        name = self.path.name.lower()
        medium = next(medium for medium in ENDINGS if name.endswith(ENDINGS[medium]))
        return self.said["clip"], medium


def reader_of(name):
    """Return the module that reads a corpus; ValueError for an unknown name."""
    if name not in READERS:
        valid = ", ".join(CORPORA)
        raise ValueError(f"unknown corpus {name!r}; valid: {valid}; for your own see from_table")
    return READERS[name]


def found(name, root=None):
    """Return whether any recording of the corpus is there, complete or not."""
    return any(scan(reader_of(name), data_root(root) / name))


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
    files, problems = scan(reader, folder)
    if not files and not problems:
        what = "holds no recording of it" if folder.is_dir() else "does not exist"
        way_out = f"`python -m pathemo fetch {name}` gets it or says how to; {section}"
        raise FileNotFoundError(f"{reader.TITLE} not found: {folder} {what}; {way_out}")
    problems += compare(files, published(reader, folder)) if complete else []
    way_out = "Get these files anew, take away what does not belong there, or load a part with"
    refuse(problems, f"{reader.TITLE} in {folder}", f"{way_out} complete=False; {section}")

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
    """Return recordings by (clip, medium), and what is wrong with files; hidden ones do not count.

    Two files of one clip and medium (.wav and .flac, or two copies) are a problem. Only RAVDESS has
    videos twice on purpose, with sound (01) and without (02): the first is taken.
    """
    endings = tuple(ending for medium in reader.MEDIA for ending in ENDINGS[medium])
    files, problems = {}, []
    for place in sorted(folder.rglob("*"), key=lambda place: (place.name, place)):
        path = place.relative_to(folder)
        hidden = any(part.startswith(".") for part in path.parts)
        if hidden or not path.name.lower().endswith(endings) or not place.is_file():
            continue
        try:
            file = File(path, reader.read_name(path), place.stat().st_size)
        except ValueError as error:
            problems.append(str(error))
            continue
        if file.said:  # else it is left out
            first = files.setdefault(file.key, file)
            if file.size == 0:
                problems.append(f"{path}: empty (0 bytes)")
            if first is not file and first.said == file.said:
                problems.append(f"{path}: the same clip as {first.path}; keep one of them")
    return files, problems


def published(reader, folder):
    """Return the files to expect by (clip, medium), from the list in the folder or the corpus's.

    ValueError where the list is damaged.
    """
    listing = folder / SYNTHETIC
    listing = listing if listing.is_file() else CHECKSUMS / f"{reader.NAME}.txt"
    if not listing.is_file():  # no checksums are published, but which clips there are
        return {(clip, reader.MEDIA[0]): File(Path(clip), {}) for clip in reader.CLIPS}
    files = {}
    try:
        for line in sorted(listing.read_text(encoding="utf-8").splitlines()):
            if line and not line.startswith("#"):
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
    clips, media = {clip for clip, _ in files}, {medium for _, medium in files}
    known = {clip for clip, _ in expected}
    problems = [
        f"{file.path}: missing"
        for (clip, medium), file in expected.items()
        if (clip, medium) not in files and (medium in media or clip not in clips)
    ]
    strange = [file.path for (clip, _), file in files.items() if clip not in known]
    return problems + [f"{path}: not among the published clips" for path in strange]


def state(folder, file, expected):
    """Return how a file compares with the published one, if any: "ok", "changed" or "unknown".

    Unknown is what was converted to another format, or is not listed with a checksum.
    """
    suffix = file.path.suffix.lower()
    if not expected or not expected.sha256 or suffix != expected.path.suffix.lower():
        return "unknown"
    sha256 = f"sha256:{pooch.file_hash(folder / file.path)}"
    return "ok" if sha256 == expected.sha256 else "changed"


def overview(root=None):
    """Return a table of the corpora: where, clips found/expected, checksums, licence, next step."""
    rows = []
    for name, reader in READERS.items():
        folder = data_root(root) / name
        (files, problems), expected = scan(reader, folder), published(reader, folder)
        problems += compare(files, expected) if files else []
        states = Counter(state(folder, file, expected.get(key)) for key, file in files.items())
        n_clips, n_expected = (len({clip for clip, _ in keys}) for keys in (files, expected))
        synthetic = (folder / SYNTHETIC).is_file()
        where, step = f"{folder}{' (synthetic)' * synthetic}", "none: ready"
        if problems:
            step = f"mend {problems[0]} ({len(problems)} in all: pathemo.corpora.load names them)"
        elif not files:
            where, step = "not found", f"python -m pathemo fetch {name}"
        row = {"corpus": name, "where": where, "clips": f"{n_clips}/{n_expected}"}
        row["checksums"] = ", ".join(f"{count} {words}" for words, count in sorted(states.items()))
        row["licence"] = "none needed: synthetic" if synthetic else reader.LICENCE
        rows.append(row | {"next step": step})
    return pd.DataFrame(rows)
