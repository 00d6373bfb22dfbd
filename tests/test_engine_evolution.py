"""The laws of evolution, and its history."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathemo.engine import Examples, PathNet, Population, evolve, mutate, random_genotype

SHAPE = dict(n_layers=3, n_modules=7, n_active=3)


def start(seeds, size=8, **shape):
    """A population that has not competed."""
    generators = [np.random.default_rng(seed) for seed in seeds]
    return Population(generators, size=size, **SHAPE | shape)


def play(seeds, n_tournaments=30):
    """A population after tournaments whose fitness is the sum of modules on the path, negated."""
    population = start(seeds)
    for _ in range(n_tournaments):
        pairs = population.draw()
        fitness = [-population.paths(pairs[:, side]).sum((1, 2)) for side in (0, 1)]
        population.settle(pairs, np.stack(fitness, axis=1).astype(float))
    return population


@given(
    seed=st.integers(0, 2**32),
    n_modules=st.integers(3, 12),
    n_forced=st.integers(0, 2),
)
def test_mutation_keeps_genes_in_range_and_distinct(seed, n_modules, n_forced):
    """A mutant's genes are modules of the layer, none of them twice; forced ones stay."""
    generator = np.random.default_rng(seed)
    parent = random_genotype(generator, n_layers=3, n_modules=n_modules, n_active=3)
    for _ in range(20):
        mutant = mutate(parent, generator, n_modules=n_modules, n_forced=n_forced)
        assert mutant.min() >= 0 and mutant.max() < n_modules
        assert all(len(set(layer)) == 3 for layer in mutant)
        assert (mutant[:, :n_forced] == parent[:, :n_forced]).all()


def test_a_gene_moves_by_two_at_most_around_the_edge():
    """Each gene ends within two modules of where it was, counted around the layer."""
    generator = np.random.default_rng(0)
    for _ in range(1000):
        parent = random_genotype(generator, **SHAPE)
        distance = np.abs(mutate(parent, generator, n_modules=7) - parent)
        assert np.minimum(distance, 7 - distance).max() <= 2


def test_beyond_the_edge_a_gene_comes_back_at_the_other_end():
    """Of a hundred modules, the last one's moves upwards lead to the first two."""
    generator = np.random.default_rng(0)
    moves = {mutate(np.array([[99]]), generator, n_modules=100).item() for _ in range(100)}
    assert moves == {97, 98, 99, 0, 1}


def test_mutation_rate_is_one_gene_a_genotype():
    """At the paper's rate 1 / (L N), 4 of 5 of whose draws move, about 0.8 genes change."""
    generator = np.random.default_rng(0)
    wide = dict(n_layers=3, n_modules=100, n_active=3)
    parents = [random_genotype(generator, **wide) for _ in range(4000)]
    changed = np.mean([(mutate(p, generator, n_modules=100) != p).sum() for p in parents])
    assert 0.72 < changed < 0.85


def test_the_loser_becomes_a_mutated_copy_of_the_winner():
    """The winner stays, the loser differs from it by mutation only, the rest is untouched."""
    population = start([1, 2])
    before, pairs = population.genotypes.copy(), np.array([[0, 5], [3, 2]])
    winners = population.settle(pairs, np.array([[0.9, 0.1], [0.2, 0.6]]))
    assert winners.tolist() == [0, 1]
    for replica, (winner, loser) in enumerate([(0, 5), (2, 3)]):
        twin = start([[1, 2][replica]])
        expected = mutate(twin.genotypes[0, winner], twin.generators[0], n_modules=7)
        assert (population.genotypes[replica, loser] == expected).all()
        others = [i for i in range(8) if i != loser]
        assert (population.genotypes[replica, others] == before[replica, others]).all()


def test_of_equals_the_second_wins():
    """It was trained last, on what the first has taught the modules that they share."""
    assert start([1]).settle(np.array([[0, 5]]), np.array([[0.5, 0.5]])).tolist() == [1]


def test_population_size_is_constant_and_competitors_differ():
    """Tournaments neither add nor remove genotypes, and nobody meets itself."""
    population = start([3])
    for _ in range(50):
        pairs = population.draw()
        assert pairs[0, 0] != pairs[0, 1]
        population.settle(pairs, np.zeros((1, 2)))
        assert population.genotypes.shape == (1, 8, 3, 3)


def test_same_seed_same_history_whoever_else_is_there():
    """A replica's population depends on its own seed only."""
    together, alone = play([10, 11, 12]), play([11])
    assert (together.genotypes[1] == alone.genotypes[0]).all()


def test_selection_finds_what_it_is_asked_for():
    """When fitness favours low modules, the best paths come close to the optimum."""
    first, last = start(range(20)), play(range(20), 300)
    optimum = 3 * (0 + 1 + 2)
    assert last.best().sum((1, 2)).mean() < optimum + 3 < first.genotypes.sum((2, 3)).mean()


def test_best_is_the_fittest_of_those_that_competed():
    """A newborn copy has no fitness until it has competed."""
    population = start([0])
    population.settle(np.array([[4, 6]]), np.array([[0.3, 0.7]]))
    assert (population.best()[0] == population.genotypes[0, 6]).all()
    assert np.isneginf(population.fitness[0, 4])


