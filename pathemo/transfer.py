"""The protocols that the study compares, under one signature.

Every protocol takes `(target, sources, seeds=..., steps=..., ...)`, uses the same folds, features, active
size and budget of gradient steps on each task, and returns an `Outcome` whose `rows` are result rows. Each
seed and fold is one replica of a stacked PathNet. Source tasks are learned once a seed, from the whole source
corpus; the target is learned once a fold, from the fold's training speakers alone.

Source: Nguyen et al. 2020 (arXiv 2006.13211) for the comparison; Fernando et al. 2017 for PathNet.
"""

import hashlib
import os
from itertools import permutations
from pathlib import Path
from typing import NamedTuple

import joblib
import numpy as np
import pandas as pd
import pooch
from sklearn.base import clone
from tqdm.auto import tqdm

from . import metrics, splits
from .evolution import evolve
from .pathnet import Examples, PathNet


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


def task(name, index, features, *, inputs="plain"):
    """Return a corpus as a `Task`, with the study's folds where its speakers are known.

    Parameters
    ----------
    index : DataFrame
        From `pathemo.corpora.load` or `from_table`.
    features : float array (n, d)
        A row a clip, from `pathemo.speech.functionals` for instance.
    inputs : {"plain", "speaker-normalised"}
        The second scales the features of each speaker by that speaker's own unlabelled clips.
    """
    if inputs not in ("plain", "speaker-normalised"):
        raise ValueError(f"inputs = {inputs!r}: choose 'plain' or 'speaker-normalised'")
    known = index["speaker"].notna().all()
    if inputs == "speaker-normalised":
        features = splits.speaker_normalise(features, index["speaker"])
    return Task(
        name, np.asarray(features, np.float32), index["emotion"].to_numpy(str),
        index["speaker"].fillna("").to_numpy(str), tuple(splits.folds_for(index)) if known else (),
        index.attrs.get("version", ""), inputs,
    )  # fmt: skip


class Outcome(NamedTuple):
    """What a protocol reached: result rows, and the posteriors that they were counted from."""

    rows: pd.DataFrame
    posteriors: np.ndarray  # (n_seeds, n, K), of each clip when its speaker was in the test fold
    paths: np.ndarray | None = None  # (n_seeds, n_folds, L, N) the target's
    frozen: np.ndarray | None = None  # (n_seeds, L, M) the modules that the sources froze
    history: pd.DataFrame | None = None  # of the target's evolution, see `pathemo.evolution.Evolution`

    def frozen_share(self):
        """Return which share of the target's paths lies on frozen modules, and what chance would give."""
        on_frozen = np.take_along_axis(self.frozen[:, None], self.paths, axis=3)
        return on_frozen.mean(), self.frozen.mean()


def from_scratch(target, sources=(), **settings):
    """Return the outcome of one path trained on the target alone; `sources` are not used."""
    return _study("from_scratch", target, (), evolving=False, **settings)


def fine_tune(target, sources, **settings):
    """Return the outcome of one path trained on each source in turn and then, whole, on the target."""
    return _study("fine_tune", target, sources, evolving=False, **settings)


def frozen_features(target, sources, **settings):
    """Return the outcome of one path trained on each source in turn that feeds a new head for the target."""
    return _study("frozen_features", target, sources, evolving=False, head_only=True, **settings)


def pathnet(target, sources=(), **settings):
    """Return the outcome of PathNet: a path evolves on each source and is frozen, then one on the target.

    Without sources the path evolves on the target alone: protocol "pathnet_scratch".
    """
    protocol = "pathnet" if sources else "pathnet_scratch"
    return _study(protocol, target, sources, evolving=True, **settings)


def baseline(target, sources=(), *, model, protocol):
    """Return the outcome of a scikit-learn classifier on the target's folds; its posteriors are 0 or 1.

    `model` is cloned for each fold; `protocol` is the name that its result rows carry.
    """
    posteriors = np.full((1, len(target.emotion), len(target.emotions)), np.nan)
    for fold in target.folds:
        fitted = clone(model).fit(target.features[fold.train], target.emotion[fold.train])
        posteriors[0, fold.test] = fitted.predict(target.features[fold.test])[:, None] == target.emotions
    return Outcome(score(target, posteriors, (0,), protocol=protocol), posteriors)


