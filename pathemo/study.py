"""The jobs of a study: run side by side, each kept when finished, with settings that others chose.

Jobs go to processes of this machine, or to workers of a Dask cluster; the rows are the same.
"""

import contextlib
import os
import pickle
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

    @property
    def tasks(self):
        """All that it learns."""
        return self.target, *self.sources

    @property
    def absent(self):
        """Names of its corpora that are not here: such a job is not run."""
        return list(dict.fromkeys(task.name for task in self.tasks if task.absent))


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
    Outcomes are kept in the cache by protocol, data, settings and code, so an interrupted study
    goes on where it was.

    Parameters
    ----------
    jobs : list of Job
        Independent of each other.
    n_jobs : int
        Processes: replicas are stacked within a job, jobs run side by side. The workers of a Dask
        cluster, of the same version of this package, take their place where PATHEMO_DASK is the
        address of its scheduler.
    """
    code, n_threads = files.code_digest(*ROOMS), torch.get_num_threads()
    # given here, once: arrays that went to a worker may lie there in another way
    digests = {
        task: joblib.hash(vars(task)) for task in {task for job in jobs for task in job.tasks}
    }
    paths = []
    for job in jobs:
        names = [digests[task] for task in job.tasks]
        digest = joblib.hash([job.protocol.__name__, names, job.settings, code])
        paths.append(files.cache_folder() / "outcomes" / f"{digest}.npz")
    kept = {path: files.recall(path) for path in paths}
    whole = [(path, job) for path, job in zip(paths, jobs) if not job.absent]
    missing = [*{path: job for path, job in whole if kept[path] is None}.items()]
    source = pd.Series([job.source for _, job in missing], dtype=str)
    turns = source.groupby(source).cumcount()  # one job learns its sources for all with the same
    calls = []
    for place in turns.sort_values(kind="stable").index:
        path, job = missing[place]
        what = job.protocol.__name__, job.settings, *job.tasks
        calls.append(joblib.delayed(_run)(code, n_threads, path, *what))
    with _workers(n_jobs) if calls else contextlib.nullcontext():
        results = joblib.Parallel(return_as="generator_unordered")(calls)
        bar = dict(initial=len(jobs) - len(calls), total=len(jobs), desc="jobs", unit="job")
        for path, outcome in tqdm(results, **bar):
            kept[path] = files.keep(path, np.frombuffer(outcome, np.uint8))
    outcomes = []
    for path, job in zip(paths, jobs):
        lost = f"{job.target.modality} of {', '.join(job.absent)} not found, see data/README.md"
        outcome = _not_run(job, lost) if job.absent else pickle.loads(kept[path].tobytes())
        outcomes.append(outcome)
    return outcomes


def _not_run(job, reason):
    rows = metrics.not_run_rows(reason, protocol=job.name, source=job.source, **job.target.key())
    return transfer.Outcome(rows)


def _workers(n_jobs):
    """Let joblib send its calls to processes, or to the cluster of PATHEMO_DASK."""
    address = os.environ.get("PATHEMO_DASK")
    if not address:
        return joblib.parallel_config("loky", n_jobs=files.n_processes(n_jobs))
    try:
        patience = 3600  # [s] for workers that wait in a queue
        options = dict(scheduler_host=address, wait_for_workers_timeout=patience)
        return joblib.parallel_config("dask", **options)
    except (ImportError, OSError, ValueError) as problem:
        raise ConnectionError(
            f"PATHEMO_DASK={address}: no Dask cluster ({problem}). Start its scheduler, install "
            '"pathemo[cluster]", or unset the variable to compute on this machine.'
        ) from problem


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
        outcome = _not_run(job, problem)
    return path, pickle.dumps(outcome)


def choose(jobs, sizes, *, n_jobs=1):
    """Return the jobs with the size that the other corpora choose for them, and what was tried.

    No clip of a target has a part in it. `from_scratch` learns each other corpus and is tested on
    its own folds, with the first three seeds. The candidate of the highest UAR is taken, the mean
    over those corpora of the mean over their speakers; the first, where no others are here. All
    protocols have it, so the same active size.

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
    settings = {_kind(job.target)[1:]: job.settings for job in reversed(jobs)}
    tasks = [task for job in jobs for task in job.tasks]
    corpora = {_kind(task): task for task in tasks if task.folds and not task.group.any()}
    trials = []  # a pool, of several groups, has none: it may have clips of a target
    for kind, task in corpora.items() if len(sizes) > 1 else ():
        own = settings[kind[1:]]
        seeds = own["seeds"][:CHOICE_SEEDS]
        for number, size in enumerate(sizes):
            options = own | size | {"seeds": seeds}
            trials.append((number, Job(transfer.from_scratch, task, (), options)))
    texts = [", ".join(f"{name}={value}" for name, value in size.items()) for size in sizes]
    by = ["target", "modality", "inputs"]
    chosen, table = _by_others([job.target for job in jobs], trials, texts, by, n_jobs)
    sizes = [sizes[chosen.get(_kind(job.target), 0)] for job in jobs]
    jobs = [job._replace(settings=job.settings | size) for job, size in zip(jobs, sizes)]
    return jobs, table


