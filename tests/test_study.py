"""The grid: kept outcomes, processes, and rows for what cannot run."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import psutil
import pytest
from test_transfer import BRIEF, NEAR, PROTOCOLS, TARGET

from pathemo import corpora, faces, study, transfer
from pathemo.transfer import fine_tune, from_scratch, pathnet

learn = transfer._study


def test_finished_jobs_are_kept(tmp_path, monkeypatch):
    """A second run of the same jobs computes nothing; other settings, data or engine code do."""
    monkeypatch.setenv("PATHEMO_CACHE", str(tmp_path))
    computed = []
    monkeypatch.setattr(transfer, "_study", lambda *a, **k: computed.append(k) or learn(*a, **k))
    job = (from_scratch, TARGET, (), BRIEF)
    first, again = (list(study.outcomes_of([job]))[0] for _ in range(2))
    pd.testing.assert_frame_equal(first.rows, again.rows)
    assert len(computed) == 1
    list(study.outcomes_of([job, (from_scratch, TARGET, (), {**BRIEF, "steps": 20})]))
    list(study.outcomes_of([(from_scratch, NEAR, (), BRIEF)]))
    assert len(computed) == 3
    monkeypatch.setattr(study, "CODE", "changed")
    list(study.outcomes_of([job]))
    assert len(computed) == 4


def test_jobs_side_by_side_give_the_same(tmp_path, monkeypatch):
    """Outcomes come in the order of the jobs, and do not depend on the number of processes; nor do names.

    Of an array above 1 MB, processes get a file: it is found again in memory, and mapped from another file.
    """
    monkeypatch.setenv("PATHEMO_CACHE", str(tmp_path / "one"))
    large = TARGET._replace(features=np.tile(TARGET.features, 500))
    assert large.features.nbytes > 1_000_000
    turned = TARGET._replace(features=np.asfortranarray(TARGET.features))  # lies in another way elsewhere
    jobs = [(protocol, TARGET, (NEAR,), BRIEF) for protocol in PROTOCOLS]
    jobs += [(from_scratch, task, (), BRIEF | {"steps": 10}) for task in (large, turned)]
    alone = list(study.outcomes_of(jobs))
    monkeypatch.setenv("PATHEMO_CACHE", str(tmp_path / "two"))
    together = study.outcomes_of(jobs, n_jobs=2)
    monkeypatch.setattr(transfer, "_study", None)  # this process computes nothing: it finds what others made
    for first, second in zip(alone, together, strict=True):
        pd.testing.assert_frame_equal(first.rows, second.rows)
    joblib.dump(large.features, tmp_path / "features")
    mapped = large._replace(features=joblib.load(tmp_path / "features", mmap_mode="r"))
    assert isinstance(mapped.features, np.memmap)
    assert len(list(study.outcomes_of([*jobs, (from_scratch, mapped, (), jobs[-1][-1])]))) == len(jobs) + 1


def test_time_left_is_that_of_missing_jobs(tmp_path, monkeypatch):
    """The progress bar starts at what is on the disk, so that its pace is that of jobs that are computed."""
    monkeypatch.setenv("PATHEMO_CACHE", str(tmp_path))
    bars, brief = [], BRIEF | {"steps": 10}
    monkeypatch.setattr(study, "tqdm", lambda made, **shown: bars.append(shown) or made)
    jobs = [(protocol, TARGET, (NEAR,), brief) for protocol in PROTOCOLS]
    list(study.outcomes_of(jobs[:1]))
    list(study.outcomes_of(jobs))
    assert [(bar["initial"], bar["total"]) for bar in bars] == [(0, 1), (1, len(jobs))]


SEVERAL = [(pathnet, TARGET, (NEAR,), BRIEF | {"steps": 100, "width": width}) for width in range(4, 10)]


def test_a_stopped_study_goes_on(tmp_path, monkeypatch):
    """Stopped as a notebook is stopped, it ends its processes; what was finished is not computed again."""
    code = ("import signal, test_study as t\n"
            "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's `&` has it ignored
            "list(t.study.outcomes_of(t.SEVERAL, n_jobs=2))")  # fmt: skip
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
    environment = {"PATHEMO_CACHE": str(tmp_path), "PYTHONPATH": os.pathsep.join(paths)}
    options = dict(env=os.environ | environment, start_new_session=True, stderr=subprocess.PIPE)
    process = subprocess.Popen([sys.executable, "-c", code], **options)
    while not list(tmp_path.rglob("output.pkl")) and process.poll() is None:
        time.sleep(0.02)
    processes = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)  # as Jupyter does
    assert b"KeyboardInterrupt" in process.communicate(timeout=120)[1]
    finished = len(list(tmp_path.rglob("output.pkl")))
    assert 0 < finished < len(SEVERAL)
    gone = (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    while [p for p in processes if p.is_running() and p.status() not in gone]:
        time.sleep(0.02)
    assert len(list(tmp_path.rglob("output.pkl"))) == finished
    computed = []
    monkeypatch.setenv("PATHEMO_CACHE", str(tmp_path))
    monkeypatch.setattr(transfer, "_study", lambda *a, **k: computed.append(k) or learn(*a, **k))
    assert len(list(study.outcomes_of(SEVERAL))) == len(SEVERAL) == finished + len(computed)


def test_each_fold_chooses_by_its_own_training_speakers(tmp_path, monkeypatch):
    """Of a candidate that learns and one that does not, each fold takes the first, and learns with it whole.

    No trial has a test speaker of its fold, on either side, and what is reported is that of the settings.
    """
    monkeypatch.setenv("PATHEMO_CACHE", str(tmp_path))
    seen = []

    def watching(jobs, **options):
        seen.append(jobs)
        return outcomes_of(jobs, **options)

    outcomes_of = study.outcomes_of
    monkeypatch.setattr(study, "outcomes_of", watching)
    candidates = [{"learning_rate": 0.0}, {"learning_rate": 0.01}]
    grid = [(fine_tune, "target", ("near",), "plain"), (pathnet, "lost", (), "plain")]
    tasks = {(t.name, "plain"): t for t in (TARGET, NEAR)}
    rows, outcomes = study.run(grid, tasks, BRIEF, candidates=candidates)
    trials, finals = seen
    tested = {fold.name: set(TARGET.speaker[fold.test]) for fold in TARGET.folds}
    for _, target, _, settings in trials:
        assert settings["seeds"] == BRIEF["seeds"][:1] and len(target.folds) == 3 * 2
        for fold in target.folds:
            sides = [set(TARGET.speaker[side]) for side in (fold.train, fold.test)]
            assert not sides[0] & sides[1] and not (sides[0] | sides[1]) & tested[fold.name.split("/")[0]]
    [(_, target, _, settings)] = finals
    assert [fold.name for fold in target.folds] == list(tested) and settings == BRIEF | candidates[1]
    outcome = outcomes[grid[0]]
    chosen = outcome.choice.query("chosen")
    assert chosen["candidate"].eq(1).all() and chosen["fold"].tolist() == list(tested)
    known = fine_tune(TARGET, (NEAR,), **settings)
    pd.testing.assert_frame_equal(outcome.rows, known.rows)
    assert (outcome.posteriors == known.posteriors).all()
    assert rows["note"].ne("").sum() == 1


def test_folds_that_choose_differently_make_one_outcome(tmp_path, monkeypatch):
    """Each fold's posteriors are those of the settings that it chose."""
    monkeypatch.setenv("PATHEMO_CACHE", str(tmp_path))
    candidates = [{"width": 8}, {"width": 4}]
    monkeypatch.setattr(study, "_choice", lambda rows: pd.DataFrame(
        {"fold": [f.name for f in TARGET.folds], "candidate": [0, 1, 0], "chosen": True}))
    [outcome] = study.chosen([(from_scratch, TARGET, (), BRIEF)], candidates)
    whole = [from_scratch(TARGET, **BRIEF | candidate) for candidate in candidates]
    for fold, candidate in zip(TARGET.folds, (0, 1, 0), strict=True):
        expected = whole[candidate].posteriors[:, fold.test]
        assert abs(outcome.posteriors[:, fold.test] - expected).max() < 1e-5
    assert [len(part.rows["fold"].unique()) for part in outcome.parts] == [3, 2]  # with "all"