def _study(
    protocol, target, sources, *, evolving, head_only=False, seeds=(0, 1, 2), steps=1000, n_layers=3,
    n_modules=10, n_active=3, width=20, minibatches=25, population_size=16, progress=False, device="cpu",
    **training,
):  # fmt: skip
    """Learn the sources and then the target, in one stack a stage.

    A protocol that does not evolve has one path of `n_active` modules a layer: the active size of PathNet.

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
        raise ValueError(f"target {target.name} has no folds: it must be tested on speakers not trained on")
    generations, rest = divmod(steps, 2 * minibatches)
    if evolving and (rest or not generations):
        raise ValueError(f"steps = {steps} is not a multiple of 2 * minibatches = {2 * minibatches}, so the "
                         "budget would differ from that of the other protocols")
    shape = dict(n_layers=n_layers, n_active=n_active, width=width, device=device)
    shape["n_modules"] = n_modules if evolving else n_active
    net = PathNet(target.features.shape[1], seeds=[_seed(s, "source") for s in seeds], **shape)

    def learn(task, examples, **options):
        """Return the path of each replica after the budget was spent on `task`."""
        net.add_head(task.name, len(task.emotions))
        if evolving:
            evolution = evolve(
                net, task.name, examples, generations=generations, minibatches=minibatches,
                population_size=population_size, progress=progress, **training,
            )  # fmt: skip
            return evolution.best, evolution.history
        path = np.tile(np.arange(n_active), (net.n_replicas, n_layers, 1))
        net.train(task.name, path, examples, steps=steps, **options, **training)
        return path, None

    for source in sources:
        rows = [np.arange(len(source.emotion))] * len(seeds)
        paths, _ = learn(source, _examples(source, rows, device))
        if evolving:
            net.freeze(paths)
            net.reinitialise()
    frozen = net.frozen.cpu().numpy()
    net = net.repeat([_seed(s, "target", fold.name) for s in seeds for fold in target.folds])
    examples = _examples(target, [fold.train for _ in seeds for fold in target.folds], device)
    paths, history = learn(target, examples, head_only=head_only)
    tests = [fold.test for _ in seeds for fold in target.folds]
    posteriors = _gather(net.predict(target.name, paths, examples, tests), tests, len(seeds), target)
    rows = score(target, posteriors, seeds, protocol=protocol, source="+".join(s.name for s in sources))
    paths = paths.reshape(len(seeds), len(target.folds), n_layers, n_active)
    return Outcome(rows, posteriors, paths, frozen, history)


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
    """Return the result rows of `posteriors` (n_seeds, n, K): of each test speaker, and pooled."""
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


def sources_for(target, names, tasks):
    """Return the source lists to try for a target: each alone, then all that are here in every order.

    >>> sources_for("a", ["a", "b", "c", "d"], {("a", "plain"), ("b", "plain"), ("c", "plain")})
    [('b',), ('c',), ('d',), ('b', 'c'), ('c', 'b')]
    """
    others = [name for name in names if name != target]
    here = [name for name in others if any(name == known for known, _ in tasks)]
    return [(name,) for name in others] + (list(permutations(here)) if len(here) > 1 else [])


def study(grid, tasks, settings, *, n_jobs=1):
    """Return the result rows of a grid, and the outcomes of those of its runs whose corpora are here.

    Parameters
    ----------
    grid : list of (protocol, target, sources, inputs)
        A function of this module, and names of corpora.
    tasks : dict of Task
        By (name, inputs). A run that needs another corpus gets a row that says so.
    settings : dict
        Keyword arguments of the protocols, the same for all.

    Returns
    -------
    rows : DataFrame
    outcomes : dict of Outcome
        By run, a member of `grid`.
    """
    here = {name for name, _ in tasks}
    runs = [run for run in grid if {run[1], *run[2]} <= here]
    jobs = [(p, tasks[target, i], [tasks[s, i] for s in sources], settings) for p, target, sources, i in runs]
    outcomes = dict(zip(runs, run_all(jobs, n_jobs=n_jobs), strict=True))
    rows = [outcome.rows for outcome in outcomes.values()]
    for protocol, target, sources, inputs in grid:
        if absent := [name for name in (target, *sources) if name not in here]:
            name = "pathnet_scratch" if protocol is pathnet and not sources else protocol.__name__
            reason = f"{', '.join(absent)} not found, see data/README.md"
            key = dict(protocol=name, source="+".join(sources), target=target, inputs=inputs)
            rows.append(metrics.not_run_rows(reason, **key))
    return pd.concat(rows, ignore_index=True), outcomes


def run_all(jobs, *, n_jobs=1):
    """Yield the outcome of each job, in order; one that was finished before comes from the disk.

    Parameters
    ----------
    jobs : list of (protocol, target, sources, settings)
        `settings` is a dict of keyword arguments; jobs are independent of each other.
    n_jobs : int
        Processes, each with one thread: replicas are stacked within a job, jobs run side by side.

    Notes
    -----
    Outcomes are kept in the cache folder (environment variable PATHEMO_CACHE, else the user's cache) by
    protocol, data, settings and the code of this engine, so an interrupted study goes on where it was.
    """
    folder = Path(os.environ.get("PATHEMO_CACHE") or pooch.os_cache("pathemo"))
    kept = joblib.Memory(folder / "outcomes", verbose=0).cache(_run)
    code = _engine_version()
    running = joblib.Parallel(n_jobs=n_jobs, return_as="generator")(
        joblib.delayed(kept)(protocol.__name__, target, tuple(sources), settings, code)
        for protocol, target, sources, settings in jobs
    )
    return tqdm(running, total=len(jobs), desc="jobs", unit="job")


def _run(protocol, target, sources, settings, code):
    return globals()[protocol](target, sources, **settings)


def _engine_version():
    """Return a digest of the code that outcomes depend on."""
    here = Path(__file__).parent
    files = [here / f"{name}.py" for name in ("evolution", "pathnet", "transfer", "metrics")]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
