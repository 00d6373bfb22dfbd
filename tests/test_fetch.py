"""Fetching: verified, nothing outside its folder, safe to interrupt and repeat."""

import contextlib
import errno
import functools
import hashlib
import io
import json
import os
import stat
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pathemo import corpora
from pathemo.corpora import emodb, fetching, ravdess, reading

SOUNDS = {f"wav/03a0{text}{letter}a.wav": text.encode() for text, letter in ("1F", "2N", "4W")}
SPEECH = "03-01-03-01-01-01-01.wav"


def archive(members):
    """Bytes of a .zip file of members, given as name -> bytes, or as (ZipInfo, bytes) pairs."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items() if isinstance(members, dict) else members:
            file.writestr(name, data)
    return content.getvalue()


def registry(files):
    """List of published files, given as name -> bytes."""
    lines = (
        f"{name} sha256:{hashlib.sha256(data).hexdigest()} {len(data)}"
        for name, data in files.items()
    )
    return "\n".join(lines)


class Site:
    """A server on loopback: files by name, and the names that were asked for."""

    def __init__(self, folder):
        self.folder, self.asked = folder, []

        class Handler(SimpleHTTPRequestHandler):
            def log_message(handler, *_):
                self.asked.append(handler.path.rpartition("/")[2])

        handler = functools.partial(Handler, directory=folder)
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def put(self, name, content):
        (self.folder / name).write_bytes(content)


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A site with EMO-DB's and RAVDESS's archives, and a list of published files that fits them."""
    for name in ("site", "cache", "checksums"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("PATHEMO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(reading, "CHECKSUMS", tmp_path / "checksums")
    for name, files in ("emodb", SOUNDS), ("savee", {}), ("ravdess", {SPEECH: b"x"}):
        (tmp_path / "checksums" / f"{name}.txt").write_text(registry(files))
    site = Site(tmp_path / "site")
    site.put("download.zip", archive(SOUNDS | {"erkennung.txt": b"text"}))
    monkeypatch.setattr(
        emodb, "DOWNLOADS", {"audio": [(f"{site.address}/download.zip", None, ".")]}
    )
    speech = archive({f"Actor_01/{SPEECH}": b"x"})
    site.put("Speech.zip", speech)
    video = archive({"Actor_01/01-01-03-01-01-01-01.mp4": b"v"})
    site.put("Video_01.zip", video)
    listed = [
        {"key": key, "checksum": f"md5:{hashlib.md5(content).hexdigest()}"}
        for key, content in (("Speech.zip", speech), ("Video_01.zip", video))
    ]
    site.put("record", json.dumps({"files": listed}).encode())
    record = f"{site.address}/record"
    downloads = {
        "audio": [(f"{site.address}/Speech.zip", record, "Speech")],
        "video": [(f"{site.address}/Video_01.zip", record, "Video_01")],
    }
    monkeypatch.setattr(ravdess, "DOWNLOADS", downloads)
    yield site
    site.server.shutdown()
    site.server.server_close()


@pytest.fixture
def root(tmp_path):
    return tmp_path / "data"


def left(folder):
    """All files below a folder, hidden ones too, locks aside."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
    return sorted(path.relative_to(folder).as_posix() for path in files)


def test_download_is_verified_and_put_in_place(site, root, tmp_path, capsys):
    """EMO-DB comes into its folder, whole; the archive is not kept; the citation is shown."""
    assert corpora.fetch("emodb", root) == root / "emodb"
    assert left(root) == sorted(f"emodb/{name}" for name in [*SOUNDS, "erkennung.txt"])
    assert left(tmp_path / "cache") == []
    assert len(corpora.load("emodb", root)) == 3
    shown = capsys.readouterr().out
    assert "3 clips" in shown
    assert emodb.CITATION in shown


def test_what_is_there_is_not_fetched_again(site, root):
    """A second fetch asks for nothing and touches nothing."""
    corpora.fetch("emodb", root)
    before = {path: path.stat().st_mtime_ns for path in (root / "emodb").rglob("*")}
    corpora.fetch("emodb", root)
    assert site.asked == ["download.zip"]
    assert {path: path.stat().st_mtime_ns for path in (root / "emodb").rglob("*")} == before


def test_a_damaged_folder_is_kept_and_named(site, root):
    """A folder with a gap is not mended over the user's head: the gap is named."""
    corpora.fetch("emodb", root)
    (root / "emodb" / "wav" / "03a01Fa.wav").unlink()
    with pytest.raises(ValueError, match=r"03a01Fa.wav: missing"):
        corpora.fetch("emodb", root)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (archive(SOUNDS | {"wav/03a01Fa.wav": b"?"}), r"03a01Fa.wav: changed"),
        (archive({"wav/03a01Fa.wav": b"1"}), r"(?s)03a02Na.wav: missing.*03a04Wa.wav: missing"),
        (archive(SOUNDS)[:-30], "download.zip cannot be unpacked"),
        (b"<html>not today</html>", "download.zip cannot be unpacked"),
        (
            archive(SOUNDS).replace(b"wav/03a01Fa.wav", b"wav/03a01Fb.wav", 1),
            "download.zip cannot be unpacked",
        ),
    ],
    ids=["changed", "incomplete", "truncated", "a page", "headers differ"],
)
def test_bad_archive_is_refused(site, root, tmp_path, content, message):
    """Nothing of an archive that is damaged, or not what was published, is left; a good one then
    works.
    """
    good = (site.folder / "download.zip").read_bytes()
    site.put("download.zip", content)
    with pytest.raises(ValueError, match=message):
        corpora.fetch("emodb", root)
    assert left(root) == left(tmp_path / "cache") == []
    site.put("download.zip", good)
    assert corpora.fetch("emodb", root) == root / "emodb"