def choose_layers(candidates, model, *, n_jobs=1):
    """Return the tasks of each target in the layers that the other corpora choose for it, and what
    was tried.

    As in `choose`, but a classifier learns each other corpus, and one choice serves all inputs, by
    the mean over these. It is tested on unheard sentences, where they are known: else a network
    that hears words would be best by those layers which tell the sentence.

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
    trials, sets = [], list(candidates.values())
    options = dict(protocol=type(model).__name__, model=model)
    for number, tasks in enumerate(sets if len(sets) > 1 else ()):
        for task in tasks.values():
            if not task.absent and task.statement is not None:
                task, _ = transfer.with_sentences_parted(task, n_groups=2)
            if task.folds:
                trials.append((number, Job(transfer.baseline, task, (), options)))
    targets, texts = sets[0], [str(list(layers)) for layers in candidates]
    by = ["target", "modality"]
    chosen, table = _by_others(targets.values(), trials, texts, by, n_jobs)
    return {key: sets[chosen.get(_kind(task)[:2], 0)] for key, task in targets.items()}, table


def _kind(task):
    return task.name, task.modality, task.inputs


def _by_others(targets, trials, candidates, by, n_jobs):
    """Return the number of the best candidate for each of `by`, and a row a target and candidate.

    `trials` are pairs (number of the candidate, job)."""
    kind = ["target", "modality", "inputs"]
    key = [*kind, "number"]
    tried = pd.DataFrame([(*_kind(job.target), number) for number, job in trials], columns=key)
    asked = pd.DataFrame(map(_kind, targets), columns=kind).drop_duplicates()
    others = tried.reset_index(names="trial").merge(asked, on=kind[1:], suffixes=("_other", ""))
    others = others[others["target"].ne(others["target_other"])]
    wanted = others["trial"].unique()
    outcomes = run([trials[trial][1] for trial in wanted], n_jobs=n_jobs)
    uar = {trial: _mean_uar(outcome.rows) for trial, outcome in zip(wanted, outcomes)}
    others = others.assign(development=others["trial"].map(uar).astype(float))
    table = others.groupby(key, sort=False, as_index=False)["development"].mean()
    means = table.groupby([*by, "number"], sort=False)["development"].mean()
    best = [*means.groupby(by, sort=False).idxmax()]
    table["chosen"] = pd.MultiIndex.from_frame(table[[*by, "number"]]).isin(best)
    table["candidate"] = [candidates[number] for number in table.pop("number")]
    return {tuple(kind): number for *kind, number in best}, table


def _mean_uar(rows):
    return rows.loc[rows["metric"].eq("uar") & rows["speaker"].ne("all"), "value"].mean()
