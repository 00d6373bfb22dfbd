"""The protocols: one signature, equal budgets, no test speaker in training, one fact a column."""

import inspect
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight

from pathemo import transfer
from pathemo.engine import PathNet
from pathemo.metrics import ROW_COLUMNS, check_rows, not_run_rows
from pathemo.splits import leave_one_speaker_out
from pathemo.transfer import Task, fine_tune, from_scratch, frozen_features, joint, pathnet

PROTOCOLS = [from_scratch, joint, fine_tune, frozen_features, pathnet, transfer.pathnet_shared]
OTHERS = [transfer.zero_shot, transfer.fine_tune_shared]
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


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PATHEMO_CACHE", str(tmp_path / "cache"))


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
    if protocol is not joint:  # whose head has "calm" as well
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
    brief = dict(steps=20, seeds=(0,), n_modules=8)
    groups = transfer.groups(task("own", 4, 6), index_of(task("own", 4, 6)), 3)
    few, both = transfer.with_few_speakers(TARGET, 1, draw=2), transfer.pooled([NEAR, FAR])
    said = transfer.with_sentences_parted(replace(TARGET, statement=np.tile(["a", "b"], 27)))
    normalised = replace(TARGET, inputs="speaker-normalised", modality="speech+landmarks")
    outcomes = [run(protocol, sources=(FAR, NEAR), **brief) for protocol in PROTOCOLS + OTHERS]
    outcomes += [run(pathnet, sources=(), **brief), run(fine_tune, few, (both,), **brief)]
    outcomes += [run(pathnet, group, groups[:1], **brief) for group in groups[1:]]
    outcomes += [run(transfer.zero_shot, normalised, (NEAR,), **brief)]
    outcomes += [run(from_scratch, part, **brief) for part in said]
    order = [replace(task, variant="in_turn") for task in (NEAR, FAR_3, TARGET)]
    outcomes += [in_sequence(protocol, *order, **brief) for protocol in IN_SEQUENCE]
    bayes = dict(model=make_pipeline(GaussianNB()), protocol="bayes")
    outcomes += [transfer.baseline(TARGET, sources, **bayes) for sources in ((), (NEAR, FAR))]
    missing = not_run_rows("far not found", protocol="pathnet", source="far+near", **few.key())
    return [outcome.rows for outcome in outcomes], missing


def test_no_column_holds_two_facts():
    """Each has words of its own alone, of every protocol; together no two rows are the same."""
    rows, missing = all_kinds_of_rows()
    for table in rows:
        for column, words in WORDS.items():
            assert table[column].astype(str).str.fullmatch(words).all(), table[column].unique()
        assert table["value"].between(0, 1).all()
    missing = missing.astype(str).loc[0]
    known = ("protocol", "source", "target", "modality", "inputs", "variant", "draw", "note")
    assert missing[list(known)].tolist() == (
        ["pathnet", "far+near", "target", "speech", "plain", "training_speakers=1", "2"]
        + ["not run: far not found"]
    )
    every = check_rows(pd.concat(rows))
    variants = ["", "groups=3", "in_turn", "sentences_disjoint", "sentences_shared"]
    assert sorted(set(every["variant"])) == [*variants, "training_speakers=1"]
    assert set(every.query("variant == 'groups=3'")["draw"]) == {2, 3}
    assert set(every.query("variant == 'training_speakers=1'")["draw"]) == {2}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_budget_is_the_same_for_all(protocol, monkeypatch):
    """Each protocol spends `steps` on each source and on the target, on paths of the same size."""
    calls = watch_training(monkeypatch)
    run(protocol, sources=(NEAR, FAR))
    budgets = {from_scratch: {"target 0": 40}, joint: {"target&near&far 0": 120}}
    in_turn = dict.fromkeys(["near 0", "far 1", "target 2"], 40)
    spent = pd.Series([call["steps"] for call in calls], [call["task"] for call in calls])
    assert spent.groupby(level=0).sum().to_dict() == budgets.get(protocol, in_turn)
    assert len({call["net"].parameters_on_path() for call in calls}) == 1


