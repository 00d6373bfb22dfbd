"""The jobs of a study: run side by side, each kept when finished, with settings that others chose.

Jobs go to processes of this machine, or to workers of a Dask cluster; the rows are the same.
"""

import contextlib
import os
import pickle
import socket
import warnings
from itertools import permutations
from typing import NamedTuple

import joblib
import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from . import files, metrics, transfer

# What an outcome depends on
ROOMS = "engine", "metrics.py", "splits.py", "tasks.py", "transfer.py"
CHOICE_SEEDS = 3  # what one seed chooses is mostly noise


class Job(NamedTuple):
    """A protocol of `pathemo.transfer`, a task to learn, those to learn before it, and settings."""

    protocol: object
    target: transfer.Task
    sources: tuple = ()
    settings: dict = {}

    @property
    def name(self):
        """The protocol, as result rows name it."""
        evolves_alone = self.protocol is transfer.pathnet and not self.sources
        name = "pathnet_scratch" if evolves_alone else self.protocol.__name__
        return self.settings.get("protocol", name)  # that of `transfer.baseline` is given

    @property
    def source(self):
        """The sources, as result rows name them."""
        return "+".join(task.name for task in self.sources)


def source_lists(target, names, tasks):
    """Return the source lists of a target: each alone, then all that are here, in every order.

    `tasks` are by (name, inputs), as of `pathemo.tasks.corpus_tasks`.
    """
    others = [name for name in names if name != target]
    here = {name for (name, _), task in tasks.items() if not task.absent}
    several = [name for name in others if {name, target} <= here]
    return [(name,) for name in others] + (list(permutations(several)) if len(several) > 1 else [])


def run(jobs, *, n_jobs=1):
    """Return the outcome of each job, in order; many may have been kept before.

    A job whose corpora are not all here, or whose loss was not finite, has one row that says so.

    Parameters
    ----------
    jobs : list of Job
        Independent of each other.
    n_jobs : int
        Processes: replicas are stacked within a job, jobs run side by side. The workers of a Dask
        cluster take their place where PATHEMO_DASK is the address of its scheduler.

    Notes
    -----
    Outcomes are kept in the cache by protocol, data, settings and the engine's code, so an
    interrupted study goes on where it was. Workers need the same version of this package.
    """
    jobs = [Job(*job) for job in jobs]
    paths = _paths(jobs)
    kept = {path: files.recall(path) for path in paths.values()}
    missing = {path: jobs[place] for place, path in paths.items() if kept[path] is None}
    turns = pd.Series([job.source for job in missing.values()], dtype=str)
    turns = turns.groupby(turns).cumcount()  # one job learns its sources for all that have the same
    turn = dict(zip(missing, turns))
    missing = dict(sorted(missing.items(), key=lambda item: turn[item[0]]))
    code, n_threads = files.code_digest(*ROOMS), torch.get_num_threads()
    calls = []
    for path, job in missing.items():
        what = job.protocol.__name__, job.settings, job.target, *job.sources
        calls.append(joblib.delayed(_run)(code, n_threads, path, *what))
    with _workers(n_jobs) if missing else contextlib.nullcontext():
        results = joblib.Parallel(return_as="generator_unordered")(calls)
        bar = dict(initial=len(jobs) - len(missing), total=len(jobs), desc="jobs", unit="job")
        for path, outcome in tqdm(results, **bar):
            kept[path] = files.keep(path, np.frombuffer(outcome, np.uint8))
    return [
        pickle.loads(kept[paths[place]].tobytes()) if place in paths else _not_run(job)
        for place, job in enumerate(jobs)
    ]


def _not_run(job):
    absent = dict.fromkeys(task.name for task in (job.target, *job.sources) if task.absent)
    reason = f"{job.target.modality} of {', '.join(absent)} not found, see data/README.md"
    return transfer.Outcome(_not_run_rows(job, reason))


def _not_run_rows(job, reason):
    return metrics.not_run_rows(reason, protocol=job.name, source=job.source, **job.target.key())


