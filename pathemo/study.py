"""The study's tasks and its grid: which runs there are, side by side, each kept when it is finished."""

import hashlib
import warnings
from itertools import permutations
from pathlib import Path

import joblib
import pandas as pd
from tqdm.auto import tqdm

from . import cache, faces, metrics, speech, transfer

MEDIA = {"speech": ["audio", "video"], "landmarks": ["landmarks"], "hog": ["video", "image"],
         "crops": ["video", "image"]}
ENGINE = ("episode", "evolution", "examples", "metrics", "modules", "pathnet", "splits", "transfer")


def tasks_of(indexes, modality, inputs, *, n_jobs=1, **options):
    """Return the tasks of one modality by (name, inputs), of the corpora that have its medium.

    Parameters
    ----------
    indexes : dict of DataFrame
    modality : {"speech", "landmarks", "hog", "crops"}
        Functionals of sound, functionals of facial landmarks, or of face crops either histograms of oriented
        gradients or the images themselves. All but speech stand before the inputs: "hog, plain".
    inputs : sequence of {"plain", "speaker-normalised"}
    options : of `pathemo.faces.crops`
    """
    if modality not in MEDIA:
        raise ValueError(f"modality = {modality!r}: choose one of {', '.join(MEDIA)}")
    tasks = {}
    for name, index in indexes.items():
        index = index[index.reindex(columns=MEDIA[modality]).notna().any(axis=1)].reset_index(drop=True)
        if index.empty:
            continue
        clip = None
        if modality == "speech":
            features = speech.functionals(index, n_jobs=n_jobs)
        elif modality == "landmarks":
            features = faces.functionals(index, n_jobs=n_jobs)
        else:
            images, clip = faces.crops(index, n_jobs=n_jobs, **options)
            features = images[:, None] if modality == "crops" else faces.hog(images)
        for i in inputs:
            made = transfer.task(name, index, features, inputs=i, clip=clip,
                                 modality=None if modality == "speech" else modality)  # fmt: skip
            tasks[name, made.inputs] = made
    return tasks


def sources_for(target, names, tasks):
    """Return the source lists to try for a target: each alone, then all that are here in every order.

    >>> sources_for("a", ["a", "b", "c", "d"], {("a", "plain"), ("b", "plain"), ("c", "plain")})
    [('b',), ('c',), ('d',), ('b', 'c'), ('c', 'b')]
    """
    others = [name for name in names if name != target]
    here = {name for name, _ in tasks}
    several = [name for name in others if {name, target} <= here]
    return [(name,) for name in others] + (list(permutations(several)) if len(several) > 1 else [])


def run(grid, tasks, settings, *, n_jobs=1):
    """Return the result rows of a grid, and the outcomes of those of its runs whose corpora are here.

    Parameters
    ----------
    grid : list of (protocol, target, sources, inputs)
        A function of `pathemo.transfer`, and names of corpora.
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
    absent = {run: [name for name in (run[1], *run[2]) if (name, run[3]) not in tasks] for run in grid}
    runs = [run for run in grid if not absent[run]]
    jobs = [(p, tasks[target, i], [tasks[s, i] for s in sources], settings) for p, target, sources, i in runs]
    outcomes = dict(zip(runs, outcomes_of(jobs, n_jobs=n_jobs), strict=True))
    rows = [outcome.rows for outcome in outcomes.values()]
    for (protocol, target, sources, inputs), names in absent.items():
        if names:
            name = "pathnet_scratch" if protocol is transfer.pathnet and not sources else protocol.__name__
            reason = f"{', '.join(names)} ({inputs}) not found, see data/README.md"
            key = dict(protocol=name, source="+".join(sources), target=target, inputs=inputs)
            rows.append(metrics.not_run_rows(reason, **key))
    return pd.concat(rows, ignore_index=True), outcomes


def outcomes_of(jobs, *, n_jobs=1):
    """Yield the outcome of each job, in order; one that was finished before comes from the disk.

    Parameters
    ----------
    jobs : list of (protocol, target, sources, settings)
        `settings` is a dict of keyword arguments; jobs are independent of each other.
    n_jobs : int
        Processes: replicas are stacked within a job, jobs run side by side.

    Notes
    -----
    Outcomes are kept in the folder of `pathemo.cache` by protocol, data, settings and the code of this
    engine, so an interrupted study goes on where it was.
    """
    kept = joblib.Memory(cache.folder() / "outcomes", verbose=0).cache(_run)
    code = _engine_version()
    running = joblib.Parallel(n_jobs=n_jobs, return_as="generator")(
        joblib.delayed(kept)(protocol.__name__, target, tuple(sources), settings, code)
        for protocol, target, sources, settings in jobs
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "A worker stopped")  # it had grown, and another took its place
        yield from tqdm(running, total=len(jobs), desc="jobs", unit="job")


def _run(protocol, target, sources, settings, code):
    return getattr(transfer, protocol)(target, sources, **settings)


def _engine_version():
    """Return a digest of the code that outcomes depend on."""
    here = Path(__file__).parent
    files = [here / f"{name}.py" for name in ENGINE]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
