"""Late fusion against hand-worked cases; the nested way never learns from what it decides."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from pathemo.multimodal import fusion, late_fusion
from pathemo.splits import Fold

LACKING = np.full((1, 2), np.nan)


def dirichlet(*shape, seed=0):
    return np.random.default_rng(seed).dirichlet(np.ones(3), shape)


def ring(n_folds=4, n_clips=24):
    """Folds of equal size, clip i in fold i modulo n_folds."""
    clips = np.arange(n_clips)
    tested = [clips % n_folds == k for k in range(n_folds)]
    return [Fold(str(k), clips[~test], clips[test]) for k, test in enumerate(tested)]


def test_two_classes_worked_by_hand():
    """One modality, two classes: the fused log-odds are w (p1 - p0) + b, and w meets its condition.

    For posteriors +-d around 1/2 of a balanced pair, b = 0 and w solves 2 d sigmoid(-2 d w) * n = w
    / 2: the derivative of the regularised loss (C = 1) by the one direction (-1, 1) that the data
    span.
    """
    d, n = 0.4, 10
    posteriors = np.array([[0.5 + d, 0.5 - d], [0.5 - d, 0.5 + d]] * (n // 2))
    fused = late_fusion([posteriors], [0, 1] * (n // 2), [posteriors[:2]])
    z = np.log(fused[1, 1] / fused[1, 0])  # log-odds at distance d: 2 d w, w for each column
    assert fused[0] == pytest.approx(fused[1][::-1], abs=1e-6)
    assert n * d / (1 + np.exp(z)) == pytest.approx(z / (2 * d), rel=1e-3)


def test_is_logistic_regression_on_the_concatenation():
    """All modalities there: scikit-learn's regression on the columns side by side."""
    one, other, truth = dirichlet(30), dirichlet(30, seed=1), np.tile([0, 1, 2], 10)
    expected = LogisticRegression(max_iter=1000).fit(np.hstack([one, other]), truth)
    fused = late_fusion([one, other], truth, [other, one])
    np.testing.assert_allclose(fused, expected.predict_proba(np.hstack([other, one])))


def test_a_missing_modality_is_left_out_of_the_decision():
    """Without a face sound alone decides, as learned from all clips that have sound."""
    sound, face, truth = dirichlet(30), dirichlet(30, seed=1), np.tile([0, 1, 2], 10)
    face[:5] = np.nan
    fused = late_fusion([sound, face], truth, [sound, face])
    np.testing.assert_allclose(fused[:5], late_fusion([sound], truth, [sound[:5]]))
    both = late_fusion([sound[5:], face[5:]], truth[5:], [sound[5:], face[5:]])
    np.testing.assert_allclose(fused[5:], both)


def test_a_clip_without_any_modality_gets_the_shares_of_the_emotions():
    """Nothing is known of it but how frequent each emotion is."""
    posteriors = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.6, 0.4]])
    fused = late_fusion([posteriors], [0, 1, 0, 0], [LACKING])
    np.testing.assert_allclose(fused, [[0.75, 0.25]])


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ([dirichlet(6), dirichlet(5)], [dirichlet(6)] * 2, r"numbers of samples: \[6, 6, 5\]"),
        ([dirichlet(6)], [dirichlet(6)] * 2, r"numbers of samples: \[1, 2\]"),
        (
            [dirichlet(6), np.full((6, 3), np.nan)],
            [dirichlet(6)] * 2,
            r"have modalities \[0, 1\], and no known clip of \[0, 1, 2\] has",
        ),
    ],
)
def test_what_does_not_fit_is_refused(train, test, message):
    """Other clips, other modalities; a test clip with what no training clip has."""
    with pytest.raises(ValueError, match=message):
        late_fusion(train, [0, 1, 2] * 2, test)


def test_product_worked_by_hand():
    """0.8 * 0.6 against 0.2 * 0.4, scaled to 1; what is lacking changes nothing; none: 1 / K."""
    one, other = np.array([[0.8, 0.2]]), np.array([[0.6, 0.4]])
    np.testing.assert_allclose(fusion.product([one, other]), [[0.48 / 0.56, 0.08 / 0.56]])
    np.testing.assert_allclose(fusion.product([one, LACKING]), one)
    np.testing.assert_allclose(fusion.product([LACKING, LACKING]), [[0.5, 0.5]])


def test_parts_leave_out_each_fold_and_each_neighbouring_pair():
    """As many parts again as folds; the last pair closes the ring; both sides make all clips."""
    left_out = [{0}, {1}, {2}, {3}, {0, 1}, {1, 2}, {2, 3}, {3, 0}]
    parts = fusion.nested_parts(ring())
    for part, folds in zip(parts, left_out, strict=True):
        assert set(part.test % 4) == folds
        assert set(part.train % 4) == {0, 1, 2, 3} - folds
        assert len(part.train) + len(part.test) == 24


def test_out_of_fold_posteriors_come_from_what_saw_neither_fold():
    """For every fold and clip that a regression learns from: the part left out both folds."""
    folds = ring()
    parts = fusion.nested_parts(folds)
    for number, fold in enumerate(folds):
        clips, used = fusion.training_clips(folds, number, "nested")
        assert len(np.unique(clips)) == 12 and not set(clips) & set(fold.test)
        for clip, part in zip(clips, used, strict=True):
            assert not {clip, *fold.test} & set(parts[part].train)
        clips, part = fusion.training_clips(folds, number, "in-sample")
        assert set(clips) == set(fold.train) == set(parts[part].train)


def test_overfitted_modality_deceives_the_in_sample_way_alone():
    """One modality knows its training clips by heart and nothing else; nested fusion leaves it."""
    folds, rng = ring(4, 240), np.random.default_rng(0)
    truth = rng.integers(0, 3, 240)
    parts, sure = fusion.nested_parts(folds), np.eye(3) * 0.97 + 0.01
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
    """A rival without seeds is repeated; each clip's posteriors are as of when it was tested."""
    folds = ring()
    several, single, truth = dirichlet(3, 8, 24), dirichlet(1, 8, 24, seed=1), np.tile([0, 1, 2], 8)
    for way in ("nested", "in-sample", "product"):
        fused = fusion.fuse([several, single], truth, folds, way=way)
        assert fused.shape == (3, 24, 3)
        alone = fusion.fuse([several[1:2], single], truth, folds, way=way)
        np.testing.assert_allclose(fused[1], alone[0])
    tested = fusion.out_of_fold(several, folds)
    np.testing.assert_array_equal(tested[2, 5], several[2, 1, 5])
    np.testing.assert_allclose(fusion.fuse([several], truth, folds, way="product"), tested)
