"""Late fusion against hand-worked cases, and that the nested way never learns from what it
decides.
"""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression

from pathemo import fusion, metrics
from pathemo.splits import Fold

LACKING = np.full((1, 2), np.nan)


def dirichlet(*shape, seed=0):
    return np.random.default_rng(seed).dirichlet(np.ones(3), shape)


def ring(n_folds=4, n_clips=24):
    """Folds of equal size, clip i in fold i modulo n_folds."""
    clips = np.arange(n_clips)
    return [
        Fold(str(k), clips[clips % n_folds != k], clips[clips % n_folds == k])
        for k in range(n_folds)
    ]


def test_two_classes_worked_by_hand():
    """With one modality and two classes the fused log-odds are w (p1 - p0) + b, and w meets its
    condition.

    For posteriors +-d around 1/2 of a balanced pair, b = 0 and w solves 2 d sigmoid(-2 d w) * n = w
    / 2: the derivative of the regularised loss (C = 1) by the one direction (-1, 1) that the data
    span."""
    d, n = 0.4, 10
    posteriors = np.array([[0.5 + d, 0.5 - d], [0.5 - d, 0.5 + d]] * (n // 2))
    fused = fusion.late_fusion([posteriors], [0, 1] * (n // 2), [posteriors[:2]])
    z = np.log(
        fused[1, 1] / fused[1, 0]
    )  # the log-odds at distance d: z = 2 d w, w for each column
    assert fused[0] == pytest.approx(fused[1][::-1], abs=1e-6)
    assert n * d / (1 + np.exp(z)) == pytest.approx(z / (2 * d), rel=1e-3)


def test_is_logistic_regression_on_the_concatenation():
    """All modalities there: scikit-learn's regression on the columns side by side."""
    one, other, truth = dirichlet(30), dirichlet(30, seed=1), np.tile([0, 1, 2], 10)
    expected = LogisticRegression(max_iter=1000).fit(np.hstack([one, other]), truth)
    fused = fusion.late_fusion([one, other], truth, [other, one])
    np.testing.assert_allclose(fused, expected.predict_proba(np.hstack([other, one])))


def test_a_missing_modality_is_left_out_of_the_decision():
    """Clips without a face are decided by sound alone, as learned from all clips that have
    sound.
    """
    sound, face, truth = dirichlet(30), dirichlet(30, seed=1), np.tile([0, 1, 2], 10)
    face[:5] = np.nan
    fused = fusion.late_fusion([sound, face], truth, [sound, face])
    np.testing.assert_allclose(fused[:5], fusion.late_fusion([sound], truth, [sound[:5]]))
    both = fusion.late_fusion([sound[5:], face[5:]], truth[5:], [sound[5:], face[5:]])
    np.testing.assert_allclose(fused[5:], both)


def test_a_clip_without_any_modality_gets_the_shares_of_the_emotions():
    """Nothing is known of it but how frequent each emotion is."""
    posteriors, truth = (
        np.tile([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.6, 0.4]], (1, 1)),
        [0, 1, 0, 0],
    )
    np.testing.assert_allclose(fusion.late_fusion([posteriors], truth, [LACKING]), [[0.75, 0.25]])


@pytest.mark.parametrize(
    ("modalities", "message"),
    [
        ([dirichlet(6), dirichlet(5)], r"6 truths, training posteriors of \[6, 5\] clips"),
        (
            [dirichlet(6), np.full((6, 3), np.nan)],
            r"have modalities \[0, 1\], and no known clip of \[0, 1, 2\] has",
        ),
    ],
)
def test_what_does_not_fit_is_refused(modalities, message):
    """Modalities of different clips; a test clip with what no training clip has."""
    with pytest.raises(ValueError, match=message):
        fusion.late_fusion(modalities, [0, 1, 2] * 2, [dirichlet(6), dirichlet(6)])


def test_product_worked_by_hand():
    """0.8 * 0.6 against 0.2 * 0.4, scaled to 1; what is lacking changes nothing; none at all: 1 /
    K.
    """
    one, other = np.array([[0.8, 0.2]]), np.array([[0.6, 0.4]])
    np.testing.assert_allclose(fusion.product([one, other]), [[0.48 / 0.56, 0.08 / 0.56]])
    np.testing.assert_allclose(fusion.product([one, LACKING]), one)
    np.testing.assert_allclose(fusion.product([LACKING, LACKING]), [[0.5, 0.5]])


def test_parts_leave_out_each_fold_and_each_neighbouring_pair():
    """As many parts again as folds; the last pair closes the ring."""
    folds = ring()
    made = fusion.parts(folds)
    assert [part.name for part in made] == [
        "0",
        "1",
        "2",
        "3",
        "0 and 1",
        "1 and 2",
        "2 and 3",
        "3 and 0",
    ]
    for part in made:
        left_out = sorted({int(k) for k in part.name.split(" and ")})
        assert sorted(set(np.arange(24) % 4) - set(part.train % 4)) == left_out
        np.testing.assert_array_equal(part.test, np.arange(24))


def test_out_of_fold_posteriors_come_from_what_saw_neither_fold():
    """For every fold and clip that a regression learns from: the part left out the fold and the
    clip's.
    """
    folds = ring()
    parts = fusion.parts(folds)
    posteriors = np.array(
        [[[[number]] * 24 for number in range(len(parts))]], float
    )  # (1, 8, 24, 1)
    for number, fold in enumerate(folds):
        clips, made_by = fusion.known(posteriors, folds, number, way="nested")
        assert len(np.unique(clips)) == 12 and not set(clips) & set(fold.test)
        for clip, part in zip(clips, made_by[0, :, 0].astype(int)):
            assert not {clip, *fold.test} & set(parts[part].train)
        clips, made_by = fusion.known(posteriors, folds, number, way="in-sample")
        assert set(clips) == set(fold.train) == set(parts[number].train)
        assert (made_by == number).all()


def test_overfitted_modality_deceives_the_in_sample_way_alone():
    """One modality knows its training clips by heart and nothing else; nested fusion leaves it
    aside.
    """
    folds, rng = ring(4, 240), np.random.default_rng(0)
    truth = rng.integers(0, 3, 240)
    parts, sure = fusion.parts(folds), np.eye(3) * 0.97 + 0.01
    heart = np.stack([sure[rng.integers(0, 3, 240)] for _ in parts])
    for number, part in enumerate(parts):
        heart[number, part.train] = sure[truth[part.train]]
    honest = np.where(rng.random(240) < 0.7, truth, rng.integers(0, 3, 240))
    fair = np.tile(np.eye(3)[honest] * 0.6 + 0.4 / 3, (len(parts), 1, 1))
    scores = {}
    for way in ("nested", "in-sample", "product"):
        fused = fusion.fuse([heart[None], fair[None]], truth, folds, way=way)
        assert fused.shape == (1, 240, 3) and np.allclose(fused.sum(-1), 1)
        scores[way] = (fused[0].argmax(1) == truth).mean()
    assert scores["nested"] > 0.75 > 0.5 > scores["in-sample"]


def test_one_seed_is_fused_with_each_of_several():
    """A rival without seeds is repeated; each clip's posterior is the one when its fold was
    tested.
    """
    folds = ring()
    several, single, truth = dirichlet(3, 8, 24), dirichlet(1, 8, 24, seed=1), np.tile([0, 1, 2], 8)
    fused = fusion.fuse([several, single], truth, folds)
    assert fused.shape == (3, 24, 3)
    alone = fusion.fuse([several[1:2], single], truth, folds)
    np.testing.assert_allclose(fused[1], alone[0])
    tested = fusion.of_test_folds(several, folds)
    np.testing.assert_array_equal(tested[2, 5], several[2, 1, 5])
    np.testing.assert_allclose(fusion.fuse([several], truth, folds, way="product"), tested)


def test_table_is_the_mean_of_folds_as_the_paper_computes_it():
    """Folds of 3 and 1 clips, 2 of 3 and 1 of 1 right: (2/3 + 1) / 2, and 1.96 sqrt(p (1 - p) / 4)
    beside.
    """
    key = dict(protocol="toy", target="t", corpus_version="v", seed=0)
    rows = [
        metrics.score_rows(["a", "a", "b"], ["a", "b", "b"], ["x", "x", "y"], fold="1", **key),
        metrics.score_rows(["a"], ["a"], ["z"], fold="2", **key),
        metrics.pooled_rows(["a", "a", "b", "a"], ["a", "b", "b", "a"], **key),
    ]
    [row] = fusion.table(pd.concat(rows, ignore_index=True)).to_dict("records")
    p = 5 / 6
    assert row["accuracy"] == pytest.approx(100 * p, abs=0.05)
    assert row["±"] == pytest.approx(196 * np.sqrt(p * (1 - p) / 4), abs=0.05)
    half = 100 * stats.t.ppf(0.975, 2) * np.std([0.5, 1, 1], ddof=1) / np.sqrt(3)
    assert row["accuracy, of speakers"] == f"{250 / 3:.1f} ± {half:.1f}"
    assert (row["clips"], row["seeds"]) == (4, 1)
