"""The protocols: one signature, equal budgets, no test speaker in training, one fact a column."""

import inspect
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.naive_bayes import GaussianNB

from pathemo import transfer
from pathemo.engine import PathNet
from pathemo.metrics import ROW_COLUMNS, check_rows, not_run_rows
from pathemo.splits import leave_one_speaker_out
from pathemo.transfer import Task, fine_tune, from_scratch, frozen_features, pathnet

PROTOCOLS = [from_scratch, fine_tune, frozen_features, pathnet]
OTHERS = [transfer.from_scratch_wide, transfer.from_scratch_long, transfer.zero_shot]
OTHERS += [transfer.fine_tune_shared, transfer.pathnet_shared]
BRIEF = dict(seeds=(0, 1), steps=40, minibatches=5, population_size=4)
BRIEF |= dict(n_modules=5, n_active=2, width=8)


def task(name, seed, n_speakers=3, emotions=("anger", "fear", "joy"), direction_seed=0):
    """Clips of speakers; emotions lie along directions that tasks share."""
    generator = np.random.default_rng(seed)
    directions = np.random.default_rng(direction_seed).standard_normal((len(emotions), 12)) * 1.5
    emotion = np.tile(np.repeat(np.arange(len(emotions)), 6), n_speakers)
    speaker = np.repeat([f"{name}{s}" for s in range(n_speakers)], 6 * len(emotions))
    features = generator.standard_normal((len(emotion), 12)) + directions[emotion]
    folds = tuple(leave_one_speaker_out(pd.DataFrame({"speaker": speaker})))
    emotion = np.array(emotions)[emotion]
    return Task(name, features.astype(np.float32), emotion, speaker, folds, "synthetic-0")


TARGET, NEAR, FAR = task("target", 1), task("near", 2), task("far", 3, 2, ("anger", "calm"))


def run(protocol, target=TARGET, sources=(NEAR,), **settings):
    return protocol(target, sources, **BRIEF | settings)


def watch_training(monkeypatch, before=lambda *args, **options: None):
    """List of what each call of PathNet.train had: dicts of task, net, paths, examples, steps."""
    calls, train = [], PathNet.train

    def watching(net, task, paths, examples, **options):
        before(net, task, paths, examples)
        calls.append(dict(net=net, task=task, paths=paths, examples=examples, **options))
        return train(net, task, paths, examples, **options)

    monkeypatch.setattr(PathNet, "train", watching)
    return calls


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_rows_are_complete(protocol):
    """A row for each seed, test speaker and metric, and pooled ones; the sources in order."""
    outcome = run(protocol, sources=(FAR, NEAR))
    rows = check_rows(outcome.rows)
    assert list(outcome.rows.columns) == ROW_COLUMNS
    speakers = rows[rows.metric.eq("uar") & rows.speaker.ne("all")]
    assert len(speakers) == 2 * 3 and speakers.n.eq(18).all()
    assert rows[rows.speaker.eq("all")].n.eq(54).all()
    assert set(rows.source) == ({""} if protocol is from_scratch else {"far+near"})
    assert set(rows.protocol) == {protocol.__name__}
    assert outcome.posteriors.shape == (2, 54, 3)
    np.testing.assert_allclose(outcome.posteriors.sum(2), 1, rtol=1e-5)


WORDS = {
    "protocol": r"[a-z]+(_[a-z]+)*",
    "source": r"([a-z]+([+&][a-z]+)*)?",
    "target": r"[a-z]+",
    "modality": r"speech|log-mel|landmarks|hog|crops|speech\+landmarks",
    "inputs": "plain|speaker-normalised",
    "variant": r"|[a-z_]+(=[\w.]+)?",
    "draw": r"\d+",
    "corpus_version": r"[\w.-]+",
    "fold": r"[a-z]+\d?|[a-z]+(&[a-z]+)*",
    "speaker": r"[a-z]+\d?",
    "seed": r"\d+",
    "metric": "uar|accuracy",
    "note": "|not run: .*",
}


