"""Your own data: a table of clips becomes an index like that of any corpus."""

import os
from pathlib import Path

import pandas as pd

from .reading import COLUMNS, digest, refuse

MEDIA = ["audio", "video", "image", "landmarks"]
HELP = 'see "Your own table" in data/README.md'


def from_table(path_or_frame):
    """Index table, as `load` gives it, from your own CSV file or DataFrame.

    Columns are `clip`, `emotion` and any of `audio`, `video`, `image`, `landmarks` (files; relative
    ones are relative to the CSV, or to the working folder for a DataFrame). `speaker` may be left
    out: such a table serves as a source only. `corpus` (else the CSV's name, or "own"), `gender`
    (female, male) and `statement` are optional. With `image`, the last column, rows that share a
    clip are its frames. No word is special: a speaker called NA is a speaker. One ValueError names
    all bad rows, counted from 1 below the header."""
    if isinstance(path_or_frame, pd.DataFrame):
        table, folder, name, where = path_or_frame, Path(), "own", "the table"
    else:
        where = Path(path_or_frame)
        table, folder, name = _read(where), where.parent, where.stem
    table = table.astype("string").fillna("").apply(lambda cells: cells.str.strip())
    media = [column for column in MEDIA if column in table]
    lacking = [column for column in ("clip", "emotion") if column not in table]
    if lacking := lacking + [" or ".join(MEDIA)] * (not media):
        there = ", ".join(map(str, table))
        raise ValueError(f"{where}: no column {', '.join(lacking)}; it has {there}; {HELP}")
    if table.columns.has_duplicates:
        twice = ", ".join(map(str, table.columns[table.columns.duplicated()]))
        raise ValueError(f"{where}: more than one column {twice}; {HELP}")
    if "corpus" not in table:
        table["corpus"] = name
    named = "speaker" in table and (table["speaker"] != "").any()  # speakers: all or none
    needed = ["clip", "corpus", "emotion", *(["speaker"] if named else [])]
    firsts = table.groupby(["corpus", "clip"]).transform("first").to_dict("records")
    doubled = table.duplicated(["corpus", "clip", *table.columns.intersection(["image"])])

    problems, rows, sizes = ["no rows"] if table.empty else [], [], []
    for number, (row, first, again) in enumerate(
        zip(table.to_dict("records"), firsts, doubled), start=1
    ):
        files = {column: (folder / row[column]).absolute() for column in media if row[column]}
        size = {
            column: path.stat().st_size if os.path.isfile(path) else 0
            for column, path in files.items()
        }
        bad = [f"no {column}" for column in needed if not row[column]]
        bad += [
            f"{column} {path} is missing or empty"
            for column, path in files.items()
            if not size[column]
        ]
        bad += ["names no file"] * (not files) + ["is there already"] * again
        if row.get("gender", "") not in ("", "female", "male"):
            bad.append(f"gender is {row['gender']!r}, not female or male")
        bad += [
            f"{column} is {row[column]!r}, in the clip's first row {first[column]!r}"
            for column in ("speaker", "emotion")
            if row.get(column) != first.get(column)
        ]
        problems += [f"row {number}, clip {row['clip']}: {what}" for what in bad]
        sizes.append(f"{row} {size}")
        rows.append(row | {column: str(path) for column, path in files.items()})
    refuse(problems, str(where), f"Mend these rows; {HELP}")

    columns = [*COLUMNS, "image"] if "image" in media else COLUMNS
    index = pd.DataFrame(rows).reindex(columns=columns).astype("string").replace("", pd.NA)
    index = index.sort_values("clip", kind="stable", ignore_index=True)
    index.attrs["version"] = f"recorded-{digest(sizes)}"
    return index


def _read(path):
    """Cells of a CSV file as text; its first line names the columns."""
    try:
        # The first line is read like the others, else pandas makes an index of a cell that has no
        # name.
        table = pd.read_csv(
            path, header=None, dtype="string", keep_default_na=False, encoding="utf-8-sig"
        )
    except ValueError as problem:  # of the decoder and of pandas, which do not name the file
        raise ValueError(f"{path}: it is no table of commas in UTF-8 ({problem}); {HELP}") from None
    return table[1:].set_axis(table.loc[0].fillna("").str.strip().tolist(), axis=1)
