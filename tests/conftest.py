"""Fixtures that several files of tests share."""

import os
from pathlib import Path

import hypothesis
import pytest
from filelock import FileLock

os.environ.setdefault("OMP_NUM_THREADS", "1")  # several processes, each with all cores, stand still
hypothesis.settings.register_profile("untimed", deadline=None)  # no test asserts a time
hypothesis.settings.load_profile("untimed")


@pytest.fixture(scope="session")
def synthetic_root(tmp_path_factory):
    """Data root with all four synthetic corpora, written once for all processes of a test run."""
    from pathemo import synthetic

    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with FileLock(folder / "synthetic.lock"):
        for name in synthetic.FILES:
            synthetic.write(name, folder / "synthetic")
        synthetic.encoder(folder / "synthetic")
    return folder / "synthetic"


@pytest.fixture(scope="session")
def recorded_root():
    """The recorded corpora under PATHEMO_DATA; without them the test is skipped."""
    from pathemo import corpora

    if not os.environ.get("PATHEMO_DATA"):
        pytest.skip("PATHEMO_DATA is not set: no recorded corpora")
    root = Path(os.environ["PATHEMO_DATA"]).resolve()
    if not any(corpora.found(name, root) for name in corpora.CORPORA):
        pytest.skip(f"no recorded corpora in PATHEMO_DATA={root}")
    return root


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch):
    """No test writes into the report of a run that happens to call it."""
    for name in ("PATHEMO_OUTPUT", "PATHEMO_PROFILE", "JPY_SESSION_NAME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def worker():
    """A process that reads damaged files, for all campaigns of this one."""
    from worker import Worker  # of tests/campaigns

    worker = Worker()
    yield worker
    worker.close()


@pytest.fixture(scope="session")
def forker():
    """A process that others fork from: it computes nothing itself, since threads do not outlive a
    fork.
    """
    from worker import Worker

    forker = Worker()
    yield forker
    forker.close()


@pytest.fixture
def tell(record_property):
    """Function that puts the counts of a campaign into the summary at the end of the test run."""
    return lambda name, counts: record_property("campaign", f"{name}: {counts}")


def pytest_terminal_summary(terminalreporter):
    """Counts of the campaigns, of all processes, whatever was captured."""
    reports = sum(map(terminalreporter.getreports, ("passed", "failed", "xfailed")), [])
    told = [
        text for report in reports for name, text in report.user_properties if name == "campaign"
    ]
    if told:
        terminalreporter.section("campaigns")
        for text in sorted(told):
            terminalreporter.line(text)