def all_kinds_of_rows():
    """Rows of every protocol, and of every kind of task, on tiny tasks."""
    brief = dict(steps=10, seeds=(0,), n_modules=8)
    groups = transfer.groups("own", index_of(task("own", 4, 6)), task("own", 4, 6).features, 3)
    few, both = transfer.with_few_speakers(TARGET, 1, draw=2), transfer.pooled([NEAR, FAR])
    normalised = replace(TARGET, inputs="speaker-normalised", modality="speech+landmarks")
    outcomes = [run(protocol, sources=(FAR, NEAR), **brief) for protocol in PROTOCOLS + OTHERS]
    outcomes += [run(pathnet, sources=(), **brief), run(fine_tune, few, (both,), **brief)]
    outcomes += [run(pathnet, group, groups[:1], **brief) for group in groups[1:]]
    outcomes += [run(transfer.zero_shot, normalised, (NEAR,), **brief)]
    outcomes += [transfer.baseline(TARGET, model=GaussianNB(), protocol="bayes")]
    memory = [outcome.memory for outcome in outcomes if outcome.memory is not None]
    missing = not_run_rows("far not found", protocol="pathnet", source="far+near", **few.key())
    return [outcome.rows for outcome in outcomes], memory, missing


def test_no_column_holds_two_facts():
    """Each has words of its own alone, of every protocol; together no two rows are the same."""
    rows, memory, missing = all_kinds_of_rows()
    for table in [*rows, *memory]:
        for column, words in WORDS.items():
            assert table[column].astype(str).str.fullmatch(words).all(), table[column].unique()
        assert table["value"].between(0, 1).all()
    missing = missing.astype(str).loc[0]
    known = ("protocol", "source", "target", "modality", "inputs", "variant", "draw", "note")
    assert missing[list(known)].tolist() == (
        ["pathnet", "far+near", "target", "speech", "plain", "training_speakers=1", "2"]
        + ["not run: far not found"]
    )
    every = check_rows(pd.concat([*rows, *memory]))
    variants = ["", "after_target", "before_target", "groups=3"]
    assert sorted(set(every["variant"])) == [*variants, "shared_emotions", "training_speakers=1"]
    assert set(every.query("variant == 'groups=3'")["draw"]) == {2, 3}
    assert set(every.query("variant == 'training_speakers=1'")["draw"]) == {2}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_budget_is_the_same_for_all(protocol, monkeypatch):
    """Each protocol spends `steps` on each source and on the target, on paths of the same size."""
    calls = watch_training(monkeypatch)
    run(protocol, sources=(NEAR, FAR))
    tasks = ["target 0"] if protocol is from_scratch else ["near 0", "far 1", "target 2"]
    spent = pd.Series([call["steps"] for call in calls], [call["task"] for call in calls])
    assert spent.groupby(level=0).sum().to_dict() == dict.fromkeys(tasks, 40)
    assert len({call["net"].parameters_on_path() for call in calls}) == 1


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_test_speaker_leaves_no_trace_in_its_fold(protocol):
    """Other features and emotions of test clips change no prediction for those that stayed."""
    fold = TARGET.folds[0]
    features, emotion = TARGET.features.copy(), TARGET.emotion.copy()
    features[fold.test[1:]], emotion[fold.test[1:]] = 1e3, "anger"
    same = replace(TARGET, folds=(fold,))
    other = replace(same, features=features, emotion=emotion)
    first, second = (run(protocol, target=t).posteriors[:, fold.test[0]] for t in (same, other))
    assert (first == second).all()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_same_seed_same_rows(protocol):
    """Two runs are equal, and a seed's rows do not depend on which other seeds run."""
    rows = run(protocol).rows
    pd.testing.assert_frame_equal(rows, run(protocol).rows)
    alone = run(protocol, seeds=(1,)).rows
    pd.testing.assert_frame_equal(rows[rows.seed == 1].reset_index(drop=True), alone)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_protocols_learn(protocol):
    """On clearly separated emotions every protocol is far above chance."""
    rows = run(protocol, steps=200, learning_rate=0.02).rows
    assert rows[rows.metric.eq("uar")].value.mean() > 0.75


