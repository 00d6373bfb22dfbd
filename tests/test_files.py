"""Facts of pathemo.files: folders, atomic writes, errors of readers, arrays kept on disk."""

import errno
import gzip
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pooch
import pytest

from pathemo import files, synthetic


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PATHEMO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


# --- folders


def test_the_project_is_the_nearest_folder_with_its_environment(tmp_path, monkeypatch):
    """Upwards from where one stands; None outside, and in another project; corpora are in its
    data/, or in ./data.
    """
    (tmp_path / "house" / "room").mkdir(parents=True)
    (tmp_path / "house" / "room" / "environment.yml").write_text("name: another\n")
    monkeypatch.chdir(tmp_path / "house" / "room")
    monkeypatch.delenv("PATHEMO_DATA", raising=False)
    assert files.project() is None
    assert files.data_root() == tmp_path / "house" / "room" / "data"
    (tmp_path / "house" / "environment.yml").write_text("# ours\nname: pathemo\n")
    assert files.project() == tmp_path / "house"
    assert files.data_root() == tmp_path / "house" / "data"


def test_the_data_root_is_the_argument_or_else_the_variable(tmp_path, monkeypatch):
    """Both understand ~, and a relative one is from where one stands."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("PATHEMO_DATA", "~/corpora")
    monkeypatch.chdir(tmp_path)
    assert files.data_root() == tmp_path / "corpora"
    assert files.data_root("~/other") == tmp_path / "other"
    assert files.data_root("here") == tmp_path / "here"


def test_the_cache_is_the_variable_or_else_the_users_own(tmp_path, monkeypatch):
    """PATHEMO_CACHE understands ~."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("PATHEMO_CACHE", "~/kept")
    assert files.cache_folder() == tmp_path / "kept"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATHEMO_CACHE", "here")
    assert files.cache_folder() == tmp_path / "here"
    monkeypatch.delenv("PATHEMO_CACHE")
    assert files.cache_folder() == Path(pooch.os_cache("pathemo")).expanduser()


def test_files_behind_links_are_below_a_folder(tmp_path):
    """A link to a folder or a file counts as what it leads to, twice where it is twice; one that
    leads back ends there, alone and in pairs; hidden ones and broken ones are left out.
    """
    root, disk = tmp_path / "root", tmp_path / "disk"
    for name in ("a/1.wav", "a/.hidden/2.wav", "a/.3.wav"):
        (disk / name).parent.mkdir(parents=True, exist_ok=True)
        (disk / name).write_text("sound")
    (root / "b").mkdir(parents=True)
    for link, target in {
        "b/c": disk,
        "b/d": disk / "a",
        "b/file.wav": disk / "a" / "1.wav",
        "b/up": root,
        "b/broken": tmp_path / "nowhere",
    }.items():
        (root / link).symlink_to(target)
    (disk / "a" / "back").symlink_to(root)
    found = [path.relative_to(root).as_posix() for path in files.walk(root)]
    assert found == ["b/c/a/1.wav", "b/d/1.wav", "b/file.wav"]
    assert list(files.walk(tmp_path / "nowhere")) == []


# --- writing


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_gets_its_name_when_all_of_it_is_there(tmp_path):
    """Until then what had the name stays; afterwards nothing else is there. Folders are made."""
    path = tmp_path / "new" / "file"
    with files.atomic_write(path) as file:
        file.write(b"first")
    with files.atomic_write(path) as file:
        file.write(b"second")
        file.flush()
        assert path.read_bytes() == b"first"
    assert path.read_bytes() == b"second"
    assert names(path.parent) == ["file"]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyError(1)])
def test_a_failed_write_leaves_what_was_there_and_nothing_else(tmp_path, error):
    """Whatever fails half-way; an OSError names the file."""
    files.write_text(tmp_path / "file", "before")

    def fail():
        with files.atomic_write(tmp_path / "file") as file:
            file.write(b"half of it")
            raise error

    with pytest.raises(type(error)) as raised:
        fail()
    assert names(tmp_path) == ["file"]
    assert (tmp_path / "file").read_text() == "before"
    if isinstance(error, OSError):
        text = f"could not be written: No space left on device: '{tmp_path / 'file'}'"
        assert text in str(raised.value) and raised.value.errno == errno.ENOSPC


