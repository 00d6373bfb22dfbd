"""Tasks: corpora as something to learn, of every modality, and tasks made of tasks."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from test_transfer import FAR, NEAR, TARGET, index_of, run, task

from pathemo import corpora, faces, speech, splits, tasks, transfer


def test_a_task_scales_each_speaker_only_under_its_name():
    """Plain inputs are the features; normalised ones have mean 0 within a speaker, and say so."""
    index = index_of(TARGET)
    plain = tasks.task("target", index, TARGET.features)
    assert (plain.features == TARGET.features).all()
    assert (plain.version, plain.inputs, len(plain.folds)) == ("synthetic-1", "plain", 3)
    normalised = tasks.task("target", index, TARGET.features, inputs="speaker-normalised")
    assert np.abs(normalised.features[TARGET.speaker == "target1"].mean(0)).max() < 1e-5
    rows = run(transfer.from_scratch, target=normalised).rows
    assert set(rows["inputs"]) == {"speaker-normalised"}
    with pytest.raises(ValueError, match="inputs = 'z-scored': choose from plain, speaker-norm"):
        tasks.task("target", index, TARGET.features, inputs="z-scored")


def test_a_corpus_without_speakers_is_a_source_only():
    """It gets no folds, so that as a target it is refused."""
    source = tasks.task("crowd", index_of(TARGET).assign(speaker=pd.NA), TARGET.features)
    assert source.folds == ()
    assert len(run(transfer.fine_tune, sources=(source,)).rows)
    with pytest.raises(ValueError, match="crowd has no folds"):
        run(transfer.from_scratch, target=source)


def test_a_task_cannot_be_changed_behind_its_name():
    """What differs is a task of its own: kept outcomes are found by what a task holds."""
    with pytest.raises(AttributeError):
        TARGET.variant = "steps=100"
    assert replace(TARGET, variant="steps=100").key() == TARGET.key() | {"variant": "steps=100"}
    assert not TARGET.absent


def test_posteriors_of_clips_are_means_over_their_frames():
    """By hand, for clips asked for in any order; the frames of other clips do not count."""
    target = replace(TARGET, clip=np.array([1, 0, 1, 2]))
    assert target.rows([2, 1]).tolist() == [0, 2, 3]
    of_rows = np.array([[0.25, 0.75], [0.75, 0.25], [1, 0]])
    assert target.of_clips(of_rows, [2, 1]).tolist() == [[1, 0], [0.5, 0.5]]


def test_labels_of_frames_are_those_of_their_clips():
    """By hand; column k of posteriors is the emotion that sorts there."""
    some = replace(TARGET, emotion=np.array(["joy", "anger", "joy"]), clip=np.array([2, 1, 1]))
    assert some.emotions.tolist() == ["anger", "joy"]
    assert some.labels().tolist() == [1, 0, 0]
    assert replace(some, clip=None, features=np.zeros((3, 1))).labels().tolist() == [1, 0, 1]


def test_a_task_of_crops_has_the_clips_that_have_any():
    """Clips without a face are in no fold; speakers are normalised over their frames."""
    index, clip = index_of(TARGET), np.repeat(np.arange(3, 54), 2)
    images, options = TARGET.features[clip].reshape(-1, 1, 3, 4), dict(clip=clip, modality="crops")
    crops = tasks.task("target", index, images, inputs="speaker-normalised", **options)
    assert crops.modality == "crops" and len(crops.emotion) == 51 and crops.clip.max() == 50
    assert (crops.emotion == TARGET.emotion[3:]).all()
    assert sorted(np.concatenate([fold.test for fold in crops.folds])) == list(range(51))
    mine = crops.features[crops.speaker[crops.clip] == "target1"]
    assert mine.shape[1:] == (1, 3, 4) and np.abs(mine.mean(0)).max() < 1e-5


def test_groups_part_the_speakers():
    """A speaker is in one group, with all of its rows; each group is a task with own folds."""
    index, clip = index_of(task("own", 4, n_speakers=6)), np.repeat(np.arange(108), 2)
    features, options = np.arange(216.0)[:, None], dict(clip=clip, modality="crops")
    whole = tasks.task("own", index, features, **options)
    parts = tasks.groups(whole, index, 3)
    keys = [(part.name, part.variant, part.draw) for part in parts]
    assert keys == [("own", "groups=3", draw) for draw in (1, 2, 3)]
    speakers = [speaker for part in parts for speaker in np.unique(part.speaker)]
    assert sorted(speakers) == [f"own{s}" for s in range(6)]
    for part in parts:
        assert (part.modality, part.inputs, part.version) == ("crops", "plain", "synthetic-1")
        assert len(part.folds) == 2 and len(part.features) == 72
        rows = clip[part.features[:, 0].astype(int)]
        assert (index["speaker"].to_numpy()[rows] == part.speaker[part.clip]).all()
        assert (index["emotion"].to_numpy()[rows] == part.emotion[part.clip]).all()
        assert sorted(np.concatenate([fold.test for fold in part.folds])) == list(range(36))
    with pytest.raises(ValueError, match="task own: 108 clips, its index 100"):
        tasks.groups(whole, index.head(100), 3)


def test_few_training_speakers_are_drawn_and_test_clips_stay():
    """One of two training speakers is left in each fold, the same for a draw, and rows say so."""
    few, again = (tasks.with_few_speakers(TARGET, 1, draw=3) for _ in range(2))
    assert (few.variant, few.draw) == ("training_speakers=1", 3)
    for fold, whole, same in zip(few.folds, TARGET.folds, again.folds, strict=True):
        assert len(np.unique(TARGET.speaker[fold.train])) == 1
        assert set(fold.train) < set(whole.train) and (fold.test == whole.test).all()
        assert (fold.train == same.train).all()
    draws = [tasks.with_few_speakers(TARGET, 1, draw=draw).folds[0].train for draw in range(9)]
    assert len({tuple(train) for train in draws}) == 2


def test_other_folds_are_another_variant():
    """Of the same clips."""
    other = tasks.with_folds(TARGET, list(TARGET.folds[:1]), "some")
    assert other.folds == TARGET.folds[:1] and other.key() == TARGET.key() | {"variant": "some"}


def test_a_task_knows_what_is_said():
    """Where the index does, of the clips that have rows."""
    index = index_of(TARGET).assign(statement=np.tile(["dogs", "kids"], 27))
    said = tasks.task("target", index, TARGET.features[3:], clip=np.arange(3, 54)).statement
    assert said.tolist() == ["kids", "dogs"] * 25 + ["kids"]
    assert tasks.task("target", index_of(TARGET), TARGET.features).statement is None


def test_sentences_parted_are_a_task_and_its_control():
    """The folds are those of `splits`, and of the same clips; a score is of all a speaker says."""
    said = replace(TARGET, statement=np.tile(["a", "b", "c"], 18))
    disjoint, control = tasks.with_sentences_parted(said, n_groups=3)
    assert (disjoint.variant, control.variant) == ("sentences_disjoint", "sentences_shared")
    index = index_of(TARGET).assign(statement=said.statement)
    folds = splits.speaker_and_sentence_disjoint(index, TARGET.folds, n_groups=3)
    both = folds, splits.as_many_clips(index, folds, TARGET.folds)
    for parted, by_hand in zip((disjoint, control), both, strict=True):
        for fold, own in zip(by_hand, parted.folds, strict=True):
            assert fold.name == own.name
            assert (fold.train == own.train).all() and (fold.test == own.test).all()
    rows = run(transfer.from_scratch, disjoint).rows.query("metric == 'uar' and seed == 0")
    assert rows[["speaker", "n"]].to_numpy().tolist() == (
        [[f"target{s}", 18] for s in range(3)] + [["all", 54]]
    )


def test_pooled_tasks_are_one():
    """All their clips, in order, over all their emotions; speakers of the same name stay two."""
    clip = np.repeat(np.arange(len(FAR.emotion)), 2)
    framed = replace(FAR, features=FAR.features[clip], clip=clip, group=None)
    for far in (FAR, framed):
        both = tasks.pooled([NEAR, far])
        assert both.name == "near&far" and both.version == "synthetic-0&synthetic-0"
        assert both.emotions.tolist() == ["anger", "calm", "fear", "joy"]
        assert (both.emotion == np.append(NEAR.emotion, FAR.emotion)).all()
        assert both.speaker[0] == "near near0" and both.speaker[-1] == "far far1"
        assert (both.features[both.rows([len(NEAR.emotion)])] == FAR.features[0]).all()
        assert len(run(transfer.fine_tune, sources=(both,)).rows)


def test_a_pool_has_a_group_a_corpus_and_the_folds_of_the_first():
    """They test what they tested; all clips of the others, pools as well, are in training."""
    three = tasks.pooled([TARGET, tasks.pooled([NEAR, FAR])])
    assert three.group.tolist() == [0] * 54 + [1] * 54 + [2] * 24
    for fold, own in zip(three.folds, TARGET.folds, strict=True):
        assert fold.name == own.name and (fold.test == own.test).all()
        assert sorted(fold.train) == [*own.train, *range(54, 54 + 54 + 24)]


def stand_in(monkeypatch):
    """Let sound and landmarks of a clip be numbers that tell the clip, and the speed of sound."""

    def functionals(index, *, speed=1.0, n_jobs=1):
        return np.array([[speed * place, speed] for place in range(len(index))], np.float32)

    monkeypatch.setattr(speech, "functionals", functionals)
    monkeypatch.setattr(faces, "functionals", lambda index, n_jobs=1: functionals(index))


def index_with(folder, column, n_files=54):
    """An index of the target's clips, the first of which have files of their own."""
    paths = [folder / f"{column}{place}" for place in range(n_files)]
    for place, path in enumerate(paths):
        path.write_text(str(place))
    files = pd.array([*map(str, paths), *[pd.NA] * (54 - n_files)], "string")
    return index_of(TARGET).assign(clip=np.arange(54).astype(str), **{column: files})


