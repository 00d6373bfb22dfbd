"""SAVEE: four English men, seven emotions, sound and video.

Some sentences recur under other emotions, but their numbers do not tell which. So `statement` is the code of
emotion and number: it never joins two texts, and may part two equal ones.
"""

import re
from pathlib import Path

NAME = "savee"
TITLE = "SAVEE"
CITATION = "Haq & Jackson (2009), Speaker-dependent audio-visual emotion recognition, AVSP"
LICENCE = "free for research, by registration; not to be redistributed"
HOME = "http://personal.ee.surrey.ac.uk/Personal/P.Jackson/SAVEE/Register.html"

MEDIA = ("audio", "video")
EMOTIONS = {
    "a": "anger", "d": "disgust", "f": "fear", "h": "happiness",
    "n": "neutral", "sa": "sadness", "su": "surprise",
}
EXPECTED = {emotion: 120 if emotion == "neutral" else 60 for emotion in EMOTIONS.values()}
SPEAKERS = {"DC": "male", "JE": "male", "JK": "male", "KL": "male"}
CLIPS = None  # named by data/checksums/savee.txt

GRAMMAR = (
    "DC/<code>NN.wav, .flac or .avi, or DC_<code>NN.wav and so on: speaker DC JE JK KL, "
    "code a d f h n sa su, NN 01..15 (of n 01..30)"
)
PATTERN = re.compile(
    r"((?P<speaker>DC|JE|JK|KL)_)?(?P<code>sa|su|[adfhn])(?P<number>\d{1,2})(?i:\.(wav|flac|avi|mp4))"
)
DOWNLOADS = {}
STEPS = """\
SAVEE is given out by its authors to people who register:
  1. Register at {home}
  2. Download the sound (AudioData) and, for faces, the video (AudioVisualClip).
  3. Put the archives (.zip), or the folders AudioData and AudioVisualClip, into {folder}"""


def read_name(path):
    """What the name of a SAVEE recording says; the speaker is the name's first part or the folder.

    >>> read_name("AudioData/DC/sa01.wav") == read_name("DC_sa01.wav")
    True
    >>> read_name("DC_sa01.wav")
    {'clip': 'DC_sa01', 'speaker': 'DC', 'emotion': 'sadness', 'statement': 'sa01'}
    """
    name = PATTERN.fullmatch(Path(path).name)
    speaker = name and (name["speaker"] or Path(path).parent.name)
    if speaker not in SPEAKERS or not 1 <= int(name["number"]) <= (30 if name["code"] == "n" else 15):
        raise ValueError(f"{path}: unknown file name; {TITLE} names are {GRAMMAR}")
    code = f"{name['code']}{int(name['number']):02d}"
    emotion = EMOTIONS[name["code"]]
    return {"clip": f"{speaker}_{code}", "speaker": speaker, "emotion": emotion, "statement": code}
