"""The protocols that the study compares, under one signature.

Every protocol takes `(target, sources, seeds=..., steps=..., ...)`, uses the same folds, features,
active size and budget of gradient steps on each task, and returns an `Outcome` whose `rows` are
result rows. Each seed and fold is one replica of a stacked PathNet. Source tasks are learned once a
seed, from the whole source corpus; the target is learned once a fold, from the fold's training
speakers alone. What was learned of sources is kept in the cache, for all targets and protocols that
begin alike.

`joint` learns all at once, `sequence` tests each task's test speakers after every task.

Settings of all protocols, as keyword arguments:

seeds : sequence of int
steps : int
    Budget: gradient steps on each task, 1000 when not given.
source_steps : int
    Those on each source, `steps` when not given.
n_layers, n_modules, n_active, width : int
    Of `PathNet`, to which each task that was learned before adds `n_active` modules a layer, so
    that as many as ever are free. A protocol that does not evolve has one path of `n_active`.
population_size, minibatches : int
    Of `evolve`; minibatches are 25 when not given.
final_share : float
    Share of the budget that trains the best path on after its evolution, 0 when not given. Ours.
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
# ruff: noqa: F401, F402, F811

import pickle
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

LIMITS = {"frozen_path": ("free", "forced"), "head": ("new", "shared")}
LIMITS |= {"final_share": SHARE, "steps": COUNT, "source_steps": COUNT}
SHAPE = ("n_layers", "n_modules", "n_active", "width", "device")
PROTOCOLS = {  # what each is, beside the defaults of `_Learner` and `_learn_all`
    "from_scratch": dict(evolving=False),
    "zero_shot": dict(evolving=False, head="shared", target_learns="nothing"),
    "frozen_features": dict(evolving=False, target_learns="head"),
    "fine_tune": dict(evolving=False),
    "fine_tune_shared": dict(evolving=False, head="shared"),
    "rehearsal": dict(evolving=False),
    "joint": dict(evolving=False),
    "pathnet_scratch": dict(),
    "pathnet": dict(),
    "pathnet_final": dict(final_share=0.5),
    "pathnet_shared": dict(final_share=0.5, frozen_path="forced", head="shared", fresh=0.03),
}
IN_SEQUENCE = "fine_tune", "fine_tune_shared", "rehearsal", "joint"
IN_SEQUENCE += "pathnet", "pathnet_final", "pathnet_shared"


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

    The target trains nothing, its training clips give the scale of the features. An emotion that
    no source has is never recognised.
    """
    return _learn_all("zero_shot", target, sources, settings)


def joint(target, sources, *, seeds=(0, 1, 2), steps=1000, source_steps=None, **settings):
    """Return the outcome of one path trained on the target and all sources together.

    One head has the emotions of all, of which the target's compete when it is tested. Each corpus
    is scaled by itself, each of its emotions drawn equally often, for the budget of all tasks."""
    _assert_learnable(target, sources, seeds)
    whole, budget = pooled([target, *sources]), steps + len(sources) * (source_steps or steps)
    settings |= dict(seeds=seeds, steps=budget)
    posteriors = _learn_all("joint", whole, (), settings).posteriors
    posteriors = posteriors[:, : len(target.emotion), np.isin(whole.emotions, target.emotions)]
    return _outcome("joint", target, sources, posteriors, seeds)


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
    """Return the outcome of PathNet: a path evolves on each source and is frozen, then one on the
    target.

    Without sources the path evolves on the target alone: protocol "pathnet_scratch".
    """
    return _learn_all("pathnet" if sources else "pathnet_scratch", target, sources, settings)


def pathnet_final(target, sources=(), **settings):
    """Return the outcome of `pathnet` whose best path is trained on, for half of the budget."""
    return _learn_all("pathnet_final", target, sources, settings)


def pathnet_shared(target, sources, **settings):
    """Return the outcome of `pathnet_final` that starts the target as what the sources taught.

    Ours: the frozen path stays active beside the modules that evolve, heads start with what the
    sources know of the same emotions, and fresh modules are nearly silent at first."""
    return _learn_all("pathnet_shared", target, sources, settings)


def baseline(target, sources=(), *, model, protocol):
    """Return the outcome of a scikit-learn classifier on the target's folds; a row's posteriors are
    0 or 1.

    `model` is cloned for each fold; `protocol` is the name that its result rows carry. With sources
    it learns all their clips as well, as in `joint`; then it is a pipeline with posteriors, whose
    last step takes `sample_weight`.
    """
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
            known = np.flatnonzero(np.isin(fitted.classes_, mine))  # training may lack an emotion
            predicted = fitted.classes_[known][fitted.predict_proba(x[test])[:, known].argmax(1)]
        else:
            predicted = clone(model).fit(features[train], labels[train]).predict(features[test])
        certain = (predicted[:, None] == mine).astype(float)
        posteriors[0, fold.test] = whole.of_clips(certain, fold.test)
    return _outcome(protocol, target, sources, posteriors, (0,))


