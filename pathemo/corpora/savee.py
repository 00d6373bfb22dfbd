"""SAVEE: four English men, seven emotions, sound and video.

The texts are 87. Three are common to all emotions (`statement` c01 to c03): numbers 01 to 03, and
of neutral 16 to 18, too. Two more of each emotion are said neutrally, too (n19 to n30). All others
belong to one emotion, and all four men read them: text leaks the label to anything that knows it.

Source: transcripts of two speakers by a recogniser, and contours, compared; not published.
"""

import re
from pathlib import Path

NAME = "savee"
TITLE = "SAVEE"
CITATION = "Haq & Jackson (2009), Speaker-dependent audio-visual emotion recognition, AVSP"
LICENCE = "free for research, by registration; not to be redistributed"
HOME = "http://personal.ee.surrey.ac.uk/Personal/P.Jackson/SAVEE/Register.html"

MEDIA = ("audio", "video")
EMOTIONS = dict(
    a="anger", d="disgust", f="fear", h="happiness", n="neutral", sa="sadness", su="surprise"
)
SPEAKERS = dict.fromkeys("DC JE JK KL".split(), "male")

GRAMMAR = (
    "DC/<code>NN.wav or DC_<code>NN.wav (.flac, .avi): DC JE JK KL, a d f h n sa su, "
    "01..15 (n: 01..30)"
)
SPECIFIC = "a04 a05 d04 d05 f04 f05 su04 su05 sa04 sa05 h04 h05".split()  # n19 to n30 in order
STATEMENTS = {f"n{number}": text for number, text in enumerate(SPECIFIC, start=19)}
STATEMENTS |= {f"{code}0{number}": f"c0{number}" for code in EMOTIONS for number in (1, 2, 3)}
STATEMENTS |= {"n16": "c01", "n17": "c02", "n18": "c03"}
PATTERN = re.compile(
    r"(.*/)?(?P<speaker>DC|JE|JK|KL)[/_]"
    r"(?P<code>(?P<emotion>sa|su|[adfhn])(0[1-9]|1[0-5]|(?<=n)(1[6-9]|2\d|30)))"
    r"(?i:\.(wav|flac|avi|mp4))",
    re.ASCII,
)
DOWNLOADS = {}
STEPS = """\
SAVEE is given out by its authors to people who register:
  1. Register at {home}
  2. Download the sound (AudioData) and, for faces, the video (AudioVisualClip).
  3. Put the archives (.zip), or the folders AudioData and AudioVisualClip, into {folder}"""


def read_name(path):
    """Return what a SAVEE recording's name says; the speaker is its first part or the folder.

    >>> read_name("AudioData/DC/sa01.wav") == read_name("DC_sa01.wav")
    True
    >>> read_name("DC_sa01.wav")
    {'clip': 'DC_sa01', 'speaker': 'DC', 'emotion': 'sadness', 'statement': 'c01'}
    """
    name = PATTERN.fullmatch(Path(path).as_posix())
    if not name:
        raise ValueError(f"{path}: unknown file name; {TITLE} names are {GRAMMAR}")
    speaker, code, emotion = name["speaker"], name["code"], EMOTIONS[name["emotion"]]
    clip = {"clip": f"{speaker}_{code}", "speaker": speaker, "emotion": emotion}
    return clip | {"statement": STATEMENTS.get(code, code)}
