"""Facts of pathemo.cache that no test of speech states: any shape, and processes."""

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
    index = pd.DataFrame(
        {"clip": ["x", "y", "z"], "text": [str(tmp_path / name) for name in "bab"]}
    )
    for make in (letters, refuse):
        made = cache.arrays(index, ("text",), make, (2,), **FORM)
        assert [array.tolist() for array in made][1] == [[97, 98], [97, 98]]
        assert [len(array) for array in made] == [4, 2, 4]


def test_what_is_given_follows_the_recording_and_is_no_part_of_the_name(tmp_path):
    """Each row's last argument goes with its file; with another one the entry is found all the
    same.
    """
    (tmp_path / "a").write_text("ab")
    (tmp_path / "b").write_text("cd")
    index = pd.DataFrame({"clip": ["x", "y"], "text": [str(tmp_path / "a"), str(tmp_path / "b")]})
    made = cache.arrays(index, ("text",), letters, (), given=[1, 2], **FORM)
    assert [len(array) for array in made] == [1, 2]
    assert (
        cache.arrays(index, ("text",), refuse, (), given=[3, 4], **FORM)[1].tolist()
        == made[1].tolist()
    )


def test_processes_write_into_the_folder_of_the_caller(tmp_path, monkeypatch):
    """Processes that were started while PATHEMO_CACHE was another keep nothing in that one."""
    index = pd.DataFrame(
        {"clip": list("abcd"), "text": [str(tmp_path / letter) for letter in "abcd"]}
    )
    for letter in "abcd":
        (tmp_path / letter).write_text(2 * letter)
    for name in ("one", "two"):
        monkeypatch.setenv("PATHEMO_CACHE", str(tmp_path / name))
        cache.arrays(index, ("text",), letters, (), n_jobs=2, few=2, **FORM)
        assert len(list((tmp_path / name / "letters").iterdir())) == 4


def test_a_failed_attempt_leaves_no_entry(tmp_path):
    """A problem is named, and nothing is kept of it."""
    path = tmp_path / "empty"
    path.touch()
    index = pd.DataFrame({"clip": ["x", "y"], "text": [str(path), None]})
    with pytest.raises(
        ValueError, match=r"(?s)2 recordings of 2.*y: the clip has no text.*it is empty"
    ):
        cache.arrays(index, ("text",), letters, (), **FORM)
    assert not cache.folder().exists()
