"""Corpora: names, index tables, and every defect by name."""

import hashlib
import shutil
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathemo import corpora
from pathemo.corpora import emodb, enterface, ravdess, reading, savee

READERS = tuple(reading.READERS.values())
EXPECTED = {  # clips an emotion, as the authors count them
    "emodb": dict(anger=127, boredom=81, disgust=46, fear=69, happiness=71, neutral=79, sadness=62),
    "enterface": dict.fromkeys(enterface.EMOTIONS.values(), 210),
    "ravdess": dict.fromkeys(ravdess.EMOTIONS.values(), 192) | {"neutral": 96},
    "savee": dict.fromkeys(savee.EMOTIONS.values(), 60) | {"neutral": 120},
}
by_name = pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.NAME)


def touch(root, *names, content=b"x"):
    """Make small files below the root."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def whole_enterface():
    """The 1,293 names of eNTERFACE'05, defects included."""
    names = []
    for n in range(1, 45):
        for code, emotion in enterface.EMOTIONS.items():
            if n == 6:
                names.append(f"subject 6/{emotion}/s6_{code}.avi")
                continue
            for k in range(1, 6):
                subject = {3: "_3", 11: "12"}.get(n, n)
                if (n, code) != (23, "ha") or k > 3:
                    names.append(f"subject {n}/{emotion}/sentence {k}/s{subject}_{code}_{k}.avi")
    odd = names.index("subject 16/surprise/sentence 3/s16_su_3.avi")
    names[odd] = "subject 16/surprise/sentence 3/s16_su_3avi.avi"
    return [f"enterface database/{name}" for name in names]


def published_names(reader):
    """Names of all files of a whole corpus, as published."""
    if reader is enterface:
        return whole_enterface()
    lines = (reading.CHECKSUMS / f"{reader.NAME}.txt").read_text().splitlines()
    return [line.split()[0] for line in lines]


@pytest.fixture
def root(tmp_path):
    """Data root with a whole EMO-DB of one-byte files."""
    touch(tmp_path / "emodb", *published_names(emodb))
    return tmp_path


# every corpus


@by_name
def test_readers_share_their_names(reader):
    """Every corpus has the same constants, and its emotions are those it expects."""
    for constant in ("NAME", "TITLE", "CITATION", "LICENCE", "HOME", "GRAMMAR"):
        assert isinstance(getattr(reader, constant), str)
        assert getattr(reader, constant)
    assert set(EXPECTED[reader.NAME]) == set(reader.EMOTIONS.values())
    assert reader.DOWNLOADS or "{home}" in reader.STEPS


@by_name
def test_published_files_are_as_many_as_expected(reader):
    """The list of published files has the clips an emotion and the speakers that the corpus is
    known for.
    """
    said = [reader.read_name(name) for name in published_names(reader)]
    said = pd.DataFrame([each for each in said if each])
    assert said["emotion"].value_counts().to_dict() == EXPECTED[reader.NAME]
    assert set(said["speaker"]) == set(reader.SPEAKERS)
    assert said["clip"].is_unique


@by_name
def test_whole_corpus_loads(reader, tmp_path):
    """The published names, defects included, give an index with the contract's columns, sorted by
    clip.
    """
    touch(tmp_path / reader.NAME, *published_names(reader))
    index = corpora.load(reader.NAME, tmp_path)
    columns = "clip corpus speaker gender emotion statement audio video landmarks"
    assert list(index) == columns.split() == reading.COLUMNS
    assert (index.dtypes == "string").all()
    assert len(index) == sum(EXPECTED[reader.NAME].values())
    assert index["clip"].is_monotonic_increasing
    assert index["clip"].is_unique
    medium = (
        "video" if reader is enterface else "audio"
    )  # eNTERFACE'05's sound is the video's own track
    assert index[medium].map(lambda path: Path(path).is_file()).all()
    assert index[["audio", "video", "landmarks"]].drop(columns=medium).isna().all(axis=None)
    assert index["gender"].isna().all() == (reader is enterface)  # nobody's gender is known there
    assert index.attrs["version"].startswith("recorded-")


def test_totals():
    """535, 1,260 (42 people, 30 clips each), 1,440 and 480 clips are published."""
    published = [
        sum(EXPECTED[name].values()) for name in ("emodb", "enterface", "ravdess", "savee")
    ]
    assert published == [535, 1260, 1440, 480]
    assert len(enterface.SPEAKERS) == 42
    said = filter(None, map(enterface.read_name, whole_enterface()))
    assert set(pd.Series([each["speaker"] for each in said]).value_counts()) == {30}


