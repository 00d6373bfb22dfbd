"""The process that reads damaged files, and the counts that a campaign tells."""

import pytest
from worker import Worker


@pytest.fixture(scope="session")
def worker():
    """A process for all campaigns of this one."""
    worker = Worker()
    yield worker
    worker.close()


@pytest.fixture(scope="session")
def forker():
    """A process that others fork from: it computes nothing itself, since threads do not outlive a fork."""
    forker = Worker()
    yield forker
    forker.close()


@pytest.fixture
def tell(record_property):
    """Function that puts the counts of a campaign into the summary at the end of the test run."""
    return lambda name, counts: record_property("campaign", f"{name}: {counts}")