def link(name, target):
    """A member that is a symbolic link."""
    member = zipfile.ZipInfo(name)
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    return member, target


@pytest.mark.parametrize(
    "member",
    [
        ("../evil.wav", b"x"),
        ("wav/../../evil.wav", b"x"),
        ("/evil.wav", b"x"),
        ("C:/evil.wav", b"x"),
        ("..\\evil.wav", b"x"),
        link("wav/evil.wav", "/etc/passwd"),
        link("out", ".."),
    ],
    ids=lambda member: getattr(member[0], "filename", member[0]),
)
def test_a_hostile_zip_stays_inside(site, root, tmp_path, member):
    """Names that lead out of the folder end within it, and a link becomes a plain file."""
    site.put("download.zip", archive([*SOUNDS.items(), member]))
    with contextlib.suppress(ValueError):  # of the index: a file that is not EMO-DB's
        corpora.fetch("emodb", root)
    inside = [path for path in (root / "emodb").rglob("*") if not path.is_dir()]
    assert len(inside) == len(SOUNDS) + 1
    assert all(stat.S_ISREG(path.lstat().st_mode) for path in inside)
    assert set(tmp_path.rglob("*evil*")) <= {*inside}
    assert left(root) == sorted(path.relative_to(root).as_posix() for path in inside)


@pytest.mark.parametrize(("name", "part"), [("Speech.zip", "audio"), ("Video_01.zip", "video")])
def test_wrong_checksum_is_refused_before_unpacking(site, root, tmp_path, name, part):
    """An archive with another md5 than the record's is not even opened."""
    site.put(name, archive({f"Actor_01/{SPEECH}": b"y"}))
    with pytest.raises(ValueError, match="hash"):
        corpora.fetch("ravdess", root, parts=(part,))
    assert left(root) == left(tmp_path / "cache") == []


def test_parts_and_the_record_of_hashes(site, root):
    """Video comes when asked for; archives are checked against the md5s of their record."""
    corpora.fetch("ravdess", root)
    assert left(root) == [f"ravdess/Speech/Actor_01/{SPEECH}"]
    corpora.fetch("ravdess", root, parts=("audio", "video"))
    assert left(root)[1] == "ravdess/Video_01/Actor_01/01-01-03-01-01-01-01.mp4"
    assert site.asked == ["record", "Speech.zip", "record", "Video_01.zip"]
    assert corpora.load("ravdess", root)["video"].notna().all()
    with pytest.raises(ValueError, match="no parts sound of RAVDESS; valid: audio, video"):
        corpora.fetch("ravdess", root, parts=("sound",))


