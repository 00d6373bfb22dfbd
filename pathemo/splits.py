"""Folds: no speaker, and no recording, is ever on both sides (but in `speakers_shared`)."""

import os
from functools import cache
from typing import NamedTuple

import numpy as np
import pandas as pd
import pooch
from sklearn.model_selection import LeaveOneGroupOut, StratifiedGroupKFold, StratifiedKFold
from sklearn.preprocessing import StandardScaler

# Test actors, Luna-Jimenez et al., Sensors 21(22):7665, 2021
RAVDESS_FOLDS = (
    ("02", "05", "14", "15", "16"),
    ("03", "06", "07", "13", "18"),
    ("10", "11", "12", "19", "20"),
    ("08", "17", "21", "23", "24"),
    ("01", "04", "09", "22"),
)


class Fold(NamedTuple):
    """One split: its name and the row positions of both sides, (n_train,) and (n_test,)."""

    name: str
    train: np.ndarray
    test: np.ndarray


def leave_one_speaker_out(index):
    """Return one fold a speaker, named after the speaker who is tested.

    >>> index = pd.DataFrame({"speaker": ["a", "b", "a"]})
    >>> [(fold.name, fold.test.tolist()) for fold in leave_one_speaker_out(index)]
    [('a', [0, 2]), ('b', [1])]
    """
    return _folds(index, _known(index["speaker"]))


def speaker_folds(index, n_folds, seed):
    """Return folds "1" to "n" of whole speakers, dealt at random, whatever the order of the rows.

    Their sizes, and where `index` tells genders those of each, differ by one at most."""
    speakers = np.unique(_known(index["speaker"]))
    if not 2 <= n_folds <= len(speakers):
        raise ValueError(
            f"n_folds={n_folds}, but {len(speakers)} speakers allow 2 to {len(speakers)} folds"
        )
    order = np.random.default_rng(seed).permutation(speakers)
    if "gender" in index:
        gender = index.groupby("speaker")["gender"].first().fillna("")
        order = order[np.argsort(gender[order].to_numpy(dtype=str), kind="stable")]
    return _dealt(index, [order[k::n_folds] for k in range(n_folds)])


def published_folds(index):
    """Return the folds "1" to "5" of RAVDESS: 300, 300, 300, 300 and 240 test clips of 24 actors.

    Actors that a part of the corpus lacks are left out, and so is a fold without any actor.

    Source: Luna-Jimenez et al., "Multimodal Emotion Recognition on RAVDESS Dataset Using Transfer
    Learning", 2021."""
    strangers = sorted(set(_known(index["speaker"]).tolist()).difference(*RAVDESS_FOLDS))
    if strangers:
        raise ValueError(f"speakers {strangers} are not in RAVDESS, whose actors are '01' to '24'")
    return _dealt(index, RAVDESS_FOLDS)


def folds_for(index):
    """Return the study's folds of one corpus: as published for RAVDESS, else by speaker.

    Leave-one-speaker-out holds up to 12 speakers, above that `speaker_folds(index, 5, seed=0)`.
    """
    if set(index["corpus"]) == {"ravdess"}:
        return published_folds(index)
    if index["speaker"].nunique() <= 12:
        return leave_one_speaker_out(index)
    return speaker_folds(index, 5, seed=0)


def speakers_shared(index, n_folds):
    """Return folds that deal clips and NOT speakers, emotions evenly: what they give is too good.

    They only show how much a random split flatters, in one table of the study."""
    sides = StratifiedKFold(n_folds, shuffle=True, random_state=0).split(index, index["emotion"])
    return [Fold(str(number), *pair) for number, pair in enumerate(sides, start=1)]


def speaker_and_sentence_disjoint(index, folds, *, n_groups=5):
    """Return folds whose test speakers and test sentences are both unknown in training.

    Each of `folds` is crossed with groups of sentences, the column `statement`, at most `n_groups`:
    a fold of the result tests what the fold's test speakers say of one group, and its training
    clips say none of it. Every clip is tested once; a name is there once a group, so that a
    speaker's clips can be scored together. In corpora whose sentences belong to an emotion (SAVEE,
    eNTERFACE'05), words give it away where test sentences were heard.

    >>> index = pd.DataFrame({"speaker": list("aabb"), "statement": list("xyxy")})
    >>> folds = leave_one_speaker_out(index)
    >>> parted = speaker_and_sentence_disjoint(index.assign(emotion="joy"), folds)
    >>> sorted((fold.train.tolist(), fold.test.tolist()) for fold in parted)
    [([0], [3]), ([1], [2]), ([2], [1]), ([3], [0])]
    """
    statement = index["statement"].to_numpy(str)
    n_groups = min(n_groups, len(np.unique(statement)))
    dealt = StratifiedGroupKFold(n_groups, shuffle=True, random_state=0)
    parted = []
    for _, group in dealt.split(index, index["emotion"], statement):
        heard = np.isin(statement, statement[group])
        for fold in folds:
            train, test = fold.train[~heard[fold.train]], fold.test[heard[fold.test]]
            parted += [Fold(fold.name, train, test)] if len(test) else []
    for fold in parted:
        both = np.intersect1d(statement[fold.train], statement[fold.test])
        assert not len(both), f"fold {fold.name!r} has sentences {both.tolist()} on both sides"
    assert_speaker_disjoint(parted, index)
    return parted