def sequence(target, sources, *, protocol, kept=0, seeds=(0, 1, 2), steps=1000, **settings):
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
    order, names = [*sources, target], [task.name for task in (*sources, target)]
    for task in order:
        _assert_learnable(task, order, seeds)
        if len(task.folds) != len(target.folds):
            raise ValueError(f"{names} have {[len(task.folds) for task in order]} folds each")
    numbers = range(len(target.folds))
    streams = [_stream(seed, "sequence", str(number)) for seed in seeds for number in numbers]
    settings = _as_protocol(protocol, settings) | {"n_tasks": len(order)}
    settings["steps"] = steps * len(order) if protocol == "joint" else steps
    learner, rows = _Learner(target, streams, **settings), []
    if protocol in ("joint", "rehearsal"):
        kept = kept if protocol == "rehearsal" else None
        stages = _with_one_head(learner, order, len(seeds), kept)
    else:
        stages = _with_own_heads(learner, order, len(seeds))
    for n_learned, task, parts in stages:
        key = dict(protocol=protocol, source="+".join(names[:n_learned]))
        rows.append(score(task, _by_clip(task, parts, len(seeds)), seeds, **key))
    return Outcome(pd.concat(rows, ignore_index=True))


def _with_own_heads(learner, order, n_seeds):
    """Learn tasks in turn; yield how many are learned, a task, and posteriors of its test clips."""
    tests = [[fold.test for fold in task.folds] * n_seeds for task in order]
    for place, task in enumerate(order):
        learner.begin(task, [fold.train for fold in task.folds] * n_seeds)
        yield place, task, learner.posteriors(place, tests[place])
        learner.learn(learner.steps)
        for earlier in range(place + 1):
            yield place + 1, order[earlier], learner.posteriors(earlier, tests[earlier])
        learner.freeze()


def _with_one_head(learner, order, n_seeds, kept):
    """Do the same with a head for all, beside clips kept of each emotion, or all at once (None)."""
    whole, offsets = pooled(order), np.cumsum([0, *(len(task.emotion) for task in order)])
    trained = [[f.train + n for f in task.folds] * n_seeds for task, n in zip(order, offsets)]
    tests = [[f.test + n for f in task.folds] * n_seeds for task, n in zip(order, offsets)]
    of_task = [np.isin(whole.emotions, task.emotions) for task in order]
    learner.begin(whole, [np.concatenate(clips) for clips in zip(*trained)])
    for place, task in enumerate(order):
        if kept is None and task is not order[-1]:
            continue
        if kept is not None:
            yield place, task, [p[:, of_task[place]] for p in learner.posteriors(0, tests[place])]
            old = [[_some(whole.emotion, clips, kept) for clips in t] for t in trained[:place]]
            learner.learn_from([np.concatenate(clips) for clips in zip(trained[place], *old)])
        learner.learn(learner.steps)
        for earlier in range(place + 1):
            parts = learner.posteriors(0, tests[earlier])
            yield place + 1, order[earlier], [p[:, of_task[earlier]] for p in parts]


def _some(emotion, clips, n):
    """Return at most n clips of each emotion, in an order that depends on the clips alone."""
    drawn = pd.Series(np.random.default_rng(clips).permutation(clips))
    return drawn[drawn.groupby(emotion[drawn]).cumcount() < n].to_numpy()