def test_emodb_has_its_clips_per_speaker():
    """EMO-DB's ten speakers said 49 58 43 38 55 35 61 69 56 71 clips."""
    speakers = pd.Series([emodb.read_name(name)["speaker"] for name in published_names(emodb)])
    assert speakers.value_counts().sort_index().tolist() == [49, 58, 43, 38, 55, 35, 61, 69, 56, 71]


# names


@given(
    st.sampled_from(sorted(emodb.SPEAKERS)),
    st.sampled_from("a01 a02 a04 a05 a07 b01 b02 b03 b09 b10".split()),
    st.sampled_from(sorted(emodb.EMOTIONS)),
    st.sampled_from("abcdef"),
    st.sampled_from(["wav", "flac", "WAV"]),
)
def test_emodb_names(speaker, text, letter, version, ending):
    """Every name of EMO-DB's grammar is read back."""
    said = emodb.read_name(f"wav/{speaker}{text}{letter}{version}.{ending}")
    assert said["clip"] == f"{speaker}{text}{letter}{version}"
    assert (said["speaker"], said["statement"]) == (speaker, text)
    assert said["emotion"] == emodb.EMOTIONS[letter]


@given(*(st.integers(1, n) for n in (3, 2, 8, 2, 2, 2, 24)))
def test_ravdess_names(modality, channel, emotion, intensity, statement, repetition, actor):
    """Every name of RAVDESS's grammar is read back, song is left out, and strong neutral does not
    exist.
    """
    parts = (modality, channel, emotion, intensity, statement, repetition, actor)
    name = "-".join(f"{part:02d}" for part in parts)
    path = f"{name}.{'wav' if modality == 3 else 'mp4'}"
    if emotion == 1 and intensity == 2:
        with pytest.raises(ValueError, match="neutral only 01"):
            ravdess.read_name(path)
    elif channel == 2:
        assert ravdess.read_name(path) is None
    else:
        said = ravdess.read_name(path)
        assert (said["clip"], said["modality"]) == (name[3:], name[:2])
        assert said["emotion"] == ravdess.EMOTIONS[f"{emotion:02d}"]
        assert ravdess.SPEAKERS[said["speaker"]] == ("male" if actor % 2 else "female")


@given(st.sampled_from(READERS), st.text(max_size=30))
def test_unknown_names_are_refused(reader, name):
    """Whatever is no name of the corpus is refused with the name and the grammar."""
    with pytest.raises(ValueError, match="unknown file name") as error:
        reader.read_name(name + ".txt")
    assert name + ".txt" in str(error.value)
    assert reader.GRAMMAR in str(error.value)


@pytest.mark.parametrize(
    ("name", "clip", "statement"),
    [
        ("subject 1/fear/sentence 2/s1_fe_2.avi", "s01_fe_2", "fe2"),
        ("subject 11/fear/sentence 2/s12_fe_2.avi", "s11_fe_2", "fe2"),
        ("subject 12/fear/sentence 2/s12_fe_2.avi", "s12_fe_2", "fe2"),
        ("x/subject 3/sadness/sentence 5/s_3_sa_5.avi", "s03_sa_5", "sa5"),
        ("subject 16/surprise/sentence 3/s16_su_3avi.avi", "s16_su_3", "su3"),
        ("subject 2/anger/sentence 1/s2_an_1.avi", "s02_an_1", "an2"),
        ("subject 2/anger/sentence 2/s2_an_2.avi", "s02_an_2", "an1"),
        ("subject 2/anger/sentence 3/s2_an_3.avi", "s02_an_3", "an3"),
        ("subject 22/anger/sentence 1/s22_an_1.avi", "s22_an_1", "an1"),
    ],
)
def test_enterface_defects_are_read(name, clip, statement):
    """eNTERFACE'05's misnamed files get the speaker of the folder and the sentence that is
    spoken.
    """
    said = enterface.read_name(name)
    assert (said["clip"], said["statement"], said["speaker"]) == (clip, statement, clip[1:3])


@pytest.mark.parametrize(
    "name", ["subject 6/anger/s6_an.avi", "subject 23/fear/sentence 1/s23_fe_1.avi"]
)
def test_enterface_leaves_subjects_6_and_23_out(name):
    """Subject 6 (not segmented) and subject 23 (not whole) are left out, whatever the names."""
    assert enterface.read_name(name) is None


