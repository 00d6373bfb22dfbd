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
    """Outcomes come in the order of the jobs, and do not depend on the number of processes; nor do
    names.

    Of an array above 1 MB, processes get a file: it is found again in memory, and mapped from
    another file."""
    monkeypatch.setenv("PATHEMO_CACHE", str(tmp_path / "one"))
    large = TARGET._replace(features=np.tile(TARGET.features, 500))
    assert large.features.nbytes > 1_000_000
    turned = TARGET._replace(
        features=np.asfortranarray(TARGET.features)
    )  # lies in another way elsewhere
    jobs = [(protocol, TARGET, (NEAR,), BRIEF) for protocol in PROTOCOLS]
    jobs += [(from_scratch, task, (), BRIEF | {"steps": 10}) for task in (large, turned)]
    alone = list(study.outcomes_of(jobs))
    monkeypatch.setenv("PATHEMO_CACHE", str(tmp_path / "two"))
    together = study.outcomes_of(jobs, n_jobs=2)
    monkeypatch.setattr(
        transfer, "_study", None
    )  # this process computes nothing: it finds what others made
    for first, second in zip(alone, together, strict=True):
        pd.testing.assert_frame_equal(first.rows, second.rows)
    joblib.dump(large.features, tmp_path / "features")
    mapped = large._replace(features=joblib.load(tmp_path / "features", mmap_mode="r"))
    assert isinstance(mapped.features, np.memmap)
    assert (
        len(list(study.outcomes_of([*jobs, (from_scratch, mapped, (), jobs[-1][-1])])))
        == len(jobs) + 1
    )


def test_time_left_is_that_of_missing_jobs(tmp_path, monkeypatch):
    """The progress bar starts at what is on the disk, so that its pace is that of jobs that are
    computed.
    """
    monkeypatch.setenv("PATHEMO_CACHE", str(tmp_path))
    bars, brief = [], BRIEF | {"steps": 10}
    monkeypatch.setattr(study, "tqdm", lambda made, **shown: bars.append(shown) or made)
    jobs = [(protocol, TARGET, (NEAR,), brief) for protocol in PROTOCOLS]
    list(study.outcomes_of(jobs[:1]))
    list(study.outcomes_of(jobs))
    assert [(bar["initial"], bar["total"]) for bar in bars] == [(0, 1), (1, len(jobs))]


SEVERAL = [
    (pathnet, TARGET, (NEAR,), BRIEF | {"steps": 100, "width": width}) for width in range(4, 10)
]


def test_a_stopped_study_goes_on(tmp_path, monkeypatch):
    """Stopped as a notebook is stopped, it ends its processes; what was finished is not computed
    again.
    """
    code = (
        "import signal, test_study as t\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's `&` has it ignored
        "list(t.study.outcomes_of(t.SEVERAL, n_jobs=2))"
    )
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


def test_a_target_has_no_part_in_the_choice_of_its_settings(tmp_path, monkeypatch):
    """Trials learn and test the other corpora alone, by three seeds; the target learns with what
    they choose.

    A rate of zero learns nothing and is given up, a worse width is not taken. One setting is tried
    after the other, those of evolution only where a path evolves."""
    monkeypatch.setenv("PATHEMO_CACHE", str(tmp_path))
    seen, outcomes_of = [], study.outcomes_of
    monkeypatch.setattr(
        study, "outcomes_of", lambda jobs, **o: seen.extend(jobs) or outcomes_of(jobs, **o)
    )
    others = {name: TARGET._replace(name=name) for name in ("one", "two")}
    tasks = {
        (task.name, "plain"): task for task in (TARGET, *others.values(), NEAR._replace(folds=()))
    }
    space = {"learning_rate": [0.0, 0.01], "width": [8, 1], "population_size": [2, 4]}
    grid = [(p, "target", ("one",), "plain") for p in (fine_tune, pathnet)]
    grid += [(from_scratch, "target", (), "plain"), (pathnet, "target", (), "plain")]
    settings = BRIEF | {"seeds": (5, 6, 7, 8)}
    chosen, trials = study.choose([*grid, (pathnet, "lost", (), "plain")], tasks, settings, space)
    for protocol, target, sources, settings in seen:
        assert target.name in others and settings["seeds"] == (5, 6, 7)
        assert [source.name for source in sources] in (
            [],
            [name for name in others if name != target.name],
        )
        assert settings["population_size"] == 2 or protocol is pathnet
        assert (
            settings["width"] == 8 or protocol is from_scratch
        )  # which decides for all how large they are
    assert list(chosen) == [study.kind(run) for run in grid]
    assert all((of["learning_rate"], of["width"]) == (0.01, 8) for of in chosen.values())
    assert trials["protocol"].value_counts().to_dict() == {
        "fine_tune": 4,
        "from_scratch": 4,
        "pathnet": 5,
        "pathnet_scratch": 5,
    }
    reached = [
        _mean_uar(from_scratch(t, **seen[0][3] | {"learning_rate": 0.01})) for t in others.values()
    ]
    row = trials.query("protocol == 'from_scratch' and setting == 'learning_rate'")
    assert row["development"].item() == pytest.approx(np.mean(reached))
    rows, outcomes = study.run(grid[:1], tasks, BRIEF, chosen=chosen)
    known = fine_tune(TARGET, (others["one"],), **BRIEF | chosen["fine_tune", "target", "plain"])
    assert (outcomes[grid[0]].posteriors == known.posteriors).all()
    pd.testing.assert_frame_equal(rows, known.rows)


