"""Two processes that do the same in the same folder: both end, and what is there is what one alone
makes.
"""

import pytest
import scenes
from damage import LONG

rounds = pytest.mark.parametrize("turn", range(6 if LONG else 1))


@rounds
def test_extractions_of_features(forker, synthetic_root, tmp_path, turn):
    """Two extractions fill one cache."""
    assert forker(scenes.extractions_at_once, tmp_path, synthetic_root)[1] == ([0, 0, 0], True, [])


@rounds
def test_fetches(forker, tmp_path, turn):
    """Two fetches of a corpus: one waits for the other."""
    assert forker(scenes.fetches_at_once, tmp_path)[1] == ([0, 0], True, ["emodb.txt"])
