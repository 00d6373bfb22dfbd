"""Files made to do harm: nothing in them is executed, and nothing is written outside the target's
folder.
"""

import io
import os
import pickle
import stat
import struct
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from damage import LONG
from filelock import FileLock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pathemo import PathNet, runner
from pathemo.corpora import fetching, savee

many = settings(max_examples=1000 if LONG else 60, suppress_health_check=[*HealthCheck])


# archives


def install(folder, members, change=lambda content: content):
    """Outcome of unpacking members (ZipInfo or name, bytes) to folder/in/Audio: the error, or
    None.
    """
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for member, data in members:
            file.writestr(member, data)
    (folder / "in").mkdir(exist_ok=True)
    (folder / "in" / "Audio.zip").write_bytes(change(content.getvalue()))
    try:
        fetching.install(folder / "in" / "Audio.zip", folder / "in" / "Audio", savee)
    except (ValueError, OSError) as problem:
        error = problem
    else:
        return None
    assert "Audio.zip" in str(error)
    assert [path.name for path in (folder / "in").iterdir()] == ["Audio.zip"]
    return error


def tree(folder, *, without):
    """What is in a folder, apart from what is to be there."""
    return {str(path) for path in folder.rglob("*") if without not in [path, *path.parents]}


pieces = st.sampled_from([*"/\\a~. \n", "..", "C:", "con", "$HOME", "\u2215", "\uff0e\uff0e"])
kinds = st.sampled_from(
    [stat.S_IFREG, stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK]
)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@many
@given(
    st.lists(
        st.tuples(st.lists(pieces, min_size=1, max_size=6).map("".join), kinds),
        min_size=1,
        max_size=4,
    )
)
def test_no_name_and_no_kind_of_member_leads_out(tmp_path_factory, members):
    """Whatever members are called and claim to be, links and devices: all stays within, and is
    plain.
    """
    folder = tmp_path_factory.mktemp("hostile")
    made = []
    for name, kind in members:
        member = zipfile.ZipInfo("x")
        member.filename, member.external_attr, member.create_system = name, (kind | 0o666) << 16, 3
        made.append((member, b"/etc/passwd"))
    install(folder, made)
    target = folder / "in" / "Audio"
    assert tree(folder, without=target) == {str(folder / "in"), str(folder / "in" / "Audio.zip")}
    assert all(stat.S_ISREG(path.lstat().st_mode) or path.is_dir() for path in target.rglob("*"))
    assert not any(path.is_symlink() for path in target.rglob("*"))


def announce(n_bytes):
    """A change of an archive: its first member says that it is so long."""

    def change(content):
        place = content.rindex(b"PK\x01\x02") + 24
        return content[:place] + struct.pack("<I", n_bytes) + content[place + 4 :]

    return change


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    """What would not fit on the disk is not begun; the error says how much it is."""
    free = fetching.shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda _: free)
    monkeypatch.setattr(zipfile.ZipFile, "extractall", None)
    error = install(tmp_path, [("a.wav", bytes(2000))])
    assert "2,000 bytes are in it, 1,000 are free" in str(error)


def test_an_archive_that_says_less_than_it_holds_is_refused(tmp_path):
    """A member of a megabyte that announces ten bytes."""
    assert install(tmp_path, [("a.wav", bytes(2**20))], announce(10)) is not None


@pytest.mark.parametrize("seed", range(20 if LONG else 3))
def test_an_archive_that_is_encrypted_or_packed_in_unknown_ways_is_refused(tmp_path, seed):
    """Flags and method of the first member are drawn: an error that names the archive, or a whole
    folder.
    """
    flags, method = np.random.default_rng(seed).integers(1, 2**16, 2).tolist()
    for change in (
        (6, struct.pack("<HH", flags, 0)),
        (8, struct.pack("<H", method)),
        (6, b"\x01\x00"),
    ):
        place, new = change

        def damage(content, place=place, new=new):
            content = bytearray(content)
            central = content.rindex(b"PK\x01\x02") + 2
            content[place : place + len(new)] = content[
                central + place : central + place + len(new)
            ] = new
            return bytes(content)

        if install(tmp_path, [("a.wav", b"x" * 50)], damage) is None:
            assert (tmp_path / "in" / "Audio" / "a.wav").read_bytes() == b"x" * 50
            (tmp_path / "in" / "Audio" / "a.wav").unlink()
            (tmp_path / "in" / "Audio").rmdir()


