"""Damaged files, by hundreds: an error that names the file, or the right answer.

What no reader can tell is held against an independent reading of the same bytes: samples of a WAV
and cells of a CSV have no checksum. Film and compressed sound may lose quality, never form."""

import csv
import gzip
import io
import os
import re
import zipfile

import nbformat
import numpy as np
import pytest
import readers
import soundfile
import yaml
from damage import Tally, cases
from filelock import FileLock
from nbformat.v4 import new_code_cell, new_notebook

SOUNDS = {
    "wav": ("emodb", "*.wav"),
    "flac": ("emodb", "*.wav"),
    "avi": ("savee", "*.avi"),
    "mp4": ("ravdess", "*.mp4"),
}


@pytest.fixture
def files(synthetic_root, tmp_path):
    """Function that gives two good files of a format."""

    def files(ending):
        corpus, pattern = SOUNDS.get(ending, ("ravdess", "*.csv.gz"))
        paths = sorted((synthetic_root / corpus).rglob(pattern))[:2]
        if ending == "flac":
            for number, path in enumerate(paths):
                paths[number] = tmp_path / f"good{number}.flac"
                soundfile.write(paths[number], *soundfile.read(path, dtype="int16"))
        if ending == "csv":
            for number, path in enumerate(paths):
                paths[number] = tmp_path / f"good{number}.csv"
                paths[number].write_bytes(gzip.decompress(path.read_bytes()))
        return paths

    return files


def campaign(worker, read, paths, place, short, long, right):
    """Outcomes of damaged copies of the first file, each put to `place`; `right(answer, good,
    content)`.
    """
    good = [worker(read, path)[1] for path in paths]
    tally, (first, other) = Tally(), (path.read_bytes() for path in paths)
    for seed, kind, content in cases(first, other, short, long):
        place.write_bytes(content)
        outcome = worker(read, place)
        tally.add(
            (seed, kind),
            outcome,
            named=place.name,
            right=lambda answer, b=content: right(answer, good, b),
        )
    return tally


def samples(content):
    """Digest of the samples of a WAV of one channel, 16 bits and 16 kHz, whose header is 44
    bytes, its last four the size of what counts: nothing where it was never closed.
    """
    size = int.from_bytes(content[40:44], "little") or len(content)
    samples = content[44 : 44 + size]
    y = np.frombuffer(samples, "<i2", len(samples) // 2).astype(np.float32) / 2**15
    return len(y), True, readers.digest(y)


def test_wav(worker, files, tmp_path, tell):
    """The samples are those that the bytes say; every other length or format is refused."""
    tally = campaign(
        worker,
        readers.sound,
        files("wav"),
        tmp_path / "case.wav",
        60,
        2000,
        lambda answer, good, content: answer in good or answer == samples(content),
    )
    tell("WAV, sound", tally)
    assert not tally.wrong


def test_flac(worker, files, tmp_path, tell):
    """The samples are right or the file is refused: it has checksums."""
    tally = campaign(
        worker,
        readers.sound,
        files("flac"),
        tmp_path / "case.flac",
        60,
        2000,
        lambda answer, good, _: answer in good,
    )
    tell("FLAC, sound", tally)
    assert not tally.wrong


@pytest.mark.parametrize("ending", ["avi", "mp4"])
def test_sound_of_video(worker, files, tmp_path, tell, ending):
    """Finite samples, as many as one of the two films has, to a tenth of a second."""

    def right(answer, good, _):
        lengths = [length for length, *_ in good]
        tenth = 1600  # of a second [samples]
        return answer[1] and min(lengths) - tenth <= answer[0] <= max(lengths) + tenth

    paths, place = files(ending), tmp_path / f"case.{ending}"
    tally = campaign(worker, readers.sound, paths, place, 40, 1000, right)
    tell(f"{ending.upper()}, sound", tally)
    assert not tally.wrong


@pytest.mark.parametrize("ending", ["avi", "mp4"])
def test_film(worker, files, tmp_path, tell, ending):
    """One to five frames of the form of the good ones, six where it lasts a little longer than it
    says.
    """

    def right(answer, good, _):
        return 1 <= len(answer) <= 6 and {*answer} <= {*good[0], *good[1]}

    paths, place = files(ending), tmp_path / f"case.{ending}"
    tally = campaign(worker, readers.film, paths, place, 40, 1000, right)
    tell(f"{ending.upper()}, film", tally)
    assert not tally.wrong


def points_of(content):
    """Points of each whole row of a table of landmarks, as Python's own csv reads it.

    What is no letter in the name of a column does not count.
    """
    text = io.StringIO(content.decode("utf-8", "replace"), newline="")
    table = csv.DictReader(text, skipinitialspace=True)
    table.fieldnames = [re.sub(r"\W", "", name) for name in table.fieldnames or ()]
    points = []
    for row in table:
        try:
            points.append(
                [[float(row[f"{axis}_{number}"]) for axis in "xy"] for number in range(68)]
            )
        except (KeyError, TypeError, ValueError):
            continue
    return points


@pytest.mark.parametrize("ending", ["csv", "csv.gz"])
def test_landmarks(worker, files, tmp_path, tell, ending):
    """Each frame is a row of the table; a packed one has a checksum, and is right or refused."""

    def right(answer, good, content):
        n_frames, finite, digest, points = answer
        if ending == "csv.gz":
            return answer in good
        rows = [np.round(row, 6).tolist() for row in points_of(content)]
        return finite and all(frame in rows for frame in points)

    paths, place = files(ending), tmp_path / f"case.{ending}"
    tally = campaign(worker, readers.landmarks, paths, place, 60, 1500, right)
    tell(f"landmarks {ending}", tally)
    assert not tally.wrong


def rows_of(content, folder):
    """Rows of an own table, as Python's own csv reads them, blanks aside, sorted by clip."""
    lines = [
        cells for cells in csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")) if cells
    ]
    header, *rows = [[" ".join(cell.split()) for cell in cells] for cells in lines if any(cells)]
    rows = [dict(zip(header, cells)) for cells in rows]
    for row in rows:
        row["audio"] = os.path.join(folder, row.get("audio", "")) if row.get("audio") else ""
    columns = ("clip", "speaker", "emotion", "audio")
    return sorted(([row.get(name, "") for name in columns] for row in rows), key=lambda row: row[0])


def test_own_table(worker, tmp_path, tell):
    """The rows are those that Python's own csv reads from the same bytes."""
    paths = [tmp_path / "one.csv", tmp_path / "other.csv"]
    for number, path in enumerate(paths):
        lines = ["clip,speaker,emotion,audio"]
        for clip in range(12):
            (tmp_path / f"{number}{clip}.wav").write_text("x")
            lines.append(
                f'clip {clip},"{clip % 3 + 1:02d}",{["joy", "fear"][clip % 2]},{number}{clip}.wav'
            )
        path.write_text("\n".join(lines) + "\n")
    tally = campaign(
        worker,
        readers.own_table,
        paths,
        tmp_path / "case.csv",
        60,
        1500,
        lambda answer, _, content: answer == rows_of(content, tmp_path),
    )
    tell("own table", tally)
    assert not tally.wrong


def test_kept_arrays(worker, tmp_path, tell):
    """A damaged array of the cache is computed anew: a checksum finds every flipped bit.

    An archive is read from its end: what has another's whole end may be that one.
    """
    entries = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "text").write_text(4 * f"{name:>8}")
        entries.append(tmp_path / name / "entry.npz")
        worker(readers.kept, entries[-1])
    end = entries[1].read_bytes()[-100:]

    def right(answer, good, content):
        return answer in (good if content.endswith(end) else good[:1])

    tally = campaign(worker, readers.kept, entries, entries[0], 40, 1000, right)
    tell("kept arrays", tally)
    assert not tally.wrong and tally["right answers"] == tally.total()


