"""The protocols that the study compares, under one signature: what is learned on the sources helps the target.

Every protocol takes `(target, sources, seeds=..., steps=..., ...)`, uses the same folds, features, active size and
budget of gradient steps a task, and returns an `Outcome` whose `rows` are result rows. Each (seed, fold) is one
replica of a stacked PathNet. Source tasks are learned once a seed, from all of the source corpus; the target
is learned once a fold, from the fold's training speakers alone.

Source: Nguyen et al. 2020 (arXiv 2006.13211) for the comparison; Fernando et al. 2017 for PathNet.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from . import metrics
from .pathnet import Evolution, Examples, PathNet, evolve


class Task(NamedTuple):
    """A corpus as something to learn: one row of `features` a clip."""

    name: str
    features: np.ndarray  # (n, d) float32
    emotion: np.ndarray  # (n,) str
    speaker: np.ndarray  # (n,) str
    folds: list = ()  # of splits.Fold; a source needs none
    version: str = ""  # corpus_version of the result rows
    inputs: str = "plain"  # or "speaker-normalised"

    @property
    def emotions(self):
        """The emotions of this task, sorted: column k of its posteriors is emotions[k]."""
        return np.unique(self.emotion)


class Outcome(NamedTuple):
    """What a protocol reached: result rows, and the posteriors that they were counted from."""

    rows: pd.DataFrame
    posteriors: np.ndarray  # (n_seeds, n, K), of each clip when its speaker was in the test fold
    paths: np.ndarray  # (n_seeds, n_folds, L, N) the target's
    source_paths: dict  # source name -> (n_seeds, L, N)
    evolution: Evolution | None = None  # the target's


def from_scratch(target, sources=(), **settings):
    """Return the outcome of a path of N modules a layer trained on the target alone; `sources` are not used."""
    return _fixed_path("from_scratch", target, (), **settings)


def fine_tune(target, sources, **settings):
    """Return the outcome of a path trained on each source in turn and then, whole, on the target."""
    return _fixed_path("fine_tune", target, sources, **settings)


def frozen_features(target, sources, **settings):
    """Return the outcome of a path trained on each source in turn whose last layer feeds a new head for the target."""
    return _fixed_path("frozen_features", target, sources, head_only=True, **settings)


def pathnet(target, sources=(), **settings):
    """Return the outcome of PathNet: a path evolves on each source in turn and is frozen, then one on the target.

    Without sources the path evolves on the target alone: protocol "pathnet_scratch".
    """
    protocol = "pathnet" if sources else "pathnet_scratch"
    return _study(protocol, target, sources, evolving=True, **settings)


def _fixed_path(protocol, target, sources, *, n_active=3, n_modules=None, **settings):
    """The rivals: one path, as many modules as PathNet has active, so that both have the same active size."""
    return _study(protocol, target, sources, evolving=False, n_active=n_active, n_modules=n_active, **settings)


def _study(
    protocol, target, sources, *, evolving, head_only=False, seeds=(0, 1, 2), steps=1000, n_layers=3, n_modules=10,
    n_active=3, width=20, minibatches=25, population_size=16, fitness="train", progress=False, device="cpu", **training,
):  # fmt: skip
    """Learn the sources and then the target, in one stack a stage; see `pathnet` and the others.

    Parameters
    ----------
    target : Task
    sources : sequence of Task
        In the order in which they are learned.
    seeds : sequence of int
    steps : int
        Budget: gradient steps on each task.
    minibatches : int
        T, steps of one competitor in one tournament.
    **training
        Passed to `PathNet.train`.
    """
    if not target.folds:
        raise ValueError(f"target {target.name} has no folds: a target is tested on speakers it was not trained on")
    shape = dict(n_layers=n_layers, n_modules=n_modules, n_active=n_active, width=width, device=device)
    net = PathNet(target.features.shape[1], seeds=[_seed(s, "source") for s in seeds], **shape)

    def learn(task, examples, **options):
        """Return the path of each replica after the budget was spent on `task`."""
        net.add_head(task.name, len(task.emotions))
        if evolving:
            generations = max(1, steps // (2 * minibatches))
            evolution = evolve(
                net, task.name, examples, generations=generations, minibatches=minibatches,
                population_size=population_size, fitness=fitness, progress=progress, **training,
            )  # fmt: skip
            return evolution.best, evolution
        path = np.tile(np.arange(n_active), (net.n_replicas, n_layers, 1))
        net.train(task.name, path, examples, steps=steps, **options, **training)
        return path, None

    source_paths = {}
    for source in sources:
        rows = [np.arange(len(source.emotion))] * len(seeds)
        source_paths[source.name], _ = learn(source, _examples(source, rows, device))
        if evolving:
            net.freeze(source_paths[source.name])
            net.reinitialise()
    net = net.repeat([_seed(s, "target", fold.name) for s in seeds for fold in target.folds])
    examples = _examples(target, [fold.train for _ in seeds for fold in target.folds], device)
    paths, evolution = learn(target, examples, head_only=head_only)
    tests = [fold.test for _ in seeds for fold in target.folds]
    posteriors = _gather(net.predict(target.name, paths, examples, tests), tests, len(seeds), target)
    rows = score(target, posteriors, seeds, protocol=protocol, source="+".join(s.name for s in sources))
    return Outcome(rows, posteriors, paths.reshape(len(seeds), -1, n_layers, n_active), source_paths, evolution)


def _seed(seed, *names):
    """Return the random stream of one replica, of its seed and of what it is for."""
    return np.random.SeedSequence([seed, *("/".join(names)).encode()])


def _examples(task, rows, device):
    labels = np.searchsorted(task.emotions, task.emotion)
    return Examples(task.features, labels, rows, device=device)


def _gather(of_replicas, tests, n_seeds, target):
    """Put the posteriors of each fold's test clips where the clips are: (n_seeds, n, K)."""
    posteriors = np.full((n_seeds, len(target.emotion), len(target.emotions)), np.nan)
    for replica, (posterior, rows) in enumerate(zip(of_replicas, tests, strict=True)):
        posteriors[replica // len(target.folds), rows] = posterior
    return posteriors


def score(task, posteriors, seeds, *, protocol, source=""):
    """Return the result rows of `posteriors` (n_seeds, n, K): a row a test speaker and metric, and pooled rows."""
    key = dict(
        protocol=protocol, source=source, target=task.name, inputs=task.inputs, corpus_version=task.version
    )  # fmt: skip
    rows = []
    for seed, posterior in zip(seeds, posteriors, strict=True):
        prediction = task.emotions[posterior.argmax(1)]
        for fold in task.folds:
            of_fold = (task.emotion[fold.test], prediction[fold.test], task.speaker[fold.test])
            rows.append(metrics.score_rows(*of_fold, fold=fold.name, seed=seed, **key))
        tested = np.concatenate([fold.test for fold in task.folds])
        rows.append(metrics.pooled_rows(task.emotion[tested], prediction[tested], seed=seed, **key))
    return pd.concat(rows, ignore_index=True)
