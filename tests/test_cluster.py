"""A study on a Dask cluster: a real scheduler and worker processes, lost workers, other code, no
answer.
"""

import operator
import os
import pickle
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pandas as pd
import pytest
import torch
from test_transfer import BRIEF, FAR, NEAR, TARGET

from pathemo import metrics, study, transfer

distributed = pytest.importorskip("distributed", reason="pathemo[cluster] is not installed")

TASKS = {(task.name, "plain"): task for task in (TARGET, NEAR, FAR)}
PROTOCOLS = [transfer.fine_tune, transfer.pathnet]
GRID = [
    (protocol, target, sources, "plain")
    for protocol in PROTOCOLS
    for target in ("target", "near")
    for sources in (("far",), ("far", "near" if target == "target" else "target"))
]
SETTINGS = BRIEF | {"steps": 60}


def wait_for(found, seconds=120):
    """What `found()` returns, as soon as it is true."""
    end = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)
    return value


def kept(folder):
    return list(folder.rglob("output.pkl"))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Address of a scheduler with two worker processes that have another cache, one more threads,
    too.
    """
    folder = tmp_path_factory.mktemp("cluster")
    file = folder / "scheduler.json"
    here = ["--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(file)]
    dask = [sys.executable, "-m", "dask"]
    worker = [
        *dask,
        "worker",
        *here,
        "--no-nanny",
        "--nthreads",
        "1",
        "--local-directory",
        str(folder),
    ]
    processes = [subprocess.Popen([*dask, "scheduler", *here, "--port", "0"])]
    for n_threads in "12":
        environment = os.environ | {
            "OMP_NUM_THREADS": n_threads,
            "PATHEMO_CACHE": str(folder / "elsewhere"),
        }
        processes.append(subprocess.Popen(worker, env=environment))
    wait_for(file.is_file)
    with distributed.Client(scheduler_file=str(file), set_as_default=False) as client:
        client.wait_for_workers(2, timeout=120)
        yield client.scheduler.address
    for process in reversed(processes):
        process.kill()
        process.wait()
    assert not (folder / "elsewhere").exists()


def only_there(monkeypatch, address, folder):
    """Let this process have an empty cache, and compute nothing by itself."""

    def fail(*_, **__):
        raise AssertionError("computed here")

    monkeypatch.setattr(transfer, "_study", fail)
    monkeypatch.setenv("PATHEMO_DASK", address)
    monkeypatch.setenv("PATHEMO_CACHE", str(folder))


def test_a_study_outlives_a_worker(cluster, tmp_path, monkeypatch):
    """One of two workers is killed at work: all rows are there, once, to the bit those of this
    machine.
    """
    torch.set_num_threads(1)
    monkeypatch.setenv("PATHEMO_CACHE", str(tmp_path / "alone"))
    known, known_outcomes = study.run(GRID, TASKS, SETTINGS)
    only_there(monkeypatch, cluster, folder := tmp_path / "cluster")
    killed = []

    def kill():
        with distributed.Client(cluster, set_as_default=False) as client:
            processes = client.run(os.getpid)
            wait_for(lambda: kept(folder))
            at_work = wait_for(
                lambda: [worker for worker, calls in client.processing().items() if calls]
            )
            os.kill(processes[at_work[0]], signal.SIGKILL)
            wait_for(lambda: len(client.ncores()) == 1)
            killed.append(len(kept(folder)))

    thread = threading.Thread(target=kill)
    thread.start()
    rows, outcomes = study.run(GRID, TASKS, SETTINGS)
    thread.join()
    assert 0 < killed[0] < len(GRID) == len(kept(folder))
    assert not rows.duplicated(metrics.ROW_KEY).any()
    pd.testing.assert_frame_equal(rows, known, check_exact=True)
    for run, outcome in outcomes.items():
        assert np.array_equal(outcome.posteriors, known_outcomes[run].posteriors)

    monkeypatch.setenv(
        "PATHEMO_DASK", "tcp://127.0.0.1:1"
    )  # nobody is asked for what is on the disk
    again, _ = study.run(GRID, TASKS, SETTINGS)
    pd.testing.assert_frame_equal(again, known, check_exact=True)


def test_workers_of_other_code_are_refused(cluster, tmp_path, monkeypatch):
    """A worker that has another version of the engine computes nothing, and says so."""
    only_there(monkeypatch, cluster, tmp_path)
    monkeypatch.setattr(study, "CODE", "0123")
    with pytest.raises(
        RuntimeError, match="another version of pathemo .* than the study .0123.*: install"
    ):
        list(study.outcomes_of([(transfer.from_scratch, TARGET, (), BRIEF)]))
    assert not kept(tmp_path)


def test_a_job_has_the_threads_of_its_sender():
    """However many threads a worker was started with, a job has as many as in the process that sent
    it.
    """
    torch.set_num_threads(2)
    study._run_there(1, study.CODE, "name", "from_scratch", TARGET, (), BRIEF | {"steps": 10})
    assert torch.get_num_threads() == 1


def test_a_client_of_this_process_is_used(tmp_path, monkeypatch):
    """Jobs go to the Dask client of this process, equal ones once, data too; their errors are
    raised here.
    """
    monkeypatch.setenv("PATHEMO_CACHE", str(tmp_path))
    monkeypatch.delenv("PATHEMO_DASK", raising=False)
    local = dict(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0")
    job, sent = (transfer.fine_tune, TARGET, (NEAR,), BRIEF), []
    with distributed.LocalCluster(**local) as there, distributed.Client(there) as client:
        submit = client.submit
        monkeypatch.setattr(
            client, "submit", lambda run, *a, **k: sent.append(run) or submit(run, *a, **k)
        )
        one, other = study.outcomes_of([job, job])
        assert sent == [pickle.loads] * 3 + [
            operator.call
        ]  # two tasks and a function, then the job
        with pytest.raises(ValueError, match="has no folds"):
            list(study.outcomes_of([(transfer.from_scratch, TARGET._replace(folds=()), (), BRIEF)]))
    pd.testing.assert_frame_equal(one.rows, other.rows)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense"])
def test_no_answer_names_the_variable(address, tmp_path, monkeypatch):
    """Without a scheduler at the address nothing is computed; the message says whose address it
    was.
    """
    only_there(monkeypatch, address, tmp_path)
    with pytest.raises(
        ConnectionError, match=f"PATHEMO_DASK={address}: no Dask scheduler answers; start"
    ):
        list(study.outcomes_of([(transfer.from_scratch, TARGET, (), BRIEF)]))


def test_without_the_extra_the_message_names_it(tmp_path, monkeypatch):
    """Where distributed is not installed, PATHEMO_DASK is answered with the command that installs
    it.
    """
    only_there(monkeypatch, "tcp://127.0.0.1:1", tmp_path)
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match=r'PATHEMO_DASK=.*pip install "pathemo\[cluster\]"'):
        list(study.outcomes_of([(transfer.from_scratch, TARGET, (), BRIEF)]))
