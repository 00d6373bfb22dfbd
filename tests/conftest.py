"""Fixtures that several files of tests share."""

import os
from pathlib import Path

import pytest
from filelock import FileLock


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


def pytest_terminal_summary(terminalreporter):
    """Counts of the campaigns, of all processes, whatever was captured."""
    reports = sum(map(terminalreporter.getreports, ("passed", "failed", "xfailed")), [])
    told = [text for report in reports for name, text in report.user_properties if name == "campaign"]
    if told:
        terminalreporter.section("campaigns")
        for text in sorted(told):
            terminalreporter.line(text)