def test_interrupted_unpacking_goes_on(site, root, tmp_path, monkeypatch):
    """Interrupted while unpacking, nothing bears the corpus's name; repeating needs no new
    download.
    """

    def interrupted(archive, path, members):
        archive.extract(members[0], path)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "extractall", interrupted)
        with pytest.raises(KeyboardInterrupt):
            corpora.fetch("emodb", root)
    assert not corpora.found("emodb", root)
    assert left(tmp_path / "cache") == ["downloads/emodb-download.zip"]
    corpora.fetch("emodb", root)
    assert site.asked == ["download.zip"]


def test_leftovers_of_a_killed_run_are_cleared(site, root):
    """A staging folder that a killed process left is no part of the corpus, and goes with the next
    fetch.
    """
    leftover = root / ".emodb.part" / "wav" / "03a09Fa.wav"
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(b"x")
    corpora.fetch("emodb", root)
    assert left(root) == sorted(f"emodb/{name}" for name in [*SOUNDS, "erkennung.txt"])


def test_what_is_not_there_is_named(site, root, monkeypatch):
    """The address of an archive that the site does not have is in the error."""
    monkeypatch.setattr(emodb, "DOWNLOADS", {"audio": [(f"{site.address}/gone", None, ".")]})
    with pytest.raises(OSError, match="/gone could not be fetched"):
        corpora.fetch("emodb", root)
    assert left(root) == []


@pytest.mark.parametrize(
    ("name", "home"), [("savee", "surrey.ac.uk"), ("enterface", "enterface.net")]
)
def test_steps_are_shown(root, capsys, name, home):
    """Where nothing may be downloaded, the steps are printed, with the address and the folder."""
    assert corpora.fetch(name, root) is None
    shown = capsys.readouterr().out
    assert home in shown
    assert str(root / name) in shown
    assert f"python -m pathemo fetch {name} --root {root}`" in shown
    (root / name / "a01.mp3").write_bytes(b"x")
    assert corpora.fetch(name, root) is None
    assert "1 .mp3 lie there: unpack or convert what is a recording" in capsys.readouterr().out


def test_what_the_user_put_there_is_unpacked_and_verified(site, root, tmp_path, capsys):
    """An archive beside is unpacked once; the clips are checked against the list."""
    sound = {"DC/a01.wav": b"1", "DC/sa01.wav": b"2"}
    (tmp_path / "checksums" / "savee.txt").write_text(registry(sound))
    (root / "savee").mkdir(parents=True)
    (root / "savee" / "AudioData.zip").write_bytes(archive(sound))
    for _ in range(2):
        assert corpora.fetch("savee", root) == root / "savee"
        assert left(root / "savee") == ["AudioData.zip", *(f"AudioData/{name}" for name in sound)]
    assert "2 clips" in capsys.readouterr().out
    (root / "savee" / "AudioData" / "DC" / "a01.wav").unlink()
    with pytest.raises(ValueError, match=r"a01.wav: missing"):
        corpora.fetch("savee", root)


@pytest.mark.parametrize(
    ("name", "members"),
    [
        ("AudioData.ZIP", {"DC/a01.wav": b"1", "DC/sa01.wav": b"2"}),
        ("a.zip", {"AudioData\\DC\\": b"", "AudioData\\DC\\a01.wav": b"1", "DC\\sa01.wav": b"2"}),
        ("a.zip", {"DC/a01.wav": b"1", "b.Zip": archive({"DC/sa01.wav": b"2"})}),
        (
            "a.zip",
            {"b.zip": archive({"DC/a01.wav": b"1", "DC/sa01.wav": b"2"}), "__MACOSX/._b": b"x"},
        ),
    ],
    ids=["capitals", "backslashes", "one of two in an archive", "an archive in an archive"],
)
def test_archives_as_others_pack_them(site, root, tmp_path, name, members):
    """Whatever packs folders its own way is unpacked to the clips that are in it."""
    listed = registry({"DC/a01.wav": b"1", "DC/sa01.wav": b"2"})
    (tmp_path / "checksums" / "savee.txt").write_text(listed)
    (root / "savee").mkdir(parents=True)
    (root / "savee" / name).write_bytes(archive(members))
    for _ in range(2):
        assert corpora.fetch("savee", root) == root / "savee"
        assert corpora.load("savee", root)["clip"].tolist() == ["DC_a01", "DC_sa01"]


