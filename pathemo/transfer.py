"""The protocols that the study compares, under one signature.

Every protocol takes `(target, sources, seeds=..., steps=..., ...)`, uses the same folds, features,
active size and budget of gradient steps on each task, and returns an `Outcome` whose `rows` are
result rows. Each seed and fold is one replica of a stacked PathNet. Sources are learned once a
seed, from the whole corpus; the target once a fold, from the fold's training speakers alone. What
was learned of sources is kept in the cache, for all targets and protocols that begin alike.

`joint` learns all at once, `sequence` tests each task's test speakers after every task.

Settings of all protocols, as keyword arguments, whose defaults are `DEFAULTS`:

seeds : sequence of int
steps, source_steps : int
    Budget: gradient steps on each task, and on each source where those differ.
n_layers, n_modules, n_active, width, device
    Of `PathNet`, to which each earlier task adds `n_active` modules a layer, so that as many as
    ever are free. A protocol that does not evolve has one path of `n_active`.
population_size, minibatches : int
    Of `evolve`.
final_share : float
    Share of the budget that trains the best path on after its evolution. Ours.
frozen_path : {"free", "forced"}
    What the next task makes of the paths that its sources froze. "free", the paper's, leaves it to
    evolution; "forced" keeps the latest active beside the N modules that evolve.
head : {"new", "shared"}
    What a task's head starts with. "new", the paper's, is drawn; "shared" copies the weights of
    emotions that an earlier task has as well, of the latest that has them.
fresh : float
    What modules that are drawn anew after a source are multiplied by. With "forced" and "shared"
    and a small one, the target starts as what the sources taught.
others
    Passed to `PathNet.train`.

Source: Nguyen et al. 2020 (arXiv 2006.13211) for the comparison; Fernando et al. 2017 for PathNet.
"""
# ruff: noqa: F401, F402, F811

import pickle
from types import SimpleNamespace
from typing import NamedTuple

import filelock
import joblib
import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.utils.class_weight import compute_sample_weight

from . import files, metrics
from .engine import COUNT, SHARE, Examples, PathNet, check, evolve
from .tasks import (
    Task,
    corpus_tasks,
    groups,
    pooled,
    task,
    with_few_speakers,
    with_folds,
    with_sentences_parted,
)

SHAPE = ("n_layers", "n_modules", "n_active", "width", "device")
LIMITS = dict.fromkeys(("steps", "source_steps", "minibatches"), COUNT) | {"final_share": SHARE}
LIMITS |= {"frozen_path": ("free", "forced"), "head": ("new", "shared")}
DEFAULTS = dict(seeds=(0, 1, 2), steps=1000, source_steps=None, final_share=0.0, evolving=True)
DEFAULTS |= dict(n_layers=3, n_modules=10, n_active=3, width=20, minibatches=25, population_size=4)
DEFAULTS |= dict(frozen_path="free", head="new", fresh=1.0, target_learns="all", device="cpu")
PROTOCOLS = {  # what each does to the defaults
    "from_scratch": dict(evolving=False),
    "zero_shot": dict(evolving=False, head="shared", target_learns="nothing"),
    "frozen_features": dict(evolving=False, target_learns="head"),
    "fine_tune": dict(evolving=False),
    "fine_tune_shared": dict(evolving=False, head="shared"),
    "rehearsal": dict(evolving=False),
    "joint": dict(evolving=False),
    "pathnet_scratch": dict(),
    "pathnet": dict(),
    "pathnet_shared": dict(final_share=0.5, frozen_path="forced", head="shared", fresh=0.03),
}
IN_SEQUENCE = "fine_tune", "fine_tune_shared", "rehearsal", "joint", "pathnet", "pathnet_shared"


class NotLearnable(ValueError):
    """A target that cannot be learned and tested, of which a study has a row that says why."""


class Outcome(NamedTuple):
    """What a protocol reached: result rows, and the posteriors that they were counted from."""

    rows: pd.DataFrame
    posteriors: np.ndarray | None = None  # (n_seeds, n, K), of each clip as a test clip
    paths: np.ndarray | None = None  # (n_seeds, n_folds, L, N) the target's
    frozen: np.ndarray | None = None  # (n_seeds, n_folds, L, M) the modules that the sources froze
    history: pd.DataFrame | None = None  # of the target's evolution, see `pathemo.engine.Evolution`

    def frozen_share(self):
        """Return which share of the target's paths is on frozen modules, and that of chance."""
        return np.take_along_axis(self.frozen, self.paths, axis=3).mean(), self.frozen.mean()


