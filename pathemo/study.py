"""The study's tasks and its grid: which runs there are, side by side, each kept when it is
finished.

Settings are given, or chosen for a target by the other corpora. Runs go to processes of this
machine, or to a Dask cluster."""

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

from . import cache, faces, metrics, speech, transfer

MEDIA = {
    "speech": ["audio", "video"],
    "log-mel": ["audio", "video"],
    "landmarks": ["landmarks"],
    "hog": ["video", "image"],
    "crops": ["video", "image"],
}
OF_SIZE = {"n_layers", "width"}
OF_EVOLUTION = {
    "population_size",
    "minibatches",
    "fitness",
    "final_share",
    "frozen_path",
    "edge",
    "rate",
}
CHOICE_SEEDS = 3
ENGINE = (
    "episode",
    "evolution",
    "examples",
    "metrics",
    "modules",
    "pathnet",
    "splits",
    "tasks",
    "transfer",
)


def tasks_of(indexes, modality, inputs, *, speeds=(1.0,), n_jobs=1, **options):
    """Return the tasks of one modality by (name, inputs), of the corpora that have its medium.

    Parameters
    ----------
    indexes : dict of DataFrame
    modality : {"speech", "log-mel", "landmarks", "hog", "crops"}
        Functionals or log-mel segments of sound, functionals of facial landmarks, or of face crops
        either histograms of oriented gradients or the images themselves. All but speech stand
        before the inputs: "hog, plain".
    inputs : sequence of {"plain", "speaker-normalised"}
    speeds : sequence of float
        Of sound: a clip has the rows of each, to be learned as other voices; when it is tested, the
        mean over its rows counts.
    options : of `pathemo.faces.crops`
    """
    if modality not in MEDIA:
        raise ValueError(f"modality = {modality!r}: choose one of {', '.join(MEDIA)}")
    tasks = {}
    for name, index in indexes.items():
        index = index[index.reindex(columns=MEDIA[modality]).notna().any(axis=1)].reset_index(
            drop=True
        )
        if index.empty:
            continue
        if modality in ("speech", "log-mel"):
            copies = [_sound(index, modality, speed=speed, n_jobs=n_jobs) for speed in speeds]
        elif modality == "landmarks":
            copies = [(faces.functionals(index, n_jobs=n_jobs), None)]
        else:
            size = (
                64 if modality == "hog" else 48
            )  # [pixels] edges gain from more, images cost more
            images, clip = faces.crops(index, size, n_jobs=n_jobs, **options)
            copies = [(images[:, None] if modality == "crops" else faces.hog(images), clip)]
        for i in inputs:
            shown = None if modality == "speech" else modality
            parts = [
                transfer.task(name, index, features, inputs=i, clip=clip, modality=shown)
                for features, clip in copies
            ]
            made = parts[0]
            if len(parts) > 1:
                made = made._replace(
                    features=np.concatenate([part.features for part in parts]),
                    clip=np.concatenate([part.clip for part in parts]),
                )
            tasks[name, made.inputs] = made
    return tasks


def _sound(index, modality, **options):
    """Return the features of one speed, and the clip of each row."""
    if modality == "log-mel":
        segments, clip = speech.segments(index, **options)
        return segments[:, None], clip
    return speech.functionals(index, **options), np.arange(len(index))


def sources_for(target, names, tasks):
    """Return the source lists to try for a target: each alone, then all that are here in every
    order.

    >>> sources_for("a", ["a", "b", "c", "d"], {("a", "plain"), ("b", "plain"), ("c", "plain")})
    [('b',), ('c',), ('d',), ('b', 'c'), ('c', 'b')]
    """
    others = [name for name in names if name != target]
    here = {name for name, _ in tasks}
    several = [name for name in others if {name, target} <= here]
    return [(name,) for name in others] + (list(permutations(several)) if len(several) > 1 else [])


def run(grid, tasks, settings, *, chosen=None, n_jobs=1):
    """Return the result rows of a grid, and the outcomes of those of its runs whose corpora are
    here.

    Parameters
    ----------
    grid : list of (protocol, target, sources, inputs)
        A function of `pathemo.transfer`, and names of corpora.
    tasks : dict of Task
        By (name, inputs). A run that needs another corpus gets a row that says so.
    settings : dict
        Keyword arguments of the protocols, the same for all.
    chosen : dict of dict, optional
        Settings that take the place of those, from `choose`.

    Returns
    -------
    rows : DataFrame
    outcomes : dict of Outcome
        By run, a member of `grid`.
    """
    absent = {
        run: [name for name in (run[1], *run[2]) if (name, run[3]) not in tasks] for run in grid
    }
    runs, chosen = [run for run in grid if not absent[run]], chosen or {}
    jobs = [
        (
            run[0],
            tasks[run[1], run[3]],
            [tasks[source, run[3]] for source in run[2]],
            settings | chosen.get(kind(run), {}),
        )
        for run in runs
    ]
    outcomes = dict(zip(runs, outcomes_of(jobs, n_jobs=n_jobs), strict=True))
    rows = [outcome.rows for outcome in outcomes.values()]
    for run, names in absent.items():
        if names:
            protocol, target, inputs = kind(run)
            reason = f"{', '.join(names)} ({inputs}) not found, see data/README.md"
            key = dict(protocol=protocol, source="+".join(run[2]), target=target, inputs=inputs)
            rows.append(metrics.not_run_rows(reason, **key))
    return pd.concat(rows, ignore_index=True) if rows else metrics.not_run_rows("").iloc[
        :0
    ], outcomes


