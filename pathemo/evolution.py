"""Genotypes, the tournament, and the evolution of a path; numbers only, the network is somebody
else's.

A **genotype** says which modules a path uses: an integer array (n_layers, n_active) of distinct
modules a layer. A **population** holds `population_size` genotypes for each of R replicas. In a
generation two genotypes of a replica meet in a tournament; the winner's mutated copy takes the
loser's place.

Source: Fernando et al. 2017, "PathNet: Evolution Channels Gradient Descent in Super Neural
Networks", arXiv 1701.08734, section 2."""

from pathlib import Path
from typing import NamedTuple

import joblib
import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from . import checkpoints

CHECKPOINT = "an evolution"
REACH = 2  # [modules] greatest move of a gene


def random_genotype(generator, *, n_layers, n_modules, n_active):
    """Return a genotype (n_layers, n_active) drawn uniformly."""
    return np.stack([generator.choice(n_modules, n_active, replace=False) for _ in range(n_layers)])


def mutate(genotype, generator, *, n_modules, n_forced=0, rate=None, edge="wrap"):
    """Return a mutated copy of a genotype.

    Each gene moves, with probability `rate`, by an integer drawn from [-2, 2], but not onto a
    module that the path already uses in this layer: the paper leaves open how genes stay distinct.

    Parameters
    ----------
    genotype : int array (n_layers, n_active)
    n_forced : int
        The first genes of each layer that never move.
    rate : float, optional
        1 / number of genes that may move, as in the paper, when not given.
    edge : {"wrap", "clamp"}
        A move beyond the edge of a layer goes on at the other edge, or ends at this one. The paper
        leaves it open. Wrapping favours no module, clamping the outer ones; no difference was seen.

    Source: Fernando et al. 2017, section 2.

    >>> mutate(np.array([[1, 4]]), np.random.default_rng(4), n_modules=6, rate=1.0)  # by 1, and by 2 round
    array([[2, 0]])
    """
    if edge not in ("wrap", "clamp"):
        raise ValueError(f"edge = {edge!r}: choose 'wrap' or 'clamp'")
    mutant = genotype.copy()
    may_move = mutant[:, n_forced:]
    rate = 1 / may_move.size if rate is None else rate
    moves = generator.integers(-REACH, REACH + 1, may_move.shape) * (
        generator.random(may_move.shape) < rate
    )
    for layer, gene in zip(*np.nonzero(moves), strict=True):
        module = may_move[layer, gene] + moves[layer, gene]
        module = module % n_modules if edge == "wrap" else min(max(module, 0), n_modules - 1)
        if module not in mutant[layer]:
            may_move[layer, gene] = module
    return mutant


class Population:
    """Genotypes of R replicas with the fitness each one had when it last competed.

    Each replica draws from its own generator, so what happens to it does not depend on the others.

    Parameters
    ----------
    generators : list of R numpy.random.Generator
    size : int
        Genotypes a replica; at least 2.
    first : int array (R, k, n_layers, n_active), optional
        Genotypes that take the first k places; the others are drawn.
    forced : int array (R, n_layers, F), optional
        Modules that every genotype holds before its `n_active` own ones.
    immigration : float
        Probability that a loser's place goes to a genotype drawn anew.
    rate, edge
        See `mutate`.

    Attributes
    ----------
    genotypes : int array (R, size, n_layers, n_active), or F + n_active with `forced`
    fitness : float array (R, size)
        -inf for a genotype that has not competed since it was born.
    """

    def __init__(
        self,
        generators,
        *,
        size,
        n_layers,
        n_modules,
        n_active,
        first=None,
        forced=None,
        immigration=0.0,
        rate=None,
        edge="wrap",
    ):
        if size < 2:
            raise ValueError(f"population_size = {size}: a tournament needs at least 2 genotypes")
        forced = (
            np.empty((len(generators), n_layers, 0), int) if forced is None else np.asarray(forced)
        )
        n_forced = forced.shape[2]
        most = n_modules - n_forced
        if not 1 <= n_active <= most:
            raise ValueError(
                f"n_active = {n_active}: beside {n_forced} forced ones, 1 to {most} may be"
            )
        self.generators, self.forced, self.immigration = generators, forced, immigration
        self.own = dict(n_layers=n_layers, n_modules=most, n_active=n_active)
        self.mutation = dict(n_modules=n_modules, n_forced=n_forced, rate=rate, edge=edge)
        self.genotypes = np.array(
            [[self._drawn(r) for _ in range(size)] for r in range(len(generators))]
        )
        if first is not None:
            self.genotypes[:, : first.shape[1]] = first[:, :size]
        self.fitness = np.full((len(generators), size), -np.inf)

    def _drawn(self, replica):
        """Return a genotype (L, F + N) of what is forced and, drawn among the rest, n_active
        others.
        """
        genotype = random_genotype(self.generators[replica], **self.own)
        for held in np.sort(self.forced[replica], axis=1).T:
            genotype = genotype + (genotype >= held[:, None])
        return np.hstack([self.forced[replica], genotype])

    def draw(self):
        """Return the two competitors of each replica: places in the population (R, 2), distinct."""
        size = self.genotypes.shape[1]
        return np.stack([g.choice(size, 2, replace=False) for g in self.generators])

    def paths(self, places):
        """Return the genotypes at `places` (R,): int array (R, n_layers, n_active)."""
        return self.genotypes[np.arange(len(places)), places]

    def settle(self, pairs, fitness):
        """Return who won, 0 or 1 for each replica; the loser becomes a mutated copy of the winner,
        or new.

        `pairs` (R, 2) are places of the competitors, from `draw`, `fitness` (R, 2) what each
        reached. A tie goes to the second, which was trained last."""
        winners = (fitness[:, 1] >= fitness[:, 0]).astype(int)
        for replica, (pair, winner) in enumerate(zip(pairs, winners, strict=True)):
            first, loser = pair[winner], pair[1 - winner]
            self.fitness[replica, first] = fitness[replica, winner]
            self.fitness[replica, loser] = -np.inf
            generator = self.generators[replica]
            if self.immigration and generator.random() < self.immigration:
                newborn = self._drawn(replica)
            else:
                newborn = mutate(self.genotypes[replica, first], generator, **self.mutation)
            self.genotypes[replica, loser] = newborn
        return winners

    def best(self):
        """Return the fittest genotype of each replica: int array (R, n_layers, n_active)."""
        return self.paths(self.fitness.argmax(axis=1))


