"""The jobs of a study: run side by side, each kept when finished, with settings that others chose.

Jobs go to processes of this machine, or to workers of a Dask cluster; the rows are the same.
"""

import contextlib
import os
import pickle
import socket
import warnings
from itertools import permutations, product
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
    reason = f"{', '.join(absent)} ({job.target.inputs}) not found, see data/README.md"
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
    except FloatingPointError as problem:
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
        Columns target, inputs, candidate (text), development (UAR), chosen (bool).
    """
    jobs = [Job(*job) for job in jobs]
    tasks = [task for job in jobs for task in (job.target, *job.sources)]
    corpora = {(t.name, t.inputs): t for t in tasks if t.folds and not t.group.any()}  # no pools
    trials, keys = [], []
    for (name, inputs), job in {(j.target.name, j.target.inputs): j for j in jobs}.items():
        others = [task for (n, i), task in corpora.items() if i == inputs and n != name]
        for (number, size), task in product(enumerate(sizes), others if len(sizes) > 1 else ()):
            settings = job.settings | size | {"seeds": job.settings["seeds"][:CHOICE_SEEDS]}
            trials.append(Job(transfer.from_scratch, task, (), settings))
            keys.append((name, inputs, number))
    uar = [_mean_uar(outcome.rows) for outcome in run(trials, n_jobs=n_jobs)]
    columns = ["target", "inputs", "number"]
    table = pd.DataFrame(keys, columns=columns).assign(development=np.array(uar, float))
    table = table.groupby(columns, sort=False, as_index=False)["development"].mean()
    best = table.loc[table.groupby(columns[:2], sort=False)["development"].idxmax()]
    chosen = {(name, inputs): sizes[n] for name, inputs, n in best[columns].to_numpy()}
    texts = [", ".join(f"{k}={v}" for k, v in size.items()) for size in sizes]
    table["candidate"] = [texts[number] for number in table.pop("number")]
    table["chosen"] = table.index.isin(best.index)
    of_job = [chosen.get((job.target.name, job.target.inputs), sizes[0]) for job in jobs]
    return [j._replace(settings=j.settings | size) for j, size in zip(jobs, of_job)], table


def _mean_uar(rows):
    return rows.loc[rows["metric"].eq("uar") & rows["speaker"].ne("all"), "value"].mean()
