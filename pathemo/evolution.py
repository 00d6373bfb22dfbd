"""Genotypes, the tournament, and the evolution of a path; numbers only, the network is somebody else's.

A **genotype** says which modules a path uses: an integer array (n_layers, n_active) of distinct modules a
layer. A **population** holds `population_size` genotypes for each of R replicas. In a generation two
genotypes of a replica meet in a tournament; the winner's mutated copy takes the loser's place.

Source: Fernando et al. 2017, "PathNet: Evolution Channels Gradient Descent in Super Neural Networks",
arXiv 1701.08734, section 2.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from tqdm.auto import tqdm


def random_genotype(generator, *, n_layers, n_modules, n_active):
    """Return a genotype drawn uniformly: (n_layers, n_active) distinct modules a layer.

    >>> random_genotype(np.random.default_rng(0), n_layers=2, n_modules=5, n_active=3).shape
    (2, 3)
    """
    return np.stack([generator.choice(n_modules, n_active, replace=False) for _ in range(n_layers)])


def mutate(genotype, generator, *, n_modules, rate=None, reach=2):
    """Return a mutated copy of a genotype.

    Each gene moves, with probability `rate`, by an integer drawn from [-reach, reach].

    Parameters
    ----------
    genotype : int array (n_layers, n_active)
    rate : float, optional
        Probability that a gene moves; 1 / (n_layers * n_active) as in the paper when not given.
    reach : int
        Greatest move [modules].

    Notes
    -----
    Two points that the paper leaves open are ours: a move beyond the edge of a layer wraps around, so that no
    module is favoured (clamping would favour the outer ones); a move onto a module that the path already uses
    in this layer is not made, so that genes stay distinct and a path keeps its size.

    Source: Fernando et al. 2017, section 2.
    """
    mutant = genotype.copy()
    rate = 1 / genotype.size if rate is None else rate
    moves = generator.integers(-reach, reach + 1, genotype.shape) * (generator.random(genotype.shape) < rate)
    for layer, active in zip(*np.nonzero(moves), strict=True):
        module = (mutant[layer, active] + moves[layer, active]) % n_modules
        if module not in mutant[layer]:
            mutant[layer, active] = module
    return mutant


class Population:
    """Genotypes of R replicas with the fitness each one had when it last competed.

    Each replica draws from its own generator, so what happens to it does not depend on the others.

    Parameters
    ----------
    generators : list of numpy.random.Generator
        One a replica.
    size : int
        Genotypes a replica; at least 2.

    Attributes
    ----------
    genotypes : int array (R, size, n_layers, n_active)
    fitness : float array (R, size)
        -inf for a genotype that has not competed since it was born.
    """

    def __init__(self, generators, *, size, n_layers, n_modules, n_active):
        if size < 2:
            raise ValueError(f"population_size = {size}: a tournament needs at least 2 genotypes")
        if not 1 <= n_active <= n_modules:
            raise ValueError(f"n_active = {n_active}: of {n_modules} modules 1 to {n_modules} can be active")
        self.generators, self.n_modules = generators, n_modules
        shape = dict(n_layers=n_layers, n_modules=n_modules, n_active=n_active)
        self.genotypes = np.array([[random_genotype(g, **shape) for _ in range(size)] for g in generators])
        self.fitness = np.full((len(generators), size), -np.inf)

    def draw(self):
        """Return the two competitors of each replica: places in the population (R, 2), distinct."""
        size = self.genotypes.shape[1]
        return np.stack([g.choice(size, 2, replace=False) for g in self.generators])

    def paths(self, places):
        """Return the genotypes at `places` (R,): int array (R, n_layers, n_active)."""
        return self.genotypes[np.arange(len(places)), places]

    def settle(self, pairs, fitness):
        """Return who won, 0 or 1 for each replica; the loser becomes a mutated copy of the winner.

        Parameters
        ----------
        pairs : int array (R, 2)
            Places of the competitors, from `draw`.
        fitness : float array (R, 2)
            What each competitor reached. A tie goes to the second, which was trained last.
        """
        winners = (fitness[:, 1] >= fitness[:, 0]).astype(int)
        for replica, (pair, winner) in enumerate(zip(pairs, winners, strict=True)):
            first, loser = pair[winner], pair[1 - winner]
            self.fitness[replica, first] = fitness[replica, winner]
            self.fitness[replica, loser] = -np.inf
            self.genotypes[replica, loser] = mutate(
                self.genotypes[replica, first], self.generators[replica], n_modules=self.n_modules
            )
        return winners

    def best(self):
        """Return the fittest genotype of each replica: int array (R, n_layers, n_active)."""
        return self.paths(self.fitness.argmax(axis=1))


class Evolution(NamedTuple):
    """What `evolve` found: the best path of each replica, the last population, and its history as rows."""

    best: np.ndarray  # (R, L, N)
    population: Population
    history: pd.DataFrame  # generation, replica, fitness_first, fitness_second, winner, steps, frozen_share


def evolve(
    net, task, examples, *, generations, population_size=16, minibatches=50, fitness="train",
    development=None, progress=False, **training,
):  # fmt: skip
    """Evolve the path that `task` uses, training the modules on the way; return an `Evolution`.

    In each generation, in every replica, two genotypes of the population are drawn, each is trained for
    `minibatches` steps, and a mutated copy of the winner takes the loser's place.

    Parameters
    ----------
    net : PathNet
    task : str
        Must have a head: `net.add_head(task, n_emotions)`.
    examples : Examples
    generations : int
        Tournaments a replica; the budget is generations * 2 * minibatches gradient steps.
    fitness : {"train", "dev"}
        "train" is the paper's: accuracy over the minibatches of the tournament. "dev" is UAR on the rows
        `development`, which are speakers held out of the training part.
    development : list of R int arrays, optional
    **training
        Passed to `PathNet.train`.

    Source: Fernando et al. 2017, section 2.2. Ours: the best path is the one whose fitness was highest
    when it last competed.
    """
    if generations < 1:
        raise ValueError(f"generations = {generations}: a path needs at least 1 tournament")
    if fitness not in ("train", "dev"):
        raise ValueError(f"fitness = {fitness!r}: choose 'train' or 'dev'")
    if fitness == "dev" and development is None:
        raise ValueError("fitness = 'dev' needs the rows of development speakers: development=[...]")
    shape = dict(n_layers=net.n_layers, n_modules=net.n_modules, n_active=net.n_active)
    population = Population(net.generators, size=population_size, **shape)
    replicas, frozen = np.arange(net.n_replicas), net.frozen.cpu().numpy()
    history = []
    for generation in tqdm(range(generations), desc=task, unit="generation", disable=not progress):
        pairs = population.draw()
        reached = np.zeros(pairs.shape)
        for competitor in (0, 1):
            paths = population.paths(pairs[:, competitor])
            reached[:, competitor], _ = net.train(task, paths, examples, steps=minibatches, **training)
            if fitness == "dev":
                reached[:, competitor] = _development_uar(net, task, paths, examples, development)
        winners = population.settle(pairs, reached)
        won = population.paths(pairs[replicas, winners])
        history.append(
            pd.DataFrame(
                {
                    "generation": generation,
                    "replica": replicas,
                    "fitness_first": reached[:, 0],
                    "fitness_second": reached[:, 1],
                    "winner": winners,
                    "steps": 2 * minibatches * (generation + 1),
                    "frozen_share": np.take_along_axis(frozen, won, axis=2).mean((1, 2)),
                }
            )
        )
    return Evolution(population.best(), population, pd.concat(history, ignore_index=True))


def _development_uar(net, task, paths, examples, development):
    posteriors = net.predict(task, paths, examples, development)
    recalls = []
    for posterior, rows in zip(posteriors, development, strict=True):
        truth, right = examples.labels[rows], posterior.argmax(1) == examples.labels[rows]
        recalls.append(np.mean([right[truth == emotion].mean() for emotion in np.unique(truth)]))
    return np.array(recalls)
