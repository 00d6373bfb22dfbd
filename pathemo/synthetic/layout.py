"""Names and folders of the four corpora, and the random streams that a clip and a speaker own."""

from collections import namedtuple
from itertools import product

import numpy as np

# `audio`, `video` and `landmarks` are files below the corpus's folder, empty where a clip has none.
Clip = namedtuple(
    "Clip", "corpus name speaker female emotion statement audio video landmarks", defaults=("", "", "")
)


def stream(seed, *names):
    """Random generator of `seed` and `names` alone, so that no clip depends on what else is written.

    >>> stream(0, "emodb", "03a01Wa").integers(1000) == stream(0, "emodb", "03a01Wa").integers(1000)
    np.True_
    """
    return np.random.default_rng([seed, *"/".join(names).encode()])


def emodb():
    """Clips of EMO-DB: 10 speakers x 7 emotions x 2 texts."""
    speakers = ("03", "08", "09", "10", "11", "12", "13", "14", "15", "16")
    emotions = ("anger", "boredom", "disgust", "fear", "happiness", "neutral", "sadness")
    letters = zip("WLEAFNT", emotions, strict=True)
    for speaker, (letter, emotion), text in product(speakers, letters, ("a01", "b03")):
        name, female = f"{speaker}{text}{letter}a", speaker in ("08", "09", "13", "14", "16")
        yield Clip("emodb", name, speaker, female, emotion, text, audio=f"wav/{name}.wav")


def savee():
    """Clips of SAVEE: 4 men, 3 of each emotion and 6 neutral, as sound and as film."""
    emotions = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
    for speaker, emotion, number in product(("DC", "JE", "JK", "KL"), emotions, range(1, 7)):
        if emotion == "neutral" or number <= 3:
            code = emotion[: 2 if emotion[0] == "s" else 1] + f"{number:02d}"
            files = f"AudioData/{speaker}/{code}.wav", f"AudioVisualClip/{speaker}/{code}.avi"
            yield Clip("savee", f"{speaker}_{code}", speaker, False, emotion, f"{number:02d}", *files)


def enterface():
    """Clips of eNTERFACE'05: 6 subjects x 6 emotions x 2 sentences, which all emotions share."""
    emotions = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")
    for subject, emotion, sentence in product((1, 2, 3, 4, 5, 7), emotions, (1, 2)):
        code = f"{emotion[:2]}_{sentence}"
        prefix = "s_3" if subject == 3 else f"s{subject}"  # as published
        video = f"subject {subject}/{emotion}/sentence {sentence}/{prefix}_{code}.avi"
        speaker, female = f"{subject:02d}", subject in (2, 4, 7)
        yield Clip("enterface", f"s{speaker}_{code}", speaker, female, emotion, str(sentence), video=video)


def ravdess():
    """Clips of RAVDESS: 24 actors x 8 emotions, with landmarks; an actor of each published fold is filmed."""
    emotions = ("neutral", "calm", "happiness", "sadness", "anger", "fear", "disgust", "surprise")
    for actor, (number, emotion) in product(range(1, 25), enumerate(emotions, start=1)):
        speaker, statement = f"{actor:02d}", f"{(actor + number) % 2 + 1:02d}"
        name, folder = f"01-{number:02d}-01-{statement}-01-{speaker}", f"Actor_{speaker}"
        audio = f"Audio_Speech_Actors_01-24/{folder}/03-{name}.wav"
        video = f"Video_Speech_{folder}/{folder}/01-{name}.mp4" if actor in (1, 2, 3, 8, 10) else ""
        landmarks = f"FacialTracking_Actors_01-24/{folder}/02-{name}.csv.gz"
        yield Clip("ravdess", name, speaker, actor % 2 == 0, emotion, statement, audio, video, landmarks)


CORPORA = {"emodb": emodb, "enterface": enterface, "ravdess": ravdess, "savee": savee}