def test_a_folder_that_cannot_be_made_is_an_error_that_names_the_file(tmp_path):
    """Where a file has the folder's name."""
    (tmp_path / "folder").touch()
    with pytest.raises(OSError, match=r"could not be written: .*folder/file"):
        files.write_text(tmp_path / "folder" / "file", "text")
    assert names(tmp_path) == ["folder"]


def test_a_cache_that_cannot_be_written_names_its_variable(cache):
    """PATHEMO_CACHE, beside the file."""
    cache.touch()
    with pytest.raises(OSError, match=r"could not be written: .*PATHEMO_CACHE .*cache/a.npz"):
        files.keep(cache / "a.npz", np.zeros(3))
    with pytest.raises(OSError, match=r"could not be written: .*PATHEMO_CACHE .*cache/emodb"):
        synthetic.write("emodb", cache)


def test_a_text_is_packed_by_its_name_and_the_same_every_time(tmp_path):
    """Names that end in .gz; the bytes hold no time."""
    for name in ("a.csv", "a.csv.gz", "b.csv.gz"):
        files.write_text(tmp_path / name, "über\n")
    assert (tmp_path / "a.csv").read_bytes() == "über\n".encode()
    assert gzip.decompress((tmp_path / "a.csv.gz").read_bytes()) == "über\n".encode()
    assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()


# --- reading


class Fault(Exception):
    """What a library raises."""


@pytest.mark.parametrize(
    "error, reason",
    [
        (ValueError("it is silent"), "it is silent"),
        (Fault("no header"), r"it is damaged or no recording \(no header\)"),
        (
            OSError(errno.EIO, "Input/output error"),
            r"it is damaged or no recording \(Input/output error\)",
        ),
    ],
)
def test_what_a_reader_raises_names_the_file_and_the_way_out(tmp_path, error, reason):
    """A ValueError says what is wrong, the errors of libraries that it is damaged."""
    path = tmp_path / "file"
    path.write_text("text")
    with pytest.raises(ValueError, match=f"^{path}: {reason}. Copy .*data/README.md"):
        with files.reading(path, "recording", Fault):
            raise error


def test_missing_and_empty_files_are_refused_before_they_are_read(tmp_path):
    """The first is a FileNotFoundError."""
    with pytest.raises(FileNotFoundError, match="gone: no such recording. Copy"):
        with files.reading(tmp_path / "gone", "recording"):
            raise AssertionError("read")
    (tmp_path / "empty").touch()
    with pytest.raises(ValueError, match=r"empty: it is empty \(0 bytes\). Copy"):
        with files.reading(tmp_path / "empty", "recording"):
            raise AssertionError("read")


def test_other_errors_pass(tmp_path):
    """They are faults of ours."""
    (tmp_path / "file").write_text("text")
    with pytest.raises(ZeroDivisionError), files.reading(tmp_path / "file", "recording", Fault):
        _ = 1 / 0


