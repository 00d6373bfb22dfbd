"""The jobs of a study: kept outcomes, processes, the choice of settings, what cannot run."""

import ast
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from sklearn.naive_bayes import GaussianNB
from test_transfer import BRIEF, NEAR, TARGET

from pathemo import files, study, transfer
from pathemo.metrics import check_rows
from pathemo.study import Job
from pathemo.transfer import fine_tune, from_scratch, frozen_features, pathnet

learn_all = transfer._learn_all
ABSENT = replace(TARGET, name="lost", emotion=np.empty(0, str), folds=())
QUICK = BRIEF | {"steps": 10}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PATHEMO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PATHEMO_DASK", raising=False)


@pytest.fixture
def computed(monkeypatch):
    """List of the protocols that this process computes."""
    names = []
    monkeypatch.setattr(
        transfer, "_learn_all", lambda *a, **k: names.append(a[0]) or learn_all(*a, **k)
    )
    return names


def kept(folder):
    return list(folder.rglob("outcomes/*.npz"))


def test_finished_jobs_are_kept(computed, monkeypatch):
    """A second run computes nothing; other settings, data, fields of a task, or code do."""
    job = Job(from_scratch, TARGET, (), QUICK)
    [first], [again] = study.run([job]), study.run([job])
    pd.testing.assert_frame_equal(first.rows, again.rows)
    assert (first.posteriors == again.posteriors).all() and len(computed) == 1
    features = TARGET.features.copy()
    features[0, 0] += 1
    others = [
        job._replace(settings=QUICK | {"steps": 20}),
        job._replace(target=replace(TARGET, features=features)),
        job._replace(target=replace(TARGET, folds=TARGET.folds[:2])),
        job._replace(target=replace(TARGET, variant="steps=10")),
        job._replace(protocol=pathnet),
        job._replace(protocol=fine_tune, sources=(NEAR,)),
    ]
    study.run([*others, job, job])
    assert len(computed) == 7
    monkeypatch.setattr(files, "code_digest", lambda *rooms: "changed")
    study.run([job])
    assert len(computed) == 8