@pytest.mark.parametrize(
    "name",
    [
        "s1_an_1.avi",  # no folders
        "subject 1/anger/sentence 1/s2_an_1.avi",  # another subject's
        "subject 12/anger/sentence 1/s11_an_1.avi",  # only subject 11 is misnamed
        "subject 1/fear/sentence 1/s1_an_1.avi",  # another emotion's
        "subject 45/fear/sentence 1/s45_fe_1.avi",
        "subject 1/anger/sentence 6/s1_an_6.avi",
    ],
)
def test_enterface_contradictions_are_refused(name):
    """A name that contradicts its folder is refused."""
    with pytest.raises(ValueError, match="unknown file name"):
        enterface.read_name(name)


@pytest.mark.parametrize(
    ("name", "clip", "emotion"),
    [
        ("AudioData/DC/a01.wav", "DC_a01", "anger"),
        ("AudioData/DC/sa01.wav", "DC_sa01", "sadness"),
        ("AudioData/KL/su15.flac", "KL_su15", "surprise"),
        ("AudioVisualClip/JE/n30.avi", "JE_n30", "neutral"),
        ("DC_d02.wav", "DC_d02", "disgust"),
        ("copy/JK_sa02.wav", "JK_sa02", "sadness"),
    ],
)
def test_savee_layouts(name, clip, emotion):
    """SAVEE's folders and flat names say the same; `sa` and `su` come before single letters."""
    said = savee.read_name(name)
    assert (said["clip"], said["emotion"], said["speaker"]) == (clip, emotion, clip[:2])


@pytest.mark.parametrize(
    "name",
    ["a01.wav", "XX/a01.wav", "DC/a16.wav", "DC/n31.wav", "DC/a00.wav", "DC/s01.wav", "XX_a01.wav"],
)
def test_savee_refuses_what_is_not_its_own(name):
    """A sentence or speaker that SAVEE does not have is refused."""
    with pytest.raises(ValueError, match="unknown file name"):
        savee.read_name(name)


@pytest.mark.parametrize(
    "name", ["03-01-01-01-01-01-01.mp4", "01-01-01-01-01-01-01.wav", "03-01-01-01-01-01-25.wav"]
)
def test_ravdess_modality_fits_the_file(name):
    """Modality 03 is sound, 01 and 02 are not; there are 24 actors."""
    with pytest.raises(ValueError, match="unknown file name"):
        ravdess.read_name(name)


# the index table


def test_ravdess_joins_the_media_of_a_clip(tmp_path):
    """Sound, video and landmarks of a performance are one row; the video with sound is taken; song
    is out.
    """
    touch(
        tmp_path / "ravdess",
        "Audio_Speech_Actors_01-24/Actor_01/03-01-03-01-01-01-01.wav",
        "Video_Speech_Actor_01/Actor_01/01-01-03-01-01-01-01.mp4",
        "A/02-01-03-01-01-01-01.mp4",
        "FacialTracking_Actors_01-24/02-01-03-01-01-01-01.csv.gz",
        "Audio_Song_Actors_01-24/Actor_01/03-02-03-01-01-01-01.wav",
        "Video_Song_Actor_01/Actor_01/01-02-03-01-01-01-01.mp4",
    )
    (row,) = corpora.load("ravdess", tmp_path, complete=False).to_dict("records")
    assert row["clip"] == "01-03-01-01-01-01"
    assert (row["emotion"], row["gender"], row["statement"]) == ("happiness", "male", "01")
    assert Path(row["audio"]).name == "03-01-03-01-01-01-01.wav"
    assert Path(row["video"]).name == "01-01-03-01-01-01-01.mp4"
    assert Path(row["landmarks"]).name == "02-01-03-01-01-01-01.csv.gz"


def test_ravdess_keeps_its_duplicate_within_one_speaker(tmp_path):
    """The two clips that are one recording stay, under one speaker and label, and have one
    checksum.
    """
    published = reading.published(ravdess, tmp_path)
    first, again = (published[clip, "audio"] for clip in ("01-03-01-02-01-07", "01-03-01-02-02-07"))
    assert first.sha256 == again.sha256 and first.said["speaker"] == again.said["speaker"] == "07"
    assert all(first.said[what] == again.said[what] for what in ("emotion", "statement"))


def test_savee_joins_sound_and_video(tmp_path):
    """AudioData and AudioVisualClip are one row a clip."""
    touch(
        tmp_path / "savee",
        "AudioData/DC/a01.wav",
        *(f"AudioVisualClip/DC/a0{k}.avi" for k in (1, 2)),
    )
    index = corpora.load("savee", tmp_path, complete=False)
    assert index["audio"].notna().tolist() == [True, False]
    assert index["video"].notna().all()


