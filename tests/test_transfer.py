"""The protocols: one signature, equal budgets, no test speaker in training."""

import inspect

import numpy as np
import pandas as pd
import pytest
from sklearn.naive_bayes import GaussianNB

from pathemo import transfer
from pathemo.metrics import ROW_COLUMNS
from pathemo.pathnet import PathNet
from pathemo.splits import leave_one_speaker_out
from pathemo.tasks import Task
from pathemo.transfer import fine_tune, from_scratch, frozen_features, pathnet

PROTOCOLS = [from_scratch, fine_tune, frozen_features, pathnet]
BRIEF = dict(
    seeds=(0, 1), steps=40, minibatches=5, population_size=4, n_modules=5, n_active=2, width=8
)


def task(name, seed, n_speakers=3, emotions=("anger", "fear", "joy"), direction_seed=0):
    """Clips of speakers that differ by an offset; emotions lie along directions that tasks
    share.
    """
    generator = np.random.default_rng(seed)
    directions = np.random.default_rng(direction_seed).standard_normal((len(emotions), 12)) * 1.5
    emotion = np.tile(np.repeat(np.arange(len(emotions)), 6), n_speakers)
    speaker = np.repeat([f"{name}{s}" for s in range(n_speakers)], 6 * len(emotions))
    features = generator.standard_normal((len(emotion), 12)) + directions[emotion]
    folds = leave_one_speaker_out(pd.DataFrame({"speaker": speaker}))
    return Task(
        name,
        features.astype(np.float32),
        np.array(emotions)[emotion],
        speaker,
        folds,
        "synthetic-0",
    )


TARGET, NEAR, FAR = task("target", 1), task("near", 2), task("far", 3, 2, ("anger", "calm"))


def run(protocol, target=TARGET, sources=(NEAR,), **options):
    return protocol(target, sources, **{**BRIEF, **options})


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_rows_are_complete(protocol):
    """A row for each seed, test speaker and metric, and pooled ones; all columns, the sources in
    order.
    """
    outcome = run(protocol, sources=(FAR, NEAR))
    rows = outcome.rows
    assert tuple(rows.columns) == ROW_COLUMNS
    speakers = rows[rows.metric.eq("uar") & rows.speaker.ne("all")]
    assert len(speakers) == 2 * 3 and speakers.n.eq(18).all()
    assert set(rows.source) == ({""} if protocol is from_scratch else {"far+near"})
    assert set(rows.protocol) == {protocol.__name__}
    assert outcome.posteriors.shape == (2, 54, 3)
    np.testing.assert_allclose(outcome.posteriors.sum(2), 1, rtol=1e-5)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_budget_is_the_same_for_all(protocol, monkeypatch):
    """Each protocol spends `steps` on each source and on the target, on paths of the same size."""
    spent = []
    train = PathNet.train

    def counting(net, task, paths, examples, *, steps, **options):
        spent.append((task, steps, net.parameters_on_path()))
        return train(net, task, paths, examples, steps=steps, **options)

    monkeypatch.setattr(PathNet, "train", counting)
    run(protocol, sources=(NEAR, FAR))
    tasks = ["target"] if protocol is from_scratch else ["near", "far", "target"]
    assert {name: sum(s for t, s, _ in spent if t == name) for name in tasks} == dict.fromkeys(
        tasks, 40
    )
    assert {t for t, *_ in spent} == set(tasks)
    assert len({size for *_, size in spent}) == 1


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_test_speaker_leaves_no_trace_in_its_fold(protocol):
    """Other features and emotions of test clips change no prediction for the clips that stayed the
    same.
    """
    fold = TARGET.folds[0]
    other = TARGET._replace(
        features=TARGET.features.copy(), emotion=TARGET.emotion.copy(), folds=[fold]
    )
    other.features[fold.test[1:]] = 1e3
    other.emotion[fold.test[1:]] = "anger"
    same = TARGET._replace(folds=[fold])
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
    rows = run(protocol, steps=400, learning_rate=0.01).rows
    assert rows[rows.metric.eq("uar")].value.mean() > 0.75


