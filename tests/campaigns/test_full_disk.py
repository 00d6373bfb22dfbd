"""A disk that is full after so many bytes: the error names the file, nothing half-written is
read.
"""

import numpy as np
import pytest
import readers
import scenes
from damage import LONG, Tally

N_CASES = 200 if LONG else 12


def limits(n_bytes):
    """Sizes at which the disk is full: none, nearly all, and others between."""
    return [0, n_bytes - 1, *np.random.default_rng(0).integers(n_bytes, size=N_CASES).tolist()]


def test_cache(worker, tmp_path, tell):
    """No entry is there; with room again the array is right."""
    (tmp_path / "text").write_text("abcd" * 500)
    good, tally = readers.digest(readers.letters(tmp_path / "text")), Tally()
    for limit in limits(2000):
        outcome = worker(scenes.array_on_a_full_disk, tmp_path / "entry.npz", limit)
        tally.add(limit, outcome, named="entry.npz", right=lambda _: False)
        assert [path.name for path in tmp_path.iterdir()] == ["text"]
    tell("full disk, kept arrays", tally)
    assert not tally.wrong
    assert worker(readers.kept, tmp_path / "entry.npz") == ("read", good)


@pytest.mark.parametrize("name", ["rows.csv.gz", "index.html"])
def test_report(worker, tmp_path, tell, name):
    """The error names the file, and the former one stays."""
    (tmp_path / name).write_text("former")
    errors = 0
    for limit in limits(15_000):
        outcome = worker(scenes.text_on_a_full_disk, tmp_path / name, limit)
        assert outcome[0] == "error" and name in str(outcome), outcome
        assert [path.name for path in tmp_path.iterdir()] == [name]
        assert (tmp_path / name).read_text() == "former"
        errors += 1
    tell(f"full disk, {name}", f"{errors} cases: {errors} errors")


def test_fetch(worker, tmp_path, tell):
    """Nothing bears the corpus's name; with room again it comes whole."""
    tally = Tally()
    for limit in limits(40_000):  # the archive has 18,000 bytes, its greatest member has 40,000
        folder = tmp_path / f"{limit}"
        if limit < 2000:  # the list of files is written on the same disk
            continue
        tally.add(
            limit,
            worker(scenes.fetch_on_a_full_disk, folder, limit),
            named=str(folder),
            right=lambda _: False,
        )
        assert not [
            path
            for path in (folder / "data").rglob("*")
            if path.suffix != ".lock" and path.is_file()
        ]
        kept = {path.name for path in (folder / "cache").rglob("*") if path.is_file()}
        assert kept <= {"emodb.txt", "emodb-download.zip"}  # what came whole need not come again
        assert worker(scenes.fetch_on_a_full_disk, folder, 50_000) == ("read", True)
    tell("full disk, downloads", tally)
    assert not tally.wrong
