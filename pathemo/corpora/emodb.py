"""EMO-DB: ten German actors, ten sentences, seven emotions, sound only."""

import re
from pathlib import Path

NAME = "emodb"
TITLE = "EMO-DB"
CITATION = "Burkhardt et al. (2005), A database of German emotional speech, Interspeech"
LICENCE = "free for research"
HOME = "http://emodb.bilderbar.info"

MEDIA = ("audio",)
EMOTIONS = {
    "W": "anger", "L": "boredom", "E": "disgust", "A": "fear",
    "F": "happiness", "N": "neutral", "T": "sadness",
}
EXPECTED = {
    "anger": 127, "boredom": 81, "disgust": 46, "fear": 69,
    "happiness": 71, "neutral": 79, "sadness": 62,
}
SPEAKERS = {
    "03": "male", "08": "female", "09": "female", "10": "male", "11": "male",
    "12": "male", "13": "female", "14": "female", "15": "male", "16": "female",
}
CLIPS = None  # named by data/checksums/emodb.txt

GRAMMAR = "SSTTTEv.wav or .flac: speaker 03 08..16, text a01..b10, emotion letter of WLEAFTN, version a..z"
PATTERN = re.compile(
    r"(?P<clip>(?P<speaker>03|08|09|1[0-6])(?P<statement>a0[12457]|b0[1239]|b10)(?P<emotion>[WLEAFTN])[a-z])"
    r"(?i:\.(wav|flac))"
)
# The archive's own hash is not published: its members are checked against data/checksums/emodb.txt.
DOWNLOADS = {"audio": [("http://emodb.bilderbar.info/download/download.zip", None, ".")]}
STEPS = ""


def read_name(path):
    """What the name of an EMO-DB recording says.

    >>> read_name("wav/03a01Fa.wav")
    {'clip': '03a01Fa', 'speaker': '03', 'statement': 'a01', 'emotion': 'happiness'}
    """
    name = PATTERN.fullmatch(Path(path).name)
    if not name:
        raise ValueError(f"{path}: unknown file name; {TITLE} names are {GRAMMAR}")
    return name.groupdict() | {"emotion": EMOTIONS[name["emotion"]]}
