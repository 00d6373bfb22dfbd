"""Genotypes, the tournament, and the evolution of a path.

A **genotype** says which modules a path uses: an integer array (n_layers, n_active) of distinct
modules a layer. A **population** holds `population_size` genotypes for each of R replicas. In a
generation two of a replica meet in a tournament; the winner's mutated copy takes the loser's place.

Source: Fernando et al. 2017, "PathNet: Evolution Channels Gradient Descent in Super Neural
Networks", arXiv 1701.08734, section 2.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from .settings import Interval, check


def random_genotype(generator, *, n_layers, n_modules, n_active):
    """Return a genotype (n_layers, n_active) drawn uniformly."""
    return np.stack([generator.choice(n_modules, n_active, replace=False) for _ in range(n_layers)])


def mutate(genotype, generator, *, n_modules, n_forced=0):
    """Return a mutated copy of a genotype (n_layers, n_active).

    Each gene but the first `n_forced` of a layer moves, with probability 1 / number of genes, by an
    integer drawn from [-2, 2]. The paper leaves open, and we chose: beyond the edge of a layer it
    goes on at the other edge, and it never moves onto a module that the path already uses there.

    >>> mutate(np.array([[1, 4]]), np.random.default_rng(10), n_modules=6)
    array([[2, 4]])
    """
    mutant = genotype.copy()
    may_move = mutant[:, n_forced:]
    moves = generator.integers(-2, 3, may_move.shape)
    moves *= generator.random(may_move.shape) < 1 / may_move.size
    for layer, gene in zip(*np.nonzero(moves), strict=True):
        module = (may_move[layer, gene] + moves[layer, gene]) % n_modules
        if module not in mutant[layer]:
            may_move[layer, gene] = module
    return mutant


class Population:
    """Genotypes of R replicas with the fitness each one had when it last competed.

    Parameters
    ----------
    generators : list of R numpy.random.Generator
    size : int
        Genotypes a replica; at least 2.
    forced : int array (R, n_layers, F), optional
        Modules that every genotype holds before its `n_active` own ones.

    Attributes
    ----------
    genotypes : int array (R, size, n_layers, F + n_active)
    fitness : float array (R, size), -inf for a genotype that has not competed since it was born
    """

    def __init__(self, generators, *, size, n_layers, n_modules, n_active, forced=None):
        if forced is None:
            forced = np.empty((len(generators), n_layers, 0), int)
        n_forced = forced.shape[2]
        n_free = n_modules - n_forced
        check(population_size=size)
        check({"n_active": Interval(0, n_free)}, n_active=n_active)
        self.generators = generators
        self.mutation = dict(n_modules=n_modules, n_forced=n_forced)
        self.genotypes = np.empty((len(generators), size, n_layers, n_forced + n_active), int)
        self.genotypes[..., :n_forced] = forced[:, None]
        self.fitness = np.full((len(generators), size), -np.inf)
        shape = dict(n_layers=n_layers, n_modules=n_free, n_active=n_active)
        for replica, generator in enumerate(generators):
            free = [np.delete(np.arange(n_modules), taken) for taken in forced[replica]]
            for genotype in self.genotypes[replica]:
                drawn = random_genotype(generator, **shape)
                genotype[:, n_forced:] = np.take_along_axis(np.stack(free), drawn, axis=1)

    def draw(self):
        """Return the two competitors of each replica: places in the population (R, 2), distinct."""
        size = self.genotypes.shape[1]
        return np.stack([generator.choice(size, 2, replace=False) for generator in self.generators])

    def paths(self, places):
        """Return the genotypes at `places` (R,): int array (R, n_layers, n_active)."""
        return self.genotypes[np.arange(len(places)), places]

    def settle(self, pairs, fitness):
        """Return who won, 0 or 1 for each replica; the loser becomes a mutated copy of the winner.

        `pairs` (R, 2) are places as of `draw`, `fitness` (R, 2) is what each reached. A tie goes to
        the second, which was trained last."""
        winners = (fitness[:, 1] >= fitness[:, 0]).astype(int)
        for replica, (pair, winner) in enumerate(zip(pairs, winners, strict=True)):
            first, loser = pair[winner], pair[1 - winner]
            self.fitness[replica, first] = fitness[replica, winner]
            self.fitness[replica, loser] = -np.inf
            genotype, generator = self.genotypes[replica, first], self.generators[replica]
            self.genotypes[replica, loser] = mutate(genotype, generator, **self.mutation)
        return winners

    def best(self):
        """Return the fittest genotype of each replica: int array (R, n_layers, n_active)."""
        return self.paths(self.fitness.argmax(axis=1))


class Evolution(NamedTuple):
    """What `evolve` found: the best path of each replica, and how it came about.

    `history` has a row a tournament and replica: generation, replica, genotype_first,
    genotype_second (modules of each layer: "0 3 7 / 1 2 5"), fitness_first, fitness_second, winner
    (0 or 1), steps (spent so far), and the share of frozen modules of the winner, frozen_share, and
    the loser, frozen_share_lost.
    """

    best: np.ndarray  # (R, L, N)
    populations: np.ndarray  # (generations + 1, R, population_size, L, N), at first and after each
    history: pd.DataFrame


def evolve(
    net,
    task,
    examples,
    *,
    generations,
    population_size=4,
    minibatches=50,
    forced=None,
    progress=False,
    **training,
):
    """Evolve the path that `task` uses, training the modules on the way; return an `Evolution`.

    In each generation and replica two genotypes of the population are drawn and trained, and a
    mutated copy of the winner takes the loser's place. Fitness is the accuracy over the minibatches
    of this training. Ours: the best path is the one that was fittest when it last competed.

    Parameters
    ----------
    net : PathNet
    task : str
        Must have a head: `net.add_head(task, n_emotions)`.
    examples : Examples
    generations : int
        Tournaments a replica; the budget is generations * 2 * minibatches gradient steps.
    population_size : int
        The fewer, the more of the budget each path gets; the paper's are 64.
    minibatches : int
        Gradient steps of one competitor in one tournament.
    forced : int array (R, L, F), optional
        Modules that every path uses before its N own ones, and that do not learn: the frozen path,
        which in the paper is free to be used or not.
    progress : bool
        Show a bar.
    **training
        Passed to `PathNet.train`, whose FloatingPointError it raises.
    """
    check(generations=generations, minibatches=minibatches)
    shape = dict(n_layers=net.n_layers, n_modules=net.n_modules, n_active=net.n_active)
    population = Population(net.generators, size=population_size, forced=forced, **shape)
    training |= dict(steps=minibatches, n_fixed=population.genotypes.shape[3] - net.n_active)
    populations, history = [population.genotypes.copy()], []
    replica, frozen = np.arange(net.n_replicas), net.frozen.cpu().numpy()
    for generation in tqdm(range(generations), desc=task, unit="generation", disable=not progress):
        pairs = population.draw()
        first, second = (population.paths(places) for places in pairs.T)
        fitness = [net.train(task, paths, examples, **training) for paths in (first, second)]
        winner = population.settle(pairs, np.stack(fitness, axis=1))
        populations.append(population.genotypes.copy())
        on_frozen = [np.take_along_axis(frozen, paths, axis=2) for paths in (first, second)]
        shares = np.mean(on_frozen, axis=(2, 3))  # (2, R)
        tournaments = {
            "replica": replica,
            "genotype_first": map(_text, first),
            "genotype_second": map(_text, second),
            "fitness_first": fitness[0],
            "fitness_second": fitness[1],
            "winner": winner,
            "frozen_share": np.choose(winner, shares),
            "frozen_share_lost": np.choose(1 - winner, shares),
            "generation": generation,
            "steps": 2 * minibatches * (generation + 1),
        }
        history.append(pd.DataFrame(tournaments))
    history = pd.concat(history, ignore_index=True)
    return Evolution(population.best(), np.stack(populations).astype(np.int16), history)


def _text(genotype):
    return " / ".join(" ".join(map(str, layer)) for layer in genotype)
