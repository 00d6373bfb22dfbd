"""Late fusion: one decision from the posteriors of several modalities, honestly or as the papers do
it.

A method's posteriors are one array (n_seeds, n_parts, n, K): of all n clips, learned from each of
`parts`."""

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from . import metrics
from .splits import Fold


def late_fusion(train_posteriors, truth, test_posteriors):
    """Posteriors (n_test, K) by logistic regression on the concatenated posteriors of all
    modalities.

    A clip that lacks a modality (its posteriors are not numbers) is decided by those that it has,
    as learned from the training clips that have these. A clip without any gets the shares of the
    emotions in `truth`.

    Parameters
    ----------
    train_posteriors, test_posteriors : list of arrays (n_train, K), (n_test, K)
        One a modality.
    truth : (n_train,) str or int
        Column k of what is returned is the k-th of its sorted values.

    Raises
    ------
    ValueError
        The modalities differ in their clips; or no training clip has what a test clip has.

    Source: Luna-Jimenez et al., Sensors 21(22):7665, 2021.

    >>> sure, unsure = np.array([[0.9, 0.1], [0.1, 0.9]]), np.array([[0.5, 0.5], [0.5, 0.5]])
    >>> late_fusion([sure, unsure], ["anger", "fear"], [sure, unsure]).argmax(axis=1)
    array([0, 1])
    """
    truth = np.asarray(truth)
    lengths = [len(part) for part in train_posteriors]
    if set(lengths) != {len(truth)} or len(train_posteriors) != len(test_posteriors):
        raise ValueError(
            f"{len(truth)} truths, training posteriors of {lengths} clips and "
            f"{len(test_posteriors)} modalities to test: they have to fit"
        )
    has_train, has_test = (
        ~np.isnan(side).any(axis=2).T for side in (train_posteriors, test_posteriors)
    )
    emotions, counts = np.unique(truth, return_counts=True)
    fused = np.tile(counts / len(truth), (len(has_test), 1))
    for pattern in np.unique(has_test[has_test.any(axis=1)], axis=0):
        learned, decided = has_train[:, pattern].all(axis=1), (has_test == pattern).all(axis=1)
        if lacking := set(emotions.tolist()) - set(truth[learned].tolist()):
            raise ValueError(
                f"test clips have modalities {np.flatnonzero(pattern).tolist()}, and no known "
                f"clip of {sorted(lacking)} has: leave a modality out"
            )
        sides = (train_posteriors, learned), (test_posteriors, decided)
        train, test = (
            np.hstack([p[rows] for p, has in zip(side, pattern) if has]) for side, rows in sides
        )
        fused[decided] = (
            LogisticRegression(max_iter=1000).fit(train, truth[learned]).predict_proba(test)
        )
    return fused


def product(posteriors):
    """Posteriors (..., n, K): the product of those of the modalities that a clip has, scaled to sum
    1.

    A clip without any modality gets 1 / K.

    >>> product([np.array([[0.8, 0.2]]), np.array([[0.5, 0.5]]), np.array([[np.nan, np.nan]])])
    array([[0.8, 0.2]])
    """
    level = np.nansum(np.log(np.maximum(posteriors, 1e-12)), axis=0)
    odds = np.exp(level - level.max(axis=-1, keepdims=True))
    return odds / odds.sum(axis=-1, keepdims=True)


def parts(folds):
    """What is learned from: the clips without a fold, for each; then without it and the next one,
    in a ring.

    Those of the second kind give out-of-fold posteriors of the training clips in the two folds
    beside the tested one, for no more than twice the trainings. The test side of a part is all
    clips."""
    everything = np.sort(np.concatenate([fold.test for fold in folds]))
    alone = [(fold.name, fold.train) for fold in folds]
    pairs = [
        (f"{fold.name} and {after.name}", np.intersect1d(fold.train, after.train))
        for fold, after in zip(folds, [*folds[1:], folds[0]])
    ]
    return [Fold(name, rows, everything) for name, rows in alone + pairs]