def test_a_tar_under_the_name_of_a_zip_is_refused(tmp_path):
    """With a link and a device in it: it is no .zip archive."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as file:
        for name, kind in (
            ("../evil", tarfile.REGTYPE),
            ("link", tarfile.SYMTYPE),
            ("device", tarfile.CHRTYPE),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            file.addfile(member)
    assert "File is not a zip file" in str(install(tmp_path, [], lambda _: content.getvalue()))
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize(
    "names", [["a.wav", "a.wav/b.wav"], ["a/b.wav", "a"], ["x" * 300 + ".wav"]]
)
def test_names_that_exclude_each_other_are_refused(tmp_path, names):
    """A file that is to be a folder too, or a name too long for a disk: the archive is named."""
    assert install(tmp_path, [(name, b"x") for name in names]) is not None


# networks


class Call:
    """An object that calls a function when it is unpickled."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("wrap", [pickle.dumps, None], ids=["pickle", "torch"])
@pytest.mark.parametrize(
    "call",
    [
        lambda path: Call(os.mkdir, path),
        lambda path: Call(os.system, f"mkdir {path}"),
        lambda path: Call(eval, f"__import__('os').mkdir({path!r})"),
        lambda path: Call(open, path, "w"),
        lambda path: Call(np.ones(1).tofile, path),
    ],
    ids=["mkdir", "system", "eval", "open", "tofile"],
)
def test_files_of_networks_call_nothing(tmp_path, call, wrap):
    """A pickle that calls is refused, and the call is not made."""
    for state in (call(str(tmp_path / "executed")), {"layers": call(str(tmp_path / "executed"))}):
        if wrap:
            (tmp_path / "file").write_bytes(wrap(state))
        else:
            torch.save(state, tmp_path / "file")
        with pytest.raises(pickle.UnpicklingError):
            PathNet.load(tmp_path / "file", seeds=[0])
        assert not (tmp_path / "executed").exists()


# profiles


PROFILES = {
    "call": "!!python/object/apply:os.mkdir [{target}]",
    "object": "notebooks: {{01_one: {{seed: !!python/object/apply:os.mkdir [{target}]}}}}",
    "module": "data: !!python/module:os\nnotebooks: {{}}",
    "name": "data: !!python/name:os.system\nnotebooks: {{}}",
    "new": "data: synthetic\nnotebooks: !!python/object/new:os.mkdir [{target}]",
    "key": "? !!python/object/apply:os.mkdir [{target}]\n: 1",
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project without notebooks; another run is at work in its folder, so that none is begun."""
    (tmp_path / "project" / "reports" / "small").mkdir(parents=True)
    (tmp_path / "project" / "notebooks").mkdir()
    (tmp_path / "project" / "environment.yml").write_text("name: pathemo\n")
    monkeypatch.chdir(tmp_path / "project")
    with FileLock(tmp_path / "project" / "reports" / "small" / ".lock"):
        yield tmp_path / "project"


@pytest.mark.parametrize("text", PROFILES.values(), ids=PROFILES.keys())
def test_profiles_call_nothing(project, tmp_path, text):
    """A profile of Python objects is refused, and nothing is made."""
    (project / "reports" / "small.yaml").write_text(text.format(target=tmp_path / "executed"))
    with pytest.raises(Exception, match="python|small.yaml"):
        runner.run("small")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    "name", ["../small", "/etc/passwd", "small/../small", "", ".", "small.yaml", "x\0"]
)
def test_a_profile_is_one_of_the_projects(project, name):
    """A name that leads elsewhere is no profile."""
    (project / "reports" / "small.yaml").write_text("data: synthetic\nnotebooks: {}\n")
    with pytest.raises(ValueError, match="no profile"):
        runner.run(name)