def _paths(jobs):
    """Return the file of each job's outcome, by its place; none for a job that lacks a corpus.

    A name is a digest of protocol, data, settings and code. It is given once, by whoever asks:
    arrays that went to another process may lie there in another way, and so have another digest.
    """
    digests, paths = {}, {}
    for place, job in enumerate(jobs):
        tasks = (job.target, *job.sources)
        if any(task.absent for task in tasks):
            continue
        for task in tasks:
            if id(task) not in digests:
                digests[id(task)] = joblib.hash(vars(task))
        names = [digests[id(task)] for task in tasks]
        code = files.code_digest(*ROOMS)
        digest = joblib.hash([job.protocol.__name__, names, job.settings, code])
        paths[place] = files.cache_folder() / "outcomes" / f"{digest}.npz"
    return paths


@contextlib.contextmanager
def _workers(n_jobs):
    """Let joblib send its calls to processes, or to the cluster of PATHEMO_DASK."""
    address = os.environ.get("PATHEMO_DASK")
    if not address:
        with joblib.parallel_config("loky", n_jobs=files.n_processes(n_jobs)):
            yield
        return
    try:
        client = _client(address)
    except ModuleNotFoundError as missing:
        raise ImportError(
            f"PATHEMO_DASK={address} needs the package {missing.name}: "
            'python -m pip install "pathemo[cluster]", or unset the variable'
        ) from None
    except (OSError, ValueError) as error:
        raise ConnectionError(
            f"PATHEMO_DASK={address}: no Dask scheduler answers; start one, or unset the "
            f"variable to compute on this machine ({error})"
        ) from None
    with client, joblib.parallel_config("dask", client=client):
        if not client.scheduler_info()["workers"]:
            words = f"PATHEMO_DASK={address} has no workers yet: waiting for them"
            warnings.warn(words, stacklevel=4)
        yield


def _client(address):
    """Return a client of a scheduler: one greets first, else it would be waited for without end."""
    from distributed import Client
    from distributed.comm import parse_address, parse_host_port

    scheme, location = parse_address(address)
    if scheme == "tcp":
        with socket.create_connection(parse_host_port(location), timeout=10) as connection:
            if not connection.recv(1):
                raise ConnectionError("it hung up")
    return Client(address, set_as_default=False, timeout=10)


def _run(code, n_threads, path, protocol, settings, target, *sources):
    """Return the path of an outcome and, packed, what it is; refuse where the code is another."""
    if code != files.code_digest(*ROOMS):
        raise RuntimeError(
            f"a worker has another version of pathemo than the study ({files.PACKAGE}): "
            "install the same for all, and start its workers again"
        )
    torch.set_num_threads(n_threads)  # sums of floats depend on it
    job = Job(getattr(transfer, protocol), target, sources, settings)
    try:
        outcome = job.protocol(target, sources, **settings)
    except (FloatingPointError, transfer.NotLearnable) as problem:
        outcome = transfer.Outcome(_not_run_rows(job, problem))
    return path, pickle.dumps(outcome)


def choose(jobs, sizes, *, n_jobs=1):
    """Return the jobs with the size that the other corpora choose for them, and what was tried.

    No clip of a target has a part in the choice of its settings. `from_scratch` learns each other
    corpus and is tested on its own folds, with the first three seeds. That candidate is taken which
    has the highest UAR: the mean over those corpora of the mean over their speakers; the first,
    where no other corpora are here to choose. All protocols have it, so the same active size.

    Parameters
    ----------
    jobs : list of Job
    sizes : sequence of dict
        Candidates, whole settings each.

    Returns
    -------
    jobs : list of Job
    trials : DataFrame
        Columns target, modality, inputs, candidate (text), development (UAR), chosen (bool).
    """
    jobs, trials = [Job(*job) for job in jobs], {}
    settings = {_kind(job.target)[1:]: job.settings for job in reversed(jobs)}
    tasks = [task for job in jobs for task in (job.target, *job.sources)]
    corpora = {_kind(t): t for t in tasks if t.folds and not t.group.any()}  # no pools
    for key, task in corpora.items() if len(sizes) > 1 else ():
        own = settings[key[1:]]
        for number, size in enumerate(sizes):
            options = own | size | {"seeds": own["seeds"][:CHOICE_SEEDS]}
            trials[*key, number] = Job(transfer.from_scratch, task, (), options)
    texts = [", ".join(f"{k}={v}" for k, v in size.items()) for size in sizes]
    targets = dict.fromkeys(_kind(job.target) for job in jobs)
    chosen, table = _by_others(trials, list(targets), texts, n_jobs)
    of_job = [sizes[chosen.get(_kind(job.target), 0)] for job in jobs]
    return [j._replace(settings=j.settings | size) for j, size in zip(jobs, of_job)], table