@pytest.mark.parametrize(
    "place, value", [(8, b"\x09"), (6, b"\x01")], ids=["Deflate64", "password"]
)
def test_an_archive_that_only_others_unpack_is_said_to_be(site, root, tmp_path, place, value):
    """Why, and the way out: by hand, into a folder of its name, which is then taken."""
    content = bytearray(archive({"DC/a01.wav": b"1"}))
    central = content.rindex(b"PK\x01\x02") + 2
    content[place : place + 1] = content[place + central : place + central + 1] = value
    (root / "savee").mkdir(parents=True)
    (root / "savee" / "Audio.zip").write_bytes(content)
    with pytest.raises(ValueError, match=r"(not supported|password).*by hand into a folder Audio$"):
        corpora.fetch("savee", root)
    (root / "savee" / "Audio" / "DC").mkdir(parents=True)
    (root / "savee" / "Audio" / "DC" / "a01.wav").write_bytes(b"1")
    (tmp_path / "checksums" / "savee.txt").write_text(registry({"DC/a01.wav": b"1"}))
    assert corpora.fetch("savee", root) == root / "savee"


def test_other_files_in_the_place_of_a_download_are_named_before_it(site, root, capsys):
    """RAVDESS as MP3, where its sound belongs: nothing is fetched in vain, nothing touched."""
    place = root / "ravdess" / "Speech" / "a.mp3"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"x")
    with pytest.raises(FileNotFoundError, match="1 .mp3 lie there: unpack or convert"):
        corpora.fetch("ravdess", root)
    assert f"{place.parent} is there already; take it away" in capsys.readouterr().out
    assert site.asked == [] and left(root) == ["ravdess/Speech/a.mp3"]


def test_a_disk_that_cannot_be_written_is_named(site, root, monkeypatch):
    """A whole corpus on a read-only disk: the folder is named, and another root as the way out."""
    corpora.fetch("emodb", root)

    def refused(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), "a lock")

    monkeypatch.setattr(fetching.filelock.FileLock, "acquire", refused)
    with pytest.raises(OSError, match="Read-only file system.*give another root") as error:
        corpora.fetch("emodb", root)
    assert error.value.filename == str(root / "emodb")
    assert len(corpora.load("emodb", root)) == 3


def test_synthetic_corpus_is_not_mixed_with_a_recorded_one(root):
    """Nothing is fetched into the folder of a synthetic corpus."""
    (root / "emodb").mkdir(parents=True)
    (root / "emodb" / "SYNTHETIC.txt").touch()
    with pytest.raises(FileExistsError, match="another root"):
        corpora.fetch("emodb", root)


@pytest.fixture
def model(site, monkeypatch):
    """File of the model CNN-14, with another content in its place on the site."""
    file, _, _, citation = fetching.MODELS["cnn14"]
    site.put(file, b"model")
    known_hash = f"md5:{hashlib.md5(b'model').hexdigest()}"
    entry = file, f"{site.address}/{file}", known_hash, citation
    monkeypatch.setitem(fetching.MODELS, "cnn14", entry)
    return file


def test_a_model_is_fetched_once_and_verified(site, root, model, capsys):
    """It comes into models/ of the data root, the second time nothing is asked for; cite whom."""
    for _ in range(2):
        assert corpora.fetch("cnn14", root) == root / "models" / model
        assert corpora.model("cnn14", root) == root / "models" / model
    assert site.asked == [model]
    assert f"cite {fetching.MODELS['cnn14'][3]}" in capsys.readouterr().out