def with_other_test_clips(task):
    """The task with its first fold alone, and again with other test clips, but for the first."""
    fold, features, emotion = task.folds[0], task.features.copy(), task.emotion.copy()
    features[fold.test[1:]], emotion[fold.test[1:]] = 1e3, "anger"
    same = replace(task, folds=(fold,))
    return same, replace(same, features=features, emotion=emotion)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_test_speaker_leaves_no_trace_in_its_fold(protocol):
    """Other features and emotions of test clips change no prediction for those that stayed."""
    first, second = (run(protocol, target=t).posteriors for t in with_other_test_clips(TARGET))
    assert (first[:, TARGET.folds[0].test[0]] == second[:, TARGET.folds[0].test[0]]).all()


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
    assert frozen.shape == (2, 3, 3, 7)
    assert (frozen.sum(3) == 2).all() and (frozen == frozen[:, :1]).all()
    of_source, of_target = calls[0]["net"], calls[-1]["net"]
    for layer, (learned, now) in enumerate(zip(of_source.layers, of_target.layers, strict=True)):
        for replica in range(6):
            kept = frozen[replica // 3, 0, layer]
            assert (now[replica, kept] == learned[replica // 3, kept]).all()
            assert (now[replica, ~kept] != learned[replica // 3, ~kept]).any()


def test_as_many_modules_as_ever_are_free():
    """A layer has `n_active` more for each earlier task, where paths evolve alone."""
    frozen = run(pathnet, sources=(NEAR, FAR)).frozen
    assert frozen.shape == (2, 3, 3, 5 + 2 * 2) and (~frozen).sum(3).min() >= 5
    assert run(fine_tune, sources=(NEAR, FAR)).frozen.shape == (2, 3, 3, 2)


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
    """The error names the target, as where a fold has no training clip, or one emotion alone."""
    with pytest.raises(transfer.NotLearnable, match="target target has no folds"):
        run(from_scratch, target=replace(TARGET, folds=()))
    fold = TARGET.folds[0]
    empty = replace(TARGET, folds=(fold._replace(train=fold.train[:0]),))
    with pytest.raises(transfer.NotLearnable, match=r"nothing to learn from.*'target0'"):
        run(from_scratch, target=empty)
    angry = replace(TARGET, folds=(fold._replace(train=fold.train[:3]),))
    with pytest.raises(transfer.NotLearnable, match="one emotion to learn in 'target0'"):
        transfer.baseline(angry, model=GaussianNB(), protocol="bayes")


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


def test_baseline_with_sources_learns_all_corpora():
    """By hand: each corpus on its own scale, its emotions weighing alike, the target's compete.

    One speaker alone has "joy", and no other emotion."""
    emotion = np.char.replace(TARGET.emotion, "joy", "fear")
    target = replace(TARGET, emotion=np.where(TARGET.speaker == "target0", "joy", emotion))
    bayes = dict(model=make_pipeline(GaussianNB()), protocol="bayes")
    outcome = transfer.baseline(target, (FAR,), **bayes)
    far = StandardScaler().fit_transform(FAR.features)
    for fold in target.folds:
        scaler, y = StandardScaler().fit(target.features[fold.train]), target.emotion[fold.train]
        x = np.concatenate([scaler.transform(target.features[fold.train]), far])
        weights = compute_sample_weight("balanced", [*np.char.add("own ", y), *FAR.emotion])
        by_hand = GaussianNB().fit(x, np.append(y, FAR.emotion), weights)
        posteriors = by_hand.predict_proba(scaler.transform(target.features[fold.test]))
        predicted = by_hand.classes_[(posteriors * (by_hand.classes_ != "calm")).argmax(1)]
        assert (target.emotions[outcome.posteriors[0, fold.test].argmax(1)] == predicted).all()
    assert set(outcome.rows["source"]) == {"far"}


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


ZEST = task("target", 1, emotions=("anger", "fear", "joy", "zest"), direction_seed=5)
KNOWN = task("near", 2, direction_seed=5)
CLEAR = dict(steps=200, learning_rate=0.02)


def test_zero_shot_scores_all_clips_and_recognises_no_emotion_that_no_source_has():
    """An emotion that is the target's alone has no posterior, the others are recognised."""
    outcome = run(transfer.zero_shot, ZEST, (KNOWN,), **CLEAR)
    assert set(outcome.rows["variant"]) == {""} and set(outcome.rows["source"]) == {"near"}
    assert outcome.rows.query("speaker == 'all'")["n"].eq(72).all()
    assert (outcome.posteriors[:, :, 3] == 0).all()
    right = ZEST.emotions[outcome.posteriors.argmax(2)] == ZEST.emotion
    assert right[:, ZEST.emotion != "zest"].mean() > 0.6


def test_zero_shot_sees_no_label_of_the_target():
    """Other emotions of training clips change nothing."""
    fold, emotion = ZEST.folds[0], ZEST.emotion.copy()
    emotion[fold.train] = np.roll(emotion[fold.train], 9)
    targets = (replace(ZEST, folds=(fold,)), replace(ZEST, folds=(fold,), emotion=emotion))
    first, second = (run(transfer.zero_shot, t, (KNOWN,)).posteriors for t in targets)
    assert (first[:, fold.test] == second[:, fold.test]).all()


def test_joint_learns_all_corpora_each_on_its_own_scale(monkeypatch):
    """From the fold's training clips and all of the sources, here in other units, to rounding."""
    calls, moved = watch_training(monkeypatch), replace(NEAR, features=64 * NEAR.features + 50)
    first, second = (run(joint, sources=(s, FAR)).posteriors for s in (NEAR, moved))
    np.testing.assert_allclose(first, second, atol=1e-3)
    for rows, fold in zip(calls[0]["examples"].rows, TARGET.folds * 2, strict=True):
        assert sorted(rows) == [*fold.train, *range(54, 54 + 54 + 24)]


def test_joint_tests_only_emotions_of_the_target(monkeypatch):
    """One head is of the union; the posterior of "calm", which far has alone, does not count."""
    calls = watch_training(monkeypatch)
    outcome = run(joint, sources=(FAR,))
    assert calls[0]["net"].heads["target&far 0"].shape[1] == 4
    assert outcome.posteriors.shape == (2, 54, 3) and outcome.posteriors.sum(2).max() < 1


@pytest.mark.parametrize("protocol", [joint, fine_tune, pathnet, transfer.pathnet_shared])
def test_sources_have_a_budget_of_their_own(protocol, monkeypatch):
    """`source_steps` are spent on each source, `steps` on the target; `joint` has the sum."""
    calls = watch_training(monkeypatch)
    run(protocol, sources=(NEAR, FAR), source_steps=80)
    spent = pd.Series([call["steps"] for call in calls], [call["task"] for call in calls])
    in_turn = {"near 0": 80, "far 1": 80, "target 2": 40}
    expected = {"target&near&far 0": 200} if protocol is joint else in_turn
    assert spent.groupby(level=0).sum().to_dict() == expected


SHARING = [fine_tune, transfer.fine_tune_shared, frozen_features, transfer.zero_shot]
HALF = [partial(pathnet, final_share=0.5), transfer.pathnet_shared]


@pytest.mark.parametrize("kind", [SHARING, HALF])
def test_a_source_is_learned_once_for_all_that_begin_alike(kind, monkeypatch):
    """Other protocols of the kind, targets and later sources take it; outcomes are the same to the
    bit as when it is learned anew."""
    jobs = [(p, t, (NEAR,)) for p in kind for t in (TARGET, FAR_3)]
    jobs += [(kind[0], TARGET, (NEAR, NEAR))] if kind is SHARING else []  # M grows with evolution
    anew = []
    for protocol, target, sources in jobs:
        with monkeypatch.context() as patch:
            patch.setattr(transfer.files, "recall", lambda path: None)
            anew.append(run(protocol, target, sources))
    (folder := transfer.files.cache_folder() / "sources").mkdir(parents=True, exist_ok=True)
    for file in folder.iterdir():
        file.unlink()
    calls, outcomes = watch_training(monkeypatch), [run(*job) for job in jobs]
    first = [call["steps"] for call in calls if call["task"] == "near 0"]
    assert sum(first) == BRIEF["steps"]
    for one, other in zip(outcomes, anew):
        assert (one.posteriors == other.posteriors).all() and (one.paths == other.paths).all()


def test_another_source_of_the_same_name_is_learned_itself(monkeypatch):
    """What is kept of one is not taken for it, nor what other steps or seeds have left."""
    other, calls = replace(task("near", 9), name="near"), watch_training(monkeypatch)
    run(fine_tune)
    for sources, settings in (((other,), {}), ((NEAR,), {"seeds": (0, 2)})):
        calls.clear()
        run(fine_tune, TARGET, sources, **settings)
        assert [call["task"] for call in calls] == ["near 0", "target 1"]
    calls.clear()
    run(fine_tune, source_steps=20)
    assert [call["steps"] for call in calls] == [20, 40]


def test_what_was_learned_is_found_under_another_name_of_the_source():
    """A shared head starts with the same weights, whatever the source was called."""
    sources = NEAR, replace(NEAR, name="other")
    first, second = (run(transfer.fine_tune_shared, sources=(s,)).posteriors for s in sources)
    assert (first == second).all()


def test_the_name_of_what_was_learned_is_of_its_content():
    """Not of where arrays lie, as those that came from another process; other clips, other name."""
    columns = replace(NEAR, features=np.asfortranarray(NEAR.features))
    assert transfer._content(NEAR) == transfer._content(columns)
    lies = replace(NEAR, emotion=NEAR.emotion[::-1].copy())
    assert transfer._content(NEAR) != transfer._content(lies)


def test_what_makes_a_protocol_is_not_for_its_caller():
    """A shared head, a forced path and no evolution stay, whatever else is asked for."""
    for preset, other in (
        (transfer.fine_tune_shared, {"head": "new", "evolving": True}),
        (transfer.pathnet_shared, {"frozen_path": "free", "fresh": 1.0}),
    ):
        assert (run(preset).posteriors == run(preset, **other).posteriors).all()


def test_presets_are_their_settings():
    """The shared protocols are fine-tuning and PathNet with a shared head, and a forced path."""
    forced = dict(head="shared", frozen_path="forced", fresh=0.03)
    for preset, protocol, settings in (
        (transfer.fine_tune_shared, fine_tune, dict(head="shared")),
        (transfer.pathnet_shared, pathnet, dict(final_share=0.5) | forced),
        (
            partial(transfer.pathnet_shared, final_share=0.25),
            pathnet,
            dict(final_share=0.25) | forced,
        ),
    ):
        assert (run(preset).posteriors == run(protocol, **settings).posteriors).all()


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
    images = (task.features[clip] + noise).reshape(-1, 1, 3, 4)
    return replace(task, features=images, clip=clip, group=None)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_frames_decide_together(protocol):
    """On images, several a clip, clips are scored, by the mean posterior of their frames."""
    target, sources = framed(TARGET), (framed(NEAR),)
    outcome = run(protocol, target=target, sources=sources, n_layers=2, steps=20)
    assert outcome.posteriors.shape == (2, 54, 3)
    np.testing.assert_allclose(outcome.posteriors.sum(2), 1, rtol=1e-5)
    assert outcome.rows.query("speaker != 'all' and metric == 'uar'")["n"].eq(18).all()


FAR_3, THIRD = (
    task("far", 3, emotions=("anger", "calm")),
    task("third", 5, emotions=("fear", "joy")),
)
IN_SEQUENCE = list(transfer.IN_SEQUENCE)
WITH_TURNS = [protocol for protocol in IN_SEQUENCE if protocol != "joint"]


def in_sequence(protocol, *order, **settings):
    *sources, target = order or (NEAR, FAR_3, TARGET)
    return transfer.sequence(target, sources, protocol=protocol, **BRIEF | settings)


def watch_scores(monkeypatch):
    """Posteriors of what is scored, by tasks learned so far and task tested."""
    scored, score = {}, transfer.score

    def watching(task, posteriors, seeds, **key):
        scored[key["source"], task.name] = posteriors
        return score(task, posteriors, seeds, **key)

    monkeypatch.setattr(transfer, "score", watching)
    return scored


def uar_in_sequence(*args, **settings):
    rows = in_sequence(*args, **settings).rows.query("metric == 'uar' and speaker != 'all'")
    return rows.groupby(["source", "target"])["value"].mean()


@pytest.mark.parametrize("protocol", IN_SEQUENCE)
def test_a_task_is_tested_before_and_after_it_is_learned_and_after_later_ones(protocol):
    """Rows are of (tasks learned so far, task tested); of what is learned at once, after all."""
    rows = check_rows(in_sequence(protocol, kept=2).rows)
    last = [("near+far+target", name) for name in ("near", "far", "target")]
    turns = [("", "near"), ("near", "near"), ("near", "far"), ("near+far", "near")]
    turns += [("near+far", "far"), ("near+far", "target"), *last]
    keys = list(dict.fromkeys(zip(rows["source"], rows["target"])))
    assert keys == (last if protocol == "joint" else turns)
    assert rows["protocol"].eq(protocol).all() and len(rows) == len(keys) * 2 * 2 * (3 + 1)


@pytest.mark.parametrize("protocol", IN_SEQUENCE)
def test_a_sequence_keeps_the_budget(protocol, monkeypatch):
    """`steps` on each task, or all of them at once, or in one head of all; half on the best path
    where the protocol does so."""
    calls = watch_training(monkeypatch)
    in_sequence(protocol, kept=2)
    spent = pd.Series([call["steps"] for call in calls], [call["task"] for call in calls])
    by_task = dict.fromkeys(["near 0", "far 1", "target 2"], 40)
    budget = {"near&far&target 0": 120} if protocol in ("joint", "rehearsal") else by_task
    assert spent.groupby(level=0).sum().to_dict() == budget
    assert (calls[-1]["steps"] == 20) == (protocol == "pathnet_shared")


@pytest.mark.parametrize("protocol", WITH_TURNS)
def test_orders_that_begin_alike_are_alike_so_far(protocol, monkeypatch):
    """What follows changes no posterior of the first two tasks, to the bit."""
    scored, seen = watch_scores(monkeypatch), []
    for later in ((TARGET, THIRD), (THIRD, TARGET)):
        in_sequence(protocol, NEAR, FAR_3, *later, kept=2)
        seen.append(dict(list(scored.items())[:5]))  # up to ("near+far", "far")
        scored.clear()
    assert list(seen[0]) == list(seen[1]) and list(seen[0])[-1] == ("near+far", "far")
    assert all((seen[1][key] == posteriors).all() for key, posteriors in seen[0].items())


@pytest.mark.parametrize("protocol", IN_SEQUENCE)
def test_a_seed_of_a_sequence_is_the_same_alone(protocol):
    """Its rows do not depend on which other seeds run."""
    both, alone = (in_sequence(protocol, kept=2, seeds=seeds).rows for seeds in ((0, 1), (1,)))
    pd.testing.assert_frame_equal(both[both["seed"] == 1].reset_index(drop=True), alone)


@pytest.mark.parametrize("protocol", WITH_TURNS)
def test_pathnet_remembers_to_the_bit_what_others_forget(protocol, monkeypatch):
    """Posteriors of the first task are the same after later ones, with PathNet alone."""
    scored = watch_scores(monkeypatch)
    in_sequence(protocol, kept=2)
    once, twice, at_last = (scored[s, "near"] for s in ("near", "near+far", "near+far+target"))
    same = (once == twice).all() and (once == at_last).all()
    assert same == protocol.startswith("pathnet")


@pytest.mark.parametrize("protocol", [pathnet, fine_tune])
def test_a_task_named_like_its_source_keeps_both_heads(protocol):
    """Of two groups of one corpus, posteriors are those under other names."""
    first, second = (run(protocol, sources=(s,)) for s in (FAR, replace(FAR, name="target")))
    assert (first.posteriors == second.posteriors).all()


def test_fine_tuning_forgets_more_than_it_would_beside_kept_clips():
    """On data that contradict each other, some kept clips of a task save most of it."""
    order, after = (NEAR, task("target", 1, direction_seed=7)), ("near+target", "near")
    tuned = uar_in_sequence("fine_tune", *order, **CLEAR)
    beside, without = (uar_in_sequence("rehearsal", *order, kept=k, **CLEAR) for k in (6, 0))
    assert tuned["near", "near"] > 0.9 and beside["near", "near"] > 0.9
    assert without[after] + 0.1 < beside[after] > tuned[after] + 0.1


def test_a_head_that_starts_with_what_others_know_transfers_forward():
    """Before it is learned, a task like the last is recognised with a shared head alone."""
    shared, new = (
        uar_in_sequence(protocol, NEAR, TARGET, **CLEAR)["near", "target"]
        for protocol in ("fine_tune_shared", "fine_tune")
    )
    assert shared > 0.7 > 0.5 > new


@pytest.mark.parametrize("protocol", IN_SEQUENCE)
def test_test_speakers_of_no_task_leave_a_trace(protocol, monkeypatch):
    """Other features and emotions of test clips of all tasks change none that stayed."""
    scored, seen = watch_scores(monkeypatch), []
    for order in zip(*map(with_other_test_clips, (NEAR, FAR_3, TARGET))):
        in_sequence(protocol, *order, kept=2)
        seen.append({key: posteriors[:, 0] for key, posteriors in scored.items()})
    assert all((seen[1][key] == posteriors).all() for key, posteriors in seen[0].items())


def test_tasks_in_sequence_have_equally_many_folds():
    """The error counts those of each; another protocol is named with those that there are."""
    with pytest.raises(ValueError, match=r"\['far', 'target'\] have \[2, 3\] folds each"):
        in_sequence("pathnet", FAR, TARGET)
    with pytest.raises(ValueError, match="protocol = 'svm': choose from fine_tune, .*pathnet"):
        in_sequence("svm", NEAR, TARGET)