def test_a_study_gives_rows_for_what_cannot_run(tmp_path, monkeypatch):
    """Runs whose corpora are here have outcomes; the others have a row that names what is missing."""
    monkeypatch.setenv("PATHEMO_CACHE", str(tmp_path))
    tasks = {(t.name, "plain"): t for t in (TARGET, NEAR)}
    runs = [(fine_tune, "target", ("near",)), (fine_tune, "target", ("lost",)), (pathnet, "lost", ())]
    grid = [*((*run, "plain") for run in runs), (fine_tune, "target", ("near",), "hog, plain")]
    rows, outcomes = study.run(grid, tasks, BRIEF)
    assert list(outcomes) == grid[:1]
    missing = rows[rows.note.ne("")]
    assert missing.protocol.tolist() == ["fine_tune", "pathnet_scratch", "fine_tune"]
    said = "not run: {} not found, see data/README.md"
    lost = ["lost (plain)", "lost (plain)", "target, near (hog, plain)"]
    assert missing.note.tolist() == [said.format(names) for names in lost]
    assert len(rows) == len(missing) + len(outcomes[grid[0]].rows)


def test_sources_are_tried_alone_and_all_in_every_order():
    """Orders are of corpora that are here, for a target that is; a missing one stands alone, to be named."""
    tasks = {(name, "plain") for name in "abc"}
    assert study.sources_for("a", list("abc"), tasks) == [("b",), ("c",), ("b", "c"), ("c", "b")]
    assert study.sources_for("d", list("abcd"), tasks) == [("a",), ("b",), ("c",)]
    assert study.sources_for("a", list("ab"), tasks) == [("b",)]