def choose_layers(candidates, model, *, n_jobs=1):
    """Return the tasks of each target in the layers that the other corpora choose for it, and what
    was tried.

    No clip of a target has a part in it. A classifier learns each other corpus and is tested on its
    own speakers, where sentences are known on unheard ones: else a network that hears words would
    be best by those layers which tell the sentence. Means and table are those of `choose`, but that
    one choice serves all inputs, by the mean over these.

    Parameters
    ----------
    candidates : dict of dict of Task
        By layers, a tuple of int, the tasks of all corpora by (name, inputs).
    model : scikit-learn classifier

    Returns
    -------
    tasks : dict of dict of Task
        By the target's (name, inputs) the tasks of all corpora.
    trials : DataFrame
    """
    trials, sets = {}, list(candidates.values())
    options = dict(protocol=type(model).__name__, model=model)
    for number, tasks in enumerate(sets if len(sets) > 1 else ()):
        for task in tasks.values():
            if not task.absent and task.statement is not None:
                task, _ = transfer.with_sentences_parted(task, n_groups=2)
            if task.folds:
                trials[*_kind(task), number] = Job(transfer.baseline, task, (), options)
    targets = {key: _kind(task) for key, task in sets[0].items()}
    texts = [str(list(layers)) for layers in candidates]
    by = ["target", "modality"]
    chosen, table = _by_others(trials, list(targets.values()), texts, n_jobs, by=by)
    return {key: sets[chosen.get(kind[:2], 0)] for key, kind in targets.items()}, table


def _kind(task):
    return task.name, task.modality, task.inputs


def _by_others(trials, targets, candidates, n_jobs, by=("target", "modality", "inputs")):
    """Return the number of the best candidate for each of `by`, and a row a target and candidate.

    `trials` are jobs by (name, modality, inputs, number), `targets` (name, modality, inputs)."""
    key, by = ["target", "modality", "inputs", "number"], list(by)
    asked = pd.DataFrame(targets, columns=key[:3])
    trials = {
        place: job
        for place, job in trials.items()
        if any(name != place[0] and (*kind,) == place[1:3] for name, *kind in targets)
    }
    uar = [_mean_uar(outcome.rows) for outcome in run(list(trials.values()), n_jobs=n_jobs)]
    scores = pd.DataFrame([*trials], columns=key).assign(development=np.array(uar, float))
    others = scores.merge(asked, on=key[1:3], suffixes=("_other", ""))
    others = others[others["target"].ne(others["target_other"])]
    table = others.groupby(key, sort=False, as_index=False)["development"].mean()
    means = table.groupby([*by, "number"], sort=False, as_index=False)["development"].mean()
    best = means.loc[means.groupby(by, sort=False)["development"].idxmax(), [*by, "number"]]
    table["chosen"] = pd.MultiIndex.from_frame(table[[*by, "number"]]).isin([*best.to_numpy()])
    table["candidate"] = [candidates[number] for number in table.pop("number")]
    return {tuple(kind): number for *kind, number in best.to_numpy()}, table


def _mean_uar(rows):
    return rows.loc[rows["metric"].eq("uar") & rows["speaker"].ne("all"), "value"].mean()
