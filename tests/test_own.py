"""Your own corpus: the profile that `new` writes, and what it refuses."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from pathemo import corpora, own, runner

PROJECT = Path(__file__).parents[1]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with the notebooks and the paper profile, and nothing of a report."""
    (tmp_path / "reports").mkdir()
    shutil.copy(PROJECT / "environment.yml", tmp_path)
    shutil.copy(PROJECT / "reports" / "paper.yaml", tmp_path / "reports")
    shutil.copytree(PROJECT / "notebooks", tmp_path / "notebooks")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def table(folder, index, columns, **changes):
    """A CSV file of an index under names that no corpus knows."""
    path = folder / "mine.csv"
    own = index.assign(speaker="person " + index["speaker"], **changes)
    own[columns].to_csv(path, index=False)
    return path


@pytest.fixture
def calls(project, synthetic_root):
    """The clips of a synthetic corpus as a table of one's own."""
    index = corpora.load("emodb", synthetic_root)
    return table(project, index, ["clip", "speaker", "emotion", "audio"])


def test_a_profile_of_speech_runs_the_study_on_it(calls, project, synthetic_root):
    """The corpus is the target, those that are here and have no recording of it are sources."""
    profile, facts = own.new(calls, synthetic_root)
    assert profile == project / "reports" / "mine.yaml"
    assert facts[0].endswith("of 10 speakers, as speech") and "10 folds" in facts[2]
    assert facts[3] == "sources that are here: savee, ravdess, enterface"
    n_clips = len(corpora.load("emodb", synthetic_root))
    assert facts[4] == f"no source: emodb has {n_clips} of your recordings"
    settings = runner._read_profile("mine")["notebooks"]
    names = settings["04_audio_multi_source_transfer"]["names"]
    assert names == [str(calls), "savee", "ravdess", "enterface"]
    assert settings["05_fine_tuning_comparison"]["targets"] == ["mine"]
    assert settings["08_your_corpus"] == {"target": "mine"}
    paper = yaml.safe_load((PROJECT / "reports" / "paper.yaml").read_text())["notebooks"]
    same = "steps", "seeds", "layers", "sizes"
    for name in same:
        of_paper = paper["02_single_domain_baselines"][name]
        assert settings["02_single_domain_baselines"][name] == of_paper


def test_a_profile_of_faces_runs_the_study_on_it(project, synthetic_root):
    """A table of images goes to the notebooks of faces."""
    index = corpora.load("savee", synthetic_root).dropna(subset="video")
    index = index.assign(image=index["video"])
    profile, facts = own.new(table(project, index, ["clip", "speaker", "emotion", "image"]))
    assert facts[0].endswith("as faces") and facts[3].endswith("none")
    settings = runner._read_profile(profile.stem)["notebooks"]
    assert settings["03_visual_transfer"]["tables"] == [str(project / "mine.csv")]
    assert "04_audio_multi_source_transfer" not in settings


def test_what_cannot_be_a_target_is_refused(calls, synthetic_root):
    """A second profile of the name, no people, and a table that is none: each with the way out."""
    own.new(calls, synthetic_root)
    with pytest.raises(ValueError, match=r"mine.yaml or a corpus mine is there: rename mine.csv"):
        own.new(calls, synthetic_root)
    nobody = calls.with_name("nobody.csv")
    pd.read_csv(calls).drop(columns="speaker").to_csv(nobody, index=False)
    with pytest.raises(ValueError, match="without a column speaker it can be learned from, but"):
        own.new(nobody, synthetic_root)
    (bad := calls.with_name("bad.csv")).write_text("clip,emotion\n1,joy\n")
    with pytest.raises(ValueError, match="bad.csv: it needs columns clip, emotion and any of"):
        own.new(bad, synthetic_root)


def test_indexes_are_of_corpora_and_of_own_tables(calls, synthetic_root):
    """By name and by stem, in order; what is not here is left out, a doubtful name is refused."""
    tables = corpora.indexes(["savee", str(calls), "lost.csv", "ravdess"], synthetic_root)
    assert list(tables) == ["savee", "mine", "ravdess"]
    assert tables["mine"].attrs["version"].startswith("recorded-")
    shutil.copy(calls, twin := calls.with_name("emodb.csv"))
    with pytest.raises(ValueError, match="emodb is the name of another corpus; rename it"):
        corpora.indexes([twin], synthetic_root)
