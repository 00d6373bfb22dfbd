"""The protocols that the study compares, under one signature.

Every protocol takes `(target, sources, seeds=..., steps=..., ...)`, uses the same folds, features,
active size and budget of gradient steps on each task, and returns an `Outcome` whose `rows` are
result rows. Each seed and fold is one replica of a stacked PathNet. Source tasks are learned once a
seed, from the whole source corpus; the target is learned once a fold, from the fold's training
speakers alone.

Settings of all protocols, as keyword arguments:

seeds : sequence of int
steps : int
    Budget: gradient steps on each task, 1000 when not given.
n_layers, n_modules, n_active, width : int
    Of `PathNet`. A protocol that does not evolve has one path of `n_active` modules a layer.
population_size, minibatches : int
    Of `evolve`; minibatches are 25 when not given.
final_share : float
    Share of the budget that trains the best path on after its evolution, 0 when not given.
frozen_path : {"free", "forced"}
    What the next task makes of the paths that its sources froze. "free", the paper's, leaves it to
    evolution; "forced" keeps the latest active beside the N modules that evolve.
head : {"new", "shared"}
    What a task's head starts with. "new", the paper's, is drawn; "shared" copies the weights of
    emotions that an earlier task has as well, of the latest that has them.
fresh : float
    What modules that are drawn anew after a source are multiplied by. With "forced" and "shared"
    and a small one, the target starts as what the sources taught.
device : str
others
    Passed to `PathNet.train`.

Source: Nguyen et al. 2020 (arXiv 2006.13211) for the comparison; Fernando et al. 2017 for PathNet.
"""
# ruff: noqa: F401, F811

from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.base import clone

from . import metrics
from .engine import COUNT, SHARE, Examples, PathNet, check, evolve
from .tasks import Task, corpus_tasks, groups, pooled, task, with_emotions, with_few_speakers

LIMITS = {"frozen_path": ("free", "forced"), "head": ("new", "shared")}
LIMITS |= {"final_share": SHARE, "steps": COUNT}
SHAPE = ("n_layers", "n_modules", "n_active", "width", "device")


class Outcome(NamedTuple):
    """What a protocol reached: result rows, and the posteriors that they were counted from."""

    rows: pd.DataFrame
    posteriors: np.ndarray | None = None  # (n_seeds, n, K), of each clip as a test clip
    paths: np.ndarray | None = None  # (n_seeds, n_folds, L, N) the target's
    frozen: np.ndarray | None = None  # (n_seeds, n_folds, L, M) the modules that the sources froze
    history: pd.DataFrame | None = None  # of the target's evolution, see `pathemo.engine.Evolution`
    memory: pd.DataFrame | None = None  # result rows on sources, before and after the target

    def frozen_share(self):
        """Return which share of the target's paths is on frozen modules, and that of chance."""
        return np.take_along_axis(self.frozen, self.paths, axis=3).mean(), self.frozen.mean()


def from_scratch(target, sources=(), **settings):
    """Return the outcome of one path trained on the target alone; `sources` are not used."""
    return _learn_all("from_scratch", target, (), settings, evolving=False)


def from_scratch_wide(target, sources=(), *, n_modules=10, **settings):
    """Return the outcome of one path of all M modules a layer: PathNet's total size."""
    settings |= {"n_active": n_modules, "n_modules": n_modules}
    return _learn_all("from_scratch_wide", target, (), settings, evolving=False)


def from_scratch_long(target, sources, *, steps=1000, **settings):
    """Return the outcome of one path trained on the target for the budget of all tasks."""
    settings["steps"] = steps * (1 + len(sources))
    outcome = _learn_all("from_scratch_long", target, (), settings, evolving=False)
    return outcome._replace(rows=outcome.rows.assign(source="+".join(s.name for s in sources)))


def zero_shot(target, sources, **settings):
    """Return the outcome of one path trained on the sources alone, on the emotions that the target
    shares.

    The target trains nothing. Its training clips of those emotions give the scale of the features.
    """
    _assert_shared_emotions(target, sources)
    known = np.concatenate([source.emotions for source in sources])
    target, options = with_emotions(target, known), dict(evolving=False, target_learns="nothing")
    return _learn_all("zero_shot", target, sources, settings | {"head": "shared"}, **options)


def fine_tune(target, sources, **settings):
    """Return the outcome of one path trained on each source and then, whole, on the target."""
    return _learn_all("fine_tune", target, sources, settings, evolving=False)


def fine_tune_shared(target, sources, **settings):
    """Return the outcome of `fine_tune` whose heads start with what sources know of emotions."""
    settings["head"] = "shared"
    return _learn_all("fine_tune_shared", target, sources, settings, evolving=False)


def frozen_features(target, sources, **settings):
    """Return the outcome of one path trained on each source that feeds a head for the target."""
    options = dict(evolving=False, target_learns="head")
    return _learn_all("frozen_features", target, sources, settings, **options)


def pathnet(target, sources=(), **settings):
    """Return the outcome of PathNet: a path evolves on each source and is frozen, then one on the
    target.

    Without sources the path evolves on the target alone: protocol "pathnet_scratch".
    """
    return _learn_all("pathnet" if sources else "pathnet_scratch", target, sources, settings)