def from_scratch(target, sources=(), **settings):
    """Return the outcome of one path trained on the target alone; `sources` are not used."""
    return _learn_all("from_scratch", target, (), settings)


def zero_shot(target, sources, **settings):
    """Return the outcome of one path trained on the sources alone.

    The target's training clips only give the scale of its features; an emotion that no source has
    is never recognised."""
    return _learn_all("zero_shot", target, sources, settings)


def joint(target, sources, **settings):
    """Return the outcome of one path trained on the target and all sources together.

    One head has the emotions of all, of which the target's compete when it is tested. Each corpus
    is scaled by itself, each of its emotions drawn equally often, for the budget of all tasks."""
    settings = _settings("joint", settings)
    _assert_learnable(target, sources, settings["seeds"])
    settings["steps"] += len(sources) * settings["source_steps"]
    whole = pooled([target, *sources])
    posteriors = _learn_all("joint", whole, (), settings).posteriors
    posteriors = posteriors[:, : len(target.emotion), np.isin(whole.emotions, target.emotions)]
    return _outcome("joint", target, sources, posteriors, settings["seeds"])


def fine_tune(target, sources, **settings):
    """Return the outcome of one path trained on each source and then, whole, on the target."""
    return _learn_all("fine_tune", target, sources, settings)


def fine_tune_shared(target, sources, **settings):
    """Return the outcome of `fine_tune` whose heads start with what sources know of emotions."""
    return _learn_all("fine_tune_shared", target, sources, settings)


def frozen_features(target, sources, **settings):
    """Return the outcome of one path trained on each source that feeds a head for the target."""
    return _learn_all("frozen_features", target, sources, settings)


def pathnet(target, sources=(), **settings):
    """Return the outcome of PathNet: paths evolve on each source, to be frozen, and on the target.

    Without sources the path evolves on the target alone: protocol "pathnet_scratch"."""
    return _learn_all("pathnet" if sources else "pathnet_scratch", target, sources, settings)


def pathnet_shared(target, sources, **settings):
    """Return the outcome of a PathNet that starts the target as what the sources taught.

    Ours: half of the budget trains the best path on, the frozen path stays active beside the
    modules that evolve, heads start with what the sources know of the same emotions, and fresh
    modules are nearly silent at first."""
    return _learn_all("pathnet_shared", target, sources, settings)


def baseline(target, sources=(), *, model, protocol):
    """Return the outcome of a scikit-learn classifier on the target's folds; posteriors are 0 or 1.

    `protocol` is the name that its result rows carry. With sources it learns all their clips as
    well, as in `joint`; then it is a pipeline with posteriors, whose last step takes
    `sample_weight`."""
    _assert_learnable(target, sources, (0,))
    whole = pooled([target, *sources]) if sources else target
    features, labels = whole.features.reshape(len(whole.features), -1), whole.labels()
    mine = np.flatnonzero(np.isin(whole.emotions, target.emotions))
    posteriors = np.full((1, len(target.emotion), len(mine)), np.nan)
    for fold in whole.folds:
        train, test = whole.rows(fold.train), whole.rows(fold.test)
        if len(np.unique(labels[train])) < 2:
            raise NotLearnable(f"target {target.name} has one emotion to learn in {fold.name!r}")
        if sources:
            examples = Examples(features, labels, [train], group=whole.group)
            x, weights = examples.table.numpy(), f"{model.steps[-1][0]}__sample_weight"
            alike = {weights: compute_sample_weight("balanced", examples.strata[train])}
            fitted = clone(model).fit(x[train], labels[train], **alike)
            own = np.isin(fitted.classes_, mine)  # training may lack an emotion
            of_own = np.where(own, fitted.predict_proba(x[test]), -1)
            predicted = fitted.classes_[of_own.argmax(1)]
        else:
            predicted = clone(model).fit(features[train], labels[train]).predict(features[test])
        certain = (predicted[:, None] == mine).astype(float)
        posteriors[0, fold.test] = whole.of_clips(certain, fold.test)
    return _outcome(protocol, target, sources, posteriors, (0,))