class _Learner:
    """A PathNet of stacked replicas that learns one task after the other, shaped for `target`."""

    def __init__(
        self,
        target,
        seeds,
        *,
        n_tasks=1,
        evolving=True,
        steps=1000,
        source_steps=None,
        minibatches=25,
        population_size=4,
        final_share=0.0,
        frozen_path="free",
        head="new",
        fresh=1.0,
        **training,
    ):
        source_steps = source_steps or steps
        check(LIMITS, frozen_path=frozen_path, head=head, final_share=final_share)
        check(LIMITS, steps=steps, source_steps=source_steps)
        check(minibatches=minibatches)
        shape = {name: training.pop(name) for name in SHAPE if name in training}
        n_active = shape.setdefault("n_active", 3)
        more = n_active * (n_tasks - 1)
        shape["n_modules"] = shape.get("n_modules", 10) + more if evolving else n_active
        of_row = target.features.shape[1:]
        self.net = PathNet(of_row if len(of_row) > 1 else of_row[0], seeds=seeds, **shape)
        self.evolving, self.training, self.fresh = evolving, training, fresh
        self.steps, self.source_steps, self.final_share = steps, source_steps, final_share
        self.tournaments = dict(minibatches=minibatches, population_size=population_size)
        for budget in (steps, source_steps) if evolving else ():
            evolved = budget - round(final_share * budget)
            if evolved % (2 * minibatches) or not evolved:
                raise ValueError(
                    f"steps = {evolved} is not a multiple of 2 * minibatches = {2 * minibatches}, "
                    "so the budget would differ from that of the other protocols"
                )
        self.forced, self.shared_head = frozen_path == "forced", head == "shared"
        self.path = np.tile(np.arange(n_active), (len(seeds), self.net.n_layers, 1))
        self.tasks, self.heads, self.examples, self.paths = [], [], [], []

    def begin(self, task, clips):
        """Give a task a head, and each replica its clips to learn from."""
        net, head = self.net, f"{task.name} {len(self.tasks)}"  # one name may be there twice
        net.add_head(head, len(task.emotions))
        for known, earlier in zip(self.tasks, self.heads) if self.shared_head else ():
            _, mine, theirs = np.intersect1d(task.emotions, known.emotions, return_indices=True)
            net.heads[head][:, mine] = net.heads[earlier][:, theirs]
        rows, labels = [task.rows(of_replica) for of_replica in clips], task.labels()
        examples = Examples(task.features, labels, rows, group=task.group, device=net.device)
        new = [(self.tasks, task), (self.heads, head), (self.examples, examples)]
        for things, thing in [*new, (self.paths, self.path)]:
            things.append(thing)

    def learn_from(self, clips):
        """Let each replica learn the latest task from these clips; the scale stays."""
        self.examples[-1].rows = [self.tasks[-1].rows(of_replica) for of_replica in clips]

    def learn(self, steps, what="all"):
        """Spend so many steps on the latest task; return the history of its evolution.

        What is learned is "all" of the path and the head, the "head", or "nothing".
        """
        net, head, examples = self.net, self.heads[-1], self.examples[-1]
        steps, history = 0 if what == "nothing" else steps, None
        n_fixed = net.n_active if what == "head" else 0
        if self.evolving:
            forced = self.path if self.forced and len(self.tasks) > 1 else None
            final_steps = round(self.final_share * steps)
            generations = (steps - final_steps) // (2 * self.tournaments["minibatches"])
            options = self.tournaments | self.training | dict(forced=forced)
            found = evolve(net, head, examples, generations=generations, **options)
            self.path, history, steps = found.best, found.history, final_steps
            n_fixed = self.path.shape[2] - net.n_active
        if steps:
            options = dict(steps=steps, n_fixed=n_fixed)
            net.train(head, self.path, examples, **options, **self.training)
        self.paths[-1] = self.path
        return history

    def learn_sources(self, sources, seeds):
        """Learn whole corpora in turn, each frozen after it; of those that begin alike but once.

        Kept is the network with its random streams, by all that it depends on, before the freeze;
        who needs the same at the same time waits for it.
        """
        begun = [files.code_digest("engine", "tasks.py", "transfer.py"), *map(int, seeds)]
        begun += [self.net.shape, self.net.device, self.evolving, self.source_steps, self.training]
        begun += [self.final_share, self.tournaments]
        for place, source in enumerate(sources):
            begun += [self.forced, self.shared_head, self.fresh] if place else []
            begun = [*begun, _content(source)]
            path = files.cache_folder() / "sources" / f"{joblib.hash(begun)}.npz"
            with files.writing(path):
                path.parent.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(f"{path}.lock"):
                kept = files.recall(path)
                if kept is None:
                    self.begin(source, [np.arange(len(source.emotion))] * len(seeds))
                    self.learn(self.source_steps)
                    learned = pickle.dumps((self.net, self.path))
                    files.keep(path, np.frombuffer(learned, np.uint8))
                else:
                    self.net, self.path = pickle.loads(kept.tobytes())
                    self.tasks.append(source)
                    self.heads.append(f"{source.name} {place}")
            self.freeze()

    def freeze(self):
        """Freeze the path of the latest task, if paths evolve, and draw the rest anew."""
        if self.evolving:
            self.net.freeze(self.path)
            self.net.reinitialise(scale=self.fresh)

    def repeat(self, seeds, copies):
        """Go on with so many copies of each replica, for a task whose replicas are more."""
        self.net, self.path = self.net.repeat(seeds), self.path.repeat(copies, axis=0)

    def posteriors(self, place, clips):
        """Return each replica's posteriors (n_clips, K) of its clips of the task at a place."""
        task, head, path, examples = (
            things[place] for things in (self.tasks, self.heads, self.paths, self.examples)
        )
        rows = [task.rows(of_replica) for of_replica in clips]
        parts = self.net.predict(head, path, examples, rows)
        return [task.of_clips(part, mine) for part, mine in zip(parts, clips, strict=True)]


