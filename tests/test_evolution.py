"""The laws of evolution."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathemo.evolution import Population, mutate, random_genotype

SHAPE = dict(n_layers=3, n_modules=7, n_active=3)


def population(seeds, size=8):
    return Population([np.random.default_rng(seed) for seed in seeds], size=size, **SHAPE)


def played(seeds, n_tournaments=30):
    """Genotypes after tournaments whose fitness is the smallest module on the path, negated."""
    those = population(seeds)
    for _ in range(n_tournaments):
        pairs = those.draw()
        fitness = np.stack([-those.paths(pairs[:, c]).sum((1, 2)) for c in (0, 1)], axis=1)
        those.settle(pairs, fitness.astype(float))
    return those


@given(seed=st.integers(0, 2**32), n_modules=st.integers(3, 12), rate=st.sampled_from([None, 0.5, 1.0]))
def test_mutation_keeps_genes_in_range_and_distinct(seed, n_modules, rate):
    """A mutant's genes are modules of the layer, none of them twice."""
    generator = np.random.default_rng(seed)
    parent = random_genotype(generator, n_layers=3, n_modules=n_modules, n_active=3)
    mutant = mutate(parent, generator, n_modules=n_modules, rate=rate)
    assert mutant.min() >= 0 and mutant.max() < n_modules
    assert all(len(set(layer)) == 3 for layer in mutant)


def test_a_gene_moves_by_two_at_most_around_the_edge():
    """Each gene ends within two modules of where it was, counted around the layer."""
    generator = np.random.default_rng(0)
    for _ in range(200):
        parent = random_genotype(generator, **SHAPE)
        apart = np.abs(mutate(parent, generator, n_modules=7, rate=1.0) - parent)
        assert np.minimum(apart, 7 - apart).max() <= 2


def test_mutation_rate_is_one_gene_a_genotype():
    """With the paper's rate 1/(L N), 4 of 5 draws of which move, about 0.8 genes (less collisions) change."""
    generator = np.random.default_rng(0)
    wide = dict(n_layers=3, n_modules=100, n_active=3)
    parents = [random_genotype(generator, **wide) for _ in range(4000)]
    changed = np.mean([(mutate(p, generator, n_modules=100) != p).sum() for p in parents])
    assert 0.72 < changed < 0.85


def test_the_loser_becomes_a_mutated_copy_of_the_winner():
    """The winner stays, the loser differs from it by mutation only, the rest is untouched."""
    those = population([1, 2])
    before, pairs = those.genotypes.copy(), np.array([[0, 5], [3, 2]])
    winners = those.settle(pairs, np.array([[0.9, 0.1], [0.2, 0.6]]))
    assert winners.tolist() == [0, 1]
    for replica, (winner, loser) in enumerate([(0, 5), (2, 3)]):
        twin = np.random.default_rng([1, 2][replica])
        population_twin = Population([twin], size=8, **SHAPE)
        expected = mutate(population_twin.genotypes[0, winner], twin, n_modules=7)
        assert (those.genotypes[replica, loser] == expected).all()
        others = [i for i in range(8) if i != loser]
        assert (those.genotypes[replica, others] == before[replica, others]).all()


def test_population_size_is_constant_and_competitors_differ():
    """Tournaments neither add nor remove genotypes, and nobody meets itself."""
    those = population([3])
    for _ in range(50):
        pairs = those.draw()
        assert pairs[0, 0] != pairs[0, 1]
        those.settle(pairs, np.zeros((1, 2)))
        assert those.genotypes.shape == (1, 8, 3, 3)


def test_same_seed_same_history_whoever_else_is_there():
    """A replica's population depends on its own seed only."""
    together, alone = played([10, 11, 12]), played([11])
    assert (together.genotypes[1] == alone.genotypes[0]).all()


def test_selection_finds_what_it_is_asked_for():
    """When fitness favours low modules, the best paths come close to the optimum."""
    start, end = population(range(20)), played(range(20), 300)
    optimum = 3 * (0 + 1 + 2)
    assert end.best().sum((1, 2)).mean() < optimum + 3 < start.genotypes.sum((2, 3)).mean()


def test_best_is_the_fittest_of_those_that_competed():
    """A newborn copy has no fitness until it has competed."""
    those = population([0])
    those.settle(np.array([[4, 6]]), np.array([[0.3, 0.7]]))
    assert (those.best()[0] == those.genotypes[0, 6]).all()
    assert np.isneginf(those.fitness[0, 4])


@pytest.mark.parametrize("wrong", [dict(size=1), dict(size=4, n_active=8), dict(size=4, n_active=0)])
def test_impossible_populations_are_refused(wrong):
    """The error names the value."""
    with pytest.raises(ValueError, match="= [018]"):
        Population([np.random.default_rng(0)], **{**SHAPE, **wrong})
