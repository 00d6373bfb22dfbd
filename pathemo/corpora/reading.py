"""From the files of a corpus to its index table, with every problem named."""

import hashlib
import os
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pooch

CORPORA = ("emodb", "enterface", "ravdess", "savee")
READERS = {name: import_module(f".{name}", __package__) for name in CORPORA}
COLUMNS = [
    "clip",
    "corpus",
    "speaker",
    "gender",
    "emotion",
    "statement",
    "audio",
    "video",
    "landmarks",
]
ENDINGS = {"audio": (".wav", ".flac"), "video": (".avi", ".mp4"), "landmarks": (".csv", ".csv.gz")}
SYNTHETIC = "SYNTHETIC.txt"  # a synthetic corpus carries its own list of files

CHECKSUMS = Path(__file__).parents[1] / "checksums"  # in a wheel
if not CHECKSUMS.is_dir():
    CHECKSUMS = Path(__file__).parents[2] / "data/checksums"  # in the project


class File(NamedTuple):
    """A recording, there or expected: path in the corpus, what it says, size [bytes], sha256 if
    published.
    """

    path: Path
    said: dict
    size: int | None = None
    sha256: str | None = None

    @property
    def key(self):
        """Clip and medium."""
        name = self.path.name.lower()
        return self.said["clip"], next(
            medium for medium in ENDINGS if name.endswith(ENDINGS[medium])
        )


def reader_of(name):
    """The module that reads a corpus."""
    if name not in READERS:
        raise ValueError(
            f"unknown corpus {name!r}; valid: {', '.join(CORPORA)}; for your own see from_table"
        )
    return READERS[name]


def project():
    """Folder of the project, the nearest one upwards that holds environment.yml; None outside of
    it.
    """
    here = Path.cwd()
    return next(
        (folder for folder in (here, *here.parents) if (folder / "environment.yml").is_file()), None
    )


def data_root(root=None):
    """Folder that holds the corpora: `root`, else PATHEMO_DATA, else data/ of the project, else
    ./data.
    """
    root = root or os.environ.get("PATHEMO_DATA") or (project() or Path.cwd()) / "data"
    return Path(root).expanduser().absolute()


def found(name, root=None):
    """Whether any recording of the corpus is there, complete or not."""
    return any(scan(reader_of(name), data_root(root) / name))


def load(name, root=None, *, complete=True):
    """Index table of a corpus, one of `CORPORA`: one row a clip, sorted by clip.

    Columns `COLUMNS`, of dtype string; paths of absent media are NA. `index.attrs["version"]` is
    "recorded-" or "synthetic-" and 8 hex digits that stand for the files' names and sizes.
    `complete` refuses missing clips and clips that are not among the published ones. A medium that
    is there at all must then be there for every clip that the list of files has it for.

    FileNotFoundError if there is no recording of the corpus; one ValueError names all files that
    are unknown, empty, doubled, missing or unexpected."""
    reader, folder = reader_of(name), data_root(root) / name
    section = f'see "{reader.TITLE}" in data/README.md'
    files, problems = scan(reader, folder)
    if not files and not problems:
        what = "holds no recording of it" if folder.is_dir() else "does not exist"
        way_out = f"`python -m pathemo fetch {name}` gets it or says how to; {section}"
        raise FileNotFoundError(f"{reader.TITLE} not found: {folder} {what}; {way_out}")
    problems += compare(files, published(reader, folder)) if complete else []
    way_out = "Get these files anew, take away what does not belong there, or load a part with complete=False"
    refuse(problems, f"{reader.TITLE} in {folder}", f"{way_out}; {section}")
    rows = [file.said | {medium: str(folder / file.path)} for (_, medium), file in files.items()]
    index = (
        pd.DataFrame(rows).groupby("clip", as_index=False).first()
    )  # joins the media of a clip, sorts
    index = index.assign(corpus=name, gender=index["speaker"].map(reader.SPEAKERS))
    index = index.reindex(columns=COLUMNS).astype("string")
    kind = "synthetic" if (folder / SYNTHETIC).is_file() else "recorded"
    sizes = (f"{file.path.as_posix()} {file.size}" for file in files.values())
    index.attrs["version"] = f"{kind}-{digest(sizes)}"
    return index


