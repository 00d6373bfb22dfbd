"""Facts of pathemo.cache that no test of speech states: one entry at a time, several kinds, any shape."""

import numpy as np
import pandas as pd
import pytest

from pathemo import cache

FORM = {"kind": "letters", "code": "1", "shape": (-1, 2), "dtype": np.int64}


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PATHEMO_CACHE", str(tmp_path / "cache"))


def letters(path, times=1):
    """Codes of the letters in a file, in pairs."""
    with open(path) as file:
        text = file.read()
    if not text:
        raise ValueError(f"{path}: it is empty")
    return np.reshape([ord(letter) for letter in text] * times, (-1, 2))


def refuse(*_):
    raise AssertionError("made again")


def test_arrays_of_any_length_come_back_as_they_were_made(tmp_path):
    """The number of rows may differ from file to file; the second time nothing is made."""
    (tmp_path / "a").write_text("ab")
    (tmp_path / "b").write_text("abcd")
    index = pd.DataFrame({"clip": ["x", "y", "z"], "text": [str(tmp_path / name) for name in "bab"]})
    for make in (letters, refuse):
        made = cache.arrays(index, ("text",), make, (2,), **FORM)
        assert [array.tolist() for array in made][1] == [[97, 98], [97, 98]]
        assert [len(array) for array in made] == [4, 2, 4]


def test_one_array_is_shared_with_many(tmp_path):
    """What `array` made is what it finds the next time, and what `arrays` finds."""
    path = tmp_path / "a"
    path.write_text("ab")
    for make in (letters, refuse):
        assert cache.array(path, make, (), **FORM).tolist() == [[97, 98]]
    index = pd.DataFrame({"clip": ["x"], "text": [str(path)]})
    assert cache.arrays(index, ("text",), refuse, (), **FORM)[0].tolist() == [[97, 98]]


def test_a_failed_attempt_leaves_no_entry(tmp_path):
    """A problem is raised as it is by `array`, named by `arrays`, and nothing is kept of it."""
    path = tmp_path / "empty"
    path.touch()
    with pytest.raises(ValueError, match="empty: it is empty"):
        cache.array(path, letters, (), **FORM)
    index = pd.DataFrame({"clip": ["x", "y"], "text": [str(path), None]})
    with pytest.raises(ValueError, match=r"(?s)2 recordings of 2.*y: the clip has no text.*it is empty"):
        cache.arrays(index, ("text",), letters, (), **FORM)
    assert not cache.folder().exists()
