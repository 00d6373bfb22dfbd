"""RAVDESS: 24 North American actors, two sentences, eight emotions; sound, video and landmarks.

Speech only: song is left out. Two clips of actor 07 are one recording (see data/README.md); both
stay."""

import re
from pathlib import Path

NAME = "ravdess"
TITLE = "RAVDESS"
CITATION = "Livingstone & Russo (2018), The Ryerson audio-visual database of emotional speech and song, PLoS"
LICENCE = "CC BY-NC-SA 4.0"
HOME = "https://zenodo.org/records/1188976"

MEDIA = ("audio", "video", "landmarks")
EMOTIONS = ("neutral", "calm", "happiness", "sadness", "anger", "fear", "disgust", "surprise")
EMOTIONS = {f"{number:02d}": emotion for number, emotion in enumerate(EMOTIONS, start=1)}
SPEAKERS = {f"{n:02d}": "male" if n % 2 else "female" for n in range(1, 25)}

GRAMMAR = (
    "MM-VC-EE-II-SS-RR-AA: modality 01 02 (.mp4, .csv, .csv.gz) or 03 (.wav, .flac), 01 speech or 02 song, "
    "emotion 01..08, intensity 01 02 (neutral only 01), statement 01 02, repetition 01 02, actor 01..24"
)
PATTERN = re.compile(
    r"(?P<modality>0[123])-(?P<clip>0[12]-(?!01-02)(?P<emotion>0[1-8])-0[12]-(?P<statement>0[12])-0[12]"
    r"-(?P<speaker>0[1-9]|1\d|2[0-4]))(?i:\.(wav|flac|mp4|csv|csv\.gz))",
    re.ASCII,
)
# (address, hash, folder); a hash that is itself an address is looked up in the record's own list of
# files
AUDIO, VIDEO, TRACKING = (
    "Audio_Speech_Actors_01-24",
    "Video_Speech_Actor_",
    "FacialTracking_Actors_01-24",
)
RECORD, TRACKED = "https://zenodo.org/api/records/1188976", "https://zenodo.org/api/records/3255102"
ARCHIVE = "https://zenodo.org/records/{}/files/{}.zip"
DOWNLOADS = {
    "audio": [(ARCHIVE.format(1188976, AUDIO), "md5:bc696df654c87fed845eb13823edef8a", AUDIO)],
    "video": [
        (ARCHIVE.format(1188976, VIDEO + actor), RECORD, VIDEO + actor) for actor in SPEAKERS
    ],
    "landmarks": [(ARCHIVE.format(3255102, TRACKING), TRACKED, TRACKING)],
}


def read_name(path):
    """What the name of a RAVDESS file says; None for song.

    Sound, video and landmarks of a performance differ in the modality only, which is no part of
    `clip`.

    >>> read_name("03-01-05-02-01-01-08.wav")["clip"], read_name("01-01-05-02-01-01-08.mp4")["clip"]
    ('01-05-02-01-01-08', '01-05-02-01-01-08')
    """
    name = PATTERN.fullmatch(Path(path).name)
    sound = str(path).lower().endswith((".wav", ".flac"))
    if not name or sound != (name["modality"] == "03"):
        raise ValueError(f"{path}: unknown file name; {TITLE} names are {GRAMMAR}")
    song = name["clip"].startswith("02")
    return None if song else name.groupdict() | {"emotion": EMOTIONS[name["emotion"]]}
