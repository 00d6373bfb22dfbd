"""The protocols that the study compares, under one signature.

Every protocol takes `(target, sources, seeds=..., steps=..., ...)`, uses the same folds, features,
active size and budget of gradient steps on each task, and returns an `Outcome` whose `rows` are
result rows. Each seed and fold is one replica of a stacked PathNet. Source tasks are learned once a
seed, from the whole source corpus; the target is learned once a fold, from the fold's training
speakers alone.

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
from .tasks import Task, groups, pooled, task, with_emotions, with_few_speakers

__all__ = [
    "Outcome",
    "Task",
    "baseline",
    "fine_tune",
    "fine_tune_shared",
    "from_scratch",
    "from_scratch_long",
    "from_scratch_wide",
    "frozen_features",
    "groups",
    "pathnet",
    "pathnet_shared",
    "pooled",
    "score",
    "task",
    "with_emotions",
    "with_few_speakers",
    "zero_shot",
]


class Outcome(NamedTuple):
    """What a protocol reached: result rows, and the posteriors that they were counted from."""

    rows: pd.DataFrame
    posteriors: np.ndarray  # (n_seeds, n, K), of each clip when its speaker was in the test fold
    paths: np.ndarray | None = None  # (n_seeds, n_folds, L, N) the target's
    frozen: np.ndarray | None = None  # (n_seeds, n_folds, L, M) the modules that the sources froze
    history: pd.DataFrame | None = (
        None  # of the target's evolution, see `pathemo.evolution.Evolution`
    )
    memory: pd.DataFrame | None = (
        None  # result rows on the sources, before and after the target was learned
    )

    def frozen_share(self):
        """Return which share of the target's paths lies on frozen modules, and what chance would
        give.
        """
        return np.take_along_axis(self.frozen, self.paths, axis=3).mean(), self.frozen.mean()


def from_scratch(target, sources=(), **settings):
    """Return the outcome of one path trained on the target alone; `sources` are not used."""
    return _study("from_scratch", target, (), evolving=False, **settings)


def from_scratch_wide(target, sources=(), *, n_modules=10, **settings):
    """Return the outcome of one path of all M modules a layer: from scratch, of PathNet's total
    size.
    """
    return _study(
        "from_scratch_wide", target, (), evolving=False, **settings | {"n_active": n_modules}
    )


def from_scratch_long(target, sources, *, steps=1000, **settings):
    """Return the outcome of one path trained on the target for what others spend on the sources as
    well.
    """
    steps *= 1 + len(sources)
    outcome = _study("from_scratch_long", target, (), evolving=False, **settings | {"steps": steps})
    return outcome._replace(
        rows=outcome.rows.assign(source="+".join(source.name for source in sources))
    )


def zero_shot(target, sources, **settings):
    """Return the outcome of one path trained on the sources alone, on the emotions that the target
    shares.

    The target trains nothing. Its training clips of those emotions give the scale of the features.
    """
    shared = with_emotions(
        target, np.unique(np.concatenate([source.emotions for source in sources]))
    )
    settings = settings | {"head": "shared"}
    return _study("zero_shot", shared, sources, evolving=False, zero_shot=True, **settings)


def fine_tune(target, sources, **settings):
    """Return the outcome of one path trained on each source in turn and then, whole, on the
    target.
    """
    return _study("fine_tune", target, sources, evolving=False, **settings)


def fine_tune_shared(target, sources, **settings):
    """Return the outcome of `fine_tune` whose heads start with what the sources know of the same
    emotions.
    """
    return _study(
        "fine_tune_shared", target, sources, evolving=False, **settings | {"head": "shared"}
    )


def frozen_features(target, sources, **settings):
    """Return the outcome of one path trained on each source in turn that feeds a new head for the
    target.
    """
    return _study("frozen_features", target, sources, evolving=False, head_only=True, **settings)


def pathnet(target, sources=(), **settings):
    """Return the outcome of PathNet: a path evolves on each source and is frozen, then one on the
    target.

    Without sources the path evolves on the target alone: protocol "pathnet_scratch".
    """
    protocol = "pathnet" if sources else "pathnet_scratch"
    return _study(protocol, target, sources, evolving=True, **settings)


def pathnet_shared(target, sources, **settings):
    """Return the outcome of `pathnet` that starts the target as what the sources taught.

    Ours: the frozen path stays active beside the modules that evolve, heads start with what the
    sources know of the same emotions, and fresh modules are nearly silent at first."""
    settings |= {"frozen_path": "forced", "head": "shared", "fresh": 0.03}
    return _study("pathnet_shared", target, sources, evolving=True, **settings)


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
        posteriors[0, fold.test] = target.of_clips(
            np.eye(len(target.emotions))[predicted], fold.test
        )
    return Outcome(score(target, posteriors, (0,), protocol=protocol), posteriors)


def _study(
    protocol,
    target,
    sources,
    *,
    evolving,
    head_only=False,
    zero_shot=False,
    seeds=(0, 1, 2),
    steps=1000,
    n_layers=3,
    n_modules=10,
    n_active=3,
    width=20,
    combine="sum",
    minibatches=25,
    population_size=4,
    fitness="train",
    smoothing=0.0,
    immigration=0.0,
    final_share=0.0,
    frozen_path="free",
    head="new",
    fresh=1.0,
    edge="wrap",
    rate=None,
    progress=False,
    device="cpu",
    **training,
):
    """Learn the sources and then the target, in one stack a stage.

    A protocol that does not evolve has one path of `n_active` modules a layer: the active size of
    PathNet.

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
    fitness : {"train", "loss", "dev"}
        See `evolve`. For "dev" a quarter of the training speakers decides tournaments and trains
        nothing.
    final_share : float
        Share of the budget that trains the best path on after its evolution, on all training
        speakers. It made no difference beside a small population, but half mends what "dev" costs.
    frozen_path : {"free", "seeded", "forced"}
        What the next task makes of the paths that its sources froze. "free", the paper's, leaves it
        to evolution; "seeded" puts them into the first population; "forced" keeps them active
        beside the N modules that evolve.
    head : {"new", "shared"}
        What a task's head starts with. "new", the paper's, is drawn; "shared" copies the weights of
        emotions that an earlier task has as well, of the latest that has them.
    fresh : float
        What modules that are drawn anew after a source are multiplied by. With "forced" and
        "shared" and a small one, the target starts as what the sources taught.
    smoothing, immigration, edge, rate
        See `evolve`.
    **training
        Passed to `PathNet.train`.
    """
    if not target.folds:
        raise ValueError(
            f"target {target.name} has no folds: it must be tested on speakers not trained on"
        )
    final_steps = round(final_share * steps)
    generations, rest = divmod(steps - final_steps, 2 * minibatches)
    if evolving and (rest or not generations):
        raise ValueError(
            f"steps = {steps - final_steps} is not a multiple of 2 * minibatches = "
            f"{2 * minibatches}, so the budget would differ from that of the other protocols"
        )
    if frozen_path not in ("free", "seeded", "forced"):
        raise ValueError(f"frozen_path = {frozen_path!r}: choose 'free', 'seeded' or 'forced'")
    if head not in ("new", "shared"):
        raise ValueError(f"head = {head!r}: choose 'new' or 'shared'")
    shape = dict(n_layers=n_layers, n_active=n_active, width=width, combine=combine, device=device)
    shape["n_modules"] = n_modules if evolving else n_active
    inputs = target.features.shape[1:] if target.features.ndim > 2 else target.features.shape[1]
    net = PathNet(inputs, seeds=[_seed(s, "source") for s in seeds], **shape)

    def learn(task, clips, before, **options):
        """Return the path of each replica after the budget was spent on its clips, and the history.

        `before` is the paths (R, L, N) that each source froze.
        """
        net.add_head(task.name, len(task.emotions))
        for earlier in earlier_tasks if head == "shared" else ():
            _, mine, theirs = np.intersect1d(task.emotions, earlier.emotions, return_indices=True)
            net.heads[task.name][:, mine] = net.heads[earlier.name][:, theirs]
        earlier_tasks.append(task)
        labels, rows = task.labels(), [task.rows(of_replica) for of_replica in clips]
        examples = Examples(task.features, labels, rows, device=device)
        if not evolving:
            path = np.tile(np.arange(n_active), (net.n_replicas, n_layers, 1))
            if not (zero_shot and task is target):
                net.train(task.name, path, examples, steps=steps, **options, **training)
            return path, None, examples
        deciding, held_out = examples, None
        if fitness == "dev":
            parts = [
                splits.development_split(task.speaker, of_replica, seed=0) for of_replica in clips
            ]
            held_out = [task.rows(development) for _, development in parts]
            rows = [task.rows(train) for train, _ in parts]
            deciding = Examples(task.features, labels, rows, device=device)
        forced = before[-1] if before and frozen_path == "forced" else None
        evolution = evolve(
            net,
            task.name,
            deciding,
            generations=generations,
            minibatches=minibatches,
            fitness=fitness,
            development=held_out,
            smoothing=smoothing,
            immigration=immigration,
            population_size=population_size,
            edge=edge,
            rate=rate,
            progress=progress,
            first=np.stack(before, axis=1) if before and frozen_path == "seeded" else None,
            forced=forced,
            **training,
        )
        if not final_steps:
            return evolution.best, evolution.history, deciding
        n_held = 0 if forced is None else forced.shape[2]
        net.train(task.name, evolution.best, examples, steps=final_steps, n_held=n_held, **training)
        return evolution.best, evolution.history, examples

    def recognised(source, paths):
        """Return the emotion (R, n) that each replica recognises in each clip of a source."""
        clips = np.arange(len(source.emotion))
        rows = [source.rows(clips)] * net.n_replicas
        posteriors = net.predict(
            source.name, paths, Examples(source.features, source.labels(), rows, device=device)
        )
        return source.emotions[np.stack([source.of_clips(p, clips).argmax(1) for p in posteriors])]

    earlier_tasks, frozen_paths, memory, n_folds = [], [], [], len(target.folds)
    for source in sources:
        paths, *_ = learn(source, [np.arange(len(source.emotion))] * len(seeds), frozen_paths)
        memory.append((source, paths, recognised(source, paths)))
        if evolving:
            net.freeze(paths)
            net.reinitialise(scale=fresh)
            frozen_paths.append(paths)
    net = net.repeat([_seed(s, "target", fold.name) for s in seeds for fold in target.folds])
    folds = [fold for _ in seeds for fold in target.folds]
    frozen = net.frozen.cpu().numpy().reshape(len(seeds), n_folds, n_layers, -1)
    frozen_paths = [path.repeat(n_folds, axis=0) for path in frozen_paths]
    training_clips = [fold.train for fold in folds]
    paths, history, examples = learn(target, training_clips, frozen_paths, head_only=head_only)
    of_rows = net.predict(target.name, paths, examples, [target.rows(fold.test) for fold in folds])
    posteriors = np.full((len(seeds), len(target.emotion), len(target.emotions)), np.nan)
    for replica, (posterior, fold) in enumerate(zip(of_rows, folds, strict=True)):
        if replica not in net.stopped:
            posteriors[replica // n_folds, fold.test] = target.of_clips(posterior, fold.test)
    key = dict(protocol=protocol, source="+".join(source.name for source in sources))
    rows = score(target, posteriors, seeds, **key)
    key |= dict(
        target=target.name, inputs=target.inputs, fold="+".join(fold.name for fold in target.folds)
    )
    memory = [
        _memory_rows(
            learned, seeds, before, recognised(learned, path.repeat(n_folds, axis=0)), **key
        )
        for learned, path, before in memory
    ]
    paths = paths.reshape(len(seeds), n_folds, n_layers, -1)
    return Outcome(rows, posteriors, paths, frozen, history, pd.concat(memory) if memory else None)


def _memory_rows(learned, seeds, before, after, *, protocol, **key):
    """Return result rows on the clips of a learned source: before the target was learned, and
    after.

    What was recognised (R, n) is, before, of a replica a seed, and after, of one a seed and fold.
    """
    name = f"all of {learned.name}"
    key |= {"corpus_version": learned.version}
    return pd.concat(
        [
            metrics.score_rows(
                np.tile(learned.emotion, len(recognised)),
                recognised.ravel(),
                np.full(recognised.size, name),
                protocol=f"{protocol}, {moment} the target",
                seed=np.repeat(seeds, recognised.size // len(seeds)),
                **key,
            )
            for moment, recognised in (("before", before), ("after", after))
        ]
    )


def _seed(seed, *names):
    """Return the random stream of one replica, of its seed and of what it is for."""
    return np.random.SeedSequence([seed, *("/".join(names)).encode()])


def score(task, posteriors, seeds, *, protocol, source=""):
    """Return the result rows of `posteriors` (n_seeds, n, K): of each test speaker, and pooled.

    A fold whose posteriors are NaN, since its replica was stopped, gets a row that says so.
    """
    key = dict(
        protocol=protocol,
        source=source,
        target=task.name,
        inputs=task.inputs,
        corpus_version=task.version,
    )
    tested = np.concatenate([fold.test for fold in task.folds])
    fold = np.concatenate([[fold.name] * len(fold.test) for fold in task.folds])
    clips = pd.DataFrame(
        {
            "seed": np.repeat(seeds, len(tested)),
            "fold": np.tile(fold, len(seeds)),
            "speaker": np.tile(task.speaker[tested], len(seeds)),
            "truth": np.tile(task.emotion[tested], len(seeds)),
            "prediction": task.emotions[posteriors[:, tested].argmax(2)].ravel(),
            "missing": np.isnan(posteriors[:, tested]).any(2).ravel(),
        }
    )
    missing = clips.groupby(["seed", "fold"])["missing"].transform("any")
    run, whole = clips[~missing], clips[~missing.groupby(clips["seed"]).transform("any")]
    rows = []
    if len(run):
        seen = run[["truth", "prediction", "speaker", "fold", "seed"]]
        rows.append(metrics.score_rows(**seen, **key))
    if len(whole):
        rows.append(metrics.pooled_rows(**whole[["truth", "prediction", "seed"]], **key))
    for stopped in clips.loc[missing, ["seed", "fold"]].drop_duplicates().to_dict("records"):
        rows.append(metrics.not_run_rows("the loss was not finite", **stopped, **key))
    return pd.concat(rows, ignore_index=True)