def test_faster_and_slower_copies_are_rows_of_the_same_clips(tmp_path, monkeypatch):
    """Each speed adds its rows, normalised on their own scale; folds are of clips."""
    stand_in(monkeypatch)
    indexes = {"target": index_with(tmp_path, "audio")}
    args, n_rows = (["target"], indexes, "speech", ["speaker-normalised"]), 54
    [alone] = tasks.corpus_tasks(*args).values()
    [both] = tasks.corpus_tasks(*args, speeds=[1.0, 1.1]).values()
    assert len(alone.features) == n_rows and len(both.features) == 2 * n_rows
    assert (both.features[:n_rows] == alone.features).all()
    assert set(both.clip) == set(both.clip[n_rows:]) == set(range(54)) and len(both.emotion) == 54
    assert [fold.name for fold in both.folds] == ["target0", "target1", "target2"]
    of_first = both.features[n_rows:][both.speaker[both.clip[n_rows:]] == "target0"]
    assert abs(of_first.mean(0)).max() < 1e-4


def test_a_corpus_that_is_not_here_is_an_absent_task(tmp_path, monkeypatch):
    """Without an index, or any file of the modality; clips that lack one are left out."""
    stand_in(monkeypatch)
    indexes = {"target": index_with(tmp_path, "audio", 50)}
    indexes["near"] = index_with(tmp_path, "landmarks")
    all_tasks = tasks.corpus_tasks(["target", "near", "far"], indexes, "speech", ["plain"])
    assert list(all_tasks) == [(name, "plain") for name in ("target", "near", "far")]
    assert [task.absent for task in all_tasks.values()] == [False, True, True]
    assert len(all_tasks["target", "plain"].emotion) == 50
    assert all_tasks["near", "plain"].key()["modality"] == "speech"
    landmarks = tasks.corpus_tasks(["near"], indexes, "landmarks", ["plain"])["near", "plain"]
    assert (landmarks.modality, len(landmarks.emotion)) == ("landmarks", 54)
    no_network = tasks.corpus_tasks(["target"], indexes, "whisper-huge", ["plain"], layers=[1])
    assert no_network["target", "plain"].absent