def test_another_model_than_the_published_is_refused(site, root, model):
    """What lies there is not taken on trust, nor what the site sends; a fetch mends the former."""
    with pytest.raises(FileNotFoundError, match="python -m pathemo fetch cnn14"):
        corpora.model("cnn14", root)
    site.put(model, b"another")
    with pytest.raises(ValueError, match="hash"):
        corpora.fetch("cnn14", root)
    assert left(root) == []
    (root / "models" / model).write_bytes(b"mod")
    with pytest.raises(ValueError, match="is not the published model"):
        corpora.model("cnn14", root)
    site.put(model, b"model")
    assert corpora.fetch("cnn14", root).read_bytes() == b"model"


def test_a_site_without_the_model_is_named(site, root, model):
    """The address that did not answer is in the error."""
    (site.folder / model).unlink()
    with pytest.raises(OSError, match=f"{model} could not be fetched"):
        corpora.fetch("cnn14", root)


def test_the_published_models_are_those_of_the_records():
    """File names and digests of CNN-14 (Zenodo's md5) and mn04 (sha256)."""
    file, address, known_hash, _ = fetching.MODELS["cnn14"]
    assert file == "Cnn14_mAP=0.431.pth" and "/3987831/" in address
    assert known_hash == "md5:541141fa2ee191a88f24a3219fff024e"
    file, address, known_hash, _ = fetching.MODELS["mn04"]
    assert address.endswith(f"/EfficientAT/releases/download/v0.0.1/{file}")
    digest = "899a8c6217063f6941793102a2780b3dd788ab11fce468d9cf5f0577c453321c"
    assert known_hash == f"sha256:{digest}"


@pytest.mark.recorded
def test_the_file_of_mn04_is_the_published_one(recorded_root):
    """It is verified by its sha256."""
    if not (recorded_root / "models" / "mn04_as_mAP_432.pt").is_file():
        pytest.skip("the weights of mn04 are not there")
    assert corpora.model("mn04", recorded_root).stat().st_size == 4_066_513


class Hub(BaseHTTPRequestHandler):
    """As the Hugging Face hub answers for one repository, whose files are named as they read."""

    files = "README.md", "config.json", "model.safetensors", "preprocessor_config.json"

    def do_HEAD(self):
        name = self.path.rpartition("/")[2]
        tree = [{"type": "file", "path": f, "size": len(f), "oid": f} for f in self.files]
        about = {"id": "openai/whisper-tiny.en", "sha": "0" * 40, "siblings": []}
        listed = tree if "/tree/" in self.path else about
        content = json.dumps(listed).encode() if "/api/" in self.path else name.encode()
        self.send_response(200)
        self.send_header("Content-Length", len(content))
        self.send_header("ETag", f'"{name}"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.end_headers()
        return content

    def do_GET(self):
        self.wfile.write(self.do_HEAD())

    def log_message(self, *_):
        """Keep silent."""


def hub_at(address, monkeypatch):
    """Put another site in the place of the hub."""
    hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    snapshot = functools.partial(hub.snapshot_download, endpoint=address)
    monkeypatch.setattr(hub, "snapshot_download", snapshot)


def test_an_encoder_is_fetched_from_the_hub(root, monkeypatch, capsys):
    """Configuration and weights come into its folder of models/, and nothing else; cite whom."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    hub_at(f"http://127.0.0.1:{server.server_port}", monkeypatch)
    folder = corpora.fetch("whisper-tiny.en", root)
    server.shutdown()
    server.server_close()
    assert folder == root / "models" / "whisper-tiny.en"
    assert {path.name: path.read_text() for path in folder.glob("*.*") if path.is_file()} == {
        name: name for name in Hub.files[1:]
    }
    assert "cite Radford et al." in capsys.readouterr().out


@pytest.mark.parametrize("lacks", ["site", "package"])
def test_without_the_hub_files_can_be_put_there_by_hand(root, monkeypatch, lacks):
    """No site, or no package for it: the folder, and what to put there."""
    hub_at("http://127.0.0.1:9", monkeypatch)
    if lacks == "package":
        monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(
        OSError, match=r"put its config.json, .* there, or: .*pathemo.pretrained"
    ) as e:
        corpora.fetch("whisper-tiny.en", root)
    assert str(root / "models" / "whisper-tiny.en") in str(e.value)
