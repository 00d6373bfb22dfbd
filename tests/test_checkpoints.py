"""Files of networks and runs: whole, versioned, and data only."""

import os
import pickle
import zipfile

import pytest
import torch

from pathemo import checkpoints

STATE = {
    "weights": [torch.arange(6.0)],
    "names": {"task": torch.ones(2, 3)},
    "stream": {"state": 2**120 + 7},
}


def test_what_is_written_is_read(tmp_path):
    """Tensors to the bit, dicts, texts, and integers of any size."""
    checkpoints.write(tmp_path / "run", "a thing", STATE)
    found = checkpoints.read(tmp_path / "run", "a thing")
    assert (found["weights"][0] == STATE["weights"][0]).all() and found["stream"] == STATE["stream"]
    assert [file.name for file in tmp_path.iterdir()] == ["run"]


def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch):
    """When the disk gives up half-way, the former file is untouched."""
    checkpoints.write(tmp_path / "run", "a thing", STATE)

    def half(state, file):
        file.write(b"half of it")
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(OSError, match="no space"):
        checkpoints.write(tmp_path / "run", "a thing", {})
    assert checkpoints.read(tmp_path / "run", "a thing")["stream"] == STATE["stream"]


class Trap:
    """An object that makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def files(folder):
    """Files that are no checkpoints, by what they are."""
    checkpoints.write(folder / "whole", "a thing", STATE)
    whole = (folder / "whole").read_bytes()
    (folder / "cut").write_bytes(whole[: len(whole) // 2])
    (folder / "empty").write_bytes(b"")
    (folder / "text").write_text("not a checkpoint")
    (folder / "pickle").write_bytes(pickle.dumps(Trap(str(folder / "executed"))))
    torch.save(
        {"pathemo": "a thing", "version": 1, "state": Trap(str(folder / "executed"))},
        folder / "trap",
    )
    with zipfile.ZipFile(folder / "zip", "w") as archive:
        archive.writestr("a", "b")
    return ["cut", "empty", "text", "pickle", "trap", "zip"]


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_damaged_and_foreign_files_are_refused_by_name(tmp_path):
    """The error names the file and the way out, and no code of the file runs."""
    for name in files(tmp_path):
        with pytest.raises(ValueError, match=f"{name} is damaged or of another program.*remove it"):
            checkpoints.read(tmp_path / name, "a thing")
    assert not (tmp_path / "executed").exists()


def test_other_kinds_and_versions_are_refused_by_name(tmp_path, monkeypatch):
    """A file of torch, one of another kind, one of a later version, and one that is not there."""
    torch.save({"weights": torch.ones(2)}, tmp_path / "torch")
    with pytest.raises(ValueError, match="torch holds something else, not a thing"):
        checkpoints.read(tmp_path / "torch", "a thing")
    checkpoints.write(tmp_path / "other", "another thing", STATE)
    with pytest.raises(ValueError, match="other holds another thing, not a thing"):
        checkpoints.read(tmp_path / "other", "a thing")
    monkeypatch.setattr(checkpoints, "VERSION", checkpoints.VERSION + 1)
    with pytest.raises(ValueError, match="other has format version 1, this pathemo reads 2"):
        checkpoints.read(tmp_path / "other", "another thing")
    with pytest.raises(FileNotFoundError):
        checkpoints.read(tmp_path / "absent", "a thing")
