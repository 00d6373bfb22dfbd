"""The study's tasks and its grid: which runs there are, side by side, each kept when it is finished.

Settings may be given, or chosen in each fold by that fold's own training speakers. Runs go to processes of
this machine, or to a Dask cluster.
"""

import hashlib
import operator
import os
import pickle
import sys
import warnings
from contextlib import nullcontext
from itertools import permutations
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from . import cache, faces, metrics, speech, splits, transfer

MEDIA = {"speech": ["audio", "video"], "log-mel": ["audio", "video"], "landmarks": ["landmarks"],
         "hog": ["video", "image"], "crops": ["video", "image"]}
ENGINE = ("episode", "evolution", "examples", "metrics", "modules", "pathnet", "splits", "tasks", "transfer")


def tasks_of(indexes, modality, inputs, *, speeds=(1.0,), n_jobs=1, **options):
    """Return the tasks of one modality by (name, inputs), of the corpora that have its medium.

    Parameters
    ----------
    indexes : dict of DataFrame
    modality : {"speech", "log-mel", "landmarks", "hog", "crops"}
        Functionals or log-mel segments of sound, functionals of facial landmarks, or of face crops either
        histograms of oriented gradients or the images themselves. All but speech stand before the inputs:
        "hog, plain".
    inputs : sequence of {"plain", "speaker-normalised"}
    speeds : sequence of float
        Of sound: a clip has the rows of each, to be learned as other voices; when it is tested, the mean over
        its rows counts.
    options : of `pathemo.faces.crops`
    """
    if modality not in MEDIA:
        raise ValueError(f"modality = {modality!r}: choose one of {', '.join(MEDIA)}")
    tasks = {}
    for name, index in indexes.items():
        index = index[index.reindex(columns=MEDIA[modality]).notna().any(axis=1)].reset_index(drop=True)
        if index.empty:
            continue
        if modality in ("speech", "log-mel"):
            copies = [_sound(index, modality, speed=speed, n_jobs=n_jobs) for speed in speeds]
        elif modality == "landmarks":
            copies = [(faces.functionals(index, n_jobs=n_jobs), None)]
        else:
            size = 64 if modality == "hog" else 48  # [pixels] edges gain from more, images cost more
            images, clip = faces.crops(index, size, n_jobs=n_jobs, **options)
            copies = [(images[:, None] if modality == "crops" else faces.hog(images), clip)]
        for i in inputs:
            shown = None if modality == "speech" else modality
            parts = [transfer.task(name, index, features, inputs=i, clip=clip, modality=shown)
                     for features, clip in copies]  # fmt: skip
            made = parts[0]
            if len(parts) > 1:
                made = made._replace(features=np.concatenate([part.features for part in parts]),
                                     clip=np.concatenate([part.clip for part in parts]))  # fmt: skip
            tasks[name, made.inputs] = made
    return tasks


def _sound(index, modality, **options):
    """Return the features of one speed, and the clip of each row."""
    if modality == "log-mel":
        segments, clip = speech.segments(index, **options)
        return segments[:, None], clip
    return speech.functionals(index, **options), np.arange(len(index))


def sources_for(target, names, tasks):
    """Return the source lists to try for a target: each alone, then all that are here in every order.

    >>> sources_for("a", ["a", "b", "c", "d"], {("a", "plain"), ("b", "plain"), ("c", "plain")})
    [('b',), ('c',), ('d',), ('b', 'c'), ('c', 'b')]
    """
    others = [name for name in names if name != target]
    here = {name for name, _ in tasks}
    several = [name for name in others if {name, target} <= here]
    return [(name,) for name in others] + (list(permutations(several)) if len(several) > 1 else [])


def run(grid, tasks, settings, *, candidates=(), n_jobs=1):
    """Return the result rows of a grid, and the outcomes of those of its runs whose corpora are here.

    Parameters
    ----------
    grid : list of (protocol, target, sources, inputs)
        A function of `pathemo.transfer`, and names of corpora.
    tasks : dict of Task
        By (name, inputs). A run that needs another corpus gets a row that says so.
    settings : dict
        Keyword arguments of the protocols, the same for all.
    candidates : list of dict, optional
        Settings of which each fold takes those that its own training speakers choose, see `chosen`.

    Returns
    -------
    rows : DataFrame
    outcomes : dict of Outcome
        By run, a member of `grid`.
    """
    absent = {run: [name for name in (run[1], *run[2]) if (name, run[3]) not in tasks] for run in grid}
    runs = [run for run in grid if not absent[run]]
    jobs = [(p, tasks[target, i], [tasks[s, i] for s in sources], settings) for p, target, sources, i in runs]
    finished = chosen(jobs, candidates, n_jobs=n_jobs) if candidates else outcomes_of(jobs, n_jobs=n_jobs)
    outcomes = dict(zip(runs, finished, strict=True))
    rows = [outcome.rows for outcome in outcomes.values()]
    for (protocol, target, sources, inputs), names in absent.items():
        if names:
            name = "pathnet_scratch" if protocol is transfer.pathnet and not sources else protocol.__name__
            reason = f"{', '.join(names)} ({inputs}) not found, see data/README.md"
            key = dict(protocol=name, source="+".join(sources), target=target, inputs=inputs)
            rows.append(metrics.not_run_rows(reason, **key))
    return pd.concat(rows, ignore_index=True), outcomes


