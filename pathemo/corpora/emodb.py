"""EMO-DB: ten German actors, ten sentences, seven emotions, sound only."""

import re
from pathlib import Path

import pandas as pd

NAME = "emodb"
TITLE = "EMO-DB"
CITATION = "Burkhardt et al. (2005), A database of German emotional speech, Interspeech"
LICENCE = "free for research"
HOME = "http://emodb.bilderbar.info"

MEDIA = ("audio",)
EMOTIONS = {  # the letters are of the German words
    "W": "anger",
    "L": "boredom",
    "E": "disgust",
    "A": "fear",
    "F": "happiness",
    "N": "neutral",
    "T": "sadness",
}
SPEAKERS = dict.fromkeys(("03", "10", "11", "12", "15"), "male")
SPEAKERS |= dict.fromkeys(("08", "09", "13", "14", "16"), "female")

GRAMMAR = "SSTTTEv.wav or .flac: speaker 03 08..16, text a01..b10, emotion letter of WLEAFTN, version a..z"
PATTERN = re.compile(
    r"(?P<clip>(?P<speaker>03|08|09|1[0-6])(?P<statement>a0[12457]|b0[1239]|b10)(?P<emotion>[WLEAFTN])[a-z])"
    r"(?i:\.(wav|flac))",
    re.ASCII,
)
# The archive's own hash is not published: its members are checked against data/checksums/emodb.txt.
DOWNLOADS = {"audio": [("http://emodb.bilderbar.info/download/download.zip", None, ".")]}


def read_name(path):
    """What the name of an EMO-DB recording says.

    >>> read_name("wav/03a01Fa.wav")
    {'clip': '03a01Fa', 'speaker': '03', 'statement': 'a01', 'emotion': 'happiness'}
    """
    name = PATTERN.fullmatch(Path(path).name)
    if not name:
        raise ValueError(f"{path}: unknown file name; {TITLE} names are {GRAMMAR}")
    return name.groupdict() | {"emotion": EMOTIONS[name["emotion"]]}


def listeners(root):
    """How twenty listeners judged the utterances, by clip: `recognised` and `natural`, shares from
    0 to 1.

    Of the recordings of the perception test, those that were published are among them.

    Source: Burkhardt et al. 2005, section 4.
    """
    path = Path(root) / NAME / "erkennung.txt"
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such file; it is in the download of {TITLE}, see data/README.md"
        )
    lines = re.findall(
        r"(\w+)\.wav\s+(\d+\.\d+)\s+(\d+\.\d+)", path.read_text("latin-1").replace(",", ".")
    )
    table = pd.DataFrame(lines, columns=["clip", "recognised", "natural"])
    return table.set_index("clip").astype(float) / 100