@pytest.mark.parametrize("modality", ["speech", "log-mel"])
def test_faster_and_slower_copies_are_rows_of_the_same_clips(modality, synthetic_root, tmp_path, monkeypatch):
    """Each speed adds its rows, of its own scale when speakers are normalised; folds are of clips."""
    monkeypatch.setenv("PATHEMO_CACHE", str(tmp_path))
    index = corpora.load("savee", synthetic_root).groupby("speaker").head(3).reset_index(drop=True)
    [alone] = study.tasks_of({"savee": index}, modality, ["speaker-normalised"]).values()
    [both] = study.tasks_of({"savee": index}, modality, ["speaker-normalised"], speeds=[1.0, 1.1]).values()
    n_rows = len(alone.features)
    assert (both.features[:n_rows] == alone.features).all() and len(both.features) > n_rows
    assert set(both.clip) == set(both.clip[n_rows:]) == set(range(12)) and len(both.emotion) == 12
    assert [fold.name for fold in both.folds] == ["DC", "JE", "JK", "KL"]
    of_first = both.features[n_rows:][both.speaker[both.clip[n_rows:]] == "DC"]
    assert abs(of_first.mean(0)).max() < 1e-4


def test_tasks_of_the_corpora_that_have_the_medium(synthetic_root, tmp_path, monkeypatch):
    """Each modality gives tasks of its own inputs, for corpora that have its files; frames share a clip."""
    monkeypatch.setenv("PATHEMO_CACHE", str(tmp_path))
    indexes = {}
    for name in ("savee", "ravdess"):
        index = corpora.load(name, synthetic_root)
        indexes[name] = index.groupby(["speaker", "emotion"]).head(1).reset_index(drop=True)
    indexes["savee"].loc[:, "audio"] = pd.NA
    made = study.tasks_of(indexes, "landmarks", ["plain"])
    assert list(made) == [("ravdess", "landmarks, plain")]
    assert made["ravdess", "landmarks, plain"].features.shape[1] == len(faces.FUNCTIONALS)
    few = {"savee": indexes["savee"].groupby("speaker").head(2).reset_index(drop=True)}
    hog = study.tasks_of(few, "hog", ["plain", "speaker-normalised"], n_frames=2)
    assert list(hog) == [("savee", "hog, plain"), ("savee", "hog, speaker-normalised")]
    one = hog["savee", "hog, plain"]
    assert one.features.shape == (len(one.clip), 1344) and len(one.emotion) == len(few["savee"])
    crops = study.tasks_of(few, "crops", ["plain"], n_frames=2)["savee", "crops, plain"]
    assert crops.features.shape == (len(one.clip), 1, 48, 48)
    with pytest.raises(ValueError, match="'smell': choose one of speech, log-mel, landmarks, hog, crops"):
        study.tasks_of(indexes, "smell", ["plain"])