@pytest.mark.parametrize(
    "wrong", [dict(size=1), dict(size=4, n_active=8), dict(size=4, n_active=0)]
)
def test_impossible_populations_are_refused(wrong):
    """The error names the value."""
    with pytest.raises(ValueError, match="= [018]"):
        start([0], **wrong)


def test_forced_modules_are_on_every_path_for_ever():
    """Every genotype of every generation holds them beside its own, and no module twice."""
    forced = np.array([[[6, 0], [3, 4], [1, 2]]] * 2)
    population = start([0, 1], size=6, forced=forced)
    for _ in range(50):
        assert (population.genotypes[..., :2] == forced[:, None]).all()
        assert all(len(set(layer)) == 5 for layer in population.genotypes.reshape(-1, 5))
        population.settle(population.draw(), np.random.default_rng(2).random((2, 2)))
    assert set(population.genotypes[0, :, 0, 2:].flat) <= {1, 2, 3, 4, 5}
    with pytest.raises(ValueError, match=r"n_active = 6: choose from \(0, 5\]"):
        start([0], size=6, forced=forced[:1], n_active=6)


N, D, K = 60, 11, 3
BRIEF = dict(generations=6, population_size=5, minibatches=5)


def task(seeds=(0, 1)):
    """A network with a head for task "a", and examples of three separate emotions."""
    generator, labels = np.random.default_rng(0), np.arange(N) % K
    features = generator.standard_normal((N, D))
    features += 1.5 * np.eye(K)[labels] @ generator.standard_normal((K, D))
    net = PathNet(D, seeds=seeds, n_modules=6, n_active=2, width=5)
    net.add_head("a", K)
    return net, Examples(features, labels, [np.arange(N)] * len(seeds))


def test_evolution_learns():
    """The evolved path recognises far more than chance."""
    net, examples = task()
    evolution = evolve(net, "a", examples, learning_rate=0.02, **BRIEF)
    posteriors = np.stack(net.predict("a", evolution.best, examples))
    assert (posteriors.argmax(2) == examples.labels).mean() > 0.8


def genotype_of(text):
    return np.array([layer.split() for layer in text.split(" / ")], int)


def test_history_tells_every_tournament():
    """Who met, who won, what the loser became, the steps spent, and shares of frozen modules."""
    net, examples = task()
    net.frozen[:, :, :3] = True
    evolution = evolve(net, "a", examples, **BRIEF)
    assert evolution.populations.shape == (7, 2, 5, 3, 2)
    assert evolution.history["steps"].tolist() == np.repeat([10, 20, 30, 40, 50, 60], 2).tolist()
    for row in evolution.history.itertuples():
        before, after = evolution.populations[row.generation : row.generation + 2, row.replica]
        met = [genotype_of(text) for text in (row.genotype_first, row.genotype_second)]
        assert all((before == genotype).all((1, 2)).any() for genotype in met)
        won, lost = met[row.winner], met[1 - row.winner]
        assert row.winner == (row.fitness_second >= row.fitness_first)
        assert row.frozen_share == pytest.approx((won < 3).mean())
        assert row.frozen_share_lost == pytest.approx((lost < 3).mean())
        assert (before != after).any((1, 2)).sum() <= 1 and (after == won).all((1, 2)).any()


def test_fitness_is_the_accuracy_over_the_minibatches(monkeypatch):
    """What training a competitor returned, and the best path is one that reached the most."""
    net, examples = task()
    train, accuracies = PathNet.train, []
    monkeypatch.setattr(
        PathNet, "train", lambda *a, **k: accuracies.append(train(*a, **k)) or accuracies[-1]
    )
    history = evolve(net, "a", examples, **BRIEF).history
    fitness = history[["fitness_first", "fitness_second"]].to_numpy().reshape(6, 2, 2)
    assert (fitness.swapaxes(1, 2).reshape(12, 2) == np.stack(accuracies)).all()


def test_forced_modules_do_not_learn():
    """They are on the best path, first, and stay to the bit."""
    net, examples = task()
    forced = np.tile([[5]], (2, 3, 1))
    before = [layer[:, 5].clone() for layer in net.layers]
    best = evolve(net, "a", examples, forced=forced, **BRIEF).best
    assert best.shape == (2, 3, 3) and (best[..., :1] == forced).all()
    assert all((layer[:, 5] == old).all() for layer, old in zip(net.layers, before))


def test_a_replica_that_is_not_finite_ends_the_evolution():
    """The error names it."""
    net, examples = task()
    net.layers[0][1] = 3e38
    with pytest.raises(FloatingPointError, match=r"replicas \[1\] on 'a'"):
        evolve(net, "a", examples, **BRIEF)


@pytest.mark.parametrize(
    "wrong, words",
    [
        (dict(generations=0), "generations = 0"),
        (dict(population_size=1), "population_size = 1"),
        (dict(optimiser="lbfgs"), "choose from adam, sgd"),
        (dict(minibatches=0), "minibatches = 0"),
    ],
)
def test_impossible_options_are_named(wrong, words):
    """The error names the value or the valid ones."""
    net, examples = task()
    with pytest.raises(ValueError, match=words):
        evolve(net, "a", examples, **BRIEF | wrong)
