"""eNTERFACE'05: 42 people, six emotions, five sentences each, as video with sound.

Each emotion has its own five sentences: text leaks the label to anything that knows words.
"""

import re
from pathlib import Path

NAME = "enterface"
TITLE = "eNTERFACE'05"
CITATION = "Martin et al. (2006), The eNTERFACE'05 audio-visual emotion database, ICDE Workshops"
LICENCE = "see its page"
HOME = "https://enterface.net/enterface05/emotion.html"

MEDIA = ("video",)
EMOTIONS = dict(an="anger", di="disgust", fe="fear", ha="happiness", sa="sadness", su="surprise")
# Subject 6 is not segmented; 23 lacks happiness 1-3 and is not in the published set.
LEFT_OUT = re.compile(r"(^|/)subject 0?(6|23)/")
SPEAKERS = {f"{n:02d}": None for n in range(1, 45) if n not in (6, 23)}  # gender unknown

GRAMMAR = "subject N/<emotion>/sentence k/sN_<code>_k.avi: N 1..44, code an di fe ha sa su, k 1..5"
PATTERN = re.compile(
    r"(.*/)?subject 0?(?P<speaker>(?P<eleven>11)|[1-9]|[123]\d|4[0-4])/(?P<emotion>\w+)/(.*/)?"
    r"s_?0?(?(eleven)1[12]|(?P=speaker))_(?P<code>an|di|fe|ha|sa|su)_(?P<k>[1-5])(avi)?"
    r"(?i:\.(avi|mp4))",
    re.ASCII,
)
DOWNLOADS = {}
STEPS = """\
eNTERFACE'05 has to be downloaded by browser: its server sends an incomplete certificate chain.
  1. Open {home} and download project2_database.zip (0.8 GB).
  2. Put the archive, or the folders `subject 1` to `subject 44` from it, into {folder}"""


def read_name(path):
    """Return what place and name of a recording say; None for the subjects left out (6 and 23).

    The speaker is the folder's, since all files of subject 11 are named s12_*. Anger sentences 1
    and 2 of subject 2 are swapped: `clip` is what the name says, `statement` what is spoken.

    >>> read_name("subject 11/anger/sentence 3/s12_an_3.avi")
    {'clip': 's11_an_3', 'speaker': '11', 'emotion': 'anger', 'statement': 'an3'}
    >>> read_name("subject 2/anger/sentence 1/s2_an_1.avi")["statement"]
    'an2'
    """
    place = Path(path).as_posix()
    if LEFT_OUT.search(place):
        return None
    name = PATTERN.fullmatch(place)
    if not name or name["emotion"] != EMOTIONS[name["code"]]:
        raise ValueError(f"{path}: unknown file name; {TITLE} names are {GRAMMAR}")
    speaker = name["speaker"].zfill(2)
    clip = f"s{speaker}_{name['code']}_{name['k']}"
    spoken = {"s02_an_1": "an2", "s02_an_2": "an1"}.get(clip, name["code"] + name["k"])
    return {"clip": clip, "speaker": speaker, "emotion": name["emotion"], "statement": spoken}