def test_list_of_a_synthetic_corpus(worker, synthetic_root, tmp_path, tell):
    """The list is damaged and says so, or names files as EMO-DB has them."""
    source = synthetic_root / "emodb" / "SYNTHETIC.txt"
    paths = [tmp_path / "SYNTHETIC.txt", tmp_path / "other"]
    for path in paths:
        path.write_bytes(source.read_bytes()[:1000])
    from pathemo.corpora import emodb

    tally = campaign(
        worker,
        readers.synthetic_list,
        [source, source],
        paths[0],
        40,
        1000,
        lambda answer, *_: all(emodb.read_name(name) for name in answer),
    )
    tell("SYNTHETIC.txt", tally)
    assert not tally.wrong


def test_profiles(worker, tmp_path, tell):
    """A profile is as YAML reads it, or its error names it; none is run, for another run is at
    work.
    """
    one = "data: synthetic\nthreads: 1\nnotebooks: {01_one: {seed: 3}, 02_two: {}}\n"
    paths = [tmp_path / "reports" / f"{name}.yaml" for name in ("small", "other")]
    for folder in ("reports/small", "notebooks"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "environment.yml").write_text("name: pathemo\n")
    for path, text in zip(paths, (one, "data: recorded\nnotebooks: {02_two: {seed: 1}}\n")):
        path.write_text(text)
    for name in ("01_one", "02_two"):
        cells = [new_code_cell("seed = 0", metadata={"tags": ["parameters"]})]
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        notebook = new_notebook(cells=cells, metadata={"kernelspec": kernel})
        nbformat.write(notebook, tmp_path / "notebooks" / f"{name}.ipynb")

    def right(answer, _, content):
        return answer == "another run is at work" and isinstance(yaml.safe_load(content), dict)

    with FileLock(tmp_path / "reports" / "small" / ".lock"):
        tally = campaign(worker, readers.profile, paths, paths[0], 12, 150, right)
    tell("profiles", tally)
    assert not tally.wrong


def test_archives(worker, tmp_path, tell):
    """A damaged archive gives all of its files as they were, or an error; nothing lies beside."""
    contents, tally = [], Tally()
    for compression in (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED):
        members = {f"DC/a0{k}.wav": os.urandom(9) * 40 + bytes([k]) for k in range(1, 6)}
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w", compression) as file:
            for name, data in members.items():
                file.writestr(name, data)
        contents.append((content.getvalue(), members))
    (first, members), (other, others) = contents
    (tmp_path / "savee.txt").write_text("".join(f"{name} sha256:0 1\n" for name in members))
    for seed, kind, content in cases(first, other, 60, 2000):
        folder = tmp_path / f"{seed}" / "savee"
        folder.mkdir(parents=True)
        (folder / "Audio.zip").write_bytes(content)
        outcome = worker(readers.archive, folder / "Audio.zip")
        tally.add(
            (seed, kind),
            outcome,
            named="Audio.zip" if "Audio.zip" in outcome[-1] else str(folder),
            right=lambda found: found in (members, others),
        )
    tell("archives", tally)
    assert not tally.wrong