def of_test_folds(posteriors, folds):
    """Posteriors (n_seeds, n, K) of each clip when it was in the test fold."""
    found = np.full_like(posteriors[:, 0], np.nan)
    for number, fold in enumerate(folds):
        found[:, fold.test] = posteriors[:, number, fold.test]
    return found


def known(posteriors, folds, number, *, way):
    """Clips (m,) that a regression learns from when a fold is tested, and their posteriors
    (n_seeds, m, K).

    "nested": clips of the two folds beside this one, by what was learned without this fold and
    theirs. "in-sample": all training clips, by what was learned from those very clips."""
    if way == "in-sample":
        return folds[number].train, posteriors[:, number, folds[number].train]
    before, after = (folds[beside % len(folds)].test for beside in (number - 1, number + 1))
    with_before, with_after = (len(folds) + pair % len(folds) for pair in (number - 1, number))
    found = posteriors[:, with_before, before], posteriors[:, with_after, after]
    return np.concatenate([before, after]), np.concatenate(found, axis=1)


def fuse(modalities, truth, folds, *, way="nested"):
    """Fused posteriors (n_seeds, n, K) of each clip when it was in the test fold.

    Parameters
    ----------
    modalities : list of arrays (n_seeds, n_parts, n, K)
        Each with as many seeds, or with one.
    truth : (n,) array of str
    way : {"nested", "in-sample", "product"}
        `late_fusion` of what is `known` in either way; or `product`, which learns nothing.
        In-sample, the papers' way, a modality looks surer than it is on strangers.
    """
    n_seeds = max(len(posteriors) for posteriors in modalities)
    modalities = [np.broadcast_to(p, (n_seeds, *p.shape[1:])) for p in modalities]
    fused = np.full(modalities[0][:, 0].shape, np.nan)
    for number, fold in enumerate(folds):
        tests = [posteriors[:, number, fold.test] for posteriors in modalities]
        if way == "product":
            fused[:, fold.test] = product(tests)
            continue
        clips, trains = zip(
            *(known(posteriors, folds, number, way=way) for posteriors in modalities)
        )
        for seed in range(n_seeds):
            train, test = ([side[seed] for side in sides] for sides in (trains, tests))
            fused[seed, fold.test] = late_fusion(train, truth[clips[0]], test)
    return fused


def table(rows):
    """Scores in percent, a row an input, protocol and source: accuracy as in the paper, means over
    speakers.

    `accuracy` is the mean of the folds' accuracies, over all seeds, ± 1.96 sqrt(p (1 - p) / n),
    clips taken as independent; those of speakers are means ± half the 95 % interval of
    `metrics.summary`."""
    by = ["inputs", "protocol", "source"]
    single = rows[rows["metric"].eq("accuracy") & rows["speaker"].ne("all")]
    right = single.assign(right=single["value"] * single["n"]).groupby([*by, "seed", "fold"])[
        ["right", "n"]
    ]
    of_folds = right.sum()
    p = (of_folds["right"] / of_folds["n"]).groupby(by).mean()
    n = of_folds["n"].groupby([*by, "seed"]).sum().groupby(by).first()
    half = [metrics.accuracy_half_width(*pn) for pn in zip(p, n)]
    made = pd.DataFrame({"accuracy": 100 * p, "±": np.multiply(100, half)}).round(1)
    for metric in ("accuracy", "uar"):
        of_speakers = metrics.summary(rows, by, metric=metric).set_index(by)
        percent = 100 * of_speakers[["mean", "high"]]
        spread = (percent["high"] - percent["mean"]).map(" ± {:.1f}".format)
        made[f"{metric}, of speakers"] = percent["mean"].map("{:.1f}".format) + spread
    return made.assign(clips=n, seeds=of_speakers["n_seeds"])
