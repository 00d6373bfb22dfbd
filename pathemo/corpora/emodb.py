"""EMO-DB: ten German actors, ten sentences, seven emotions, sound only."""

import re
from pathlib import Path

NAME = "emodb"
TITLE = "EMO-DB"
CITATION = "Burkhardt et al. (2005), A database of German emotional speech, Interspeech"
LICENCE = "free for research"
HOME = "http://emodb.bilderbar.info"

MEDIA = ("audio",)
EMOTIONS = dict(  # the letters are of the German words
    W="anger", L="boredom", E="disgust", A="fear", F="happiness", N="neutral", T="sadness"
)
SPEAKERS = dict.fromkeys("03 10 11 12 15".split(), "male")
SPEAKERS |= dict.fromkeys("08 09 13 14 16".split(), "female")

GRAMMAR = "SSTTTEv.wav or .flac: speaker 03 08..16, text a01..b10, emotion WLEAFTN, version a..z"
PATTERN = re.compile(
    r"(?P<clip>(?P<speaker>03|08|09|1[0-6])(?P<statement>a0[12457]|b0[1239]|b10)"
    r"(?P<emotion>[WLEAFTN])[a-z])(?i:\.(wav|flac))",
    re.ASCII,
)
# The archive's own hash is not published: its members are checked against data/checksums/emodb.txt.
DOWNLOADS = {"audio": [("http://emodb.bilderbar.info/download/download.zip", None, ".")]}


def read_name(path):
    """Return what the name of an EMO-DB recording says.

    >>> read_name("wav/03a01Fa.wav")
    {'clip': '03a01Fa', 'speaker': '03', 'statement': 'a01', 'emotion': 'happiness'}
    """
    name = PATTERN.fullmatch(Path(path).name)
    if not name:
        raise ValueError(f"{path}: unknown file name; {TITLE} names are {GRAMMAR}")
    return name.groupdict() | {"emotion": EMOTIONS[name["emotion"]]}
