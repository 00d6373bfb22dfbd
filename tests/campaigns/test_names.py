"""Names and own tables, whatever their letters: read as what they say, or refused by name."""

import csv
import io
import itertools
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from damage import LONG
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pathemo import corpora, synthetic
from pathemo.corpora import emodb, enterface, ravdess, reading, savee

READERS = (emodb, enterface, ravdess, savee)
by_name = pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.NAME)
many = settings(max_examples=1000 if LONG else 60, suppress_health_check=[*HealthCheck])


def named(reader):
    """Names as a corpus has them, some with letters exchanged, lengthened, or doubled by other
    scripts.
    """
    real = st.sampled_from(synthetic.FILES[reader.NAME])
    parts = st.tuples(real, st.integers(0, 60), st.text(max_size=2), st.integers(0, 3))
    changed = parts.map(lambda p: p[0][: len(p[0]) - p[1]] + p[2] + p[0][len(p[0]) - p[1] + p[3] :])
    return st.one_of(real, changed, st.from_regex(reader.PATTERN, fullmatch=True), st.text())


@by_name
def test_names(reader, tell):
    """Any text is a name of the grammar, of ASCII letters, or refused by name and grammar."""
    seen = {"rows": 0, "left out": 0, "refused": 0}

    @many
    @given(named(reader))
    def names(name):
        try:
            said = reader.read_name(name)
        except ValueError as problem:
            error, said = str(problem), ()
        if said == ():
            assert error == f"{name}: unknown file name; {reader.TITLE} names are {reader.GRAMMAR}"
            seen["refused"] += 1
            return
        if said is None:
            seen["left out"] += 1
            return
        seen["rows"] += 1
        assert all(value.isascii() and value for value in said.values())
        assert said["speaker"] in reader.SPEAKERS
        assert said["emotion"] in reader.EMOTIONS.values()
        assert reading.File(Path(name), said).key[1] in reader.MEDIA
        assert said["speaker"] in said["clip"]

    names()
    told = ", ".join(f"{count} {what}" for what, count in seen.items())
    tell(f"names of {reader.TITLE}", f"{sum(seen.values())} cases: {told}")


@by_name
def test_a_layout_of_names_comes_back_as_an_index(reader, tmp_path):
    """Files that the synthetic corpora have, written and read: the same clips with the same
    words.
    """
    for name in synthetic.FILES[reader.NAME]:
        path = tmp_path / reader.NAME / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    index = corpora.load(reader.NAME, tmp_path, complete=False).set_index("clip")
    clips = synthetic.clips(reader.NAME)
    assert set(index.index) == {clip["clip"] for clip in clips}
    for clip in clips:
        row = index.loc[clip["clip"]]
        assert (row["speaker"], row["emotion"]) == (clip["speaker"], clip["emotion"])
        for medium in reader.MEDIA:
            file = tmp_path / reader.NAME / clip.get(medium, "")
            assert pd.isna(row[medium]) if medium not in clip else row[medium] == str(file)


@by_name
@pytest.mark.parametrize("seed", range(200 if LONG else 10))
def test_no_file_is_overlooked(reader, tmp_path, seed):
    """Of a folder with empty, doubled and foreign files, each is a row or named, and nothing else
    is.
    """
    draw, folder = np.random.default_rng(seed), tmp_path / reader.NAME
    names = draw.choice(synthetic.FILES[reader.NAME], 15, replace=False).tolist()
    empty, foreign = names[:2], [names[2].replace(".", "x.", 1), names[3].replace(".", "ü.", 1)]
    doubled = [str(Path("copy") / names[4])]
    for name in [*names, *foreign, *doubled]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x" * (name not in empty))
    bad = [*empty, *foreign, *doubled][: draw.integers(6)]
    for name in {*empty, *foreign, *doubled} - {*bad}:
        (folder / name).unlink()
    good = {name for name in names if name not in empty}
    if bad:
        with pytest.raises(ValueError, match=f"problems: {len(bad)}") as error:
            corpora.load(reader.NAME, tmp_path, complete=False)
        assert all(name in str(error.value) for name in bad)
    else:
        index = corpora.load(reader.NAME, tmp_path, complete=False)
        media = index[[*reader.MEDIA]].stack().dropna()
        assert set(media) == {str(folder / name) for name in good}


# own tables

cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=8)
speakers = st.one_of(
    cells, st.sampled_from(["NA", "nan", "01", "1", "1.0", "None", "TRUE", "-", "1e5", "ü"])
)


def alike(one, other):
    """Whether two names differ, but only in case, leading zeros or a .0 that says nothing."""

    def words(name):
        name = re.sub(r"(\d)\.0+$", r"\1", name.casefold())
        numbers = re.split(r"(\d+(?:\.\d+)*)", name)
        return [part.lstrip("0") or "0" if part[:1].isdecimal() else part for part in numbers]

    return one != other and words(one) == words(other)


