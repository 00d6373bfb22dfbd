"""Which clips the four corpora have, under their real names, and the random streams that each one
owns.
"""

from collections import namedtuple
from itertools import product
from pathlib import Path

import numpy as np

from ..corpora import emodb, enterface, ravdess, savee
from ..corpora.reading import READERS, File

# `audio`, `video` and `landmarks` are files below the corpus's folder, empty where a clip has none.
FIELDS = "corpus name speaker female emotion statement audio video landmarks"
Clip = namedtuple("Clip", FIELDS, defaults=("", "", ""))
FILES = {corpus: [] for corpus in READERS}
for speaker, text, code in product(emodb.SPEAKERS, ("a01", "b03"), emodb.EMOTIONS):
    FILES["emodb"].append(f"wav/{speaker}{text}{code}a.wav")
for subject, (code, emotion), k in product((1, 2, 3, 4, 5, 7), enterface.EMOTIONS.items(), (1, 2)):
    FILES["enterface"].append(f"subject {subject}/{emotion}/sentence {k}/s{subject}_{code}_{k}.avi")
for actor, emotion in product(ravdess.SPEAKERS, ravdess.EMOTIONS):
    name = f"01-{emotion}-01-{(int(actor) + int(emotion)) % 2 + 1:02d}-01-{actor}"
    FILES["ravdess"].append(f"Audio_Speech_Actors_01-24/Actor_{actor}/03-{name}.wav")
    FILES["ravdess"].append(f"FacialTracking_Actors_01-24/Actor_{actor}/02-{name}.csv.gz")
    if actor in ("01", "02", "03", "08", "10"):  # one of each published fold
        FILES["ravdess"].append(f"Video_Speech_Actor_{actor}/Actor_{actor}/01-{name}.mp4")
for speaker, code, number in product(savee.SPEAKERS, savee.EMOTIONS, range(1, 7)):
    if number <= 3 or code == "n":  # as published, twice as many are neutral
        FILES["savee"].append(f"AudioData/{speaker}/{code}{number:02d}.wav")
        FILES["savee"].append(f"AudioVisualClip/{speaker}/{code}{number:02d}.avi")


def clips(corpus):
    """Clips of a corpus, with all that its reader finds in their names."""
    reader, made = READERS[corpus], {}
    for path in FILES[corpus]:
        said = reader.read_name(path)
        name, medium = File(Path(path), said).key
        gender = reader.SPEAKERS[said["speaker"]] or ("female", "male")[int(said["speaker"]) % 2]
        sentence = said["statement"][-1]  # the number alone: no words tell the emotion
        clip = Clip(corpus, name, said["speaker"], gender == "female", said["emotion"], sentence)
        made[name] = made.get(name, clip)._replace(**{medium: path})
    return list(made.values())


def stream(seed, *names):
    """Random generator of `seed` and `names` alone, so that no clip depends on what else is
    written.
    """
    return np.random.default_rng([seed, *"/".join(names).encode()])