def kind(run):
    """Return what of a run may have settings of its own: protocol, as rows name it, target and
    inputs.
    """
    protocol, target, sources, inputs = run
    name = "pathnet_scratch" if protocol is transfer.pathnet and not sources else protocol.__name__
    return name, target, inputs


def choose(grid, tasks, settings, space, *, n_jobs=1):
    """Return the settings that the other corpora choose for each protocol and target, and what was
    tried.

    No clip of a target has a part in the choice of its settings. Each other corpus is learned and
    tested on its own folds, from what corpora are left as one pooled source, with the first three
    seeds (what one seed chooses is mostly noise). One setting is tried after the other, and a value
    is kept that has the highest UAR so far: the mean over those corpora of the mean over their
    speakers. Layers and width come first, and `from_scratch` decides them for all protocols, so
    that these have the same active size.

    Parameters
    ----------
    grid, tasks, settings
        As in `run`. Tasks without folds take no part.
    space : dict of list
        By setting, its values; the search starts with the first of each, and ends there where no
        other corpora are here to choose.

    Returns
    -------
    chosen : dict of dict
        By the `kind` of a run: protocol, target, inputs.
    trials : DataFrame
        Columns protocol, target, inputs, setting, value, development (UAR).
    """
    runs = {kind(run): run for run in grid if run[1::2] in tasks}
    alone = {key: (transfer.from_scratch, target, (), i) for key, (_, target, _, i) in runs.items()}
    chosen = {key: {setting: values[0] for setting, values in space.items()} for key in runs}
    size = {setting: values for setting, values in space.items() if setting in OF_SIZE}
    other = {setting: values for setting, values in space.items() if setting not in OF_SIZE}
    trials = [
        *_search(alone, tasks, settings, size, chosen, n_jobs),
        *_search(runs, tasks, settings, other, chosen, n_jobs),
    ]
    columns = ["protocol", "target", "inputs", "setting", "value", "development"]
    return chosen, pd.DataFrame(trials, columns=columns)


def _search(runs, tasks, settings, space, chosen, n_jobs):
    """Yield each trial of a search, one setting after the other; what is best comes into
    `chosen`.
    """
    changes = [{setting: value} for setting, values in space.items() for value in values[1:]]
    first, best = {"seeds": settings["seeds"][:CHOICE_SEEDS]}, dict.fromkeys(runs, 0.0)
    evolving = {key: run for key, run in runs.items() if key[0].startswith("pathnet")}
    concerned = [evolving if OF_EVOLUTION & change.keys() else runs for change in changes]
    start = {key: run for of_change in concerned for key, run in of_change.items()}
    for change, of_change in zip([{}, *changes], [start, *concerned], strict=True):
        keys, jobs = [], []
        for key, (protocol, target, sources, inputs) in of_change.items():
            others = {
                n: t for (n, i), t in tasks.items() if i == inputs and n != target and t.folds
            }
            for name, task in others.items():
                left = [t for n, t in others.items() if n != name] if sources else []
                if left or not sources:
                    source = [transfer.pooled(left)] if left else []
                    jobs.append((protocol, task, source, settings | chosen[key] | change | first))
                    keys.append(key)
        reached = {}
        for key, outcome in zip(keys, outcomes_of(jobs, n_jobs=n_jobs), strict=True):
            reached.setdefault(key, []).append(_mean_uar(outcome.rows))
        for key, of_corpora in reached.items():
            development = np.mean(of_corpora)
            yield *key, *next(iter(change.items()), ("start", None)), development
            if development > best[key]:
                best[key] = development
                chosen[key] |= change


def _mean_uar(rows):
    return rows.loc[rows["metric"].eq("uar") & rows["speaker"].ne("all"), "value"].mean()