def chosen(jobs, candidates, *, n_folds=3, n_jobs=1):
    """Return the outcome of each job, every fold with the settings that its training speakers choose.

    Within the training part of a fold, the protocol learns two of three groups of speakers and is tested on
    the third, in turn, with each candidate and the first seed. The candidate with the highest UAR, mean over
    those speakers, is the fold's; then it learns the whole training part, with all seeds. Speakers of the
    test part take no part in the choice.

    Parameters
    ----------
    jobs : list of (protocol, target, sources, settings)
        As in `outcomes_of`.
    candidates : list of dict
        Settings that take the place of those of the job. They must leave the shape of paths as it is.
    n_folds : int
        Groups of training speakers, as many as there are speakers if those are fewer.

    Returns
    -------
    outcomes : list of Outcome
        `choice` is a row a fold and candidate: fold, candidate (its place), development (UAR), chosen.
    """
    trials = [
        (protocol, _inner(target, n_folds), sources, settings | candidate | {"seeds": settings["seeds"][:1]})
        for protocol, target, sources, settings in jobs for candidate in candidates
    ]  # fmt: skip
    tried = iter(list(outcomes_of(trials, n_jobs=n_jobs)))
    choices = [_choice([next(tried).rows for _ in candidates]) for _ in jobs]
    finals = [
        (protocol, _with_folds(target, part["fold"]), sources, settings | candidates[number])
        for (protocol, target, sources, settings), choice in zip(jobs, choices, strict=True)
        for number, part in choice[choice["chosen"]].groupby("candidate")
    ]
    finished = outcomes_of(finals, n_jobs=n_jobs)
    outcomes = []
    for (_, target, _, settings), choice in zip(jobs, choices, strict=True):
        parts = [next(finished) for _ in range(choice.loc[choice["chosen"], "candidate"].nunique())]
        posteriors = parts[0].posteriors
        for part in parts[1:]:
            posteriors = np.where(np.isnan(posteriors), part.posteriors, posteriors)
        protocol, source = parts[0].rows.loc[0, ["protocol", "source"]]
        rows = transfer.score(target, posteriors, settings["seeds"], protocol=protocol, source=source)
        outcomes.append(transfer.Outcome(rows, posteriors, choice=choice, parts=tuple(parts)))
    return outcomes


def _inner(target, n_folds):
    """Return the task with folds of each fold's training speakers: "3/1" is the first of fold "3"."""
    folds = []
    for fold in target.folds:
        speakers = pd.DataFrame({"speaker": target.speaker[fold.train]})
        inner = splits.speaker_folds(speakers, min(n_folds, speakers["speaker"].nunique()), seed=0)
        folds += [splits.Fold(f"{fold.name}/{part.name}", fold.train[part.train], fold.train[part.test])
                  for part in inner]  # fmt: skip
    return target._replace(folds=tuple(folds))


def _with_folds(target, names):
    return target._replace(folds=tuple(fold for fold in target.folds if fold.name in set(names)))


def _choice(rows):
    """Return which candidate each fold chooses, from the rows of each candidate's trial."""
    rows = pd.concat(rows, keys=range(len(rows)), names=["candidate"]).reset_index("candidate")
    rows = rows[rows["metric"].eq("uar") & rows["speaker"].ne("all")]
    fold = rows["fold"].str.rpartition("/")[0].rename("fold")
    development = rows.groupby([fold, "candidate"])["value"].mean().rename("development").reset_index()
    best = development.groupby("fold")["development"].idxmax()
    return development.assign(chosen=development.index.isin(best))


