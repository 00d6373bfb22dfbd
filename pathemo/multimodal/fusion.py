"""Late fusion: one decision from the posteriors of several modalities, honestly or as papers do it.

A method's posteriors are one array (n_seeds, n_parts, n, K): of all n clips, learned from each of
`nested_parts`, or from the folds alone, its first parts.
"""

import numpy as np
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.utils import check_consistent_length

from ..splits import Fold


def late_fusion(train_posteriors, truth, test_posteriors):
    """Return posteriors (n_test, K) by logistic regression on those of all modalities together.

    A clip that lacks a modality (its posteriors are not numbers) is decided by those that it has,
    as learned from training clips that have these; one without any, by how frequent emotions are.

    Parameters
    ----------
    train_posteriors, test_posteriors : list of arrays (n_train, K), (n_test, K), one a modality
    truth : (n_train,) str or int
        Column k of what is returned is the k-th of its sorted values.

    ValueError where modalities differ in their clips, or no training clip has what a test clip has.

    Source: Luna-Jimenez et al., Sensors 21(22):7665, 2021.

    >>> sure, unsure = np.array([[0.9, 0.1], [0.1, 0.9]]), np.array([[0.5, 0.5], [0.5, 0.5]])
    >>> late_fusion([sure, unsure], ["anger", "fear"], [sure, unsure]).argmax(axis=1)
    array([0, 1])
    """
    truth = np.asarray(truth)
    check_consistent_length(truth, *train_posteriors)
    check_consistent_length(train_posteriors, test_posteriors)
    train, test = np.stack(train_posteriors), np.stack(test_posteriors)
    has_train, has_test = (np.isfinite(side).all(axis=2).T for side in (train, test))
    emotions, counts = np.unique(truth, return_counts=True)
    fused = np.tile(counts / len(truth), (len(has_test), 1))
    for pattern in np.unique(has_test[has_test.any(axis=1)], axis=0):
        learned = has_train[:, pattern].all(axis=1)
        decided = (has_test == pattern).all(axis=1)
        lacking = np.setdiff1d(emotions, truth[learned])
        if len(lacking):
            raise ValueError(
                f"test clips have modalities {np.flatnonzero(pattern).tolist()}, and no known "
                f"clip of {lacking.tolist()} has: leave a modality out"
            )
        regression = LogisticRegression(max_iter=1000)
        regression.fit(np.hstack(train[pattern][:, learned]), truth[learned])
        fused[decided] = regression.predict_proba(np.hstack(test[pattern][:, decided]))
    return fused


def product(posteriors):
    """Return posteriors (..., n, K): the product of those that a clip has, scaled to sum 1.

    A clip without any modality gets 1 / K.

    >>> product([np.array([[0.8, 0.2]]), np.array([[0.5, 0.5]]), np.array([[np.nan, np.nan]])])
    array([[0.8, 0.2]])
    """
    return softmax(np.nansum(np.log(np.maximum(posteriors, 1e-12)), axis=0), axis=-1)


def nested_parts(folds):
    """Return the folds; then, for each, a part that leaves out its clips and those of the next one.

    The pairs close in a ring. They give out-of-fold posteriors of the training clips in the two
    folds beside a tested one, for no more than twice the trainings.
    """
    parts = list(folds)
    for fold, after in zip(folds, [*folds[1:], folds[0]]):
        train, test = np.intersect1d(fold.train, after.train), np.union1d(fold.test, after.test)
        parts.append(Fold(f"{fold.name} and {after.name}", train, test))
    return parts


def training_clips(folds, number, way):
    """Return the clips (m,) that a fold's regression learns from, and the part of each: `fuse`."""
    if way == "in-sample":
        return folds[number].train, number
    n = len(folds)
    before, after = folds[number - 1].test, folds[(number + 1) % n].test
    parts = n + np.repeat([(number - 1) % n, number], [len(before), len(after)])
    return np.concatenate([before, after]), parts


def out_of_fold(posteriors, folds):
    """Return posteriors (n_seeds, n, K) of each clip as of when its fold was tested."""
    tested = np.full_like(posteriors[:, 0], np.nan)
    for number, fold in enumerate(folds):
        tested[:, fold.test] = posteriors[:, number, fold.test]
    return tested


def fuse(modalities, truth, folds, *, way="nested"):
    """Return fused posteriors (n_seeds, n, K) of each clip as of when its fold was tested.

    Parameters
    ----------
    modalities : list of arrays (n_seeds, n_parts, n, K)
        Each with as many seeds, or with one.
    truth : (n,) array of str
    way : {"nested", "in-sample", "product"}
        `late_fusion`, which learns from the clips of the two folds beside, by the parts without
        them; or, as in the papers, from the very clips that the part learned from, where a modality
        looks surer than on strangers. Or `product`, which learns nothing.
    """
    if way == "product":
        return product(np.broadcast_arrays(*(out_of_fold(p, folds) for p in modalities)))
    n_seeds = max(map(len, modalities))
    fused = np.full((n_seeds, *modalities[0].shape[2:]), np.nan)
    for seed in range(n_seeds):
        seeded = [posteriors[seed % len(posteriors)] for posteriors in modalities]
        for number, fold in enumerate(folds):
            clips, parts = training_clips(folds, number, way)
            train = [posteriors[parts, clips] for posteriors in seeded]  # (m, K) each
            test = [posteriors[number, fold.test] for posteriors in seeded]
            fused[seed, fold.test] = late_fusion(train, truth[clips], test)
    return fused