def test_version_follows_names_and_sizes(root):
    """The version is the same wherever the corpus lies, and another once a file has another
    size.
    """
    version = corpora.load("emodb", root).attrs["version"]
    moved = root / "elsewhere"
    shutil.copytree(root / "emodb", moved / "emodb")
    assert corpora.load("emodb", moved).attrs["version"] == version
    touch(moved / "emodb", "wav/03a01Fa.wav", content=b"xx")
    assert corpora.load("emodb", moved).attrs["version"] != version


def test_linked_folders_are_followed(root, tmp_path):
    """A folder elsewhere, linked, is as good as one inside; a change behind the link is seen."""
    version = corpora.load("emodb", root).attrs["version"]
    (root / "emodb" / "wav").rename(tmp_path / "disk")
    (root / "emodb" / "wav").symlink_to(tmp_path / "disk")
    index = corpora.load("emodb", root)
    assert corpora.found("emodb", root) and index.attrs["version"] == version
    touch(tmp_path / "disk", "03a01Fa.wav", content=b"xx")
    assert corpora.load("emodb", root).attrs["version"] != version


def test_linked_files_count_as_what_they_link_to(root, tmp_path):
    """The version follows the size of the recording, not of the link."""
    version = corpora.load("emodb", root).attrs["version"]
    sound = root / "emodb" / "wav" / "03a01Fa.wav"
    sound.rename(tmp_path / "sound.wav")
    sound.symlink_to(tmp_path / "sound.wav")
    assert corpora.load("emodb", root).attrs["version"] == version


@pytest.mark.parametrize("target", [".", "..", "../.."])
def test_links_back_are_not_followed(root, target):
    """A link to a folder that holds it neither loops for ever nor doubles a clip."""
    touch(root / "savee", "DC/a01.wav")
    (root / "emodb" / "wav" / "back").symlink_to(target)
    assert len(corpora.load("emodb", root)) == 535


def test_names_with_blanks_and_links_are_found(root):
    """Blanks at the end, which no file browser shows, are no part of a name."""
    wav = root / "emodb" / "wav"
    (wav / "03a01Fa.wav").rename(wav / "03a01Fa.wav ")
    (wav / "03a01Nc.wav").rename(wav / "03a01Nc.wav\u200b")
    index = corpora.load("emodb", root).set_index("clip")
    assert index.loc["03a01Fa", "audio"] == str(wav / "03a01Fa.wav ")


def test_recordings_in_other_formats_are_named(tmp_path):
    """MP3 is told from nothing: what lies there, and what to do with it."""
    touch(tmp_path / "ravdess", *(f"A/03-01-03-01-01-0{n}-01.mp3" for n in (1, 2)), "A/x.rar")
    for missing in (FileNotFoundError, ValueError):
        with pytest.raises(missing, match=r"2 .mp3, 1 .rar lie there: unpack or convert .*wav"):
            corpora.load("ravdess", tmp_path)
        step = corpora.overview(tmp_path).set_index("corpus").loc["ravdess", "next step"]
        assert "2 .mp3" in step or "missing" in step
        touch(tmp_path / "ravdess", "A/03-01-04-01-01-01-01.wav")


def test_other_files_are_ignored(root):
    """Texts, hidden files and files in hidden folders are no recordings."""
    names = ("erkennung.txt", "wav/.DS_Store", "wav/._03a01Fa.wav", ".trash/x.wav", "paper.pdf")
    touch(root / "emodb", *names)
    assert len(corpora.load("emodb", root)) == 535


# what is wrong with a corpus


def test_all_problems_are_named_at_once(root):
    """Unknown, empty, doubled, unpublished and missing files come in one message with the way
    out.
    """
    wav = root / "emodb" / "wav"
    (wav / "03a01Wa.wav").rename(wav / "angry.wav")
    (wav / "03a01Nc.wav").rename(wav / "03a01Nz.wav")
    touch(wav, "08a01Na.wav", content=b"")
    touch(wav, "09a01Fa.flac")
    with pytest.raises(ValueError, match="problems: 6") as error:
        corpora.load("emodb", root)
    message = str(error.value)
    assert f"{Path('wav/angry.wav')}: unknown file name" in message
    assert emodb.GRAMMAR in message
    assert f"{Path('wav/03a01Wa.wav')}: missing" in message
    assert f"{Path('wav/03a01Nc.wav')}: missing" in message
    assert "03a01Nz.wav: not among the published clips" in message
    assert f"{Path('wav/08a01Na.wav')}: empty" in message
    assert f"{Path('wav/09a01Fa.wav')}: the same clip as {Path('wav/09a01Fa.flac')}" in message
    assert "complete=False" in message
    assert '"EMO-DB" in data/README.md' in message