def outcomes_of(jobs, *, n_jobs=1):
    """Yield the outcome of each job, in order, once all are on the disk, where many may have been
    before.

    Parameters
    ----------
    jobs : list of (protocol, target, sources, settings)
        `settings` is a dict of keyword arguments; jobs are independent of each other.
    n_jobs : int
        Processes: replicas are stacked within a job, jobs run side by side. The workers of a Dask
        cluster take their place where PATHEMO_DASK is the address of its scheduler, or this process
        has a client.

    Notes
    -----
    Outcomes are kept in the folder of `pathemo.cache` by protocol, data, settings and the code of
    this engine, so an interrupted study goes on where it was."""
    kept = joblib.Memory(cache.folder() / "outcomes", verbose=0).cache(_outcome, ignore=IN_NAME)
    calls = [
        (name, protocol.__name__, target, tuple(sources), settings)
        for name, (protocol, target, sources, settings) in zip(_names(jobs), jobs, strict=True)
    ]
    missing = {call[0]: call for call in calls if not kept.check_call_in_cache(*call)}
    with _cluster() if missing else nullcontext() as client, warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "A worker stopped"
        )  # it had grown, and another took its place
        warnings.filterwarnings(
            "ignore", "Sending large graph"
        )  # a task is as large as it is, and sent once
        made = (
            _made_by(client, kept, missing)
            if client
            else joblib.Parallel(n_jobs=n_jobs, return_as="generator_unordered")(
                joblib.delayed(kept)(*call) for call in missing.values()
            )
        )
        there = len(calls) - len(missing)
        for _ in tqdm(made, initial=there, total=len(calls), desc="jobs", unit="job"):
            pass
    for call in calls:
        yield kept(*call)


def _names(jobs):
    """Yield the name of each job's outcome: a digest of protocol, data, settings and the engine's
    code.

    It is given once, by whoever asks: arrays that went to another process may lie there in another
    way, and so have another digest. Tasks share large arrays, which are read once."""
    digests = {}

    def small(task):
        if id(task.features) not in digests:
            digests[id(task.features)] = joblib.hash(np.ascontiguousarray(task.features))
        return task._replace(features=digests[id(task.features)])

    for protocol, target, sources, settings in jobs:
        tasks = [small(task) for task in (target, *sources)]
        yield joblib.hash((protocol.__name__, tasks, settings, CODE))


def _cluster():
    """Return the Dask client of PATHEMO_DASK, to be entered, else the one of this process, else
    None.
    """
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
        raise ImportError(
            f"PATHEMO_DASK={address} needs the package distributed: "
            'python -m pip install "pathemo[cluster]", or unset the variable'
        ) from None
    except (OSError, ValueError) as error:
        raise ConnectionError(
            f"PATHEMO_DASK={address}: no Dask scheduler answers; start one, or unset the "
            f"variable to compute on this machine ({error})"
        ) from None


def _made_by(client, kept, missing):
    """Yield each call that a cluster has finished, its outcome kept here: workers may have other
    disks.

    What a worker was at when it was lost, another does. A task is sent once, in a form that
    outlives workers; as is the function, so that the scheduler need not know this package."""
    from distributed import as_completed

    tasks = {
        id(task): task
        for _, _, target, sources, _ in missing.values()
        for task in (target, *sources)
    }
    sent = {key: client.submit(pickle.loads, pickle.dumps(task)) for key, task in tasks.items()}
    run = client.submit(pickle.loads, pickle.dumps(_run_there))
    running = {
        client.submit(
            operator.call,
            run,
            torch.get_num_threads(),
            CODE,
            name,
            protocol,
            sent[id(target)],
            [sent[id(source)] for source in sources],
            settings,
            pure=False,
        ): name
        for name, protocol, target, sources, settings in missing.values()
    }
    try:
        for future, outcome in as_completed(list(running), loop=client.loop, with_results=True):
            name = running.pop(future)
            kept.store_backend.dump_item((kept.func_id, kept._get_args_id(*missing[name])), outcome)
            yield outcome
    finally:
        client.cancel(list(running))


def _run_there(n_threads, code, *call):
    """Return what `_outcome` does: by the code and number of threads of whoever sent it, or not at
    all.
    """
    if code != CODE:
        raise RuntimeError(
            f"a worker has another version of pathemo ({CODE}) than the study ({code}): "
            f"install the same for all, and start its workers again ({Path(__file__).parent})"
        )
    torch.set_num_threads(n_threads)  # sums of floats depend on it
    return _outcome(*call)


def _outcome(name, protocol, target, sources, settings):
    return getattr(transfer, protocol)(target, sources, **settings)


def _engine_version():
    """Return a digest of the code that outcomes depend on."""
    here = Path(__file__).parent
    files = [here / f"{name}.py" for name in ENGINE]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


IN_NAME = [
    "protocol",
    "target",
    "sources",
    "settings",
]  # arguments of `_outcome` that its name stands for
CODE = _engine_version()  # as it was loaded: files may change under a process that goes on