def _as_protocol(protocol, settings):
    """Return the settings of a protocol; of what makes it one, only `final_share` may be given."""
    share = {"final_share": settings["final_share"]} if "final_share" in settings else {}
    return settings | PROTOCOLS[protocol] | share


def _learn_all(protocol, target, sources, settings):
    """Return the outcome of learning the sources and then the target, in one stack a stage."""
    settings = {"seeds": (0, 1, 2), "target_learns": "all"} | _as_protocol(protocol, settings)
    seeds, target_learns = settings.pop("seeds"), settings.pop("target_learns")
    folds = target.folds
    _assert_learnable(target, sources, seeds)
    known = np.unique([emotion for source in sources for emotion in source.emotions])
    unknown = ~np.isin(target.emotions, known)
    if settings.get("head") == "shared" and unknown.all():
        raise NotLearnable(
            f"target {target.name} has the emotions {target.emotions.tolist()}, its sources have "
            f"{known.tolist()}, and none is shared: call the same emotion by the same word"
        )
    streams, n_tasks = [_stream(seed, "source") for seed in seeds], 1 + len(sources)
    learner = _Learner(target, streams, n_tasks=n_tasks, **settings)
    learner.learn_sources(sources, seeds)
    streams = [_stream(seed, "target", fold.name) for seed in seeds for fold in folds]
    learner.repeat(streams, len(folds))
    frozen = learner.net.frozen.cpu().numpy()
    learner.begin(target, [fold.train for fold in folds] * len(seeds))
    history = learner.learn(learner.steps, target_learns)
    parts = learner.posteriors(-1, [fold.test for fold in folds] * len(seeds))
    posteriors = _by_clip(target, parts, len(seeds))
    if target_learns == "nothing":
        posteriors[:, :, unknown] = 0
    return _outcome(protocol, target, sources, posteriors, seeds)._replace(
        paths=learner.path.reshape(len(seeds), len(folds), *learner.path.shape[1:]),
        frozen=frozen.reshape(len(seeds), len(folds), *frozen.shape[1:]),
        history=history,
    )


def _outcome(protocol, target, sources, posteriors, seeds):
    """Return the outcome of posteriors (n_seeds, n, K), without paths."""
    source = "+".join(source.name for source in sources)
    return Outcome(score(target, posteriors, seeds, protocol=protocol, source=source), posteriors)


def _content(source):
    """Return a digest of what is learned of a source, wherever its arrays lie."""
    features = np.ascontiguousarray(source.features)
    return joblib.hash([features, source.labels(), source.emotions, source.group], coerce_mmap=True)


def _by_clip(task, parts, n_seeds):
    """Return posteriors (n_seeds, n, K) of each clip as a test clip, from those of replicas."""
    posteriors = np.full((n_seeds, len(task.emotion), len(task.emotions)), np.nan)
    for replica, part in enumerate(parts):
        seed, fold = divmod(replica, len(task.folds))
        posteriors[seed, task.folds[fold].test] = part
    return posteriors


def _assert_learnable(target, sources, seeds):
    """Raise a ValueError that says why the target cannot be learned and tested, if it cannot."""
    if not target.folds:
        raise NotLearnable(
            f"target {target.name} has no folds: it must be tested on speakers not trained on"
        )
    if len(target.emotions) < 2:
        emotions = target.emotions.tolist()
        raise NotLearnable(f"target {target.name} has one emotion alone: {emotions}")
    empty = [fold.name for fold in target.folds if not len(fold.train)]
    if empty:
        raise NotLearnable(f"target {target.name} has nothing to learn from in folds {empty}")
    if len(seeds) == 0:
        raise ValueError(f"seeds = {seeds!r}: give at least one")
    for source in sources:
        if source.features.shape[1:] != target.features.shape[1:]:
            raise ValueError(
                f"a row of source {source.name} has shape {source.features.shape[1:]}, of target "
                f"{target.name} {target.features.shape[1:]}: extract the same features of both"
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