def sequence(target, sources, *, protocol, kept=0, **settings):
    """Return the outcome of learning the sources and then the target, each tested all along.

    In each fold its test speakers, of all tasks, are held out throughout. The `target` of a result
    row is the task tested, its `source` all tasks learned so far: a task is tested before it is
    learned, with a head that may start with what others know, when it was learned, and after each
    later one. From these rows follow average accuracy, backward and forward transfer.

    Parameters
    ----------
    target, sources : Task, sequence of Task
        The last task, and those before it; all have equally many folds.
    protocol : str
        One of `IN_SEQUENCE`. "joint" learns all at once, for the budget of all; "rehearsal" has one
        path, and one head, that learn each task beside clips kept of those before.
    kept : int
        Clips of each emotion of a task that rehearsal keeps.

    Source: Lopez-Paz and Ranzato, "Gradient Episodic Memory for Continual Learning", NeurIPS 2017,
    section 2; Fernando et al. 2017.
    """
    check({"protocol": IN_SEQUENCE}, protocol=protocol)
    settings = _settings(protocol, settings)
    order, seeds = [*sources, target], settings["seeds"]
    names, n_folds = [task.name for task in order], [len(task.folds) for task in order]
    for task in order:
        _assert_learnable(task, order, seeds)
    if len(set(n_folds)) > 1:
        raise ValueError(f"{names} have {n_folds} folds each")
    at_once, one_head = protocol == "joint", protocol in ("joint", "rehearsal")
    settings["steps"] *= len(order) if at_once else 1
    streams = [_stream(seed, f"sequence/{n}") for seed in seeds for n in range(n_folds[0])]
    learner, rows = _Learner(target, streams, settings, n_tasks=len(order)), []
    first = [0] * len(order)  # clip of each task
    if one_head:
        whole, first = pooled(order), np.cumsum([0, *(len(task.emotion) for task in order)])
    train = [[fold.train + n for fold in task.folds] for task, n in zip(order, first)]
    test = [[fold.test + n for fold in task.folds] for task, n in zip(order, first)]

    def score_task(place, n_learned):
        task, head = order[place], 0 if one_head else place
        own = slice(first[place], first[place] + len(task.emotion))
        emotions = np.isin(learner.tasks[head].emotions, task.emotions)
        posteriors = learner.posteriors(head, test[place])[:, own, emotions]
        key = dict(protocol=protocol, source="+".join(names[:n_learned]))
        rows.append(score(task, posteriors, seeds, **key))

    if one_head:
        learner.begin(whole, [np.concatenate(clips) for clips in zip(*train)])
    for place in range(len(order) - 1 if at_once else 0, len(order)):
        if not one_head:
            learner.begin(order[place], train[place])
        if not at_once:
            score_task(place, place)
        if protocol == "rehearsal":
            old = [[_some(whole.emotion, clips, kept) for clips in of] for of in train[:place]]
            clips = [np.concatenate(parts) for parts in zip(train[place], *old)]
            learner.examples[0].rows = learner.rows(whole, clips)  # the scale stays
        learner.learn(learner.steps)
        for earlier in range(place + 1):
            score_task(earlier, place + 1)
        learner.freeze()
    return Outcome(pd.concat(rows, ignore_index=True))


def _some(emotion, clips, n):
    """Return at most n clips of each emotion, in an order that depends on the clips alone."""
    drawn = pd.Series(np.random.default_rng(clips).permutation(clips))
    return drawn[drawn.groupby(emotion[drawn]).cumcount() < n].to_numpy()


def _settings(protocol, given):
    """Return the settings of a protocol; of what makes it one, only `final_share` may be given."""
    share = {name: value for name, value in given.items() if name == "final_share"}
    settings = DEFAULTS | given | PROTOCOLS[protocol] | share
    return settings | {"source_steps": settings["source_steps"] or settings["steps"]}


