"""Toy: four people, two emotions, sound only. Goes to pathemo/corpora/toy.py."""

import re
from pathlib import Path

NAME = "toy"
TITLE = "Toy"
CITATION = "Nobody (2026), A corpus of tones"
LICENCE = "free"
HOME = "https://example.org"

MEDIA = ("audio",)
EMOTIONS = {"h": "happiness", "s": "sadness"}
SPEAKERS = {"ann": "female", "bob": "male", "dan": "male", "eve": "female"}

GRAMMAR = "<speaker>_<emotion><take>.wav: ann bob dan eve, h s, 1..3"
PATTERN = re.compile(
    r"(?P<clip>(?P<speaker>ann|bob|dan|eve)_(?P<emotion>[hs])(?P<statement>[123]))\.wav"
)
DOWNLOADS = {}
STEPS = "Toy is made by tests/toy/make.py, see {home}; put the files into {folder}"


def read_name(path):
    """What the name of a recording says."""
    name = PATTERN.fullmatch(Path(path).name)
    if not name:
        raise ValueError(f"{path}: unknown file name; {TITLE} names are {GRAMMAR}")
    return name.groupdict() | {"emotion": EMOTIONS[name["emotion"]]}