def as_many_clips(index, folds, wholes):
    """Return the control of folds with fewer training clips: as many, drawn from all there are.

    A fold tests what it tested, and learns from as many clips of each speaker and emotion, drawn
    from the fold of the same name among `wholes`: fewer clips cost points by themselves."""
    train, rng = {fold.name: fold.train for fold in wholes}, np.random.default_rng(0)
    kind = index.groupby(["speaker", "emotion"]).ngroup().to_numpy()
    control = []
    for fold in folds:
        clips = rng.permutation(train[fold.name])
        most = np.bincount(kind[fold.train], minlength=len(index))[kind[clips]]
        drawn = clips[pd.Series(clips).groupby(kind[clips]).cumcount() < most]
        control.append(fold._replace(train=np.sort(drawn)))
    return control


def speaker_normalise(features, speaker):
    """Return features with mean 0 and deviation 1 within each speaker, by their unlabelled clips.

    Transductive: all clips of a test speaker are seen before the first is classified, so results go
    by the name "speaker-normalised". A feature that is constant within a speaker, and a speaker
    with one clip, become 0.

    >>> speaker_normalise(np.array([[1.0], [3.0], [9.0]]), ["a", "a", "b"]).tolist()
    [[-1.0], [1.0], [0.0]]
    """
    speaker = _known(speaker)
    normalised = np.empty(features.shape, dtype=np.result_type(features, np.float32))
    for name in np.unique(speaker):
        mine = features[speaker == name].astype(float)  # float32 would blow up rounding
        normalised[speaker == name] = StandardScaler().fit_transform(mine)
    return normalised


def assert_speaker_disjoint(folds, index):
    """Pass when no fold has a speaker or a recording on both sides; every fold made here does.

    Raises
    ------
    AssertionError
        A speaker is on both sides of a fold.
    ValueError
        One recording (files of equal bytes) is on both sides, under two speakers.
    """
    speaker = _known(index["speaker"])
    for fold in folds:
        both = np.intersect1d(speaker[fold.train], speaker[fold.test])
        if len(both):
            raise AssertionError(f"fold {fold.name!r} has speakers {both.tolist()} on both sides")
    for column in index.columns.intersection(["audio", "video", "image", "landmarks"]):
        recording = _recordings(index[column])
        for fold in folds:
            same = np.intersect1d(recording[fold.train], recording[fold.test])
            if any(same):
                rows = index[recording == max(same)]
                raise ValueError(
                    f"fold {fold.name!r} has one recording on both sides, "
                    f"{' = '.join(rows[column])}, as speakers {' and '.join(rows['speaker'])}: "
                    "drop one of them from the index"
                )


def _dealt(index, test_speakers):
    """Return the folds "1", "2", ... that test these speakers."""
    fold = {name: fold for fold, names in enumerate(test_speakers, start=1) for name in names}
    return _folds(index, np.array([fold[name] for name in _known(index["speaker"])], int))


def _folds(index, test_fold):
    """Return the folds that test each row (n,) in one of them, by which it is named."""
    if len(np.unique(test_fold)) < 2:
        speakers = np.unique(index["speaker"]).tolist()
        raise ValueError(f"speakers {speakers} fill one test side, a split needs two: load more")
    sides = LeaveOneGroupOut().split(test_fold, groups=test_fold)
    folds = [Fold(str(test_fold[test[0]]), train, test) for train, test in sides]
    assert_speaker_disjoint(folds, index)
    return folds


def _known(speaker):
    missing = np.flatnonzero(pd.isna(speaker))
    if len(missing):
        raise ValueError(
            f"speaker is missing in {len(missing)} rows (the first is row {missing[0]}), so no "
            "split can keep that person on one side: fill the column or drop the rows"
        )
    return np.asarray(speaker, dtype=str)


def _recordings(paths):
    """Return a name of each file's content (n,); few are read, as equal files have equal sizes."""
    stats = {file: os.stat(file) for file in paths.dropna().unique()}
    sizes = pd.Series({file: stat.st_size for file, stat in stats.items()}, dtype=int)
    twins = sizes.index[sizes.duplicated(keep=False)]
    content = {file: _sha256(file, stats[file].st_mtime_ns) for file in twins}
    return np.array([content.get(path, path) for path in paths.fillna("")])


@cache
def _sha256(file, modified):  # `modified` makes a changed file a new entry of the cache
    return pooch.file_hash(file)