class Evolution(NamedTuple):
    """What `evolve` found: the best path of each replica, and how it came about."""

    best: np.ndarray  # (R, L, N)
    populations: (
        np.ndarray
    )  # (generations + 1, R, population_size, L, N): at first, after each tournament
    history: pd.DataFrame  # a row a tournament, see `evolve`


def evolve(
    net,
    task,
    examples,
    *,
    generations,
    population_size=4,
    minibatches=50,
    fitness="train",
    development=None,
    smoothing=0.0,
    immigration=0.0,
    first=None,
    forced=None,
    rate=None,
    edge="wrap",
    checkpoint=None,
    checkpoint_every=10,
    progress=False,
    **training,
):
    """Evolve the path that `task` uses, training the modules on the way; return an `Evolution`.

    In each generation, in every replica, two genotypes of the population are drawn, each is trained
    for `minibatches` steps, and a mutated copy of the winner takes the loser's place.

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
    fitness : {"train", "loss", "dev"}
        "train" is the paper's: accuracy over the minibatches of the tournament. "loss" is minus
        their loss, which tells paths apart that are all accurate. "dev" is UAR on the rows
        `development`, speakers held out of the training part.
    development : list of R int arrays, optional
    smoothing : float
        Weight of what a genotype reached when it last competed, if it did, in its fitness now.
        Ours.
    immigration : float
        Probability that a genotype drawn anew takes the loser's place, so that paths stay apart.
        Ours.
    first : int array (R, k, L, N), optional
        Genotypes that the population starts with, the frozen path for instance.
    forced : int array (R, L, F), optional
        Modules that every path uses besides its N own ones, and that do not learn: the frozen path,
        which in the paper is free to be used or not.
    rate, edge
        Of mutations, see `mutate`.
    checkpoint : path, optional
        File that keeps the state of the network and the evolution, written every `checkpoint_every`
        generations and at the end. If it is there, evolution goes on from it, to the bit, also to
        more generations than it was started with.
    progress : bool
        Show a bar.
    **training
        Passed to `PathNet.train`.

    Returns
    -------
    evolution : Evolution
        `history` has the columns generation, replica, genotype_first, genotype_second (modules of
        each layer: "0 3 7 / 1 2 5"), fitness_first, fitness_second, winner (0 or 1), steps (spent
        so far), and of the modules of winner and loser, which share was frozen: frozen_share,
        frozen_share_lost. A replica that was stopped, see `PathNet.stopped`, has no further rows.

    Raises
    ------
    ValueError
        An option is unknown, or the checkpoint is of another run, of something else, or damaged.

    Source: Fernando et al. 2017, section 2.2. Ours: the best path is the one whose fitness was
    highest when it last competed. tests/benchmarks/README.md has what the options are worth in
    transfer."""
    if generations < 1:
        raise ValueError(f"generations = {generations}: a path needs at least 1 tournament")
    if fitness not in ("train", "loss", "dev"):
        raise ValueError(f"fitness = {fitness!r}: choose 'train', 'loss' or 'dev'")
    if fitness == "dev" and development is None:
        raise ValueError(
            "fitness = 'dev' needs the rows of development speakers: development=[...]"
        )
    population = Population(
        net.generators,
        size=population_size,
        n_layers=net.n_layers,
        n_modules=net.n_modules,
        n_active=net.n_active,
        first=first,
        forced=forced,
        immigration=immigration,
        rate=rate,
        edge=edge,
    )
    record = {
        "populations": np.zeros((generations + 1, *population.genotypes.shape), np.int16),
        "pairs": np.zeros((generations, net.n_replicas, 2), np.int64),
        "fitness": np.zeros((generations, net.n_replicas, 2)),
        "winners": np.zeros((generations, net.n_replicas), np.int64),
    }
    record["populations"][0] = population.genotypes
    done, run, frozen = 0, None, net.frozen.cpu().numpy()
    n_held = 0 if forced is None else forced.shape[2]
    if checkpoint is not None:
        options = (
            population_size,
            minibatches,
            fitness,
            development,
            smoothing,
            immigration,
            first,
            forced,
            rate,
            REACH,
            edge,
        )
        run = joblib.hash([task, options, training, examples.fingerprint(), net.fingerprint()])
        if Path(checkpoint).exists():
            done = _resume(checkpoint, run, net, population, record)
    bar = dict(desc=task, unit="generation", disable=not progress)
    for generation in tqdm(range(done, generations), initial=done, total=generations, **bar):
        pairs = population.draw()
        reached = np.zeros(pairs.shape)
        for competitor in (0, 1):
            paths = population.paths(pairs[:, competitor])
            accuracy, loss = net.train(
                task, paths, examples, steps=minibatches, n_held=n_held, **training
            )
            stopped = np.isnan(accuracy)
            score = -loss if fitness == "loss" else accuracy
            if fitness == "dev":
                score = _development_uar(net, task, paths, examples, development)
            if smoothing:
                last = population.fitness[np.arange(net.n_replicas), pairs[:, competitor]]
                score = np.where(
                    np.isfinite(last), smoothing * last + (1 - smoothing) * score, score
                )
            reached[:, competitor] = np.where(stopped, -np.inf, score)
        winners = population.settle(pairs, reached)
        record["populations"][generation + 1] = population.genotypes
        record["pairs"][generation], record["fitness"][generation] = pairs, reached
        record["winners"][generation] = winners
        done = generation + 1
        if checkpoint is not None and (done % checkpoint_every == 0 or done == generations):
            spent = {
                name: torch.as_tensor(v[: done + (name == "populations")])
                for name, v in record.items()
            }
            state = {"run": run, "net": net.state(), "fitness": torch.as_tensor(population.fitness)}
            checkpoints.write(checkpoint, CHECKPOINT, state | {"record": spent})
    history = _history(record, frozen, steps=2 * minibatches)
    return Evolution(population.best(), record["populations"], history)