def digest(lines):
    """First 8 hex digits of the sha256 of the sorted lines."""
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:8]


def refuse(problems, where, way_out):
    """Raise one ValueError that names all problems (the first 20), if there are any."""
    if problems:
        more = [f"and {len(problems) - 20} more"] if len(problems) > 20 else []
        lines = [f"{where}: problems: {len(problems)}", *problems[:20], *more]
        raise ValueError("\n  ".join(lines) + f"\n{way_out}.")


def scan(reader, folder):
    """Recordings by (clip, medium), and what is wrong with single files; hidden ones do not count.

    Two files of one clip and medium (.wav and .flac, or two copies) are a problem. Only RAVDESS has
    videos twice on purpose, with sound (01) and without (02): the first is taken."""
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
        if file.said:
            first = files.setdefault(file.key, file)
            if file.size == 0:
                problems.append(f"{path}: empty (0 bytes)")
            if first is not file and first.said == file.said:
                problems.append(f"{path}: the same clip as {first.path}; keep one of them")
    return files, problems


def published(reader, folder):
    """Files to expect by (clip, medium), from SYNTHETIC.txt of the folder, else from
    data/checksums.
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
                file = File(
                    Path(path), reader.read_name(path), int(size), sha256.removeprefix("sha256:")
                )
                if file.said:
                    files.setdefault(file.key, file)
    except ValueError as problem:
        way_out = "get it anew, a synthetic corpus as a whole"
        raise ValueError(f"{listing}: it is damaged ({problem}); {way_out}") from None
    return files


def compare(files, expected):
    """What is missing, and what is there but not among the expected clips."""
    clips, media = {clip for clip, _ in files}, {medium for _, medium in files}
    known = {clip for clip, _ in expected}
    missing = [
        key for key in expected if key not in files and (key[1] in media or key[0] not in clips)
    ]
    strange = [file.path for (clip, _), file in files.items() if clip not in known]
    problems = [f"{expected[key].path}: missing" for key in missing]
    return problems + [f"{path}: not among the published clips" for path in strange]


def state(folder, file, expected):
    """How a file compares with the published one: "ok", "changed", or "unknown": converted, or not
    listed.
    """
    if (
        not expected
        or not expected.sha256
        or file.path.suffix.lower() != expected.path.suffix.lower()
    ):
        return "unknown"
    same = file.size == expected.size and pooch.file_hash(folder / file.path) == expected.sha256
    return "ok" if same else "changed"


def checksums(reader, folder):
    """How the recordings compare with the published ones, in words: "1 changed, 479 ok"."""
    expected = published(reader, folder)
    states = Counter(
        state(folder, file, expected.get(key)) for key, file in scan(reader, folder)[0].items()
    )
    return ", ".join(f"{count} {words}" for words, count in sorted(states.items()))


def overview(root=None):
    """One row a corpus: where, clips found/expected, speakers, emotions, checksums, licence, next
    step.
    """
    rows = []
    for name, reader in READERS.items():
        folder = data_root(root) / name
        (files, problems), expected = scan(reader, folder), published(reader, folder)
        problems += compare(files, expected) if files else []
        said = pd.DataFrame(
            [file.said for file in files.values()], columns=["clip", "speaker", "emotion"]
        )
        synthetic = (folder / SYNTHETIC).is_file()
        where, step = f"{folder}{' (synthetic)' * synthetic}", "none: ready"
        if problems:
            step = (
                f"mend {problems[0]} ({len(problems)} in all: see pathemo.corpora.load({name!r}))"
            )
        elif not files:
            where, step = "not found", f"python -m pathemo fetch {name}"
        rows.append(
            {
                "corpus": name,
                "where": where,
                "clips": f"{said['clip'].nunique()}/{len({clip for clip, _ in expected})}",
                "speakers": said["speaker"].nunique(),
                "emotions": said["emotion"].nunique(),
                "checksums": checksums(reader, folder),
                "licence": "none needed: synthetic" if synthetic else reader.LICENCE,
                "next step": step,
            }
        )
    return pd.DataFrame(rows)