# --- the digest of code


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with the room engine/ and the module splits.py; digests are computed anew."""
    (tmp_path / "package" / "engine" / "inner").mkdir(parents=True)
    for name in ("engine/layers.py", "engine/inner/more.py", "splits.py", "report.py"):
        (tmp_path / "package" / name).write_text(f"NAME = {name!r}")
    monkeypatch.setattr(files, "PACKAGE", tmp_path / "package")
    digest = files.code_digest.__wrapped__
    monkeypatch.setattr(files, "code_digest", digest)
    return tmp_path / "package"


def test_the_digest_covers_the_whole_folder(package):
    """A module that is new, changed, renamed or gone, however deep, changes it; others do not."""
    digests = [files.code_digest("engine", "splits.py")]
    for change in (
        lambda: (package / "engine" / "new.py").write_text("NAME = 'new'"),
        lambda: (package / "engine" / "inner" / "more.py").write_text("NAME = 0"),
        lambda: (package / "engine" / "new.py").rename(package / "engine" / "newer.py"),
        lambda: (package / "engine" / "layers.py").unlink(),
        lambda: (package / "splits.py").write_text("NAME = 1"),
    ):
        change()
        digests.append(files.code_digest("engine", "splits.py"))
    assert len(set(digests)) == len(digests)
    (package / "report.py").write_text("NAME = 2")
    (package / "engine" / "layers.pyc").write_text("compiled")
    assert files.code_digest("engine", "splits.py") == digests[-1]


def test_the_digest_is_of_what_code_does(package):
    """Comments, docstrings and layout are no part of it; each statement, name and number is."""
    texts = [
        "def one(a):\n    return a + 1\n",
        '"""Module."""\n\ndef one(a):\n    """Return more."""\n    return a+1  # one more\n',
        "def one(a):\n    'b'\n    'c'\n    return a + 1\n",
        "def one(a):\n    return a + 2\n",
        "def two(a):\n    return a + 1\n",
        "def one(a=0):\n    return a + 1\n",
        "def one(a):\n    a = 'b'\n    return a + 1\n",
    ]
    digests = []
    for text in texts:
        (package / "splits.py").write_text(text)
        digests.append(files.code_digest("splits.py"))
    assert digests[0] == digests[1] == digests[2]
    assert len(set(digests)) == len(texts) - 2


def test_the_digest_is_once_computed_in_a_process():
    """All the rooms of the package have one, each another."""
    rooms = [path.name for path in files.PACKAGE.iterdir() if (path / "__init__.py").is_file()]
    assert {"speech", "faces"} <= set(rooms)
    assert len({files.code_digest(room) for room in rooms}) == len(rooms)
    assert files.code_digest("speech") is files.code_digest("speech")


# --- arrays that are kept


@pytest.mark.parametrize(
    "array",
    [np.arange(12.0).reshape(3, 4), np.zeros((0, 5), np.uint8), np.array(7), np.array(["a", "bc"])],
)
def test_what_is_kept_is_recalled(tmp_path, array):
    """Any shape and type, to the bit; None before."""
    assert files.recall(tmp_path / "a.npz") is None
    assert files.keep(tmp_path / "a.npz", array) is array
    kept = files.recall(tmp_path / "a.npz")
    assert kept.dtype == array.dtype and kept.shape == array.shape
    np.testing.assert_array_equal(kept, array)


def test_a_flipped_bit_is_found_or_harmless(tmp_path):
    """Anywhere in the file: the array is the right one, or none. So is a cut file's."""
    path, array = tmp_path / "a.npz", np.random.default_rng(0).normal(size=(1234, 5))
    files.keep(path, array)
    content = path.read_bytes()
    n_bytes = len(content)
    for place in (*range(200), *range(200, n_bytes - 120, 997), *range(n_bytes - 120, n_bytes)):
        for bit in range(8):
            damaged = bytearray(content)
            damaged[place] ^= 1 << bit
            path.write_bytes(damaged)
            kept = files.recall(path)
            assert kept is None or np.array_equal(kept, array), (place, bit)
    for end in range(0, n_bytes, n_bytes // 50):
        path.write_bytes(content[:end])
        assert files.recall(path) is None


def test_what_a_pickle_would_run_is_not_run(tmp_path):
    """An array of objects is none."""
    np.savez(tmp_path / "a.npz", array=np.array([{"a": 1}], object))
    assert files.recall(tmp_path / "a.npz") is None


def test_an_array_is_computed_once(tmp_path):
    """The second time it is read; a damaged one is computed again."""
    path, calls = tmp_path / "kept" / "a.npz", []

    def compute(*numbers):
        calls.append(numbers)
        return list(numbers)

    for _ in range(2):
        assert files.load_or_compute(path, compute, 1, 2).tolist() == [1, 2]
    path.write_bytes(path.read_bytes()[:-9])
    assert files.load_or_compute(path, compute, 1, 2).tolist() == [1, 2]
    assert files.recall(path).tolist() == [1, 2]
    assert calls == [(1, 2), (1, 2)]


# --- an array a recording


def letters(path, times=1):
    """Codes of the letters in a file, in pairs."""
    text = Path(path).read_text()
    if not text:
        raise ValueError(f"{path}: it is empty")
    return np.reshape([ord(letter) for letter in text] * times, (-1, 2))


def refuse(*_):
    raise AssertionError("computed again")


refuse.__qualname__ = letters.__qualname__  # part of the entries' names


def index_of(folder, **texts):
    """Index of files with these texts, one a clip."""
    for name, text in texts.items():
        (folder / name).write_text(text)
    return pd.DataFrame({"clip": list(texts), "text": [str(folder / name) for name in texts]})


def test_arrays_of_any_length_come_in_the_order_of_the_index(tmp_path):
    """A row twice, too; the second time nothing is computed."""
    index = index_of(tmp_path, a="ab", b="abcd").iloc[[1, 0, 1]]
    for compute in (letters, refuse):
        arrays = files.per_recording(index, ("text",), compute, (2,))
        assert arrays[1].tolist() == [[97, 98], [97, 98]]
        assert [len(array) for array in arrays] == [4, 2, 4]


def test_content_settings_function_and_code_each_have_an_entry(tmp_path, cache, monkeypatch):
    """The file's name and place have none."""
    index = index_of(tmp_path, a="ab", b="ab")
    files.per_recording(index, ("text",), letters, (2,))
    assert len(list(cache.rglob("*.npz"))) == 1
    files.per_recording(index, ("text",), letters, (3,))
    files.per_recording(index_of(tmp_path, a="xy"), ("text",), letters, (2,))
    monkeypatch.setattr(refuse, "__qualname__", "another")
    with pytest.raises(AssertionError):
        files.per_recording(index, ("text",), refuse, (2,))
    for digest in (lambda *rooms: "new code", lambda *rooms: rooms):
        monkeypatch.setattr(files, "code_digest", digest)
        files.per_recording(index, ("text",), letters, (2,))
    files.per_recording(index, ("text",), letters, (2,), calls=("speech",))
    assert len(list(cache.rglob("*.npz"))) == 3 + 3 * 2


def test_what_is_given_follows_the_recording_and_is_no_part_of_the_name(tmp_path):
    """Each row's last argument goes with its file; with another one the entry is found all the
    same.
    """
    index = index_of(tmp_path, a="ab", b="cd")
    arrays = files.per_recording(index, ("text",), letters, given=[1, 2])
    assert [len(array) for array in arrays] == [1, 2]
    again = files.per_recording(index, ("text",), refuse, given=[3, 4])
    np.testing.assert_array_equal(again[1], arrays[1])


def test_processes_write_into_the_folder_of_the_caller(tmp_path, monkeypatch):
    """Processes that were started while PATHEMO_CACHE was another keep nothing in that one."""
    index = index_of(tmp_path, a="aa", b="bb", c="cc", d="dd")
    for name in ("one", "two"):
        monkeypatch.setenv("PATHEMO_CACHE", str(tmp_path / name))
        files.per_recording(index, ("text",), letters, n_jobs=2, few=2)
        assert len(list((tmp_path / name).rglob("*.npz"))) == 4


WITHOUT_PROCESSES = """
import _multiprocessing, sys

class SemLock:  # as where /dev/shm is read-only
    SEM_VALUE_MAX = 1
    def __init__(self, *_, **__):
        raise OSError(30, "Read-only file system")

_multiprocessing.SemLock = SemLock
import numpy as np, pandas as pd
from pathemo import files, synthetic
synthetic.FILES["emodb"] = synthetic.FILES["emodb"][:3]
folder = synthetic.write("emodb", sys.argv[1])
audio = [str(folder / file) for file in synthetic.FILES["emodb"]]
index = pd.DataFrame({"clip": list("abc"), "audio": audio})
for few in (2, 1):
    print(len(files.per_recording(index, ("audio",), np.fromfile, ("u1",), few=few)))
"""


def test_where_no_process_can_be_started_this_one_computes(tmp_path):
    """Without shared memory a corpus is written, and arrays are computed, and then read."""
    command = [sys.executable, "-W", "ignore", "-c", WITHOUT_PROCESSES, str(tmp_path / "data")]
    assert subprocess.check_output(command, text=True).split() == ["3", "3"]


def test_a_failed_attempt_leaves_no_entry(tmp_path, cache):
    """All problems are named in one error, and nothing is kept of them; the others are."""
    index = index_of(tmp_path, x="", y="ab", z="ab")
    index.loc[2, "text"] = None
    problems = r"(?s)2 recordings of 3 .*z: the clip has no text.*x: it is empty"
    with pytest.raises(ValueError, match=problems):
        files.per_recording(index, ("text",), letters)
    assert len(list(cache.rglob("*.npz"))) == 1
