"""What replicas learn from: scaling by own rows only, and balanced minibatches."""

import numpy as np
import pytest

from pathemo.examples import Examples

N, D = 60, 5
FEATURES = np.random.default_rng(0).standard_normal((N, D)).astype(np.float32) * 100 + 7
LABELS = np.arange(N) % 3


def draw(examples, replica, *, balanced):
    """Rows of a hundred minibatches of 20 of one replica."""
    generators, replicas = [np.random.default_rng(0)], slice(replica, replica + 1)
    return examples.draw(generators, replicas, steps=100, batch_size=20, balanced=balanced)[
        :, 0
    ].numpy()


PARTS = [np.arange(20), np.arange(20, N), np.arange(20)]


def test_scaling_comes_from_the_replicas_own_rows():
    """Each replica sees features of mean 0 and spread 1 over its own rows, whatever the others
    see.
    """
    x = Examples(FEATURES, LABELS, PARTS).inputs(PARTS[1][None], slice(1, 2))[0].numpy()
    np.testing.assert_allclose(x[:, :-1].mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(x[:, :-1].std(0), 1, atol=1e-4)
    assert (x[:, -1] == 1).all()


def test_replicas_of_a_fold_share_its_table():
    """Three replicas on two choices of rows hold two scaled copies: folds * n * (d + 1) * 4
    bytes.
    """
    examples = Examples(FEATURES, LABELS, PARTS)
    assert examples.table.nbytes == 2 * N * (D + 1) * 4
    x = examples.inputs(np.tile(np.arange(N), (3, 1)))
    assert (x[0] == x[2]).all() and (x[0] != x[1]).any()


def test_a_constant_feature_is_zero():
    """A feature that does not vary over the training rows carries nothing."""
    features = FEATURES.copy()
    features[:30, 2] = 5.0
    x = Examples(features, LABELS, [np.arange(30)]).inputs(np.arange(N)[None])
    assert (x[0, :, 2] == 0).all()


def as_they_are(n_folds, d):
    """Scaling that changes nothing."""
    return np.zeros((n_folds, d), np.float32), np.ones((n_folds, d), np.float32)


def test_images_and_given_scaling():
    """Images are flattened; other clips can be scaled as the first ones were."""
    images = FEATURES[:, :4].reshape(N, 1, 2, 2)
    x = Examples(images, LABELS, [PARTS[0]], scaling=as_they_are(1, 4)).inputs(np.arange(N)[None])
    assert (x[0, :, :-1].numpy() == FEATURES[:, :4]).all()
    seen = Examples(FEATURES, LABELS, [PARTS[0]])
    again = Examples(FEATURES[30:], LABELS[30:], [np.arange(30)], scaling=seen.scaling)
    assert (again.inputs(np.arange(30)[None]) == seen.inputs(np.arange(30, N)[None])).all()


def test_extremes_are_of_the_replicas_rows():
    """`low` and `high` bound what a replica may see, and nothing else."""
    examples = Examples(FEATURES, LABELS, PARTS[:2], scaling=as_they_are(2, D))
    np.testing.assert_array_equal(examples.low[1], FEATURES[20:].min(0))
    np.testing.assert_array_equal(examples.high[0], FEATURES[:20].max(0))


def test_balanced_minibatches_weigh_emotions_alike():
    """With 50 rows of one emotion and 5 of another, each is half of what is drawn."""
    labels = np.array([0] * 50 + [2] * 5 + [1] * 5)
    examples = Examples(np.zeros((60, 2)), labels, [np.arange(55)])
    drawn = labels[draw(examples, 0, balanced=True)]
    assert set(drawn.flat) == {0, 2}
    assert abs((drawn == 2).mean() - 0.5) < 0.05


@pytest.mark.parametrize("balanced", [True, False])
def test_only_own_rows_are_drawn(balanced):
    """Each replica draws all of its rows, and no other."""
    examples = Examples(FEATURES, LABELS, PARTS)
    drawn = draw(examples, 1, balanced=balanced)
    assert set(drawn.flat) == set(PARTS[1])


def test_features_that_are_not_finite_are_named():
    """The error says which row."""
    features = FEATURES.copy()
    features[17, 3] = np.nan
    with pytest.raises(ValueError, match="row 17"):
        Examples(features, LABELS, PARTS)


def test_a_mask_hides_one_band_of_rows_and_one_of_columns():
    """All channels are hidden alike, the bands' widths vary up to the share, and each image has its
    own.
    """
    images = np.ones((4, 2, 20, 30), np.float32)
    examples = Examples(images, np.arange(4) % 2, [np.arange(4)] * 2, scaling=as_they_are(1, 1200))
    x = examples.inputs(np.tile(np.arange(4), (2, 50)))
    generators = [np.random.default_rng(seed) for seed in (0, 1)]
    examples.disturb(x, generators, slice(0, 2), salt_and_pepper=0.0, gaussian_noise=0.0, mask=0.5)
    seen = x[..., :-1].unflatten(2, examples.shape).flatten(0, 1).numpy()
    assert (x[..., -1] == 1).all() and (seen[..., 0] == seen[..., 1]).all()
    hidden = [
        ~seen[..., 0].any(axis=2),
        ~seen[..., 0].any(axis=1),
    ]  # (400, 20) rows and (400, 30) columns
    np.testing.assert_array_equal(seen[..., 0] == 0, hidden[0][:, :, None] | hidden[1][:, None])
    for bands, length in zip(hidden, (20, 30), strict=True):
        assert (np.abs(np.diff(np.pad(bands, ((0, 0), (1, 1))).astype(int))).sum(axis=1) <= 2).all()
        assert set(bands.sum(axis=1)) == {*range(length // 2 + 1)}


def test_fingerprint_tells_examples_apart():
    """Other features, labels or rows have another digest; equal ones the same."""
    own = Examples(FEATURES, LABELS, PARTS).fingerprint()
    assert own == Examples(FEATURES.copy(), LABELS, PARTS).fingerprint()
    others = [
        (FEATURES + 1, LABELS, PARTS, as_they_are(2, D)),
        (FEATURES, LABELS[::-1], PARTS, None),
    ]
    others.append((FEATURES, LABELS, PARTS[1:], None))
    for features, labels, rows, scaling in others:
        assert Examples(features, labels, rows, scaling=scaling).fingerprint() != own