def test_a_crop_has_its_own_scale_and_its_mirror_image(monkeypatch):
    """Each image has mean 0 and spread 1, also a dark one; its mirror image is of the same clip."""
    images = np.random.default_rng(0).random((3, 4, 6)) * np.array([[[1]], [[0.01]], [[1]]])
    monkeypatch.setattr(faces, "crops", lambda *a, **o: (images, np.array([0, 0, 1])))
    rows, clip = tasks.features_of("crops", pd.DataFrame())
    assert rows.shape == (6, 1, 4, 6) and clip.tolist() == [0, 0, 1] * 2
    np.testing.assert_allclose(rows.mean((2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(rows.std((2, 3)), 1, rtol=1e-6)
    assert (rows[3:] == rows[:3, ..., ::-1]).all()


SHAPES = {"speech": (len(speech.FUNCTIONALS),), "hog": (1344,), "crops": (1, 48, 48)}
SHAPES |= {"landmarks": (len(faces.FUNCTIONALS),), "tiny-random": (32,)}


@pytest.mark.parametrize("modality", SHAPES)
def test_every_modality_gives_a_task(modality, synthetic_root, tmp_path, monkeypatch):
    """Of real files: rows of its shape, one or several a clip; all inputs have the same clips."""
    monkeypatch.setenv("PATHEMO_CACHE", str(tmp_path))
    name = "ravdess" if modality == "landmarks" else "savee"
    index = corpora.load(name, synthetic_root).groupby("speaker").head(2).reset_index(drop=True)
    options = {"n_frames": 2} if modality in ("hog", "crops") else {}
    if modality == "tiny-random":
        options = {"layers": [1], "root": synthetic_root}
    inputs = ["plain", "speaker-normalised"]
    pair = tasks.corpus_tasks([name], {name: index}, modality, inputs, **options)
    assert list(pair) == [(name, "plain"), (name, "speaker-normalised")]
    for (_, i), some in pair.items():
        assert (some.modality, some.inputs) == (modality, i)
        assert some.features.dtype == np.float32 and some.features.shape[1:] == SHAPES[modality]
        assert len(some.clip) == len(some.features) and set(some.clip) == set(range(len(index)))
        assert [fold.name for fold in some.folds] == [f.name for f in splits.folds_for(index)]


@pytest.mark.parametrize("clip", [None, np.arange(54), np.arange(1, 51)])
def test_features_of_other_clips_are_refused(clip):
    """An index that was filtered and features that were not would slip labels: both are counted."""
    index = index_of(TARGET).head(50)
    n_features = 50 if clip is not None and len(clip) == 50 else 54
    words = rf"task own: {n_features} rows of features for \d+ rows of an index of 50 clips"
    with pytest.raises(ValueError, match=words):
        tasks.task("own", index, TARGET.features[:n_features], clip=clip)