def _resume(checkpoint, run, net, population, record):
    """Put network, population and record where the checkpoint left them; return its generations."""
    state = checkpoints.read(checkpoint, CHECKPOINT, device=net.device)
    done, generations = len(state["record"]["pairs"]), len(record["pairs"])
    if state["run"] != run:
        raise ValueError(
            f"{checkpoint} is of another run (task, examples, options or seeds differ): "
            "remove it to start anew, or name another file"
        )
    if done > generations:
        raise ValueError(
            f"{checkpoint} has {done} generations, more than the {generations} asked for"
        )
    for name, values in state["record"].items():
        record[name][: len(values)] = values.cpu().numpy()
    net.restore(state["net"])
    population.genotypes[:] = record["populations"][done]
    population.fitness[:] = state["fitness"].cpu().numpy()
    return done


def _history(record, frozen, *, steps):
    """Return the record as rows, of replicas as long as they went on."""
    generation, replica = np.nonzero(np.isfinite(record["fitness"]).any(axis=2))
    pairs, winner = record["pairs"][generation, replica], record["winners"][generation, replica]
    paths = record["populations"][generation[:, None], replica[:, None], pairs]  # (rows, 2, L, N)
    on_frozen = np.take_along_axis(frozen[replica, None], paths.astype(int), axis=3).mean((2, 3))
    tournament = np.arange(len(paths))
    reached = record["fitness"][generation, replica]
    return pd.DataFrame(
        {
            "generation": generation,
            "replica": replica,
            "genotype_first": [_text(genotype) for genotype in paths[:, 0]],
            "genotype_second": [_text(genotype) for genotype in paths[:, 1]],
            "fitness_first": reached[:, 0],
            "fitness_second": reached[:, 1],
            "winner": winner,
            "steps": steps * (generation + 1),
            "frozen_share": on_frozen[tournament, winner],
            "frozen_share_lost": on_frozen[tournament, 1 - winner],
        }
    )


def _text(genotype):
    return " / ".join(" ".join(map(str, layer)) for layer in genotype)


def _development_uar(net, task, paths, examples, development):
    posteriors = net.predict(task, paths, examples, development)
    recalls = []
    for posterior, rows in zip(posteriors, development, strict=True):
        truth, right = examples.labels[rows], posterior.argmax(1) == examples.labels[rows]
        recalls.append(np.mean([right[truth == emotion].mean() for emotion in np.unique(truth)]))
    return np.array(recalls)
