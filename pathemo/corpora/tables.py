"""Your own data: a table of clips becomes an index like that of any corpus."""

import os
import re
import unicodedata
from pathlib import Path

import pandas as pd

from ..files import data_root
from .reading import COLUMNS, CORPORA, digest, found, load, plain, refuse

MEDIA = ["audio", "video", "image", "landmarks"]
ALIKE = "the same but for case, leading zeros or .0"
HELP = 'see "Your own table" in data/README.md'


def from_table(path_or_frame):
    """Return an index table, as `load` does, from your own CSV file or DataFrame.

    Columns are `clip`, `emotion` and any of `audio`, `video`, `image`, `landmarks` (files; relative
    ones are relative to the CSV, or to the working folder for a DataFrame). `speaker` may be left
    out: such a table serves as a source only. `corpus` (else the CSV's name, or "own"), `gender`
    (female, male) and `statement` are optional. With `image`, the last column, rows that share a
    clip are its frames. A speaker called NA is a speaker. What looks the same is read as the same.
    One ValueError names all bad rows, counted from 1 below the header: names that differ in case or
    leading zeros alone, files under two labels, and a speaker called all are among what is refused.
    """
    if isinstance(path_or_frame, pd.DataFrame):
        table, folder, name, where = path_or_frame, Path(), "own", "the table"
    else:
        where = Path(path_or_frame)
        table, folder, name = _read(where), where.parent, where.stem
    table = table.reset_index(drop=True).astype("string").fillna("").map(str.strip)
    table.columns = [plain(str(column)) for column in table]
    media = [medium for medium in MEDIA if medium in table]
    if not media or not {"clip", "emotion"} <= {*table} or table.columns.has_duplicates:
        needed = f"columns clip, emotion and any of {', '.join(MEDIA)}, each once"
        raise ValueError(f"{where}: it needs {needed}; it has {', '.join(table)}; {HELP}")
    table = table.assign(corpus=table.get("corpus", name))
    words = table.columns.difference(media)
    table[words] = table[words].map(plain)
    paths = table[media].map(lambda cell: locate(folder, cell) if cell else "")
    sizes = paths.map(lambda path: os.path.getsize(path) if os.path.isfile(path) else 0)  # [bytes]
    cells = zip(table.to_dict("records"), sizes.to_dict("records"))
    version = digest(f"{row} {size}" for row, size in cells)

    columns = [*COLUMNS, "image"] if "image" in media else COLUMNS
    index = table.assign(**paths).reindex(columns=columns, fill_value="").astype("string")
    way_out = "Mend these rows. Who or what is the same has one spelling, others differ in more"
    refuse(_problems(index, sizes), f"{where}", f"{way_out}; {HELP}")
    index = index.replace("", pd.NA).sort_values("clip", kind="stable", ignore_index=True)
    index.attrs["version"] = f"recorded-{version}"
    return index


def locate(folder, cell):
    """Return the path of a file as the disk spells it: in either Unicode form, or a blank after."""
    forms = [unicodedata.normalize(form, cell) for form in ("NFC", "NFD")]
    names = [cell, *forms, *(f"{form} " for form in forms)]
    paths = [f"{(folder / name).absolute()}" for name in names]
    return next(filter(os.path.exists, paths), paths[0])


def _problems(index, sizes):
    """Return what is wrong with rows, each by number and clip."""
    problems, seen = [] if len(index) else ["no rows"], {}
    shared = ["emotion", "speaker"] if index["speaker"].ne("").any() else ["emotion"]
    cells = zip(index.to_dict("records"), sizes.to_dict("records"))
    for number, (row, size) in enumerate(cells, start=1):
        media = [medium for medium in size if row[medium]]
        wrong = [f"no {column}" for column in ["clip", "corpus", *shared] if not row[column]]
        wrong += [] if media else [f"no {' or '.join(size)}"]
        wrong += [
            f"{medium} {row[medium]} is missing or empty" for medium in media if not size[medium]
        ]
        if row["speaker"] == "all":
            wrong.append("speaker 'all' means everybody in result rows: give another name")
        frame = "frame", row["corpus"], row["clip"], row.get("image")
        if seen.setdefault(frame, number) < number:
            wrong.append(f"is there already, in row {seen[frame]}")
        same = {("the same clip", row["corpus"], row["clip"]): shared}
        same |= {(f"the same {medium}", row[medium]): shared for medium in media}
        for column in ["corpus", *shared]:
            same[ALIKE, column, _form(row["corpus"]), _form(row[column])] = [column]
        for key, columns in same.items() if not wrong else ():
            first, other = seen.setdefault(key, (number, row))
            wrong += [
                f"{column} is {row[column]!r}, in row {first} {other[column]!r}: {key[0]}"
                for column in columns
                if row[column] != other[column]
            ]
        problems += [f"row {number}, clip {row['clip']}: {what}" for what in wrong]
    return problems


def _form(name):
    """Return a name without what people and programs change on its way.

    >>> _form("Ann 01"), _form("1.0"), _form("10")
    ('ann 1', '1', '10')
    """
    return re.sub(r"(?<![\d.])0+(?=\d)|(?<=\d)\.0+$", "", name.casefold())


def _read(path):
    """Return the cells of a CSV file as text; its first line names the columns."""
    form = dict(dtype="string", keep_default_na=False, encoding="utf-8-sig")
    try:
        table = pd.read_csv(path, header=None, **form)  # else a nameless column becomes the index
    except ValueError as problem:  # of the decoder and of pandas, which do not name the file
        raise ValueError(f"{path}: it is no table of commas in UTF-8 ({problem}); {HELP}") from None
    return table[1:].set_axis(table.loc[0], axis=1)


def indexes(names, root=None):
    """Return the index tables of those corpora that are here, by name; a table of your own by its
    stem.

    `names` are of `CORPORA`, or paths of CSV files, relative ones below the data root. ValueError
    where a table of your own has the name of a corpus, or of another one.
    """
    tables = {}
    for name in dict.fromkeys(map(str, names)):
        path = data_root(root) / Path(name).expanduser()
        if path.suffix.lower() == ".csv" and path.is_file():
            if path.stem in tables or path.stem in CORPORA:
                raise ValueError(f"{path}: {path.stem} is the name of another corpus; rename it")
            tables[path.stem] = from_table(path)
        elif name in CORPORA and found(name, root):
            tables[name] = load(name, root)
    return tables