def pathnet_shared(target, sources, **settings):
    """Return the outcome of `pathnet` that starts the target as what the sources taught.

    Ours: the frozen path stays active beside the modules that evolve, heads start with what the
    sources know of the same emotions, and fresh modules are nearly silent at first."""
    settings |= {"frozen_path": "forced", "head": "shared", "fresh": 0.03}
    return _learn_all("pathnet_shared", target, sources, settings)


def baseline(target, sources=(), *, model, protocol):
    """Return the outcome of a scikit-learn classifier on the target's folds; a row's posteriors are
    0 or 1.

    `model` is cloned for each fold; `protocol` is the name that its result rows carry.
    """
    features, labels = target.features.reshape(len(target.features), -1), target.labels()
    posteriors = np.full((1, len(target.emotion), len(target.emotions)), np.nan)
    for fold in target.folds:
        train, test = target.rows(fold.train), target.rows(fold.test)
        predicted = clone(model).fit(features[train], labels[train]).predict(features[test])
        certain = np.eye(len(target.emotions))[predicted]
        posteriors[0, fold.test] = target.of_clips(certain, fold.test)
    return Outcome(score(target, posteriors, (0,), protocol=protocol), posteriors)


class _Learner:
    """A PathNet of stacked replicas that learns one task after the other."""

    def __init__(
        self,
        inputs,
        seeds,
        *,
        evolving,
        steps=1000,
        minibatches=25,
        population_size=4,
        final_share=0.0,
        frozen_path="free",
        head="new",
        **training,
    ):
        check(LIMITS, frozen_path=frozen_path, head=head, final_share=final_share, steps=steps)
        check(minibatches=minibatches)
        shape = {name: training.pop(name) for name in SHAPE if name in training}
        if not evolving:
            shape["n_modules"] = shape.setdefault("n_active", 3)
        self.net = PathNet(inputs, seeds=seeds, **shape)
        self.evolving, self.training, self.steps = evolving, training, steps
        self.final_steps = round(final_share * steps)
        self.tournaments = dict(minibatches=minibatches, population_size=population_size)
        self.tournaments["generations"], rest = divmod(steps - self.final_steps, 2 * minibatches)
        if evolving and (rest or not self.tournaments["generations"]):
            raise ValueError(
                f"steps = {steps - self.final_steps} is not a multiple of 2 * minibatches = "
                f"{2 * minibatches}, so the budget would differ from that of the other protocols"
            )
        self.forced = frozen_path == "forced"
        self.shared_head = head == "shared"
        self.tasks, self.frozen_path, self.examples = {}, None, None

    def learn(self, task, clips, what="all"):
        """Spend the budget on each replica's clips; return its path (R, L, N), and the history.

        What is learned is "all" of the path and the head, the "head", or "nothing".
        """
        net, head = self.net, f"{task.name} {len(self.tasks)}"  # one name may be there twice
        net.add_head(head, len(task.emotions))
        for earlier, learned in self.tasks.items() if self.shared_head else ():
            _, mine, theirs = np.intersect1d(task.emotions, learned.emotions, return_indices=True)
            net.heads[head][:, mine] = net.heads[earlier][:, theirs]
        self.tasks[head] = task
        rows = [task.rows(clips_of_replica) for clips_of_replica in clips]
        self.examples = examples = Examples(task.features, task.labels(), rows, device=net.device)
        if not self.evolving:
            paths = np.tile(np.arange(net.n_active), (net.n_replicas, net.n_layers, 1))
            if what != "nothing":
                n_fixed = net.n_active if what == "head" else 0
                net.train(head, paths, examples, steps=self.steps, n_fixed=n_fixed, **self.training)
            return paths, None
        forced = self.frozen_path if self.forced else None
        evolution = evolve(net, head, examples, forced=forced, **self.tournaments, **self.training)
        if self.final_steps:
            n_fixed = evolution.best.shape[2] - net.n_active
            options = dict(steps=self.final_steps, n_fixed=n_fixed)
            net.train(head, evolution.best, examples, **options, **self.training)
        return evolution.best, evolution.history

    def freeze(self, paths, fresh):
        """Freeze a path after a source, if paths evolve, and draw the rest anew."""
        if self.evolving:
            self.net.freeze(paths)
            self.net.reinitialise(scale=fresh)
            self.frozen_path = paths

    def repeat(self, seeds, copies):
        """Go on with so many copies of each replica."""
        self.net = self.net.repeat(seeds)
        if self.frozen_path is not None:
            self.frozen_path = self.frozen_path.repeat(copies, axis=0)

    def recognise(self, head, paths):
        """Return the emotion (R, n) that each replica recognises in each clip of a source."""
        task, everything = self.tasks[head], np.arange(len(self.tasks[head].emotion))
        rows = [task.rows(everything)] * self.net.n_replicas
        examples = Examples(task.features, task.labels(), rows, device=self.net.device)
        posteriors = self.net.predict(head, paths, examples)
        numbers = np.stack([task.of_clips(p, everything).argmax(1) for p in posteriors])
        return task.emotions[numbers]