def test_without_other_corpora_the_first_values_are_taken(tmp_path, monkeypatch):
    """Of two corpora none is left to be a source; a protocol that needs none is chosen by the other
    one.
    """
    monkeypatch.setenv("PATHEMO_CACHE", str(tmp_path))
    tasks = {(task.name, "plain"): task for task in (TARGET, TARGET._replace(name="one"))}
    grid = [(fine_tune, "target", ("one",), "plain"), (from_scratch, "target", (), "plain")]
    chosen, trials = study.choose(grid, tasks, BRIEF, {"learning_rate": [0.0, 0.01]})
    assert [of["learning_rate"] for of in chosen.values()] == [0.0, 0.01]
    assert set(trials["protocol"]) == {"from_scratch"}


def _mean_uar(outcome):
    return outcome.rows.query("metric == 'uar' and speaker != 'all'")["value"].mean()


def test_a_study_gives_rows_for_what_cannot_run(tmp_path, monkeypatch):
    """Runs whose corpora are here have outcomes; the others have a row that names what is
    missing.
    """
    monkeypatch.setenv("PATHEMO_CACHE", str(tmp_path))
    tasks = {(t.name, "plain"): t for t in (TARGET, NEAR)}
    runs = [
        (fine_tune, "target", ("near",)),
        (fine_tune, "target", ("lost",)),
        (pathnet, "lost", ()),
    ]
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
    """Orders are of corpora that are here, for a target that is; a missing one stands alone, to be
    named.
    """
    tasks = {(name, "plain") for name in "abc"}
    assert study.sources_for("a", list("abc"), tasks) == [("b",), ("c",), ("b", "c"), ("c", "b")]
    assert study.sources_for("d", list("abcd"), tasks) == [("a",), ("b",), ("c",)]
    assert study.sources_for("a", list("ab"), tasks) == [("b",)]


@pytest.mark.parametrize("modality", ["speech", "log-mel"])
def test_faster_and_slower_copies_are_rows_of_the_same_clips(
    modality, synthetic_root, tmp_path, monkeypatch
):
    """Each speed adds its rows, of its own scale when speakers are normalised; folds are of
    clips.
    """
    monkeypatch.setenv("PATHEMO_CACHE", str(tmp_path))
    index = corpora.load("savee", synthetic_root).groupby("speaker").head(3).reset_index(drop=True)
    [alone] = study.tasks_of({"savee": index}, modality, ["speaker-normalised"]).values()
    [both] = study.tasks_of(
        {"savee": index}, modality, ["speaker-normalised"], speeds=[1.0, 1.1]
    ).values()
    n_rows = len(alone.features)
    assert (both.features[:n_rows] == alone.features).all() and len(both.features) > n_rows
    assert set(both.clip) == set(both.clip[n_rows:]) == set(range(12)) and len(both.emotion) == 12
    assert [fold.name for fold in both.folds] == ["DC", "JE", "JK", "KL"]
    of_first = both.features[n_rows:][both.speaker[both.clip[n_rows:]] == "DC"]
    assert abs(of_first.mean(0)).max() < 1e-4


def test_tasks_of_the_corpora_that_have_the_medium(synthetic_root, tmp_path, monkeypatch):
    """Each modality gives tasks of its own inputs, for corpora that have its files; frames share a
    clip.
    """
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
    with pytest.raises(
        ValueError, match="'smell': choose one of speech, log-mel, landmarks, hog, crops"
    ):
        study.tasks_of(indexes, "smell", ["plain"])
