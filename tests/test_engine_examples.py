"""Examples: scaled by a replica's own rows only, and balanced minibatches."""

import numpy as np
import pytest

from pathemo.engine import Examples

N, D = 60, 5
FEATURES = np.random.default_rng(0).standard_normal((N, D)).astype(np.float32) * 100 + 7
LABELS = np.arange(N) % 3


def draw(examples, replica, *, balanced):
    """Rows of a hundred minibatches of 20 of one replica."""
    generators, replicas = [np.random.default_rng(0)], slice(replica, replica + 1)
    options = dict(steps=100, batch_size=20, balanced=balanced)
    return examples.draw(generators, replicas, **options)[:, 0].numpy()


PARTS = [np.arange(20), np.arange(20, N), np.arange(20)]


def test_scaling_comes_from_the_replicas_own_rows():
    """Each replica's own rows have mean 0 and spread 1, whatever the others see."""
    x = Examples(FEATURES, LABELS, PARTS).inputs(PARTS[1][None], slice(1, 2))[0].numpy()
    np.testing.assert_allclose(x[:, :-1].mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(x[:, :-1].std(0), 1, atol=1e-4)
    assert (x[:, -1] == 1).all()


CORPUS = np.repeat([0, 1], [20, 40])


def test_each_corpus_is_scaled_by_its_own_rows_among_those_learned_from():
    """By hand: mean and spread of a group's training rows, for all rows of the group."""
    examples = Examples(FEATURES, LABELS, [np.arange(10, 50)], group=CORPUS)
    x = examples.inputs(np.arange(N)[None])[0].numpy()
    for part, of_it in ((np.arange(10, 20), np.arange(20)), (np.arange(20, 50), np.arange(20, N))):
        by_hand = (FEATURES[of_it] - FEATURES[part].mean(0)) / FEATURES[part].std(0)
        np.testing.assert_allclose(x[of_it, :-1], by_hand, atol=1e-4)


def test_the_scaling_has_a_row_a_group():
    """Of each fold mean and 1 / spread (G, d), which scale other clips of these corpora alike."""
    examples = Examples(FEATURES, LABELS, PARTS[:2], group=CORPUS)
    assert [[part.shape for part in pair] for pair in examples.scaling] == [[(2, D)] * 2] * 2
    other = np.arange(15, 25)
    part = Examples(
        FEATURES[other], LABELS[other], [other], group=CORPUS[other], scaling=examples.scaling[:1]
    )
    assert (part.inputs(np.arange(10)[None]) == examples.inputs(other[None], slice(0, 1))).all()


def test_replicas_of_a_fold_share_its_table():
    """Three replicas on two choices of rows hold two copies: folds * n * (d + 1) * 4 bytes."""
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


def test_what_rounding_leaves_is_constant():
    """4e-16 around 0 beside features of size 1 is no information, however it is scaled."""
    features = np.asarray(FEATURES, np.float64)
    features[:, 2] = 4e-16 * np.sign(features[:, 2])
    for unit in (1, 1e-7, 1e-12, 1e7):
        examples = Examples(unit * features, LABELS, [np.arange(N)])
        x = examples.inputs(np.arange(N)[None])
        assert (x[0, :, 2] == 0).all() and x[0, :, 1].std() > 0.9


@pytest.mark.parametrize("labels", [["anger"] * N, np.arange(N) / 2, np.arange(N) - 1])
def test_labels_are_numbers_from_0(labels):
    """Words, fractions and negative numbers are refused, with the way out."""
    with pytest.raises(ValueError, match="number the emotions from 0"):
        Examples(FEATURES, labels, [np.arange(N)])


def test_images_and_given_scaling():
    """Images are flattened, pixel by pixel; other clips can be scaled as the first ones were."""
    images = FEATURES[:, :4].reshape(N, 2, 1, 2)  # channels first
    unscaled = [(np.zeros((1, 4), np.float32), np.ones((1, 4), np.float32))]
    examples = Examples(images, LABELS, [PARTS[0]], scaling=unscaled)
    x = examples.inputs(np.arange(N)[None])
    assert (x[0, :, :-1].numpy() == FEATURES[:, [0, 2, 1, 3]]).all()
    seen = Examples(FEATURES, LABELS, [PARTS[0]])
    again = Examples(FEATURES[30:], LABELS[30:], [np.arange(30)], scaling=seen.scaling)
    assert (again.inputs(np.arange(30)[None]) == seen.inputs(np.arange(30, N)[None])).all()


def test_balanced_minibatches_weigh_emotions_alike():
    """With 50 rows of one emotion and 5 of another, each is half of what is drawn."""
    labels = np.array([0] * 50 + [2] * 5 + [1] * 5)
    examples = Examples(np.zeros((60, 2)), labels, [np.arange(55)])
    drawn = labels[draw(examples, 0, balanced=True)]
    assert set(drawn.flat) == {0, 2}
    assert abs((drawn == 2).mean() - 0.5) < 0.05


def test_balanced_minibatches_weigh_emotions_of_each_corpus_alike():
    """Of two corpora, 50 and 5 + 5 rows, each of three (corpus, emotion) is a third of a draw."""
    group, labels = np.repeat([0, 1], [50, 10]), np.repeat([0, 0, 1], [50, 5, 5])
    examples = Examples(np.zeros((60, 2)), labels, [np.arange(60)], group=group)
    drawn = draw(examples, 0, balanced=True)
    for kind in (drawn < 50, (drawn >= 50) & (drawn < 55), drawn >= 55):
        assert abs(kind.mean() - 1 / 3) < 0.04


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
