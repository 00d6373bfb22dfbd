"""What happens to files on disks, on the way and by hand: seeded, so that each case can be had
again.
"""

import os
from collections import Counter

import numpy as np

LONG = "PATHEMO_LONG" in os.environ
KINDS = {
    "truncated": 0.15,
    "flipped": 0.3,
    "inserted": 0.15,
    "deleted": 0.15,
    "zeroed": 0.1,
    "header of another": 0.05,
    "tail of another": 0.06,
    "empty": 0.01,
    "random": 0.03,
}


def cases(content, other, short, long):
    """Seed, kind of damage, and bytes of so many damaged copies of `content`."""
    for seed in range(long if LONG else short):
        yield seed, *damaged(content, other, seed)


def damaged(content, other, seed):
    """Kind of the damage, and the bytes of `content` after it; never what they were.

    `other` are the bytes of another file of the format. Half of the cases are in the first 200
    bytes, where headers are."""
    draw = np.random.default_rng(seed)
    new = content
    while bytes(new) == content:
        kind = draw.choice([*KINDS], p=[*KINDS.values()])
        start = int(draw.integers(min(200, len(content)) if draw.random() < 0.5 else len(content)))
        length = int(draw.choice([1, 2, 4, 8, 64, 512]))
        new = bytearray(content)
        if kind == "truncated":
            del new[start:]
        elif kind == "flipped":
            for place in {start, *draw.integers(len(content), size=draw.choice([0, 0, 1, 7]))}:
                new[place] ^= 1 << int(draw.integers(8))
        elif kind == "inserted":
            new[start:start] = draw.bytes(length)
        elif kind == "deleted":
            del new[start : start + length]
        elif kind == "zeroed":
            new[start : start + length] = bytes(len(new[start : start + length]))
        elif kind == "header of another":
            new[: start % 200] = other[: start % 200]
        elif kind == "tail of another":
            new[start:] = other[start:]
        elif kind == "empty":
            new = b""
        else:
            new = draw.bytes(start)
    return str(kind), bytes(new)


class Tally(Counter):
    """Counts of outcomes, and which cases were wrong."""

    def __init__(self):
        super().__init__()
        self.wrong = []

    def add(self, case, outcome, *, named, right):
        """Count an outcome of a worker: an error is to be a built-in one that has `named` in its
        text.
        """
        if outcome[0] == "error":
            _, name, bases, text = outcome
            good, label = {"OSError", "ValueError"} & {*bases} and named in text, "named errors"
        else:
            label = {"read": "right answers"}.get(outcome[0], outcome[0])
            good = outcome[0] == "read" and right(outcome[1])
        self[label if good else "WRONG"] += 1
        if not good:
            self.wrong.append((case, outcome))

    def __str__(self):
        return f"{self.total()} cases: " + ", ".join(
            f"{count} {label}" for label, count in sorted(self.items())
        )