def expected(rows):
    """Rows as an index has them, or None where one of them is to be refused."""
    rows = [[reading.plain(cell) for cell in row] for row in rows]
    some = any(speaker for _, speaker, _ in rows)
    clips = [clip for clip, _, _ in rows]
    whole = all(clip and emotion and (speaker or not some) for clip, speaker, emotion in rows)
    whole &= not any(speaker == "all" for _, speaker, _ in rows)
    pairs = [*itertools.combinations(rows, 2)]
    whole &= not any(alike(a[1], b[1]) or alike(a[2], b[2]) for a, b in pairs)
    return sorted(rows, key=lambda row: row[0]) if whole and len({*clips}) == len(clips) else None


@many
@given(
    st.lists(st.tuples(cells, speakers, cells), min_size=1, max_size=6),
    st.sampled_from(["utf-8", "utf-8-sig"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.sampled_from(["\n", "\r\n"]),
    st.permutations(["clip", "speaker", "emotion", "audio", "note"]),
)
def test_own_tables_come_back_as_written(tmp_path, rows, encoding, quoting, newline, columns):
    """Any letters, quotes, line breaks in cells, a mark of UTF-8, columns in any order: the cells
    return, but for what nobody sees.
    """
    text = io.StringIO(newline="")
    table = csv.writer(text, quoting=quoting, lineterminator=newline)
    table.writerow(columns)
    for number, (clip, speaker, emotion) in enumerate(rows):
        (tmp_path / f"{number}.wav").write_text("x")
        row = dict(clip=clip, speaker=speaker, emotion=emotion, audio=f"{number}.wav", note="x")
        table.writerow([row[column] for column in columns])
    (tmp_path / "own.csv").write_bytes(text.getvalue().encode(encoding))
    rows = expected(rows)
    try:
        index = corpora.from_table(tmp_path / "own.csv")
    except ValueError as problem:
        error, index = str(problem), None
    if index is None:
        assert rows is None
        assert "own.csv" in error
        return
    found = (
        index[["clip", "speaker", "emotion"]].astype(object).where(pd.notna, "").to_numpy().tolist()
    )
    assert found == rows
    assert {*index["audio"]} == {str(tmp_path / f"{number}.wav") for number in range(len(rows))}


@many
@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"clip,emotion,audio\n", b"\xef\xbb\xbfclip,emotion,audio\n"]),
)
def test_any_bytes_are_an_own_table_or_refused(tmp_path, content, header):
    """Whatever the file holds, the error names it."""
    (tmp_path / "own.csv").write_bytes(header + content)
    with pytest.raises(ValueError, match=r"own\.csv"):
        corpora.from_table(tmp_path / "own.csv")


@many
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300))
def test_a_path_that_is_nothing_is_named_and_nothing_is_made(tmp_path, path):
    """Names too long, with NUL, absolute or leading upwards: read as they are, refused where no
    file is.
    """
    before = sorted(os.listdir(tmp_path))
    row = pd.DataFrame({"clip": ["a"], "emotion": ["joy"], "audio": [f"../{path}"]})
    with pytest.raises(ValueError, match="(?s)clip a: audio .* is missing or empty"):
        corpora.from_table(row)
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"clip,emotion,audio\n\xe4,joy,a.wav\n", "no table of commas in UTF-8"),
        ("clip,emotion,audio\nx,joy,a.wav\n".encode("utf-16"), "no table of commas in UTF-8"),
        (b"clip,speaker,emotion,audio\nx,A,joy,a.wav,\n", "Expected 4 fields in line 2, saw 5"),
        (
            b"clip,emotion,emotion,audio\nx,joy,fear,a.wav\n",
            "each once; it has clip, emotion, emotion",
        ),
        (b'clip,emotion,audio\nx,joy,"a.wav\n', "EOF inside string"),
        (b"", "No columns to parse"),
    ],
    ids=["latin-1", "utf-16", "a comma at the end", "a column twice", "an open quote", "empty"],
)
def test_an_own_table_that_could_be_misread_is_refused(tmp_path, text, message):
    """Other encodings, rows longer than the header, a column twice: the error has file and
    reason.
    """
    (tmp_path / "a.wav").write_text("x")
    (tmp_path / "own.csv").write_bytes(text)
    with pytest.raises(ValueError, match=rf"own\.csv: .*{message}"):
        corpora.from_table(tmp_path / "own.csv")


def test_names_of_columns_may_have_blanks(tmp_path):
    """A header "clip, speaker" has a speaker: without it the table would pass for one without
    speakers.
    """
    (tmp_path / "a.wav").write_text("x")
    (tmp_path / "own.csv").write_text("clip, speaker, emotion, audio\nx, A, joy, a.wav\n")
    assert corpora.from_table(tmp_path / "own.csv")["speaker"].tolist() == ["A"]