def _learn_all(protocol, target, sources, settings, *, evolving=True, target_learns="all"):
    """Return the outcome of learning the sources and then the target, in one stack a stage."""
    settings = dict(seeds=(0, 1, 2), fresh=1.0) | settings
    seeds, fresh, n_folds = settings.pop("seeds"), settings.pop("fresh"), len(target.folds)
    _assert_learnable(target, sources, seeds)
    if settings.get("head") == "shared":
        _assert_shared_emotions(target, sources)
    inputs = target.features.shape[1:] if target.features.ndim > 2 else target.features.shape[1]
    streams = [_stream(seed, "source") for seed in seeds]
    learner = _Learner(inputs, streams, evolving=evolving, **settings)
    before = []
    for source in sources:
        paths, _ = learner.learn(source, [np.arange(len(source.emotion))] * len(seeds))
        head = list(learner.tasks)[-1]
        before.append((head, paths, learner.recognise(head, paths)))
        learner.freeze(paths, fresh)
    folds = [fold for _ in seeds for fold in target.folds]
    streams = [_stream(seed, "target", fold.name) for seed in seeds for fold in target.folds]
    learner.repeat(streams, n_folds)
    frozen = learner.net.frozen.cpu().numpy()
    paths, history = learner.learn(target, [fold.train for fold in folds], target_learns)
    rows = [target.rows(fold.test) for fold in folds]
    posteriors_of_rows = learner.net.predict(list(learner.tasks)[-1], paths, learner.examples, rows)
    posteriors = np.full((len(seeds), len(target.emotion), len(target.emotions)), np.nan)
    for replica, (posterior, fold) in enumerate(zip(posteriors_of_rows, folds, strict=True)):
        posteriors[replica // n_folds, fold.test] = target.of_clips(posterior, fold.test)
    names, memory = [source.name for source in sources], []
    source = "+".join(names)
    for head, path, recognised in before:
        after = learner.recognise(head, path.repeat(n_folds, axis=0))
        for variant, emotions in (("before_target", recognised), ("after_target", after)):
            task = learner.tasks[head]
            key = target.key() | dict(protocol=protocol, source=source, variant=variant)
            key["fold"] = task.name if names.count(task.name) == 1 else head
            key["seed"] = np.repeat(seeds, emotions.size // len(seeds))
            truth = np.tile(task.emotion, len(emotions))
            memory.append(metrics.score_rows(truth, emotions.ravel(), "all", **key))
    return Outcome(
        score(target, posteriors, seeds, protocol=protocol, source=source),
        posteriors,
        paths.reshape(len(seeds), n_folds, *paths.shape[1:]),
        frozen.reshape(len(seeds), n_folds, *frozen.shape[1:]),
        history,
        pd.concat(memory, ignore_index=True) if memory else None,
    )


def _assert_learnable(target, sources, seeds):
    """Raise a ValueError that says why the target cannot be learned and tested, if it cannot."""
    if not target.folds:
        raise ValueError(
            f"target {target.name} has no folds: it must be tested on speakers not trained on"
        )
    if len(target.emotions) < 2:
        raise ValueError(f"target {target.name} has one emotion alone: {target.emotions.tolist()}")
    if len(seeds) == 0:
        raise ValueError(f"seeds = {seeds!r}: give at least one")
    for source in sources:
        if source.features.shape[1:] != target.features.shape[1:]:
            raise ValueError(
                f"a row of source {source.name} has shape {source.features.shape[1:]}, of target "
                f"{target.name} {target.features.shape[1:]}: extract the same features of both"
            )


def _assert_shared_emotions(target, sources):
    """Raise a ValueError that names the emotions of both sides if sources share none."""
    known = np.unique([emotion for source in sources for emotion in source.emotions])
    if not np.isin(target.emotions, known).any():
        raise ValueError(
            f"target {target.name} has the emotions {target.emotions.tolist()}, its sources have "
            f"{known.tolist()}, and none is shared: call the same emotion by the same word"
        )


def _stream(seed, *names):
    """Return the random stream of one replica, of its seed and of what it is for."""
    return np.random.SeedSequence([seed, *("/".join(names)).encode()])


def score(task, posteriors, seeds, *, protocol, source=""):
    """Return the result rows of `posteriors` (n_seeds, n, K): of each test speaker, and pooled."""
    tested = np.concatenate([fold.test for fold in task.folds])
    key = task.key() | dict(protocol=protocol, source=source, seed=np.repeat(seeds, len(tested)))
    truth = np.tile(task.emotion[tested], len(seeds))
    prediction = task.emotions[posteriors[:, tested].argmax(2)].ravel()
    speaker = np.tile(task.speaker[tested], len(seeds))
    fold = np.concatenate([[fold.name] * len(fold.test) for fold in task.folds])
    rows = [
        metrics.score_rows(truth, prediction, speaker, fold=np.tile(fold, len(seeds)), **key),
        metrics.score_rows(truth, prediction, "all", fold="all", **key),
    ]
    return pd.concat(rows, ignore_index=True)
