"""SAVEE: four English men, seven emotions, sound and video.

Some sentences recur under other emotions, but their numbers do not tell which. So `statement` is
the code of emotion and number: it never joins two texts, and may part two equal ones.
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
PATTERN = re.compile(
    r"(.*/)?(?P<speaker>DC|JE|JK|KL)[/_]"
    r"(?P<statement>(?P<emotion>sa|su|[adfhn])(0[1-9]|1[0-5]|(?<=n)(1[6-9]|2\d|30)))"
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
    {'clip': 'DC_sa01', 'speaker': 'DC', 'statement': 'sa01', 'emotion': 'sadness'}
    """
    name = PATTERN.fullmatch(Path(path).as_posix())
    if not name:
        raise ValueError(f"{path}: unknown file name; {TITLE} names are {GRAMMAR}")
    clip = {"clip": f"{name['speaker']}_{name['statement']}"}
    return clip | name.groupdict() | {"emotion": EMOTIONS[name["emotion"]]}