def test_pathnet_keeps_what_it_learned_on_the_source(monkeypatch):
    """While the target is learned, what the sources froze stays as it was, to the bit."""
    calls = watch_training(monkeypatch)
    frozen = run(pathnet).frozen
    assert frozen.shape == (2, 3, 3, 5)
    assert (frozen.sum(3) == 2).all() and (frozen == frozen[:, :1]).all()
    of_source, of_target = calls[0]["net"], calls[-1]["net"]
    for layer, (learned, now) in enumerate(zip(of_source.layers, of_target.layers, strict=True)):
        for replica in range(6):
            kept = frozen[replica // 3, 0, layer]
            assert (now[replica, kept] == learned[replica // 3, kept]).all()
            assert (now[replica, ~kept] != learned[replica // 3, ~kept]).any()


def test_frozen_share_is_counted_by_hand():
    """A path with three of its four modules frozen reuses 75 %; half the network is frozen."""
    frozen = np.zeros((1, 1, 2, 4), bool)
    frozen[0, 0, 0, :2] = frozen[0, 0, 1, 2:] = True
    outcome = transfer.Outcome(None, None, np.array([[[[0, 1], [1, 2]]]]), frozen)
    assert outcome.frozen_share() == (0.75, 0.5)


def test_without_sources_pathnet_is_named_so():
    """Evolving on the target alone is protocol "pathnet_scratch"."""
    assert set(run(pathnet, sources=()).rows.protocol) == {"pathnet_scratch"}


def test_the_best_path_is_trained_on_within_the_budget(monkeypatch):
    """A share of the steps goes to the best path; the budget stays what it was."""
    calls = watch_training(monkeypatch)
    outcome = run(pathnet, final_share=0.5)
    assert sum(call["steps"] for call in calls if call["task"] == "target 1") == 40
    assert (calls[-1]["task"], calls[-1]["steps"]) == ("target 1", 20)
    assert (calls[-1]["paths"].reshape(outcome.paths.shape) == outcome.paths).all()
    rows = zip(calls[-1]["examples"].rows, TARGET.folds * 2, strict=True)
    assert all((own == fold.train).all() for own, fold in rows)


def test_a_budget_that_evolution_cannot_spend_is_refused():
    """45 steps are no whole number of tournaments of 2 x 5, so budgets would differ."""
    with pytest.raises(ValueError, match="45 is not a multiple of 2"):
        run(pathnet, steps=45)


def test_one_signature():
    """All protocols take (target, sources, **settings)."""
    for protocol in PROTOCOLS + OTHERS:
        names = list(inspect.signature(protocol).parameters)
        assert names[:2] == ["target", "sources"] and names[-1] == "settings"


def test_a_target_without_folds_is_refused():
    """The error names the target."""
    with pytest.raises(ValueError, match="target target has no folds"):
        run(from_scratch, target=replace(TARGET, folds=()))


STRANGE = replace(FAR, emotion=np.char.add("very ", FAR.emotion))
WIDE = replace(FAR, name="wide", features=np.hstack([FAR.features, FAR.features]))


@pytest.mark.parametrize(
    "protocol, options, words",
    [
        (fine_tune, dict(seeds=()), r"seeds = \(\): give at least one"),
        (fine_tune, dict(steps=-20), r"steps = -20: choose from \[1, inf\)"),
        (pathnet, dict(final_share=1.5), r"final_share = 1.5: choose from \[0, 1\)"),
        (fine_tune, dict(sources=(WIDE,)), r"source wide has shape \(\d+,\), of target target"),
        (transfer.zero_shot, dict(sources=(STRANGE,)), "have.*'very anger'.*and none is shared"),
        (
            transfer.pathnet_shared,
            dict(sources=(STRANGE,)),
            "none is shared: call the same emotion by",
        ),
        (
            from_scratch,
            dict(target=replace(TARGET, emotion=np.full_like(TARGET.emotion, "joy"))),
            r"one emotion alone: \['joy'\]",
        ),
    ],
)
def test_what_cannot_be_learned_is_named(protocol, options, words):
    """Values, shapes and words are named, with what would do."""
    with pytest.raises(ValueError, match=words):
        run(protocol, **options)


def test_sources_of_one_name_are_remembered_apart():
    """Two sources of one name have heads, and rows of memory, of their own."""
    memory = run(pathnet, sources=(FAR, replace(NEAR, name="far"))).memory
    assert set(memory["fold"]) == {"far 0", "far 1"} and len(check_rows(memory)) == len(memory)


def index_of(task):
    """An index table with the speakers and emotions of a task."""
    columns = {"corpus": task.name, "speaker": task.speaker, "emotion": task.emotion}
    index = pd.DataFrame(columns, dtype="string")
    index.attrs["version"] = "synthetic-1"
    return index


def test_a_replica_that_is_not_finite_ends_the_protocol():
    """The error names the replicas and the task."""
    with pytest.raises(FloatingPointError, match=r"replicas \[0, 1, 2, 3, 4, 5\] on 'target 0'"):
        run(from_scratch, learning_rate=1e30, optimiser="sgd")


def test_baseline_is_the_classifier_on_the_folds():
    """Its rows are what the classifier gives when fitted by hand, under the name asked for."""
    outcome = transfer.baseline(TARGET, model=GaussianNB(), protocol="bayes")
    fold = TARGET.folds[1]
    by_hand = GaussianNB().fit(TARGET.features[fold.train], TARGET.emotion[fold.train])
    right = by_hand.score(TARGET.features[fold.test], TARGET.emotion[fold.test])
    row = outcome.rows.query("speaker == 'target1' and metric == 'accuracy'")
    assert row.value.item() == pytest.approx(right)
    assert row.protocol.item() == "bayes"


def test_scores_are_of_the_posteriors_by_hand():
    """Of three speakers' clips, one seed has all right and one the first speaker's all wrong."""
    right = (TARGET.emotion[:, None] == TARGET.emotions).astype(float)
    posteriors = np.stack([right, right])
    posteriors[1, TARGET.folds[0].test] = np.roll(right[TARGET.folds[0].test], 1, axis=1)
    rows = transfer.score(TARGET, posteriors, (3, 5), protocol="any", source="near")
    assert len(rows) == 2 * 2 * (3 + 1) and set(rows["source"]) == {"near"}
    wrong = rows[rows["value"].ne(1)]
    assert wrong.groupby("speaker")["value"].unique().map(list).to_dict() == {
        "all": [pytest.approx(2 / 3)],
        "target0": [0.0],
    }
    assert wrong["seed"].eq(5).all() and set(wrong["fold"]) == {"all", TARGET.folds[0].name}


def by_source(memory):
    """UAR of a memory, a row a source and seed, before and after the target."""
    assert list(memory.columns) == ROW_COLUMNS and memory["speaker"].eq("all").all()
    memory = check_rows(memory).query("metric == 'uar'")
    return memory.pivot(index=["fold", "seed"], columns="variant", values="value")


def test_what_was_frozen_is_remembered_to_the_bit_and_what_was_tuned_is_not():
    """PathNet recognises its sources alike before and after; fine-tuning has lost some of both."""
    for protocol in (pathnet, frozen_features, fine_tune):
        memory = run(protocol, sources=(FAR, NEAR), steps=100, learning_rate=0.02).memory
        values = by_source(memory)
        assert set(memory["source"]) == {"far+near"}
        assert list(values.index) == [(name, seed) for name in ("far", "near") for seed in (0, 1)]
        before, after = values["before_target"], values["after_target"]
        assert before.gt(0.8).all()
        assert (after < before).all() if protocol is fine_tune else (after == before).all()
    assert run(from_scratch).memory is None


@pytest.mark.parametrize("protocol", [pathnet, fine_tune])
def test_a_task_named_like_its_source_keeps_both_heads(protocol):
    """Of two groups of one corpus, memory and posteriors are those under other names."""
    first, second = (run(protocol, sources=(s,)) for s in (FAR, replace(FAR, name="target")))
    assert (by_source(first.memory).to_numpy() == by_source(second.memory).to_numpy()).all()
    assert (first.posteriors == second.posteriors).all()


def test_a_shared_head_starts_with_what_sources_know(monkeypatch):
    """Weights of shared emotions are those of the latest that has them; others are drawn."""
    heads = {}

    def watching(net, name, *_):
        heads.setdefault(name, net.heads[name].clone())
        heads["net"] = net

    watch_training(monkeypatch, watching)
    run(fine_tune, sources=(NEAR, FAR), head="shared")
    near, far = (heads["net"].heads[name] for name in ("near 0", "far 1"))  # once a fold
    target = heads["target 2"]
    assert (heads["far 1"][:, 0] == near[::3, 0]).all()  # anger, which near has
    assert (target[:, 0] == far[:, 0]).all()  # anger of far, the later one
    assert (target[:, 1:] == near[:, 1:]).all()  # fear and joy, which far lacks
    heads.clear()
    run(fine_tune, sources=(NEAR, FAR))
    assert not (heads["target 2"][:, 0] == heads["net"].heads["far 1"][:, 0]).any()
    with pytest.raises(ValueError, match="head = 'old': choose from new, shared"):
        run(fine_tune, head="old")


def test_a_target_begins_as_what_its_source_taught(monkeypatch):
    """Path forced, head shared, fresh modules silent: posteriors are first the source's."""
    at_first = []

    def watching(net, name, paths, examples):
        if name == "target 1" and not at_first:
            frozen = paths[:, :, : BRIEF["n_active"]]
            pairs = (("near 0", frozen), ("target 1", paths))
            at_first.extend(net.predict(*pair, examples) for pair in pairs)

    watch_training(monkeypatch, watching)
    run(pathnet, frozen_path="forced", head="shared", fresh=0.0)
    for of_source, of_target in zip(*at_first, strict=True):
        np.testing.assert_allclose(of_source, of_target, atol=1e-6)


def test_zero_shot_sees_no_label_of_the_target():
    """Other emotions of training clips change nothing; clips of other emotions are not tested."""
    target = task("target", 1, emotions=("anger", "fear", "joy", "zest"), direction_seed=5)
    sources = (task("near", 2, emotions=("anger", "fear", "joy"), direction_seed=5),)
    brief = dict(sources=sources, steps=200, learning_rate=0.01)
    outcome = run(transfer.zero_shot, target, **brief)
    assert set(outcome.rows["variant"]) == {"shared_emotions"}
    assert set(outcome.rows["source"]) == {"near"}
    assert outcome.rows.query("speaker == 'all'")["n"].eq(54).all()
    assert outcome.rows.query("speaker == 'all' and metric == 'uar'")["value"].gt(0.5).all()
    fold, known = target.folds[0], np.flatnonzero(target.emotion != "zest")
    learned, emotion = np.intersect1d(fold.train, known), target.emotion.copy()
    emotion[learned] = np.roll(target.emotion[learned], 1)
    other = run(transfer.zero_shot, replace(target, emotion=emotion, folds=(fold,)), **brief)
    tested = np.isin(known, fold.test)
    first, second = (o.posteriors[:, tested] for o in (outcome, other))
    np.testing.assert_allclose(first, second, rtol=1e-3, atol=1e-6)


def test_rivals_of_the_total_size_and_of_the_total_budget(monkeypatch):
    """One has all M modules on its path; the other the steps of all tasks, and their names."""
    calls = watch_training(monkeypatch)
    wide = run(transfer.from_scratch_wide, sources=(NEAR, FAR)).rows
    long = run(transfer.from_scratch_long, sources=(NEAR, FAR)).rows
    assert [(call["paths"].shape[2], call["steps"]) for call in calls] == [(5, 40), (2, 120)]
    assert set(wide["protocol"]) == {"from_scratch_wide"} and set(wide["source"]) == {""}
    assert set(long["protocol"]) == {"from_scratch_long"} and set(long["source"]) == {"near+far"}


def test_presets_are_their_settings():
    """The shared protocols are fine-tuning and PathNet with a shared head, and a forced path."""
    fine_tuned = run(transfer.fine_tune_shared).posteriors
    assert (fine_tuned == run(fine_tune, head="shared").posteriors).all()
    kept = run(transfer.pathnet_shared).posteriors
    assert (kept == run(pathnet, head="shared", frozen_path="forced", fresh=0.03).posteriors).all()


@pytest.mark.parametrize("frozen_path", ["free", "forced"])
def test_what_becomes_of_the_frozen_path(frozen_path, monkeypatch):
    """It is free to be used, or on every path beside the modules that evolve."""
    evolutions, evolve = {}, transfer.evolve

    def watching(net, name, *rest, **options):
        evolutions[name] = evolve(net, name, *rest, **options)
        return evolutions[name]

    monkeypatch.setattr(transfer, "evolve", watching)
    outcome = run(pathnet, sources=(NEAR, FAR), frozen_path=frozen_path, n_modules=8)
    near, far, target = (evolutions[name] for name in ("near 0", "far 1", "target 2"))
    if frozen_path == "forced":
        assert far.best.shape[-1] == 4 and target.best.shape[-1] == 6
        assert (target.populations[..., :4] == far.best.repeat(3, axis=0)[None, :, None]).all()
        assert (far.populations[..., :2] == near.best[None, :, None]).all()
        assert outcome.paths.shape == (2, 3, 3, 6)
    else:
        assert target.best.shape[-1] == far.best.shape[-1] == near.best.shape[-1] == 2
        assert (outcome.frozen.sum(3) > 2).any()
    with pytest.raises(ValueError, match="frozen_path = 'loose': choose from free, forced"):
        run(pathnet, frozen_path="loose")


def framed(task, seed=0):
    """The task with two or three noisy frames a clip, in mixed order, as images of 3 x 4."""
    generator = np.random.default_rng(seed)
    n_frames = generator.integers(2, 4, len(task.emotion))
    clip = generator.permutation(np.repeat(np.arange(len(task.emotion)), n_frames))
    noise = generator.standard_normal((len(clip), 12), dtype=np.float32)
    return replace(task, features=(task.features[clip] + noise).reshape(-1, 1, 3, 4), clip=clip)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_frames_decide_together(protocol):
    """On images, several a clip, clips are scored, by the mean posterior of their frames."""
    target, sources = framed(TARGET), (framed(NEAR),)
    outcome = run(protocol, target=target, sources=sources, n_layers=2, steps=20)
    assert outcome.posteriors.shape == (2, 54, 3)
    np.testing.assert_allclose(outcome.posteriors.sum(2), 1, rtol=1e-5)
    assert outcome.rows.query("speaker != 'all' and metric == 'uar'")["n"].eq(18).all()