def imports(path):
    """Rooms of this package that a module imports."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            rooms |= {node.module} if node.module else {alias.name for alias in node.names}
    return rooms


def test_an_outcome_is_of_all_code_that_it_depends_on(tmp_path, monkeypatch):
    """A new file of the engine, and a change of what the protocols call, outdate outcomes.

    Features are data: what makes them is no part of it."""
    own = {Path(room).stem for room in study.ROOMS}
    for room in ("metrics", "splits", "tasks", "transfer"):
        assert imports(files.PACKAGE / f"{room}.py") <= own | {"faces", "files", "speech"}
    for room in study.ROOMS:
        copy = shutil.copytree if (files.PACKAGE / room).is_dir() else shutil.copy
        copy(files.PACKAGE / room, tmp_path / room)
    monkeypatch.setattr(files, "PACKAGE", tmp_path)
    digest, digests = files.code_digest.__wrapped__, []
    for changed in ("engine/new.py", "engine/layers.py", "metrics.py", "splits.py", "tasks.py"):
        digests.append(digest(*study.ROOMS))
        with open(tmp_path / changed, "a") as file:
            file.write("ADDED = 1\n")
    assert len({*digests, digest(*study.ROOMS)}) == 6


def test_damaged_outcomes_are_computed_again(computed):
    """Whichever byte is flipped, cut short, empty or other content: the outcome is the same."""
    job = Job(from_scratch, replace(TARGET, folds=TARGET.folds[:2]), (), QUICK | {"seeds": (0,)})
    [outcome] = study.run([job])
    [path] = kept(files.cache_folder())
    whole = path.read_bytes()
    damaged = [b"", whole[:50], whole[: len(whole) // 2], b"no archive", whole[::-1]]
    for place in np.random.default_rng(0).integers(len(whole), size=10):
        damaged.append(whole[:place] + bytes([whole[place] ^ 8]) + whole[place + 1 :])
    for content in damaged:
        path.write_bytes(content)
        [again] = study.run([job])
        pd.testing.assert_frame_equal(again.rows, outcome.rows)
        assert np.array_equal(again.posteriors, outcome.posteriors, equal_nan=True)
    assert len(computed) > len(damaged) - 3  # a few bytes of an archive tell nothing
    assert kept(files.cache_folder()) == [path]


def test_jobs_side_by_side_give_the_same(tmp_path, monkeypatch):
    """Outcomes are in the order of the jobs, whatever the number of processes; so are names.

    Of an array above 1 MB, processes get a file, and it may lie in memory in another way."""
    large = replace(TARGET, features=np.tile(TARGET.features, 500))
    turned = replace(TARGET, features=np.asfortranarray(TARGET.features))
    assert large.features.nbytes > 1_000_000
    jobs = [Job(protocol, TARGET, (NEAR,), QUICK) for protocol in (pathnet, fine_tune)]
    jobs += [Job(from_scratch, task, (), QUICK) for task in (large, turned)]
    alone = study.run(jobs)
    monkeypatch.setenv("PATHEMO_CACHE", str(tmp_path / "other"))
    together = study.run(jobs, n_jobs=2)
    monkeypatch.setattr(transfer, "_learn_all", None)  # here nothing is computed: all are kept
    for first, second, third in zip(alone, together, study.run(jobs), strict=True):
        pd.testing.assert_frame_equal(first.rows, second.rows)
        pd.testing.assert_frame_equal(first.rows, third.rows)


def test_time_left_is_that_of_missing_jobs(monkeypatch):
    """The bar starts at what is on the disk, so that its pace is that of computed jobs."""
    bars = []
    monkeypatch.setattr(study, "tqdm", lambda results, **shown: bars.append(shown) or results)
    jobs = [Job(protocol, TARGET, (NEAR,), QUICK) for protocol in (from_scratch, fine_tune)]
    study.run(jobs[:1])
    study.run(jobs)
    assert [(bar["initial"], bar["total"]) for bar in bars] == [(0, 1), (1, 2)]


SEVERAL = [Job(pathnet, TARGET, (NEAR,), BRIEF | {"steps": 60, "width": w}) for w in range(4, 10)]


def test_a_stopped_study_goes_on(tmp_path, computed):
    """Stopped as Jupyter does, it ends its processes; what was finished is not computed again."""
    code = (
        "import signal, test_study as t\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's `&` has it ignored
        "t.study.run(t.SEVERAL, n_jobs=2)"
    )
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
    options = dict(env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)})
    options |= dict(start_new_session=True, stderr=subprocess.PIPE)
    process = subprocess.Popen([sys.executable, "-c", code], **options)
    while not kept(tmp_path) and process.poll() is None:
        time.sleep(0.02)
    children = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)  # as Jupyter does
    assert b"KeyboardInterrupt" in process.communicate(timeout=120)[1]
    finished = len(kept(tmp_path))
    assert 0 < finished < len(SEVERAL)
    gone = (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    while [child for child in children if child.is_running() and child.status() not in gone]:
        time.sleep(0.02)
    assert len(kept(tmp_path)) == finished
    assert len(study.run(SEVERAL)) == len(SEVERAL) == finished + len(computed)


def test_a_loss_that_is_not_finite_is_a_row_that_says_so(computed):
    """The other jobs go on, and it is not tried again."""
    wrong = QUICK | {"learning_rate": 1e30, "optimiser": "sgd"}
    target = replace(TARGET, variant="steps=10")
    jobs = [Job(pathnet, target, (NEAR,), wrong), Job(from_scratch, TARGET, (), QUICK)]
    for _ in range(2):
        failed, good = study.run(jobs)
        assert failed[1:] == (None,) * 4 and good.rows["value"].notna().all()
        [row] = check_rows(failed.rows).to_dict("records")
        names = [row[column] for column in ("protocol", "source", "target", "variant")]
        assert names == ["pathnet", "near", "target", "steps=10"]
        assert row["note"].startswith("not run: the loss of replicas [0, 1] on 'near 0' is not")
    assert len(computed) == 2


def test_what_cannot_run_has_a_row_that_says_so(computed):
    """Jobs whose corpora are not all here name those that are missing, in the order of the jobs."""
    jobs = [
        Job(fine_tune, TARGET, (NEAR,), QUICK),
        Job(fine_tune, TARGET, (ABSENT, NEAR), QUICK),
        Job(pathnet, replace(ABSENT, inputs="speaker-normalised", modality="hog"), (), QUICK),
    ]
    good, *missing = study.run(jobs)
    assert good.posteriors is not None and len(computed) == 1
    assert all(outcome[1:] == (None,) * 4 for outcome in missing)
    rows = check_rows(pd.concat([outcome.rows for outcome in missing]))
    columns = ["protocol", "source", "target", "modality", "inputs", "note"]
    note = "not run: {} of lost not found, see data/README.md"
    assert rows[columns].to_numpy().tolist() == [
        ["fine_tune", "lost+near", "target", "speech", "plain", note.format("speech")],
        [
            "pathnet_scratch",
            "",
            "lost",
            "hog",
            "speaker-normalised",
            note.format("hog"),
        ],
    ]


def test_sources_are_tried_alone_and_all_in_every_order():
    """Orders are of corpora that are here, for a target that is; a missing one stands alone."""
    tasks = {(name, "plain"): replace(TARGET, name=name) for name in "abc"}
    tasks["d", "plain"] = replace(ABSENT, name="d")
    singles = [("b",), ("c",), ("d",)]
    assert study.source_lists("a", "abcd", tasks) == [*singles, ("b", "c"), ("c", "b")]
    assert study.source_lists("d", "abcd", tasks) == [("a",), ("b",), ("c",)]
    assert study.source_lists("a", "ab", tasks) == [("b",)]


ONE, TWO = (replace(TARGET, name=name) for name in ("one", "two"))
SETTINGS = QUICK | {"seeds": (5, 6, 7, 8)}
SIZES = [{"width": 1}, {"width": 8, "learning_rate": 0.02}]


def all_jobs(target):
    """Every kind of protocol on one target."""
    jobs = [Job(protocol, target, (ONE,), SETTINGS) for protocol in (fine_tune, pathnet)]
    return [
        *jobs,
        Job(from_scratch, target, (), SETTINGS),
        Job(frozen_features, target, (TWO,), SETTINGS),
    ]


def test_a_target_has_no_part_in_the_choice_of_its_settings(monkeypatch):
    """With noise in its place the others choose the same, by the same scores; no trial has it."""
    noise = np.random.default_rng(0).standard_normal(TARGET.features.shape, np.float32)
    emotion = np.random.default_rng(1).permutation(TARGET.emotion)
    seen, run = [], study.run
    monkeypatch.setattr(study, "run", lambda jobs, **o: seen.extend(jobs) or run(jobs, **o))
    chosen, trials = study.choose(all_jobs(TARGET), SIZES)
    noisy = all_jobs(replace(TARGET, features=noise, emotion=emotion))
    others, same_trials = study.choose(noisy, SIZES)
    pd.testing.assert_frame_equal(trials, same_trials)
    assert [job.settings for job in chosen] == [job.settings for job in others]
    assert [job.target for job in chosen] == [TARGET] * 4
    for job in seen:
        assert job.protocol is from_scratch and job.target.name in ("one", "two")
        assert job.settings["seeds"] == (5, 6, 7)  # the first three


def test_a_pool_of_corpora_chooses_nothing(monkeypatch):
    """It has clips of the target of another job, and folds."""
    seen, run = [], study.run
    monkeypatch.setattr(study, "run", lambda jobs, **o: seen.extend(jobs) or run(jobs, **o))
    three = [TARGET, ONE, TWO]
    pools = [transfer.pooled([task for task in three if task is not target]) for target in three]
    study.choose([Job(fine_tune, t, (p,), SETTINGS) for t, p in zip(three, pools)], SIZES)
    assert {job.target.name for job in seen} == {"target", "one", "two"}


def test_one_size_is_chosen_for_all_protocols():
    """By the highest mean UAR from scratch over the other corpora, with the first three seeds."""
    chosen, trials = study.choose(all_jobs(TARGET), SIZES)
    columns = ["target", "modality", "inputs", "development", "chosen", "candidate"]
    assert list(trials) == columns
    assert trials["candidate"].tolist() == ["width=1", "width=8, learning_rate=0.02"]
    assert set(trials["target"]) == {"target"} and set(trials["inputs"]) == {"plain"}
    for number, size in enumerate(SIZES):
        uar = []
        for other in (ONE, TWO):
            rows = from_scratch(other, **SETTINGS | size | {"seeds": (5, 6, 7)}).rows
            uar.append(rows.query("metric == 'uar' and speaker != 'all'")["value"].mean())
        assert trials["development"][number] == pytest.approx(np.mean(uar))
    assert trials["chosen"].tolist() == [False, True] == trials["development"].gt(0.6).tolist()
    assert [job.settings for job in chosen] == [SETTINGS | SIZES[1]] * 4


def test_without_other_corpora_the_first_size_is_taken():
    """Nothing is tried then, nor where there is one size alone."""
    sizes = [{"learning_rate": 1e-9}, {"learning_rate": 0.02}]
    [alone], trials = study.choose([Job(pathnet, TARGET, (), QUICK)], sizes)
    assert alone.settings["learning_rate"] == 1e-9 and trials.empty
    jobs, trials = study.choose([Job(pathnet, TARGET, (ONE,), QUICK)], sizes[1:])
    assert jobs[0].settings["learning_rate"] == 0.02 and trials.empty
    jobs, trials = study.choose([Job(pathnet, TARGET, (ONE,), QUICK)], sizes)
    assert jobs[0].settings["learning_rate"] == 0.02 and len(trials) == 2


def in_layers(name, layer, noise, seed=0):
    """A task whose emotion is the better hidden the more noise there is, said in two sentences."""
    generator = np.random.default_rng([seed, layer])
    features = TARGET.features + noise * generator.standard_normal(TARGET.features.shape)
    said = np.tile(["one", "other"], len(TARGET.emotion) // 2)
    return replace(TARGET, name=name, features=features.astype(np.float32), statement=said)


def test_layers_are_chosen_by_the_other_corpora_on_unheard_sentences(monkeypatch):
    """The target's own best layer counts for nothing, its clips have no part; folds of trials have
    neither speaker nor sentence on both sides."""
    seen, run = [], study.run
    monkeypatch.setattr(study, "run", lambda jobs, **o: seen.extend(jobs) or run(jobs, **o))
    noises = {(1,): {"a": 9, "b": 0, "c": 0}, (2,): {"a": 0, "b": 9, "c": 9}}
    candidates = {
        layers: {(name, "plain"): in_layers(name, layers[0], noise) for name, noise in of.items()}
        for layers, of in noises.items()
    }
    tasks, trials = study.choose_layers(candidates, GaussianNB())
    assert tasks["a", "plain"] is candidates[(1,)]
    assert trials.query("target == 'a' and chosen")["candidate"].tolist() == ["[1]"]
    assert len(trials) == 6 and trials.groupby("target")["chosen"].sum().eq(1).all()
    noises = {(1,): {"a": 9, "b": 0}, (2,): {"a": 0, "b": 2}}  # with "a" its own layer would win
    two = {
        layers: {(name, "plain"): in_layers(name, layers[0], noise) for name, noise in of.items()}
        for layers, of in noises.items()
    }
    assert study.choose_layers(two, GaussianNB())[0]["a", "plain"] is two[(1,)]
    for job in seen:
        for fold in job.target.folds:
            for of in (job.target.speaker, job.target.statement):
                assert not {*of[fold.train]} & {*of[fold.test]}


def test_a_target_that_cannot_be_learned_is_a_row_that_says_so():
    """Without people, or with nothing to learn from in a fold."""
    fold = TARGET.folds[0]
    crowd = replace(TARGET, name="crowd", folds=())
    empty = replace(TARGET, folds=(fold._replace(train=fold.train[:0]),))
    jobs = [Job(from_scratch, crowd, (), QUICK), Job(fine_tune, empty, (NEAR,), QUICK)]
    notes = [outcome.rows["note"].tolist() for outcome in study.run(jobs)]
    assert notes[0][0].startswith("not run: target crowd has no folds")
    assert notes[1] == ["not run: target target has nothing to learn from in folds ['target0']"]