def outcomes_of(jobs, *, n_jobs=1):
    """Yield the outcome of each job, in order, once all are on the disk, where many may have been before.

    Parameters
    ----------
    jobs : list of (protocol, target, sources, settings)
        `settings` is a dict of keyword arguments; jobs are independent of each other.
    n_jobs : int
        Processes: replicas are stacked within a job, jobs run side by side. The workers of a Dask cluster
        take their place where PATHEMO_DASK is the address of its scheduler, or this process has a client.

    Notes
    -----
    Outcomes are kept in the folder of `pathemo.cache` by protocol, data, settings and the code of this
    engine, so an interrupted study goes on where it was.
    """
    kept = joblib.Memory(cache.folder() / "outcomes", verbose=0).cache(_outcome, ignore=IN_NAME)
    calls = [
        (name, protocol.__name__, target, tuple(sources), settings)
        for name, (protocol, target, sources, settings) in zip(_names(jobs), jobs, strict=True)
    ]
    missing = {call[0]: call for call in calls if not kept.check_call_in_cache(*call)}
    with _cluster() if missing else nullcontext() as client, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "A worker stopped")  # it had grown, and another took its place
        warnings.filterwarnings("ignore", "Sending large graph")  # a task is as large as it is, and sent once
        made = _made_by(client, kept, missing) if client else joblib.Parallel(
            n_jobs=n_jobs, return_as="generator_unordered"
        )(joblib.delayed(kept)(*call) for call in missing.values())  # fmt: skip
        there = len(calls) - len(missing)
        for _ in tqdm(made, initial=there, total=len(calls), desc="jobs", unit="job"):
            pass
    for call in calls:
        yield kept(*call)


def _names(jobs):
    """Yield the name of each job's outcome: a digest of protocol, data, settings and the engine's code.

    It is given once, by whoever asks: arrays that went to another process may lie there in another way, and
    so have another digest. Tasks share large arrays, which are read once.
    """
    digests = {}

    def small(task):
        if id(task.features) not in digests:
            digests[id(task.features)] = joblib.hash(np.ascontiguousarray(task.features))
        return task._replace(features=digests[id(task.features)])

    for protocol, target, sources, settings in jobs:
        tasks = [small(task) for task in (target, *sources)]
        yield joblib.hash((protocol.__name__, tasks, settings, CODE))


def _cluster():
    """Return the Dask client of PATHEMO_DASK, to be entered, else the one of this process, else None."""
    address = os.environ.get("PATHEMO_DASK")
    if not address:
        try:
            return nullcontext(sys.modules["distributed"].Client.current())
        except (KeyError, ValueError):
            return nullcontext()
    try:
        from distributed import Client

        return Client(address, set_as_default=False, timeout=10)
    except ImportError:
        raise ImportError(f"PATHEMO_DASK={address} needs the package distributed: "
                          'python -m pip install "pathemo[cluster]", or unset the variable') from None
    except (OSError, ValueError) as error:
        raise ConnectionError(f"PATHEMO_DASK={address}: no Dask scheduler answers; start one, or unset the "
                              f"variable to compute on this machine ({error})") from None


def _made_by(client, kept, missing):
    """Yield each call that a cluster has finished, its outcome kept here: workers may have other disks.

    What a worker was at when it was lost, another does. A task is sent once, in a form that outlives workers;
    as is the function, so that the scheduler need not know this package.
    """
    from distributed import as_completed

    tasks = {id(task): task for _, _, target, sources, _ in missing.values() for task in (target, *sources)}
    sent = {key: client.submit(pickle.loads, pickle.dumps(task)) for key, task in tasks.items()}
    run = client.submit(pickle.loads, pickle.dumps(_run_there))
    running = {
        client.submit(operator.call, run, torch.get_num_threads(), CODE, name, protocol, sent[id(target)],
                      [sent[id(source)] for source in sources], settings, pure=False): name
        for name, protocol, target, sources, settings in missing.values()
    }  # fmt: skip
    try:
        for future, outcome in as_completed(list(running), loop=client.loop, with_results=True):
            name = running.pop(future)
            kept.store_backend.dump_item((kept.func_id, kept._get_args_id(*missing[name])), outcome)
            yield outcome
    finally:
        client.cancel(list(running))


def _run_there(n_threads, code, *call):
    """Return what `_outcome` does: by the code and number of threads of whoever sent it, or not at all."""
    if code != CODE:
        raise RuntimeError(f"a worker has another version of pathemo ({CODE}) than the study ({code}): "
                           f"install the same for all, and start its workers again ({Path(__file__).parent})")
    torch.set_num_threads(n_threads)  # sums of floats depend on it
    return _outcome(*call)


def _outcome(name, protocol, target, sources, settings):
    return getattr(transfer, protocol)(target, sources, **settings)


def _engine_version():
    """Return a digest of the code that outcomes depend on."""
    here = Path(__file__).parent
    files = [here / f"{name}.py" for name in ENGINE]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


IN_NAME = ["protocol", "target", "sources", "settings"]  # arguments of `_outcome` that its name stands for
CODE = _engine_version()  # as it was loaded: files may change under a process that goes on
