"""Your own data: a table of clips becomes an index like that of any corpus."""

import os
from pathlib import Path

import pandas as pd

from .reading import COLUMNS, digest, refuse

MEDIA = ["audio", "video", "image", "landmarks"]
HELP = 'see "Your own table" in data/README.md'


def from_table(path_or_frame):
    """Return an index table, as `load` does, from your own CSV file or DataFrame.

    Columns are `clip`, `emotion` and any of `audio`, `video`, `image`, `landmarks` (files; relative
    ones are relative to the CSV, or to the working folder for a DataFrame). `speaker` may be left
    out: such a table serves as a source only. `corpus` (else the CSV's name, or "own"), `gender`
    (female, male) and `statement` are optional. With `image`, the last column, rows that share a
    clip are its frames. No word is special: a speaker called NA is a speaker. One ValueError names
    all bad rows, counted from 1 below the header.
    """
    if isinstance(path_or_frame, pd.DataFrame):
        table, folder, name, where = path_or_frame, Path(), "own", "the table"
    else:
        where = Path(path_or_frame)
        table, folder, name = _read(where), where.parent, where.stem
    table = table.reset_index(drop=True).astype("string").fillna("")
    table = table.apply(lambda cells: cells.str.strip())
    media = [medium for medium in MEDIA if medium in table]
    if not media or not {"clip", "emotion"} <= {*table} or table.columns.has_duplicates:
        needed = f"columns clip, emotion and any of {', '.join(MEDIA)}, each once"
        there = ", ".join(map(str, table))
        raise ValueError(f"{where}: it needs {needed}; it has {there}; {HELP}")
    if "corpus" not in table:
        table["corpus"] = name
    paths = table[media].map(lambda cell: str((folder / cell).absolute()) if cell else "")
    sizes = paths.map(lambda path: os.path.getsize(path) if os.path.isfile(path) else 0)  # [bytes]
    cells = zip(table.to_dict("records"), sizes.to_dict("records"))
    version = digest(f"{row} {size}" for row, size in cells)

    columns = [*COLUMNS, "image"] if "image" in media else COLUMNS
    index = table.assign(**paths).reindex(columns=columns, fill_value="").astype("string")
    refuse(_problems(index, sizes), str(where), f"Mend these rows; {HELP}")
    index = index.replace("", pd.NA).sort_values("clip", kind="stable", ignore_index=True)
    index.attrs["version"] = f"recorded-{version}"
    return index


def _problems(index, sizes):
    """Return what is wrong with rows, each by number and clip."""
    file = " or ".join(sizes)  # a row needs one of them
    cells = index.assign(**{file: index[[*sizes]].max(axis=1)})
    first = index.groupby(["corpus", "clip"]).transform("first")
    shared = ["emotion", "speaker"] if index["speaker"].ne("").any() else ["emotion"]
    frame = index.columns.intersection(["corpus", "clip", "image"])
    checks = {
        "no {0}": cells[["clip", "corpus", file, *shared]].eq(""),
        "{0} {1} is missing or empty": index[[*sizes]].ne("") & sizes.eq(0),
        "{0} is {1!r}, in the clip's first row another": index[shared].ne(first[shared]),
        "is there already": index.duplicated(frame).to_frame("clip"),
    }
    problems = [] if len(index) else ["no rows"]
    for words, bad in checks.items():
        for number, column in bad.stack().loc[lambda wrong: wrong].index:
            what = words.format(column, cells.at[number, column])
            problems.append(f"row {number + 1}, clip {index.at[number, 'clip']}: {what}")
    return problems


def _read(path):
    """Return the cells of a CSV file as text; its first line names the columns."""
    form = dict(dtype="string", keep_default_na=False, encoding="utf-8-sig")
    try:
        table = pd.read_csv(path, header=None, **form)  # else a nameless column becomes the index
    except ValueError as problem:  # of the decoder and of pandas, which do not name the file
        raise ValueError(f"{path}: it is no table of commas in UTF-8 ({problem}); {HELP}") from None
    return table[1:].set_axis(table.loc[0].fillna("").str.strip().tolist(), axis=1)