def test_many_problems_are_counted(root):
    """Twenty problems are named, the rest counted."""
    for path in sorted((root / "emodb").rglob("03*.wav"))[:25]:
        path.unlink()
    with pytest.raises(ValueError, match="problems: 25") as error:
        corpora.load("emodb", root)
    assert str(error.value).count(": missing") == 20
    assert "and 5 more" in str(error.value)


def test_part_of_a_corpus(tmp_path):
    """complete=False reads what is there, but not what it cannot read."""
    touch(tmp_path / "emodb", "wav/03a01Fa.wav", "wav/03a01Nz.wav")
    assert len(corpora.load("emodb", tmp_path, complete=False)) == 2
    touch(tmp_path / "emodb", "wav/03a02Fa.wav", content=b"")
    with pytest.raises(ValueError, match="empty"):
        corpora.load("emodb", tmp_path, complete=False)


def test_video_of_some_clips_is_no_gap(tmp_path):
    """A medium without a list of published files may be there for some clips only; listed sound may
    not.
    """
    touch(tmp_path / "savee", *published_names(savee), "AudioVisualClip/DC/a01.avi")
    assert corpora.load("savee", tmp_path)["video"].notna().sum() == 1
    touch(tmp_path / "savee", "AudioVisualClip/DC/a02.avi")
    (tmp_path / "savee" / "AudioData" / "DC" / "a02.wav").unlink()
    with pytest.raises(ValueError, match=r"a02.wav: missing"):
        corpora.load("savee", tmp_path)


def test_enterface_as_others_list_it(tmp_path):
    """1,263 files, none of subject 11: 1,230 clips of 41 people; the whole corpus lacks 30."""
    names = [name for name in whole_enterface() if "subject 11/" not in name]
    subjects = pd.Series(names).str.extract(r"subject (\d+)/")[0].value_counts()
    assert (len(names), subjects["6"], subjects["23"], "11" in subjects) == (1263, 6, 27, False)
    touch(tmp_path / "enterface", *names)
    index = corpora.load("enterface", tmp_path, complete=False)
    assert (len(index), index["speaker"].nunique()) == (1230, 41)
    with pytest.raises(ValueError, match=r"problems: 30\n  subject 11.*missing"):
        corpora.load("enterface", tmp_path)


def test_missing_enterface_clip_is_named(tmp_path):
    """A gap in eNTERFACE'05's 42 x 30 grid is named."""
    touch(tmp_path / "enterface", *(name for name in whole_enterface() if "s40_di_4" not in name))
    with pytest.raises(ValueError, match=r"s40_di_4.avi: missing"):
        corpora.load("enterface", tmp_path)


def test_synthetic_list_replaces_the_published_one(tmp_path):
    """SYNTHETIC.txt says what to expect, in every medium, and only that."""
    folder = tmp_path / "ravdess"
    names = ["Audio/03-01-03-01-01-01-01.wav", "Video/01-01-03-01-01-01-01.mp4"]
    names += ["Song/03-02-03-01-01-01-01.wav"]
    names += ["Audio/03-01-03-01-01-02-01.wav", "Video/01-01-03-01-01-02-01.mp4"]
    touch(folder, *names)
    sha256 = hashlib.sha256(b"x").hexdigest()
    lines = [f"{name} sha256:{sha256} 1" for name in names]
    (folder / "SYNTHETIC.txt").write_text("\n".join(["# SYNTHETIC: seed 0", *lines]) + "\n")
    index = corpora.load("ravdess", tmp_path)
    assert len(index) == 2
    assert index.attrs["version"].startswith("synthetic-")
    row = corpora.overview(tmp_path).set_index("corpus").loc["ravdess"]
    assert (row["clips"], row["checksums"]) == ("2/2", "4 of 4 files verified")
    assert row["where"].endswith("(synthetic)")
    (folder / names[-1]).unlink()
    with pytest.raises(ValueError, match=r"01-01-03-01-01-02-01.mp4: missing"):
        corpora.load("ravdess", tmp_path)


@by_name
def test_absent_corpus(reader, tmp_path):
    """A corpus that is not there, or whose folder is empty, is not found; the message says how to
    get it.
    """
    assert not corpora.found(reader.NAME, tmp_path)
    with pytest.raises(FileNotFoundError, match="does not exist") as error:
        corpora.load(reader.NAME, tmp_path)
    assert f"python -m pathemo fetch {reader.NAME}" in str(error.value)
    touch(tmp_path / reader.NAME, "readme.txt")
    assert not corpora.found(reader.NAME, tmp_path)
    with pytest.raises(FileNotFoundError, match="holds no recording"):
        corpora.load(reader.NAME, tmp_path)


