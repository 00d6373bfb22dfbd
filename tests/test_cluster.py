"""A study on a Dask cluster: real workers, one lost, one of other code, no answer."""

import os
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

from pathemo import files, study, transfer
from pathemo.metrics import check_rows
from pathemo.study import Job

distributed = pytest.importorskip("distributed", reason="pathemo[cluster] is not installed")
dask = pytest.importorskip("dask")

JOBS = [
    Job(protocol, target, sources, BRIEF | {"steps": 60})
    for protocol in (transfer.fine_tune, transfer.pathnet)
    for target in (TARGET, NEAR)
    for sources in ((FAR,), (FAR, NEAR if target is TARGET else TARGET))
]


def wait_for(value, seconds=600):
    """What `value()` returns, as soon as it is true."""
    end = time.monotonic() + seconds
    while not (now := value()):
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)
    return now


def kept(folder):
    return list(folder.rglob("*.npz"))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Address of a scheduler with two workers of another cache, one of more threads, too; there
    they keep what they learned of sources, and nothing else."""
    folder = tmp_path_factory.mktemp("cluster")
    file = folder / "scheduler.json"
    here = ["--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(file)]
    dask = [sys.executable, "-m", "dask"]
    options = ["--no-nanny", "--nthreads", "1", "--local-directory", str(folder)]
    processes = [subprocess.Popen([*dask, "scheduler", *here, "--port", "0"])]
    for n_threads in "12":
        own = {"OMP_NUM_THREADS": n_threads, "PATHEMO_CACHE": str(folder / "elsewhere")}
        processes.append(subprocess.Popen([*dask, "worker", *here, *options], env=os.environ | own))
    wait_for(file.is_file)
    with distributed.Client(scheduler_file=str(file), set_as_default=False) as client:
        client.wait_for_workers(2, timeout=120)
        yield client.scheduler.address
    for process in reversed(processes):
        process.kill()
        process.wait()
    assert [path.name for path in (folder / "elsewhere").glob("*")] == ["sources"]


def only_there(monkeypatch, address, folder):
    """Let this process have an empty cache, and compute nothing by itself."""

    def fail(*_, **__):
        raise AssertionError("computed here")

    monkeypatch.setattr(transfer, "_learn_all", fail)
    monkeypatch.setenv("PATHEMO_DASK", address)
    monkeypatch.setenv("PATHEMO_CACHE", str(folder))


def test_errors_of_a_worker_are_raised_here(cluster, tmp_path, monkeypatch):
    """With their own type and words; nothing of it is kept."""
    only_there(monkeypatch, cluster, tmp_path)
    with pytest.raises(ValueError, match="seeds = .*: give at least one"):
        study.run([Job(transfer.from_scratch, TARGET, (), BRIEF | {"seeds": ()})])
    assert not kept(tmp_path)


def test_workers_of_other_code_are_refused(cluster, tmp_path, monkeypatch):
    """A worker that has another version of the engine computes nothing, and says so."""
    only_there(monkeypatch, cluster, tmp_path)
    monkeypatch.setattr(files, "code_digest", lambda *rooms: "0123")
    with pytest.raises(RuntimeError, match="another version of pathemo than the study .*: install"):
        study.run([Job(transfer.from_scratch, TARGET, (), BRIEF)])
    assert not kept(tmp_path)


def test_a_study_outlives_a_worker(cluster, tmp_path, monkeypatch):
    """One of two is killed at work: all rows are there, once, to the bit those of this machine."""
    torch.set_num_threads(1)
    monkeypatch.setenv("PATHEMO_CACHE", str(tmp_path / "alone"))
    expected = study.run(JOBS)
    only_there(monkeypatch, cluster, folder := tmp_path / "cluster")
    counts = []

    def kill():
        with distributed.Client(cluster, set_as_default=False) as client:
            processes = client.run(os.getpid)
            wait_for(lambda: kept(folder))
            busy = wait_for(lambda: [name for name, calls in client.processing().items() if calls])
            os.kill(processes[busy[0]], signal.SIGKILL)
            wait_for(lambda: len(client.ncores()) == 1)
            counts.append(len(kept(folder)))

    thread = threading.Thread(target=kill)
    thread.start()
    outcomes = study.run(JOBS)
    thread.join()
    assert 0 < counts[0] < len(JOBS) == len(kept(folder))
    check_rows(pd.concat([outcome.rows for outcome in outcomes]))
    for one, other in zip(outcomes, expected, strict=True):
        pd.testing.assert_frame_equal(one.rows, other.rows, check_exact=True)
        assert np.array_equal(one.posteriors, other.posteriors)
    nobody = "tcp://127.0.0.1:1"  # is asked for what is on the disk
    monkeypatch.setenv("PATHEMO_DASK", nobody)
    for one, other in zip(study.run(JOBS), expected, strict=True):
        pd.testing.assert_frame_equal(one.rows, other.rows, check_exact=True)


def test_a_job_has_the_threads_of_its_sender():
    """However many a worker was started with, a job has as many as the process that sent it."""
    torch.set_num_threads(2)
    call = files.code_digest(*study.ROOMS), 1, "path", "from_scratch", BRIEF | {"steps": 10}
    study._run(*call, TARGET)
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense"])
def test_no_answer_names_the_variable(address, tmp_path, monkeypatch):
    """Without a scheduler nothing is computed; the message says whose address it was."""
    only_there(monkeypatch, address, tmp_path)
    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
        with pytest.raises(ConnectionError, match=f"PATHEMO_DASK={address}: no Dask cluster"):
            study.run([Job(transfer.from_scratch, TARGET, (), BRIEF)])
