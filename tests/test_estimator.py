"""PathNetClassifier is a scikit-learn classifier, and one that learns from sources."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from pathemo.engine import PathNet
from pathemo.estimator import PathNetClassifier

SMALL = dict(n_modules=6, n_active=2, width=8, generations=3, random_state=0)


@pytest.fixture(scope="module")
def digits():
    """Every third digit: source 0 to 4, target 5 to 9."""
    X, y = load_digits(return_X_y=True)
    X, y = X[::3], y[::3]
    return (X[y < 5], y[y < 5]), (X[y >= 5], y[y >= 5])


@parametrize_with_checks([PathNetClassifier(width=10, random_state=0)])
def test_checks_of_scikit_learn(estimator, check):
    """scikit-learn's own checks pass, none expected to fail."""
    check(estimator)


@pytest.mark.parametrize("load", [load_wine, load_breast_cancer, load_digits])
def test_as_good_as_a_perceptron(load):
    """Accuracy in cross-validation is within a point of a perceptron with as many active units."""
    X, y = load(return_X_y=True)
    X, y = X[:600], y[:600]  # digits are many
    perceptron = MLPClassifier(
        (60, 60), learning_rate_init=3e-3, n_iter_no_change=3, random_state=0
    )
    reference = cross_val_score(make_pipeline(StandardScaler(), perceptron), X, y).mean()
    assert cross_val_score(PathNetClassifier(random_state=0), X, y).mean() > reference - 0.01


def test_fitting_again_starts_from_the_sources(digits):
    """A second fit gives what the first did, whatever was fitted between."""
    source, (X, y) = digits
    classifier = PathNetClassifier(**SMALL).fit_source(*source)
    first = classifier.fit(X, y).predict_proba(X)
    history, path = classifier.history_, classifier.best_path_
    classifier.fit(X[:30], y[:30] % 2)
    np.testing.assert_array_equal(classifier.fit(X, y).predict_proba(X), first)
    np.testing.assert_array_equal(classifier.best_path_, path)
    pd.testing.assert_frame_equal(classifier.history_, history)


def test_sources_as_parameter_are_sources_learned_before(digits):
    """`sources` gives what `fit_source` in the same order gives, and its clone the same again."""
    source, (X, y) = digits
    other = (source[0][:60], source[1][:60] % 2)
    given = PathNetClassifier(sources=(source, other), **SMALL)
    learned = PathNetClassifier(**SMALL).fit_source(*source).fit_source(*other)
    mixed = PathNetClassifier(sources=(source,), **SMALL).fit_source(*other)
    expected = learned.fit(X, y).predict_proba(X)
    for classifier in (given, mixed, clone(given)):
        np.testing.assert_array_equal(classifier.fit(X, y).predict_proba(X), expected)
    assert not np.array_equal(clone(learned).fit(X, y).predict_proba(X), expected)  # clone forgets


def test_source_after_target_adds_to_the_sources(digits):
    """`fit_source` after `fit` goes on from the sources, not from the target."""
    source, (X, y) = digits
    interrupted = PathNetClassifier(**SMALL).fit_source(*source).fit(X, y).fit_source(X, y % 2)
    straight = PathNetClassifier(**SMALL).fit_source(*source).fit_source(X, y % 2)
    np.testing.assert_array_equal(interrupted.fit(X, y).predict(X), straight.fit(X, y).predict(X))
    assert list(interrupted.net_.heads) == ["source 1", "source 2", "target"]


def test_target_leaves_frozen_modules_as_they_are(digits):
    """What a source froze is the same to the bit after the target, and nothing else is frozen."""
    source, (X, y) = digits
    classifier = PathNetClassifier(**SMALL).fit_source(*source)
    source_net = classifier.source_net_
    frozen, before = source_net.frozen, [weights.clone() for weights in source_net.layers]
    assert frozen.sum() == SMALL["n_active"] * classifier.n_layers
    net = classifier.fit(X, y).net_
    for layer, weights in enumerate(before):
        assert (net.layers[layer] == weights)[frozen[:, layer]].all()
        assert not (net.layers[layer] == weights)[~frozen[:, layer]].all()
        assert (source_net.layers[layer] == weights).all()


def test_source_leaves_fresh_modules(digits):
    """What a source did not freeze is within the bounds of a first draw; the rest is not."""
    source, _ = digits
    net = PathNetClassifier(**SMALL).set_params(learning_rate=0.5).fit_source(*source).source_net_
    for layer, inputs in enumerate((64, 8)):
        size = net.layers[layer].abs().amax((2, 3))
        frozen = net.frozen[:, layer]
        assert size[~frozen].max() <= inputs**-0.5 < size[frozen].max()