def test_left_out_files_alone_are_no_corpus(tmp_path):
    """A folder that holds nothing but song, or subject 6, holds no corpus."""
    touch(tmp_path / "ravdess", "03-02-03-01-01-01-01.wav")
    touch(tmp_path / "enterface", "subject 6/anger/s6_an.avi")
    for name in ("ravdess", "enterface"):
        assert not corpora.found(name, tmp_path)
        with pytest.raises(FileNotFoundError, match="holds no recording"):
            corpora.load(name, tmp_path, complete=False)


def test_unknown_corpus():
    """Another name is refused with the valid ones."""
    with pytest.raises(ValueError, match="emodb, enterface, ravdess, savee"):
        corpora.load("iemocap")


def test_readme_has_a_section_for_each_title():
    """Every message that points to data/README.md points to a heading there."""
    text = (reading.CHECKSUMS.parent / "README.md").read_text(encoding="utf-8")
    for title in (*(reader.TITLE for reader in READERS), "Your own table"):
        assert f"\n## {title}\n" in text


# data root and overview


def test_data_root(tmp_path, monkeypatch):
    """The argument comes before PATHEMO_DATA, that before data/ of the project, that before
    ./data.
    """
    (tmp_path / "project" / "notebooks").mkdir(parents=True)
    (tmp_path / "project" / "environment.yml").write_text("name: pathemo\n")
    monkeypatch.delenv("PATHEMO_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    assert corpora.data_root() == tmp_path / "data"
    monkeypatch.chdir(tmp_path / "project" / "notebooks")
    assert corpora.data_root() == tmp_path / "project" / "data"
    monkeypatch.setenv("PATHEMO_DATA", str(tmp_path / "elsewhere"))
    assert corpora.data_root() == tmp_path / "elsewhere"
    assert corpora.data_root(tmp_path / "here") == tmp_path / "here"


def test_overview_compares_checksums(tmp_path, monkeypatch):
    """Files that are those of the list are counted: none that is changed, converted or unlisted."""
    names = [f"wav/03a0{text}Fa.wav" for text in (1, 2, 4, 5)]
    sha256 = hashlib.sha256(b"x").hexdigest()
    (tmp_path / "emodb.txt").write_text("".join(f"{name} sha256:{sha256} 1\n" for name in names))
    for other in reading.CHECKSUMS.glob("*.txt"):
        (tmp_path / other.name).touch()
    monkeypatch.setattr(reading, "CHECKSUMS", tmp_path)
    touch(tmp_path / "emodb", names[0], names[1])
    touch(tmp_path / "emodb", "wav/03a04Fa.flac", names[3], content=b"y")
    touch(tmp_path / "savee", "DC/a01.avi")
    table = corpora.overview(tmp_path).set_index("corpus")
    row = table.loc["emodb"]
    assert row["checksums"] == "2 of 4 files verified"
    assert row["clips"] == "4/4"
    assert table.loc["savee", "checksums"] == "0 of 1 files verified"
    where = f"{tmp_path / 'enterface'} (not found)"
    assert table.loc["enterface", ["where", "clips"]].tolist() == [where, "0/0"]
    step = f"python -m pathemo fetch enterface --root {tmp_path}"
    assert table.loc["enterface", "next step"] == step


def test_overview_survives_a_broken_corpus(root):
    """A broken corpus gets a row that says what is wrong first."""
    touch(root / "emodb", "wav/03a01Fa.wav", content=b"")
    touch(root / "savee", "AudioData/DC/whatever.wav")
    table = corpora.overview(root).set_index("corpus")
    assert list(table.index) == list(corpora.CORPORA)
    assert "03a01Fa.wav: empty" in table.loc["emodb", "next step"]
    assert table.loc["emodb", "clips"] == "535/535"
    assert "whatever.wav: unknown file name" in table.loc["savee", "next step"]


# own tables


def test_own_table(tmp_path):
    """A CSV gives an index; paths are relative to it; NA is a speaker, 01 stays 01, absent columns
    are NA.
    """
    touch(tmp_path, "sounds/a.wav", "sounds/b.wav")
    table = tmp_path / "mine.csv"
    table.write_text("clip,speaker,emotion,audio\nb,NA,joy,sounds/b.wav\na,01,None,sounds/a.wav\n")
    index = corpora.from_table(table)
    assert list(index) == reading.COLUMNS
    assert (index.dtypes == "string").all()
    assert index["clip"].tolist() == ["a", "b"]
    assert index["speaker"].tolist() == ["01", "NA"]
    assert index["emotion"].tolist() == ["None", "joy"]
    assert index["corpus"].tolist() == ["mine", "mine"]
    assert index["audio"].tolist() == [
        str(tmp_path / "sounds" / "a.wav"),
        str(tmp_path / "sounds" / "b.wav"),
    ]
    assert index[["video", "landmarks", "gender", "statement"]].isna().all(axis=None)
    assert index.attrs["version"].startswith("recorded-")


def test_own_frame_and_its_version(tmp_path, monkeypatch):
    """A DataFrame serves too; another label is another version."""
    touch(tmp_path, "a.wav")
    monkeypatch.chdir(tmp_path)
    row = {"clip": 1, "speaker": 7, "emotion": "joy", "audio": "a.wav", "gender": "female"}
    frame = pd.DataFrame([row])
    index = corpora.from_table(frame)
    assert index.loc[0, ["clip", "corpus", "speaker", "gender"]].tolist() == [
        "1",
        "own",
        "7",
        "female",
    ]
    other = corpora.from_table(frame.assign(emotion="fear"))
    assert other.attrs["version"] != index.attrs["version"]
    assert list(frame) == list(row)


def test_own_images_share_a_clip(tmp_path):
    """Rows of a clip are its frames, in the table's order; speakers may be left out."""
    touch(tmp_path, "2.png", "1.png", "3.png")
    table = tmp_path / "faces.csv"
    table.write_text("clip,emotion,image\nx,joy,2.png\na,fear,3.png\nx,joy,1.png\n")
    index = corpora.from_table(table)
    assert list(index) == [*reading.COLUMNS, "image"]
    assert [Path(path).name for path in index["image"]] == ["3.png", "2.png", "1.png"]
    assert index["speaker"].isna().all()


def test_own_table_names_all_bad_rows(tmp_path):
    """Every bad row is named with its clip and what is wrong."""
    touch(tmp_path, "a.wav")
    touch(tmp_path, "empty.wav", content=b"")
    table = tmp_path / "mine.csv"
    rows = ["a,A,joy,a.wav", "a,A,joy,a.wav", "b,A,joy,none.wav", "c,A,,a.wav", "d,A,joy,"]
    rows += ["e,,joy,a.wav", "f,A,joy,empty.wav", ",A,joy,a.wav"]
    table.write_text("\n".join(["clip,speaker,emotion,audio", *rows]))
    with pytest.raises(ValueError, match="problems: 7") as error:
        corpora.from_table(table)
    for part in (
        "row 2, clip a: is there already",
        f"row 3, clip b: audio {tmp_path / 'none.wav'} is missing or empty",
        "row 4, clip c: no emotion",
        "row 5, clip d: no audio",
        "row 6, clip e: no speaker",
        f"row 7, clip f: audio {tmp_path / 'empty.wav'} is missing or empty",
        "row 8, clip : no clip",
        "Your own table",
    ):
        assert part in str(error.value)


def test_own_frames_that_contradict_each_other(tmp_path):
    """Frames of one clip share speaker and emotion, and no frame comes twice."""
    touch(tmp_path, "1.png", "2.png")
    table = tmp_path / "faces.csv"
    table.write_text("clip,speaker,emotion,image\na,A,joy,1.png\na,B,fear,2.png\na,A,joy,1.png\n")
    with pytest.raises(ValueError, match="problems: 3") as error:
        corpora.from_table(table)
    assert "row 2, clip a: speaker is 'B', in row 1 'A': the same clip" in str(error.value)
    assert "row 2, clip a: emotion is 'fear', in row 1 'joy': the same clip" in str(error.value)
    assert "row 3, clip a: is there already, in row 1" in str(error.value)


def own(folder, *rows):
    """A table of speakers and emotions, each with a recording of its own."""
    touch(folder, *(f"{n}.wav" for n in range(len(rows))))
    return pd.DataFrame(
        [
            dict(clip=f"c{n}", speaker=speaker, emotion=emotion, audio=str(folder / f"{n}.wav"))
            for n, (speaker, emotion) in enumerate(rows)
        ]
    )


@pytest.mark.parametrize(
    ("speaker", "other"),
    [("001", "1"), ("ann", "ANN"), ("1", "1.0"), ("S01", "s1"), ("Stra\u00dfe", "STRASSE")],
)
def test_one_person_in_two_spellings_is_refused(tmp_path, speaker, other):
    """Else that person would be on both sides of a split; emotions alike. Both are named."""
    message = f"row 2, clip c1: speaker is {other!r}, in row 1 {speaker!r}"
    with pytest.raises(ValueError, match="has one spelling") as error:
        corpora.from_table(own(tmp_path, (speaker, "joy"), (other, "joy")))
    assert message in str(error.value) and "problems: 1" in str(error.value)
    with pytest.raises(ValueError, match="emotion is "):
        corpora.from_table(own(tmp_path, ("ann", speaker), ("bob", other)))
    both = own(tmp_path, (speaker, "joy"), (other, "joy")).assign(corpus=["a", "b"])
    assert len(corpora.from_table(both)) == 2  # two people, of two corpora


def test_names_that_differ_in_more_are_other_people(tmp_path):
    """Digits that count are kept."""
    names = ["1", "10", "100", "1.1", "1.10", "0.1", "ann", "anna", "a 1", "a1", "NA"]
    index = corpora.from_table(own(tmp_path, *((name, f"e{name}") for name in names)))
    assert sorted(index["speaker"]) == sorted(names)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("Ren\u00e9", "Rene\u0301"),
        ("ann", "an\u200bn"),
        ("ann", "\ufeffann"),
        ("ann b", "ann\u00a0b "),
    ],
)
def test_what_looks_the_same_is_the_same(tmp_path, name, other):
    """Unicode forms and what has no width are read as one person, one emotion, one column."""
    table = own(tmp_path, (name, name), (other, other)).rename(columns={"speaker": "spe\u200baker"})
    index = corpora.from_table(table)
    assert index["speaker"].tolist() == index["emotion"].tolist() == [name, name]


