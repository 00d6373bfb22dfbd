"""The protocols that the study compares, under one signature.

Every protocol takes `(target, sources, seeds=..., steps=..., ...)`, uses the same folds, features, active
size and budget of gradient steps on each task, and returns an `Outcome` whose `rows` are result rows. Each
seed and fold is one replica of a stacked PathNet. Source tasks are learned once a seed, from the whole source
corpus; the target is learned once a fold, from the fold's training speakers alone.

Source: Nguyen et al. 2020 (arXiv 2006.13211) for the comparison; Fernando et al. 2017 for PathNet.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.base import clone

from . import metrics, splits
from .evolution import evolve
from .examples import Examples
from .pathnet import PathNet


class Task(NamedTuple):
    """A corpus as something to learn: n clips, and one row of `features` a clip, or several (its frames)."""

    name: str
    features: np.ndarray  # (n_rows, d) float32, or images (n_rows, channels, height, width)
    emotion: np.ndarray  # (n,) str
    speaker: np.ndarray  # (n,) str
    folds: list = ()  # of splits.Fold, of clips; a source needs none
    version: str = ""  # corpus_version of the result rows
    inputs: str = "plain"  # or "speaker-normalised", with the modality before it, if there are several
    clip: np.ndarray | None = None  # (n_rows,) int, the clip of each row; None: row i is of clip i

    @property
    def emotions(self):
        """The emotions of this task, sorted: column k of its posteriors is emotions[k]."""
        return np.unique(self.emotion)

    def rows(self, clips):
        """Return the rows of features of these clips."""
        return np.asarray(clips) if self.clip is None else np.flatnonzero(np.isin(self.clip, clips))

    def labels(self):
        """Return the emotion of each row of features as a number."""
        labels = np.searchsorted(self.emotions, self.emotion)
        return labels if self.clip is None else labels[self.clip]

    def of_clips(self, posteriors, clips):
        """Return the posteriors of clips (len(clips), K): the means over those of their rows."""
        if self.clip is None:
            return posteriors
        return pd.DataFrame(posteriors).groupby(self.clip[self.rows(clips)]).mean().loc[clips].to_numpy()


def task(name, index, features, *, inputs="plain", clip=None, modality=None):
    """Return a corpus as a `Task`, with the study's folds where its speakers are known.

    Parameters
    ----------
    index : DataFrame
        From `pathemo.corpora.load` or `from_table`.
    features : float array (n_rows, d), or images (n_rows, channels, height, width)
        A row a clip, from `pathemo.speech.functionals` for instance, or several, see `clip`.
    inputs : {"plain", "speaker-normalised"}
        The second scales the features of each speaker by that speaker's own unlabelled clips.
    clip : int array (n_rows,), optional
        Position in the index of the clip of each row, as `pathemo.faces.crops` gives it. Clips without rows
        are no part of the task; a clip's posteriors are the means over its rows.
    modality : str, optional
        What the features are of, "crops" for instance; it stands before `inputs` in result rows.
    """
    if inputs not in ("plain", "speaker-normalised"):
        raise ValueError(f"inputs = {inputs!r}: choose 'plain' or 'speaker-normalised'")
    version = index.attrs.get("version", "")
    if clip is not None:
        places, clip = np.unique(clip, return_inverse=True)
        index = index.iloc[places].reset_index(drop=True)
    features, known = np.asarray(features, np.float32), index["speaker"].notna().all()
    if inputs == "speaker-normalised":
        speaker = index["speaker"] if clip is None else index["speaker"].iloc[clip]
        flat = features.reshape(len(features), -1)
        features = splits.speaker_normalise(flat, speaker).reshape(features.shape).astype(np.float32)
    return Task(
        name, features, index["emotion"].to_numpy(str), index["speaker"].fillna("").to_numpy(str),
        tuple(splits.folds_for(index)) if known else (), version,
        inputs if modality is None else f"{modality}, {inputs}", clip,
    )  # fmt: skip


def groups(name, index, features, n_groups, *, seed=0, clip=None, **options):
    """Return tasks of disjoint groups of a corpus's speakers, each with folds of its own: "emodb 1/3", ...

    Speakers are dealt as in `splits.speaker_folds`; the other parameters are those of `task`.
    """
    clip = np.arange(len(index)) if clip is None else clip
    tasks = []
    for number, (_, _, part) in enumerate(splits.speaker_folds(index, n_groups, seed), start=1):
        rows = np.isin(clip, part)
        of_part, clip_of_part = index.iloc[part].reset_index(drop=True), np.searchsorted(part, clip[rows])
        group = f"{name} {number}/{n_groups}"
        tasks.append(task(group, of_part, features[rows], clip=clip_of_part, **options))
    return tasks


def with_few_speakers(task, n_speakers, *, seed=0):
    """Return the task with at most so many training speakers a fold, drawn by `seed`; its `inputs` say so."""
    folds = []
    for fold in task.folds:
        speakers = np.unique(task.speaker[fold.train])
        drawn = np.random.default_rng([seed, *fold.name.encode()]).permutation(speakers)[:n_speakers]
        folds.append(fold._replace(train=fold.train[np.isin(task.speaker[fold.train], drawn)]))
    return task._replace(folds=tuple(folds), inputs=f"{task.inputs}, {n_speakers} training speakers")


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
    """Return the outcome of a scikit-learn classifier on the target's folds; a row's posteriors are 0 or 1.

    `model` is cloned for each fold; `protocol` is the name that its result rows carry.
    """
    features, labels = target.features.reshape(len(target.features), -1), target.labels()
    posteriors = np.full((1, len(target.emotion), len(target.emotions)), np.nan)
    for fold in target.folds:
        train, test = target.rows(fold.train), target.rows(fold.test)
        predicted = clone(model).fit(features[train], labels[train]).predict(features[test])
        posteriors[0, fold.test] = target.of_clips(np.eye(len(target.emotions))[predicted], fold.test)
    return Outcome(score(target, posteriors, (0,), protocol=protocol), posteriors)


def _study(
    protocol, target, sources, *, evolving, head_only=False, seeds=(0, 1, 2), steps=1000, n_layers=3,
    n_modules=10, n_active=3, width=20, combine="sum", minibatches=25, population_size=4, fitness="train",
    final_share=0.0, frozen_path="free", edge="wrap", rate=None, progress=False, device="cpu", **training,
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
    fitness : {"train", "dev"}
        See `evolve`. For "dev" a quarter of the training speakers decides tournaments and trains nothing.
    final_share : float
        Share of the budget that trains the best path on after its evolution, on all training speakers. It
        made no difference beside a small population, but half mends what "dev" costs.
    frozen_path : {"free", "seeded", "forced"}
        What the next task makes of the paths that its sources froze. "free", the paper's, leaves it to
        evolution; "seeded" puts them into the first population; "forced" keeps them active beside the N
        modules that evolve.
    edge, rate
        Of mutations, see `evolve`.
    **training
        Passed to `PathNet.train`.
    """
    if not target.folds:
        raise ValueError(f"target {target.name} has no folds: it must be tested on speakers not trained on")
    final_steps = round(final_share * steps)
    generations, rest = divmod(steps - final_steps, 2 * minibatches)
    if evolving and (rest or not generations):
        raise ValueError(f"steps = {steps - final_steps} is not a multiple of 2 * minibatches = "
                         f"{2 * minibatches}, so the budget would differ from that of the other protocols")
    if frozen_path not in ("free", "seeded", "forced"):
        raise ValueError(f"frozen_path = {frozen_path!r}: choose 'free', 'seeded' or 'forced'")
    shape = dict(n_layers=n_layers, n_active=n_active, width=width, combine=combine, device=device)
    shape["n_modules"] = n_modules if evolving else n_active
    inputs = target.features.shape[1:] if target.features.ndim > 2 else target.features.shape[1]
    net = PathNet(inputs, seeds=[_seed(s, "source") for s in seeds], **shape)

    def learn(task, clips, before, **options):
        """Return the path of each replica after the budget was spent on its clips, and the history.

        `before` is the paths (R, L, N) that each source froze.
        """
        net.add_head(task.name, len(task.emotions))
        labels, rows = task.labels(), [task.rows(of_replica) for of_replica in clips]
        examples = Examples(task.features, labels, rows, device=device)
        if not evolving:
            path = np.tile(np.arange(n_active), (net.n_replicas, n_layers, 1))
            net.train(task.name, path, examples, steps=steps, **options, **training)
            return path, None, examples
        deciding, held_out = examples, None
        if fitness == "dev":
            parts = [splits.development_split(task.speaker, of_replica, seed=0) for of_replica in clips]
            held_out = [task.rows(development) for _, development in parts]
            rows = [task.rows(train) for train, _ in parts]
            deciding = Examples(task.features, labels, rows, device=device)
        evolution = evolve(
            net, task.name, deciding, generations=generations, minibatches=minibatches, fitness=fitness,
            development=held_out, population_size=population_size, edge=edge, rate=rate, progress=progress,
            first=np.stack(before, axis=1) if before and frozen_path == "seeded" else None,
            forced=before[-1] if before and frozen_path == "forced" else None, **training,
        )  # fmt: skip
        if not final_steps:
            return evolution.best, evolution.history, deciding
        net.train(task.name, evolution.best, examples, steps=final_steps, **training)
        return evolution.best, evolution.history, examples

    frozen_paths = []
    for source in sources:
        paths, *_ = learn(source, [np.arange(len(source.emotion))] * len(seeds), frozen_paths)
        if evolving:
            net.freeze(paths)
            net.reinitialise()
            frozen_paths.append(paths)
    frozen = net.frozen.cpu().numpy()
    net = net.repeat([_seed(s, "target", fold.name) for s in seeds for fold in target.folds])
    folds = [fold for _ in seeds for fold in target.folds]
    frozen_paths = [path.repeat(len(target.folds), axis=0) for path in frozen_paths]
    training_clips = [fold.train for fold in folds]
    paths, history, examples = learn(target, training_clips, frozen_paths, head_only=head_only)
    of_rows = net.predict(target.name, paths, examples, [target.rows(fold.test) for fold in folds])
    posteriors = np.full((len(seeds), len(target.emotion), len(target.emotions)), np.nan)
    for replica, (posterior, fold) in enumerate(zip(of_rows, folds, strict=True)):
        if replica not in net.stopped:
            posteriors[replica // len(target.folds), fold.test] = target.of_clips(posterior, fold.test)
    rows = score(target, posteriors, seeds, protocol=protocol, source="+".join(s.name for s in sources))
    paths = paths.reshape(len(seeds), len(target.folds), n_layers, -1)
    return Outcome(rows, posteriors, paths, frozen, history)


def _seed(seed, *names):
    """Return the random stream of one replica, of its seed and of what it is for."""
    return np.random.SeedSequence([seed, *("/".join(names)).encode()])


def score(task, posteriors, seeds, *, protocol, source=""):
    """Return the result rows of `posteriors` (n_seeds, n, K): of each test speaker, and pooled.

    A fold whose posteriors are NaN, since its replica was stopped, gets a row that says so.
    """
    key = dict(
        protocol=protocol, source=source, target=task.name, inputs=task.inputs, corpus_version=task.version
    )  # fmt: skip
    rows = []
    for seed, posterior in zip(seeds, posteriors, strict=True):
        prediction, missing = task.emotions[posterior.argmax(1)], np.isnan(posterior).any(1)
        for fold in task.folds:
            of_fold = dict(key, fold=fold.name, seed=seed)
            if missing[fold.test].any():
                rows.append(metrics.not_run_rows("the loss was not finite", **of_fold))
                continue
            scored = (task.emotion[fold.test], prediction[fold.test], task.speaker[fold.test])
            rows.append(metrics.score_rows(*scored, **of_fold))
        tested = np.concatenate([fold.test for fold in task.folds])
        if not missing[tested].any():
            rows.append(metrics.pooled_rows(task.emotion[tested], prediction[tested], seed=seed, **key))
    return pd.concat(rows, ignore_index=True)