class _Learner(SimpleNamespace):
    """A PathNet of stacked replicas that learns one task after the other, shaped for `target`.

    Settings of its protocol are attributes, those of `PathNet.train` the dict `training`.
    """

    def __init__(self, target, streams, settings, *, n_tasks):
        check(LIMITS, **{name: settings[name] for name in LIMITS})
        super().__init__(**{name: settings[name] for name in DEFAULTS})
        self.training = {name: settings[name] for name in settings.keys() - DEFAULTS.keys()}
        for steps in (self.steps, self.source_steps) if self.evolving else ():
            evolved, tournament = steps - round(self.final_share * steps), 2 * self.minibatches
            if evolved % tournament:
                why = f"not a multiple of 2 * minibatches = {tournament}: budgets would differ"
                raise ValueError(f"steps = {evolved} is {why}")
        shape = {name: settings[name] for name in SHAPE}
        more = self.n_active * (n_tasks - 1)
        shape["n_modules"] = self.n_modules + more if self.evolving else self.n_active
        of_row = target.features.shape[1:]
        self.net = PathNet(of_row if len(of_row) > 1 else of_row[0], seeds=streams, **shape)
        self.path = np.tile(np.arange(self.n_active), (len(streams), self.n_layers, 1))
        self.tasks, self.examples, self.paths = [], [], []  # in the order of the network's heads

    def begin(self, task, clips):
        """Give a task a head, and replicas the clips of each fold to learn from."""
        net, head = self.net, f"{task.name} {len(self.tasks)}"  # one name may be there twice
        earlier = [*net.heads.values()] if self.head == "shared" else []
        net.add_head(head, len(task.emotions))
        for known, weights in zip(self.tasks, earlier):
            _, mine, theirs = np.intersect1d(task.emotions, known.emotions, return_indices=True)
            net.heads[head][:, mine] = weights[:, theirs]
        self.tasks.append(task)
        rows, group = self.rows(task, clips), task.group
        examples = Examples(task.features, task.labels(), rows, group=group, device=net.device)
        self.examples.append(examples)
        self.paths.append(self.path)

    def rows(self, task, clips):
        """Return the rows of each replica, seed by seed, of the clips of each fold."""
        return [task.rows(of_fold) for of_fold in clips] * (self.net.n_replicas // len(clips))

    def learn(self, steps, what="all"):
        """Spend so many steps on the latest task; return the history of its evolution.

        What is learned is "all" of the path and the head, the "head", or "nothing".
        """
        net, head, examples = self.net, [*self.net.heads][-1], self.examples[-1]
        history, n_fixed = None, net.n_active if what == "head" else 0
        if self.evolving:
            forced = self.path if self.frozen_path == "forced" and len(self.tasks) > 1 else None
            final_steps = round(self.final_share * steps)
            generations = (steps - final_steps) // (2 * self.minibatches)
            options = dict(minibatches=self.minibatches, population_size=self.population_size)
            options |= dict(generations=generations, forced=forced)
            found = evolve(net, head, examples, **options, **self.training)
            self.path, history, steps = found.best, found.history, final_steps
            n_fixed = self.path.shape[2] - net.n_active
        if steps and what != "nothing":
            net.train(head, self.path, examples, steps=steps, n_fixed=n_fixed, **self.training)
        self.paths[-1] = self.path
        return history

    def learn_source(self, source):
        """Learn a whole corpus; return the network and its path as bytes."""
        self.begin(source, [np.arange(len(source.emotion))])
        self.learn(self.source_steps)
        return np.frombuffer(pickle.dumps((self.net, self.path)), np.uint8)

    def learn_sources(self, sources):
        """Learn whole corpora in turn, each frozen after it; of those that begin alike but once.

        Kept is the network with its random streams, by all that it depends on, before the freeze;
        who needs the same at the same time waits for it.
        """
        code = files.code_digest("engine", "tasks.py", "transfer.py")
        begun = [code, *map(int, self.seeds), self.net.shape, self.device, self.training]
        begun += [self.evolving, self.source_steps, self.final_share]
        begun += [self.minibatches, self.population_size]
        for place, source in enumerate(sources):
            begun += [self.frozen_path, self.head, self.fresh] if place else []
            begun.append(_content(source))
            path = files.cache_folder() / "sources" / f"{joblib.hash(begun)}.npz"
            with files.writing(path):
                path.parent.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(f"{path}.lock"):
                learned = files.load_or_compute(path, self.learn_source, source)
            self.net, self.path = pickle.loads(learned.tobytes())
            self.tasks = [*sources[: place + 1]]
            self.freeze()

    def freeze(self):
        """Freeze the path of the latest task, if paths evolve, and draw the rest anew."""
        if self.evolving:
            self.net.freeze(self.path)
            self.net.reinitialise(scale=self.fresh)

    def posteriors(self, place, clips):
        """Return posteriors (n_seeds, n, K) of the task at a place: those of the clips that each
        fold tests."""
        task, head = self.tasks[place], [*self.net.heads][place]
        rows = self.rows(task, clips)
        parts = self.net.predict(head, self.paths[place], self.examples[place], rows)
        size = len(self.seeds), len(task.emotion), len(task.emotions)
        posteriors = np.full(size, np.nan)
        for replica, part in enumerate(parts):
            seed, fold = divmod(replica, len(clips))
            posteriors[seed, clips[fold]] = task.of_clips(part, clips[fold])
        return posteriors


def _learn_all(protocol, target, sources, settings):
    """Return the outcome of learning the sources and then the target, in one stack a stage."""
    settings = _settings(protocol, settings)
    seeds, folds = settings["seeds"], target.folds
    _assert_learnable(target, sources, seeds)
    known = np.unique([emotion for source in sources for emotion in source.emotions])
    unknown = ~np.isin(target.emotions, known)
    if settings["head"] == "shared" and unknown.all():
        raise NotLearnable(
            f"target {target.name} has the emotions {target.emotions.tolist()}, its sources have "
            f"{known.tolist()}, and none is shared: call the same emotion by the same word"
        )
    streams = [_stream(seed, "source") for seed in seeds]
    learner = _Learner(target, streams, settings, n_tasks=1 + len(sources))
    learner.learn_sources(sources)
    streams = [_stream(seed, f"target/{fold.name}") for seed in seeds for fold in folds]
    learner.net, learner.path = learner.net.repeat(streams), learner.path.repeat(len(folds), axis=0)
    learner.begin(target, [fold.train for fold in folds])
    history = learner.learn(learner.steps, learner.target_learns)
    posteriors = learner.posteriors(-1, [fold.test for fold in folds])
    if learner.target_learns == "nothing":
        posteriors[:, :, unknown] = 0
    shape = len(seeds), len(folds), learner.net.n_layers, -1
    frozen = learner.net.frozen.cpu().numpy().reshape(shape)
    found = dict(paths=learner.path.reshape(shape), frozen=frozen, history=history)
    return _outcome(protocol, target, sources, posteriors, seeds, **found)


def _outcome(protocol, target, sources, posteriors, seeds, **found):
    """Return the outcome of posteriors (n_seeds, n, K), and of what else was found."""
    source = "+".join(source.name for source in sources)
    rows = score(target, posteriors, seeds, protocol=protocol, source=source)
    return Outcome(rows, posteriors, **found)


def _content(source):
    """Return a digest of what is learned of a source, wherever its arrays lie."""
    features = np.ascontiguousarray(source.features)
    return joblib.hash([features, source.labels(), source.emotions, source.group], coerce_mmap=True)


def _assert_learnable(target, sources, seeds):
    """Raise a ValueError that says why the target cannot be learned and tested, if it cannot."""
    problem, empty = "", [fold.name for fold in target.folds if not len(fold.train)]
    if not target.folds:
        problem = "no folds: it must be tested on speakers not trained on"
    elif len(target.emotions) < 2:
        problem = f"one emotion alone: {target.emotions.tolist()}"
    elif empty:
        problem = f"nothing to learn from in folds {empty}"
    if problem:
        raise NotLearnable(f"target {target.name} has {problem}")
    if len(seeds) == 0:
        raise ValueError(f"seeds = {seeds!r}: give at least one")
    for source in sources:
        if source.features.shape[1:] != target.features.shape[1:]:
            raise ValueError(
                f"a row of source {source.name} has shape {source.features.shape[1:]}, of target "
                f"{target.name} {target.features.shape[1:]}: extract the same features of both"
            )


def _stream(seed, purpose):
    """Return the random stream of one replica, of its seed and of what it is for."""
    return np.random.SeedSequence([seed, *purpose.encode()])


def score(task, posteriors, seeds, *, protocol, source=""):
    """Return the result rows of `posteriors` (n_seeds, n, K): of each test speaker, and pooled."""
    fold = np.repeat([fold.name for fold in task.folds], [len(fold.test) for fold in task.folds])
    tested = np.concatenate([fold.test for fold in task.folds])
    clips = np.tile(tested, len(seeds))
    prediction = task.emotions[posteriors[:, tested].argmax(2)].ravel()
    pair = task.emotion[clips], prediction
    key = task.key() | dict(protocol=protocol, source=source, seed=np.repeat(seeds, len(tested)))
    rows = [
        metrics.score_rows(*pair, task.speaker[clips], fold=np.tile(fold, len(seeds)), **key),
        metrics.score_rows(*pair, "all", fold="all", **key),
    ]
    return pd.concat(rows, ignore_index=True)
