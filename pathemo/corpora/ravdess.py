"""RAVDESS: 24 North American actors, two sentences, eight emotions; sound, video and landmarks.

Speech only: song is left out. Two clips of actor 07 are one recording (see data/README.md); both
stay.
"""

import re
from pathlib import Path

NAME = "ravdess"
TITLE = "RAVDESS"
CITATION = "Livingstone & Russo (2018), The Ryerson audio-visual database of emotional speech, PLoS"
LICENCE = "CC BY-NC-SA 4.0"
HOME = "https://zenodo.org/records/1188976"

MEDIA = ("audio", "video", "landmarks")
WORDS = "neutral calm happiness sadness anger fear disgust surprise".split()
EMOTIONS = {f"{number:02d}": word for number, word in enumerate(WORDS, start=1)}
SPEAKERS = {f"{n:02d}": "male" if n % 2 else "female" for n in range(1, 25)}

GRAMMAR = (
    "MM-VC-EE-II-SS-RR-AA: modality 01 02 (.mp4, .csv, .csv.gz) or 03 (.wav, .flac), 01 speech or "
    "02 song, emotion 01..08, intensity 01 02 (neutral only 01), statement 01 02, repetition 01 "
    "02, actor 01..24"
)
PATTERN = re.compile(
    r"(?P<modality>(03)|0[12])-(?P<clip>0[12]-(?!01-02)(?P<emotion>0[1-8])-0[12]-(?P<statement>0[12])"
    r"-0[12]-(?P<speaker>0[1-9]|1\d|2[0-4]))(?i:\.(?(2)(wav|flac)|(mp4|csv|csv\.gz)))",
    re.ASCII,
)


def _archive(record, name):
    """Return an archive's address, the address of its record's list of hashes, and its folder."""
    files = f"https://zenodo.org/records/{record}/files"
    return f"{files}/{name}.zip", f"https://zenodo.org/api/records/{record}", name


DOWNLOADS = {
    "audio": [_archive(1188976, "Audio_Speech_Actors_01-24")],
    "video": [_archive(1188976, f"Video_Speech_Actor_{actor}") for actor in SPEAKERS],
    "landmarks": [_archive(3255102, "FacialTracking_Actors_01-24")],
}


def read_name(path):
    """Return what the name of a RAVDESS file says; None for song.

    Sound, video and landmarks of a performance differ in the modality only, which is no part of
    `clip`.

    >>> read_name("03-01-05-02-01-01-08.wav")["clip"], read_name("01-01-05-02-01-01-08.mp4")["clip"]
    ('01-05-02-01-01-08', '01-05-02-01-01-08')
    """
    name = PATTERN.fullmatch(Path(path).name)
    if not name:
        raise ValueError(f"{path}: unknown file name; {TITLE} names are {GRAMMAR}")
    song = name["clip"].startswith("02")
    return None if song else name.groupdict() | {"emotion": EMOTIONS[name["emotion"]]}