def test_pathnet_keeps_what_it_learned_on_the_source(monkeypatch):
    """While the target is learned, what the sources froze stays as it was, to the bit."""
    nets = {}
    train = PathNet.train

    def watching(net, name, *rest, **options):
        nets[name] = net
        return train(net, name, *rest, **options)

    monkeypatch.setattr(PathNet, "train", watching)
    frozen = run(pathnet).frozen
    assert (
        frozen.shape == (2, 3, 3, 5)
        and (frozen.sum(3) == 2).all()
        and (frozen == frozen[:, :1]).all()
    )
    frozen = frozen[:, 0]
    for layer, (learned, now) in enumerate(
        zip(nets["near"].layers, nets["target"].layers, strict=True)
    ):
        for replica in range(6):
            kept = frozen[replica // 3, layer]
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


@pytest.mark.parametrize("fitness", ["train", "dev"])
def test_the_best_path_is_trained_on_within_the_budget(fitness, monkeypatch):
    """A share of the steps goes to the best path, on all training rows; the budget stays what it
    was.
    """
    spent = []
    train = PathNet.train

    def counting(net, task, paths, examples, *, steps, **options):
        spent.append((task, steps, paths.copy(), examples.rows))
        return train(net, task, paths, examples, steps=steps, **options)

    monkeypatch.setattr(PathNet, "train", counting)
    outcome = run(pathnet, final_share=0.5, fitness=fitness)
    assert sum(steps for task, steps, *_ in spent if task == "target") == 40
    task, steps, paths, rows = spent[-1]
    assert (task, steps) == ("target", 20)
    assert (paths.reshape(outcome.paths.shape) == outcome.paths).all()
    assert all((own == fold.train).all() for own, fold in zip(rows, TARGET.folds * 2, strict=True))


def test_a_budget_that_evolution_cannot_spend_is_refused():
    """45 steps are no whole number of tournaments of 2 x 5, so budgets would differ."""
    with pytest.raises(ValueError, match="45 is not a multiple of 2"):
        run(pathnet, steps=45)


def test_one_signature():
    """All protocols take (target, sources, **settings)."""
    for protocol in PROTOCOLS:
        assert list(inspect.signature(protocol).parameters) == ["target", "sources", "settings"]


def test_a_target_without_folds_is_refused():
    """The error names the target."""
    with pytest.raises(ValueError, match="target target has no folds"):
        run(from_scratch, target=TARGET._replace(folds=()))


def index_of(task):
    """An index table with the speakers and emotions of a task."""
    columns = {"corpus": task.name, "speaker": task.speaker, "emotion": task.emotion}
    index = pd.DataFrame(columns, dtype="string")
    index.attrs["version"] = "synthetic-1"
    return index


def test_a_task_scales_each_speaker_only_under_its_name():
    """Plain inputs are the features; speaker-normalised ones have mean 0 within each speaker, and
    say so.
    """
    plain = transfer.task("target", index_of(TARGET), TARGET.features)
    assert (plain.features == TARGET.features).all()
    assert plain.version == "synthetic-1"
    assert len(plain.folds) == 3
    normalised = transfer.task(
        "target", index_of(TARGET), TARGET.features, inputs="speaker-normalised"
    )
    assert np.abs(normalised.features[TARGET.speaker == "target1"].mean(0)).max() < 1e-5
    assert set(run(from_scratch, target=normalised).rows.inputs) == {"speaker-normalised"}
    with pytest.raises(ValueError, match="'plain' or 'speaker-normalised'"):
        transfer.task("target", index_of(TARGET), TARGET.features, inputs="z-scored")


def test_a_corpus_without_speakers_is_a_source_only():
    """It gets no folds, so that as a target it is refused."""
    index = index_of(TARGET)
    index["speaker"] = pd.NA
    source = transfer.task("crowd", index, TARGET.features)
    assert source.folds == ()
    assert len(run(fine_tune, sources=(source,)).rows)
    with pytest.raises(ValueError, match="crowd has no folds"):
        run(from_scratch, target=source)


def test_baseline_is_the_classifier_on_the_folds():
    """Its rows are what the classifier gives when it is fitted by hand, under the name asked
    for.
    """
    outcome = transfer.baseline(TARGET, model=GaussianNB(), protocol="bayes")
    fold = TARGET.folds[1]
    by_hand = GaussianNB().fit(TARGET.features[fold.train], TARGET.emotion[fold.train])
    right = by_hand.score(TARGET.features[fold.test], TARGET.emotion[fold.test])
    row = outcome.rows.query("speaker == 'target1' and metric == 'accuracy'")
    assert row.value.item() == pytest.approx(right)
    assert row.protocol.item() == "bayes"


def test_what_was_frozen_is_remembered_to_the_bit_and_what_was_tuned_is_not():
    """Before and after the target PathNet recognises its sources alike; fine-tuning has lost some
    of both.
    """
    for protocol in (pathnet, frozen_features, fine_tune):
        memory = run(protocol, sources=(FAR, NEAR), steps=200, learning_rate=0.01).memory
        assert (
            tuple(memory.columns) == ROW_COLUMNS
            and memory["fold"].eq("target0+target1+target2").all()
        )
        values = memory.query("metric == 'uar'").pivot(
            index=["speaker", "seed"], columns="protocol", values="value"
        )
        assert sorted(values.index) == [
            (f"all of {name}", s) for name in ("far", "near") for s in (0, 1)
        ]
        before, after = (
            values[f"{protocol.__name__}, {at} the target"] for at in ("before", "after")
        )
        assert before.gt(0.8).all()
        assert (after < before).all() if protocol is fine_tune else (after == before).all()
    assert run(from_scratch).memory is None


def test_a_shared_head_starts_with_what_sources_know(monkeypatch):
    """Weights of emotions that a source has are those of the latest that has them; others are
    drawn.
    """
    heads = {}
    train = PathNet.train

    def watching(net, name, *rest, **options):
        heads[name] = net.heads[name].clone()
        trained = train(net, name, *rest, **options)
        heads[f"{name} after"] = net.heads[name].clone()
        return trained

    monkeypatch.setattr(PathNet, "train", watching)
    run(fine_tune, sources=(NEAR, FAR), head="shared")
    far, target = heads["far"], heads["target"]
    assert (far[:, 0] == heads["near after"][:, 0]).all()  # anger, which near has
    assert (target[::3, 0] == heads["far after"][:, 0]).all()  # anger of far, the later one
    assert (target[::3, 1:] == heads["near after"][:, 1:]).all()  # fear and joy, which far lacks
    heads.clear()
    run(fine_tune, sources=(NEAR, FAR))
    assert not (heads["target"][::3, 0] == heads["far after"][:, 0]).any()
    with pytest.raises(ValueError, match="head = 'old': choose 'new' or 'shared'"):
        run(fine_tune, head="old")


def test_a_target_begins_as_what_its_source_taught(monkeypatch):
    """With the path forced, the head shared and fresh modules silent, posteriors are first the
    source's.
    """
    train, at_first = PathNet.train, []

    def watching(net, name, paths, examples, **options):
        if name == "target" and not at_first:
            frozen = paths[:, :, : BRIEF["n_active"]]
            at_first.extend(
                net.predict(*of, examples) for of in (("near", frozen), ("target", paths))
            )
        return train(net, name, paths, examples, **options)

    monkeypatch.setattr(PathNet, "train", watching)
    run(pathnet, frozen_path="forced", head="shared", fresh=0.0)
    for of_source, of_target in zip(*at_first, strict=True):
        np.testing.assert_allclose(of_source, of_target, atol=1e-6)


def test_zero_shot_sees_no_label_of_the_target():
    """Other emotions of the training clips change nothing, and clips of other emotions are not
    tested.
    """
    target = task("target", 1, emotions=("anger", "fear", "joy", "zest"), direction_seed=5)
    source = task("near", 2, emotions=("anger", "fear", "joy"), direction_seed=5)
    outcome = run(
        transfer.zero_shot, target=target, sources=(source,), steps=200, learning_rate=0.01
    )
    assert set(outcome.rows["inputs"]) == {"plain, shared emotions"}
    assert set(outcome.rows["source"]) == {"near"}
    assert outcome.rows.query("speaker == 'all'")["n"].eq(54).all()
    fold, known = target.folds[0], np.flatnonzero(target.emotion != "zest")
    learned = np.intersect1d(fold.train, known)
    other = target._replace(emotion=target.emotion.copy(), folds=(fold,))
    other.emotion[learned] = np.roll(target.emotion[learned], 1)
    other = run(transfer.zero_shot, target=other, sources=(source,), steps=200, learning_rate=0.01)
    tested = np.isin(known, fold.test)
    np.testing.assert_allclose(
        *(o.posteriors[:, tested] for o in (outcome, other)), rtol=1e-3, atol=1e-6
    )


def test_rivals_of_the_total_size_and_of_the_total_budget(monkeypatch):
    """One has all M modules on its path, the other the steps of all tasks; rows carry the sources'
    names.
    """
    spent = []
    train = PathNet.train

    def counting(net, name, paths, *rest, steps, **options):
        spent.append((paths.shape[2], steps))
        return train(net, name, paths, *rest, steps=steps, **options)

    monkeypatch.setattr(PathNet, "train", counting)
    wide = run(transfer.from_scratch_wide, sources=(NEAR, FAR)).rows
    long = run(transfer.from_scratch_long, sources=(NEAR, FAR)).rows
    assert spent == [(5, 40), (2, 120)]
    assert set(wide["protocol"]) == {"from_scratch_wide"} and set(wide["source"]) == {""}
    assert set(long["protocol"]) == {"from_scratch_long"} and set(long["source"]) == {"near+far"}


def test_sources_are_pooled_into_one():
    """All their clips, in order, over all their emotions; speakers of the same name stay two."""
    both = transfer.pooled([NEAR, FAR])
    assert both.name == "near&far" and both.emotions.tolist() == ["anger", "calm", "fear", "joy"]
    assert len(both.emotion) == len(NEAR.emotion) + len(FAR.emotion)
    assert both.speaker[0] == "near near0" and both.speaker[-1] == "far far1"
    assert (both.features[both.rows([len(NEAR.emotion)])] == FAR.features[0]).all()
    assert len(run(fine_tune, sources=(both,)).rows)


@pytest.mark.parametrize("frozen_path", ["free", "seeded", "forced"])
def test_what_becomes_of_the_frozen_path(frozen_path, monkeypatch):
    """It is free to be used, or in the first population, or on every path beside the modules that
    evolve.
    """
    found = {}
    evolve = transfer.evolve

    def watching(net, name, *rest, **options):
        found[name] = evolve(net, name, *rest, **options)
        return found[name]

    monkeypatch.setattr(transfer, "evolve", watching)
    outcome = run(pathnet, sources=(NEAR, FAR), frozen_path=frozen_path, n_modules=8)
    near, far, target = (found[name].populations for name in ("near", "far", "target"))
    first = [target[0, :, place] for place in (0, 1)]
    best = [found[name].best.repeat(3, axis=0) for name in ("near", "far")]
    seeded = [np.array_equal(*pair) for pair in zip(first, best, strict=True)]
    if frozen_path == "seeded":
        assert seeded == [True, True]
    elif frozen_path == "forced":
        assert far.shape[-1] == 4 and target.shape[-1] == 6
        assert (target[..., :4] == best[1][None, :, None]).all()
        assert (far[..., :2] == found["near"].best[None, :, None]).all()
        assert outcome.paths.shape == (2, 3, 3, 6)
    else:
        assert seeded != [True, True] and target.shape[-1] == near.shape[-1]
    with pytest.raises(ValueError, match="choose 'free', 'seeded' or 'forced'"):
        run(pathnet, frozen_path="loose")


def test_development_speakers_decide_and_train_nothing(monkeypatch):
    """With fitness "dev", training speakers are held out, and none of their clips is trained on."""
    seen = []
    evolve = transfer.evolve

    def watching(net, name, examples, **options):
        seen.append((name, examples.rows, options["development"]))
        return evolve(net, name, examples, **options)

    monkeypatch.setattr(transfer, "evolve", watching)
    run(pathnet, fitness="dev")
    for name, rows, development in seen:
        speakers = TARGET.speaker if name == "target" else NEAR.speaker
        folds = TARGET.folds * 2 if name == "target" else [None] * 2
        for trained, held_out, fold in zip(rows, development, folds, strict=True):
            assert not set(speakers[trained]) & set(speakers[held_out])
            whole = np.arange(len(speakers)) if fold is None else fold.train
            assert sorted([*trained, *held_out]) == sorted(whole)


def test_a_fold_without_posteriors_has_no_score():
    """It gets a row that says why, and its seed no pooled score; other folds and seeds keep
    theirs.
    """
    n, emotions = len(TARGET.emotion), TARGET.emotions
    posteriors = np.tile(TARGET.emotion[:, None] == emotions, (2, 1, 1)).astype(float)
    whole = transfer.score(TARGET, posteriors, (3, 5), protocol="any")
    assert whole["value"].eq(1).all() and len(whole) == 2 * 2 * (3 + 1)
    posteriors[1, TARGET.folds[0].test[0]] = np.nan
    rows = transfer.score(TARGET, posteriors, (3, 5), protocol="any")
    missing = rows[rows["value"].isna()]
    assert missing[["fold", "seed"]].to_numpy().tolist() == [[TARGET.folds[0].name, 5]]
    scored = rows[rows["seed"].eq(5) & rows["value"].notna()]
    assert set(scored["fold"]) == {fold.name for fold in TARGET.folds[1:]}
    assert rows[rows["seed"].eq(3)]["n"].sum() == 2 * 2 * n


def test_a_stopped_replica_is_named_in_the_rows():
    """Its fold has a row that says so, and no score."""
    with pytest.warns(UserWarning, match="stopped"):
        rows = run(from_scratch, learning_rate=1e30, optimiser="sgd").rows
    assert rows["note"].eq("not run: the loss was not finite").all() and rows["value"].isna().all()
    assert rows["fold"].tolist() == [f.name for f in TARGET.folds] * 2


def framed(task, seed=0):
    """The task with two or three noisy frames a clip, in mixed order, as images of 3 x 4."""
    generator = np.random.default_rng(seed)
    n_frames = generator.integers(2, 4, len(task.emotion))
    clip = generator.permutation(np.repeat(np.arange(len(task.emotion)), n_frames))
    noise = generator.standard_normal((len(clip), 12), dtype=np.float32)
    return task._replace(features=(task.features[clip] + noise).reshape(-1, 1, 3, 4), clip=clip)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_frames_decide_together(protocol):
    """On images, several a clip, each protocol scores clips, by the mean posterior of their
    frames.
    """
    target = framed(TARGET)
    outcome = run(protocol, target=target, sources=(framed(NEAR),), n_layers=2, steps=100)
    assert outcome.posteriors.shape == (2, 54, 3)
    np.testing.assert_allclose(outcome.posteriors.sum(2), 1, rtol=1e-5)
    assert outcome.rows.query("speaker != 'all' and metric == 'uar'")["n"].eq(18).all()


def test_posteriors_of_clips_are_means_over_their_frames():
    """By hand, for clips asked for in any order; the frames of other clips do not count."""
    target = TARGET._replace(clip=np.array([1, 0, 1, 2]))
    assert target.rows([2, 1]).tolist() == [0, 2, 3]
    of_rows = np.array([[0.25, 0.75], [0.75, 0.25], [1, 0]])
    assert target.of_clips(of_rows, [2, 1]).tolist() == [[1, 0], [0.5, 0.5]]


def test_a_task_of_crops_has_the_clips_that_have_any():
    """Clips without a face are in no fold; each row knows its clip, and speakers are normalised by
    frames.
    """
    index, clip = index_of(TARGET), np.repeat(np.arange(3, 54), 2)
    images = TARGET.features[clip].reshape(-1, 1, 3, 4)
    made = transfer.task("target", index, images, inputs="speaker-normalised", clip=clip)
    assert len(made.emotion) == 51 and made.clip.max() == 50
    assert (made.emotion == TARGET.emotion[3:]).all()
    assert sorted(np.concatenate([fold.test for fold in made.folds])) == list(range(51))
    mine = made.features[made.speaker[made.clip] == "target1"]
    assert mine.shape[1:] == (1, 3, 4) and np.abs(mine.mean(0)).max() < 1e-5


def test_groups_part_the_speakers():
    """Each speaker is in one group, with all of its rows; each group is a task with folds of its
    own.
    """
    index, clip = index_of(task("own", 4, n_speakers=6)), np.repeat(np.arange(108), 2)
    features = np.arange(216.0)[:, None]
    parts = transfer.groups("own", index, features, 3, clip=clip, modality="crops")
    assert [part.name for part in parts] == ["own 1/3", "own 2/3", "own 3/3"]
    assert sorted(s for part in parts for s in np.unique(part.speaker)) == [
        f"own{s}" for s in range(6)
    ]
    for part in parts:
        assert (
            part.inputs == "crops, plain" and part.version == "synthetic-1" and len(part.folds) == 2
        )
        mine = clip[part.features[:, 0].astype(int)]
        assert (index["speaker"].to_numpy()[mine] == part.speaker[part.clip]).all()
        assert len(part.features) == 72


def test_few_training_speakers_are_drawn_and_test_clips_stay():
    """One of two training speakers is left in each fold, the same for the same seed, and rows say
    so.
    """
    few = transfer.with_few_speakers(TARGET, 1, seed=3)
    for fold, whole in zip(few.folds, TARGET.folds, strict=True):
        assert len(np.unique(TARGET.speaker[fold.train])) == 1 and set(fold.train) < set(
            whole.train
        )
        assert (fold.test == whole.test).all()
    again = transfer.with_few_speakers(TARGET, 1, seed=3)
    assert all((a.train == b.train).all() for a, b in zip(few.folds, again.folds, strict=True))
    drawn = [
        transfer.with_few_speakers(TARGET, 1, seed=s).folds[0].train.tolist() for s in range(9)
    ]
    assert len({tuple(train) for train in drawn}) == 2
    assert set(run(from_scratch, target=few).rows["inputs"]) == {"plain, 1 training speakers"}