def test_a_speaker_called_all_is_refused(tmp_path):
    """Result rows mean everybody by it."""
    with pytest.raises(ValueError, match="clip c1: speaker 'all' .*: give another name"):
        corpora.from_table(own(tmp_path, ("ann", "joy"), ("all", "joy")))


def test_one_file_under_two_labels_is_refused(tmp_path):
    """Both rows are named; with one label, two clips may share a file."""
    table = own(tmp_path, ("ann", "joy"), ("ann", "fear")).assign(audio=str(tmp_path / "0.wav"))
    message = "row 2, clip c1: emotion is 'fear', in row 1 'joy': the same audio"
    with pytest.raises(ValueError, match=message):
        corpora.from_table(table)
    assert len(corpora.from_table(table.assign(emotion="joy"))) == 2


@pytest.mark.parametrize(
    ("name", "cell"),
    [("a.wav ", "a.wav"), ("e\u0301.wav", "\u00e9.wav"), ("\u00e9.wav", "e\u0301.wav")],
)
def test_files_of_another_spelling_are_found(tmp_path, name, cell):
    """A blank at the end or another Unicode form is no missing file; the exact name comes first."""
    touch(tmp_path, name)
    table = own(tmp_path, ("ann", "joy")).assign(audio=str(tmp_path / cell))
    assert corpora.from_table(table)["audio"].tolist() == [str(tmp_path / name)]
    touch(tmp_path, cell)
    assert corpora.from_table(table)["audio"].tolist() == [str(tmp_path / cell)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("speaker,audio\nA,a.wav\n", "it needs columns clip, emotion .*; it has speaker, audio"),
        ("clip,emotion,sound\na,joy,a.wav\n", "any of audio, video, image, landmarks, each once"),
        ("clip,emotion,audio\n", "no rows"),
    ],
)
def test_own_table_of_another_shape(tmp_path, text, message):
    """Missing columns and rows are named, with the columns that are there."""
    table = tmp_path / "mine.csv"
    table.write_text(text)
    with pytest.raises(ValueError, match=message):
        corpora.from_table(table)


# recorded corpora


@pytest.mark.recorded
@by_name
def test_recorded_corpus(reader, recorded_root):
    """A recorded corpus has the clips, speakers and emotions that it is known for."""
    if not corpora.found(reader.NAME, recorded_root):
        pytest.skip(f"{reader.TITLE} is not among the recorded corpora")
    index = corpora.load(reader.NAME, recorded_root)
    assert index["emotion"].value_counts().to_dict() == EXPECTED[reader.NAME]
    assert set(index["speaker"]) == set(reader.SPEAKERS)
    assert (
        corpora.overview(recorded_root).set_index("corpus").loc[reader.NAME, "next step"]
        == "none: ready"
    )


def test_savee_has_87_texts():
    """Three are common to all emotions, twelve to one and neutral, 72 belong to one emotion."""
    said = [savee.read_name(path) for path in published_names(savee)]
    emotions = pd.DataFrame(said).groupby("statement")["emotion"].nunique()
    assert emotions.value_counts().to_dict() == {1: 72, 2: 12, 7: 3}
    assert emotions[emotions == 7].index.tolist() == ["c01", "c02", "c03"]