def test_final_steps_train_the_best_path_only(digits):
    """Steps after the evolution change the modules of the best path and no others."""
    _, (X, y) = digits
    evolved = PathNetClassifier(final_minibatches=0, **SMALL).fit(X, y)
    trained = PathNetClassifier(final_minibatches=40, **SMALL).fit(X, y)
    np.testing.assert_array_equal(trained.best_path_, evolved.best_path_)
    for layer, path in enumerate(trained.best_path_):
        moved = (trained.net_.layers[layer] != evolved.net_.layers[layer]).flatten(2).any(2)[0]
        assert set(np.flatnonzero(moved)) == set(path)


def test_posteriors_of_a_row_do_not_depend_on_others(digits):
    """A row is scaled by the rows that were learned from, so it gets the same posteriors alone."""
    _, (X, y) = digits
    classifier = PathNetClassifier(**SMALL).fit(X, y)
    alone = np.concatenate([classifier.predict_proba(row[None]) for row in X[:20]])
    np.testing.assert_allclose(alone, classifier.predict_proba(X)[:20], atol=1e-5)


def test_steps_are_those_of_the_history_and_the_final_ones(digits, monkeypatch):
    """The budget is what was asked for: two competitors a generation, and then the best path."""
    _, (X, y) = digits
    train, spent = PathNet.train, []
    monkeypatch.setattr(
        PathNet, "train", lambda *a, **k: spent.append(k["steps"]) or train(*a, **k)
    )
    classifier = PathNetClassifier(**SMALL).set_params(minibatches=5, final_minibatches=7).fit(X, y)
    assert classifier.history_["steps"].iloc[-1] == 2 * 5 * 3
    assert spent == [5] * 2 * 3 + [7]
    assert classifier.best_path_.shape == (2, 2)
    spent.clear()
    PathNetClassifier(**SMALL).fit(X, y)
    a_pass = int(np.ceil(len(X) / 32))
    assert sum(spent) == 4 * 3 * a_pass


def test_scale_of_features_does_not_matter(digits):
    """Features in other units, and one that is constant, change no prediction."""
    _, (X, y) = digits
    expected = PathNetClassifier(**SMALL).fit(X, y).predict(X)
    scaled = PathNetClassifier(**SMALL).fit(1024 * X, y).predict(1024 * X)
    np.testing.assert_array_equal(scaled, expected)


def test_inside_pipeline_and_grid_search(digits):
    """A grid search over a pipeline gives each candidate its sources, and finds the width."""
    source, (X, y) = digits
    labels = np.array(["five", "six", "seven", "eight", "nine"])[y - 5]
    pipeline = make_pipeline(StandardScaler(), PathNetClassifier(sources=(source,), **SMALL))
    search = GridSearchCV(pipeline, {"pathnetclassifier__width": [1, 20]}, cv=2).fit(X, labels)
    assert search.best_params_ == {"pathnetclassifier__width": 20} and search.best_score_ > 0.5
    assert set(search.predict(X)) <= set(labels)
    assert list(search.best_estimator_[-1].net_.heads) == ["source 1", "target"]


def test_same_in_parallel_processes(digits):
    """Cross-validation in two processes gives the posteriors of one."""
    source, (X, y) = digits
    classifier = PathNetClassifier(sources=(source,), **SMALL)
    alone, parallel = (
        cross_val_predict(classifier, X, y, cv=2, method="predict_proba", n_jobs=n_jobs)
        for n_jobs in (1, 2)
    )
    np.testing.assert_allclose(parallel, alone, atol=1e-5)


def test_pickled_with_its_sources(digits):
    """A pickled classifier predicts the same, and learns on from its sources the same."""
    source, (X, y) = digits
    classifier = PathNetClassifier(**SMALL).fit_source(*source).fit(X, y)
    copy = pickle.loads(pickle.dumps(classifier))
    np.testing.assert_array_equal(copy.predict_proba(X), classifier.predict_proba(X))
    again, expected = (one.fit(X, y % 2).predict(X) for one in (copy, classifier))
    np.testing.assert_array_equal(again, expected)


def test_mistakes_are_named(digits):
    """Other features than the sources', a shape changed after them, no tournament."""
    source, (X, y) = digits
    classifier = PathNetClassifier(**SMALL).fit_source(*source)
    with pytest.raises(NotFittedError):
        classifier.predict(X)
    with pytest.raises(ValueError, match="63 features.*64 features"):
        classifier.fit(X[:, 1:], y)
    with pytest.raises(ValueError, match="width.* changed after the sources"):
        classifier.set_params(width=9).fit(X, y)
    with pytest.raises(ValueError, match="generations = 0"):
        PathNetClassifier(generations=0).fit(X, y)
    with pytest.raises(ValueError, match=r"sources=\[\(X, y\)\] is one source"):
        PathNetClassifier(sources=source).fit(X, y)
    with pytest.raises(ValueError, match="64 features|65 features"):
        PathNetClassifier(sources=((np.ones((4, 65)), [0, 1, 0, 1]),)).fit(X, y)
