"""Tasks: a corpus as something to learn, and tasks made of tasks."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from . import splits


class Task(NamedTuple):
    """A corpus as something to learn: n clips, and one row of `features` a clip, or several (its
    frames).
    """

    name: str
    features: np.ndarray  # (n_rows, d) float32, or images (n_rows, channels, height, width)
    emotion: np.ndarray  # (n,) str
    speaker: np.ndarray  # (n,) str
    folds: list = ()  # of splits.Fold, of clips; a source needs none
    version: str = ""  # corpus_version of the result rows
    inputs: str = (
        "plain"  # or "speaker-normalised", with the modality before it, if there are several
    )
    clip: np.ndarray | None = None  # (n_rows,) int, the clip of each row; None: row i is of clip i

    @property
    def emotions(self):
        """The emotions of this task, sorted: column k of its posteriors is emotions[k]."""
        return np.unique(self.emotion)

    def rows(self, clips):
        """Return the rows of features of these clips."""
        return np.asarray(clips) if self.clip is None else np.flatnonzero(np.isin(self.clip, clips))

    def labels(self):
        """Return the emotion of each row of features as a number."""
        labels = np.searchsorted(self.emotions, self.emotion)
        return labels if self.clip is None else labels[self.clip]

    def of_clips(self, posteriors, clips):
        """Return the posteriors of clips (len(clips), K): the means over those of their rows."""
        if self.clip is None:
            return posteriors
        return (
            pd.DataFrame(posteriors)
            .groupby(self.clip[self.rows(clips)])
            .mean()
            .loc[clips]
            .to_numpy()
        )


def task(name, index, features, *, inputs="plain", clip=None, modality=None):
    """Return a corpus as a `Task`, with the study's folds where its speakers are known.

    Parameters
    ----------
    index : DataFrame
        From `pathemo.corpora.load` or `from_table`.
    features : float array (n_rows, d), or images (n_rows, channels, height, width)
    inputs : {"plain", "speaker-normalised"}
        The second scales the features of each speaker by that speaker's own unlabelled clips.
    clip : int array (n_rows,), optional
        Position in the index of the clip of each row, as `pathemo.faces.crops` gives it; a row a
        clip when not given. Clips without rows are no part of the task.
    modality : str, optional
        "crops" for instance; it stands before `inputs` in result rows.
    """
    if inputs not in ("plain", "speaker-normalised"):
        raise ValueError(f"inputs = {inputs!r}: choose 'plain' or 'speaker-normalised'")
    version = index.attrs.get("version", "")
    if clip is not None:
        places, clip = np.unique(clip, return_inverse=True)
        index = index.iloc[places].reset_index(drop=True)
    features, known = np.asarray(features, np.float32), index["speaker"].notna().all()
    if inputs == "speaker-normalised":
        speaker = index["speaker"] if clip is None else index["speaker"].iloc[clip]
        flat = features.reshape(len(features), -1)
        features = (
            splits.speaker_normalise(flat, speaker).reshape(features.shape).astype(np.float32)
        )
    return Task(
        name,
        features,
        index["emotion"].to_numpy(str),
        index["speaker"].fillna("").to_numpy(str),
        tuple(splits.folds_for(index)) if known else (),
        version,
        inputs if modality is None else f"{modality}, {inputs}",
        clip,
    )


def groups(name, index, features, n_groups, *, clip=None, **options):
    """Return tasks of disjoint groups of a corpus's speakers, each with folds of its own: "emodb
    1/3", ...

    Speakers are dealt as in `splits.speaker_folds`; the other parameters are those of `task`.
    """
    clip = np.arange(len(index)) if clip is None else clip
    tasks = []
    for number, _, part in splits.speaker_folds(index, n_groups, seed=0):
        rows = np.isin(clip, part)
        of_part, clip_of_part = (
            index.iloc[part].reset_index(drop=True),
            np.searchsorted(part, clip[rows]),
        )
        group = f"{name} {number}/{n_groups}"
        tasks.append(task(group, of_part, features[rows], clip=clip_of_part, **options))
    return tasks


def with_few_speakers(task, n_speakers, *, seed=0):
    """Return the task with at most so many training speakers a fold, drawn by `seed`; its `inputs`
    say so.
    """
    folds = []
    for fold in task.folds:
        speakers = np.unique(task.speaker[fold.train])
        drawn = np.random.default_rng([seed, *fold.name.encode()]).permutation(speakers)[
            :n_speakers
        ]
        folds.append(fold._replace(train=fold.train[np.isin(task.speaker[fold.train], drawn)]))
    return task._replace(
        folds=tuple(folds), inputs=f"{task.inputs}, {n_speakers} training speakers"
    )


def with_emotions(task, emotions):
    """Return the task with the clips of these emotions alone; its `inputs` say so."""
    clips = np.flatnonzero(np.isin(task.emotion, emotions))
    rows = task.rows(clips)

    def kept(side):
        return np.searchsorted(clips, np.intersect1d(side, clips))

    folds = [fold._replace(train=kept(fold.train), test=kept(fold.test)) for fold in task.folds]
    return task._replace(
        features=task.features[rows],
        emotion=task.emotion[clips],
        speaker=task.speaker[clips],
        folds=tuple(fold for fold in folds if len(fold.test)),
        inputs=f"{task.inputs}, shared emotions",
        clip=None if task.clip is None else np.searchsorted(clips, task.clip[rows]),
    )


def pooled(tasks):
    """Return one source made of several: all their clips, over all emotions that any of them
    has.
    """
    offsets = np.cumsum([0, *(len(task.emotion) for task in tasks)])
    clips = [np.arange(len(task.emotion)) if task.clip is None else task.clip for task in tasks]
    return Task(
        "&".join(task.name for task in tasks),
        np.concatenate([task.features for task in tasks]),
        np.concatenate([task.emotion for task in tasks]),
        np.concatenate([[f"{task.name} {speaker}" for speaker in task.speaker] for task in tasks]),
        version="&".join(task.version for task in tasks),
        inputs=tasks[0].inputs,
        clip=np.concatenate([of_task + offset for of_task, offset in zip(clips, offsets)]),
    )
