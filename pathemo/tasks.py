"""Tasks: a corpus as something to learn, of one modality, and tasks made of tasks."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from . import faces, speech, splits
from .engine import check

SOUND = ["audio", "video"]  # what embeddings of pre-trained networks are of, too
MEDIA = {
    "speech": SOUND,
    "landmarks": ["landmarks"],
    "hog": ["video", "image"],
    "crops": ["video", "image"],
}


@dataclass(frozen=True, eq=False)
class Task:
    """A corpus to learn: n clips, and one row of `features` a clip, or several (its frames)."""

    name: str
    features: np.ndarray  # (n_rows, d) float32, or images (n_rows, channels, height, width)
    emotion: np.ndarray  # (n,) str
    speaker: np.ndarray  # (n,) str
    folds: tuple = ()  # of splits.Fold, of clips; a source needs none
    version: str = ""  # corpus_version of the result rows, as the five that follow
    modality: str = "speech"
    inputs: str = "plain"
    variant: str = ""
    draw: int = 0
    clip: np.ndarray | None = None  # (n_rows,) int, the clip of each row; None: row i is of clip i
    group: np.ndarray | None = None  # (n_rows,) int, the corpus of each row; None: all of one
    statement: np.ndarray | None = None  # (n,) str, what is said, where it is known

    def __post_init__(self):
        if self.clip is None:
            object.__setattr__(self, "clip", np.arange(len(self.features)))
        if self.group is None:
            object.__setattr__(self, "group", np.zeros(len(self.features), int))

    @property
    def absent(self):
        """Whether the corpus is not here: such a task has no clip."""
        return len(self.emotion) == 0

    @property
    def emotions(self):
        """The emotions of this task, sorted: column k of its posteriors is emotions[k]."""
        return np.unique(self.emotion)

    def rows(self, clips):
        """Return the rows of features of these clips."""
        return np.flatnonzero(np.isin(self.clip, clips))

    def labels(self):
        """Return the emotion of each row of features as a number."""
        return np.searchsorted(self.emotions, self.emotion)[self.clip]

    def of_clips(self, posteriors, clips):
        """Return the posteriors of clips (len(clips), K): the means over those of their rows."""
        of_clips = pd.DataFrame(posteriors).groupby(self.clip[self.rows(clips)]).mean()
        return of_clips.loc[clips].to_numpy()

    def key(self):
        """Return what the columns of result rows say of this task as a target."""
        same = {name: getattr(self, name) for name in ("modality", "inputs", "variant", "draw")}
        return same | {"target": self.name, "corpus_version": self.version}


def task(name, index, features, *, inputs="plain", clip=None, modality="speech"):
    """Return a corpus as a `Task`, with the study's folds where its speakers are known.

    Parameters
    ----------
    index : DataFrame
        From `pathemo.corpora.load` or `from_table`.
    features : float array (n_rows, d), or images (n_rows, channels, height, width)
    inputs : {"plain", "speaker-normalised"}
        The second scales the features of each speaker by that speaker's own unlabelled clips. Where
        speakers are not known, which makes a source only, features stay as they are.
    clip : int array (n_rows,), optional
        Position in the index of the clip of each row, as `pathemo.faces.crops` gives it; a row a
        clip when not given. Clips without rows are no part of the task.
    modality : str
        What the result rows call the kind of features.
    """
    check({"inputs": ("plain", "speaker-normalised")}, inputs=inputs)
    features, version = np.asarray(features, np.float32), index.attrs.get("version", "")
    clip = np.arange(len(index)) if clip is None else np.asarray(clip)
    if len(clip) != len(features) or clip.max(initial=-1) >= len(index):
        raise ValueError(
            f"task {name}: {len(features)} rows of features for {len(clip)} rows of an index of "
            f"{len(index)} clips: `clip` tells which clip each row of features is of"
        )
    places, clip = np.unique(clip, return_inverse=True)
    index = index.iloc[places].reset_index(drop=True)
    known = index["speaker"].notna().all()
    said = "statement" in index and index["statement"].notna().all()
    if inputs == "speaker-normalised" and known:
        flat = features.reshape(len(features), -1)
        scaled = splits.speaker_normalise(flat, index["speaker"].iloc[clip])
        features = scaled.reshape(features.shape).astype(np.float32)
    return Task(
        name,
        features,
        index["emotion"].to_numpy(str),
        index["speaker"].fillna("").to_numpy(str),
        tuple(splits.folds_for(index)) if known else (),
        version,
        modality,
        inputs,
        clip=clip,
        statement=index["statement"].to_numpy(str) if said else None,
    )


def features_of(modality, index, *, speed=1.0, n_jobs=1, **options):
    """Return features, a row a clip or several, and the position in the index of each row's clip.

    Parameters
    ----------
    modality : {"speech", "landmarks", "hog", "crops"}, or a network
        Functionals of sound, or of facial landmarks; of face crops histograms of oriented
        gradients, or the images, each with mean 0 and spread 1, and its mirror image as a further
        row; embeddings of a speech encoder.
    index : DataFrame
    speed : float
        Of sound.
    options : of `pathemo.faces.crops`, or of `pathemo.speech.embeddings`
    """
    if modality == "speech":
        return speech.functionals(index, speed=speed, n_jobs=n_jobs), np.arange(len(index))
    if modality == "landmarks":
        return faces.functionals(index, n_jobs=n_jobs), np.arange(len(index))
    if modality not in MEDIA:
        embeddings = speech.embeddings(index, modality, n_jobs=n_jobs, **options)
        return embeddings, np.arange(len(index))
    size = 64 if modality == "hog" else 48  # [pixels] edges gain from more, images cost more
    images, clip = faces.crops(index, size, n_jobs=n_jobs, **options)
    if modality == "hog":
        return faces.hog(images), clip
    mean, spread = images.mean((1, 2), keepdims=True), images.std((1, 2), keepdims=True)
    images = (images - mean) / np.maximum(spread, 1e-6)
    images = images[:, None]  # (n_rows, 1, 48, 48)
    return np.concatenate([images, images[..., ::-1]]), np.concatenate([clip, clip])


def corpus_tasks(names, indexes, modality, inputs, *, speeds=(1.0,), **options):
    """Return the tasks of one modality by (name, inputs): absent ones where corpus or network are.

    Parameters
    ----------
    names : sequence of str
    indexes : dict of DataFrame
        Of the corpora that are here.
    modality, options
        Of `features_of`.
    inputs : sequence of {"plain", "speaker-normalised"}
    speeds : sequence of float
        Of sound: a clip has the rows of each, to be learned as other voices; when it is tested, the
        mean over its rows counts.
    """
    speeds = speeds if modality == "speech" else (1.0,)
    here = modality in MEDIA or speech.is_here(modality, options.get("root"))
    tasks, absent = {}, pd.DataFrame(columns=["clip"])
    for name in names:
        index = indexes.get(name, absent) if here else absent
        has_any = index.reindex(columns=MEDIA.get(modality, SOUND)).notna().any(axis=1)
        index = index[has_any].reset_index(drop=True)
        copies = [features_of(modality, index, speed=s, **options) for s in speeds if len(index)]
        for i in inputs:
            kind = dict(modality=modality, inputs=i)
            if not copies:
                nothing = np.empty(0, str)
                tasks[name, i] = Task(name, np.empty((0, 1)), nothing, nothing, **kind)
                continue
            parts = [task(name, index, x, clip=clip, **kind) for x, clip in copies]
            features = np.concatenate([part.features for part in parts])
            clip = np.concatenate([part.clip for part in parts])
            tasks[name, i] = replace(parts[0], features=features, clip=clip, group=None)
    return tasks


def groups(task, index, n_groups):
    """Return tasks of disjoint groups of a task's speakers, each with folds of its own.

    Speakers are dealt as in `splits.speaker_folds`; `index` has a row a clip of the task. The
    `draw` of a group is its number, from 1."""
    if len(index) != len(task.emotion):
        raise ValueError(f"task {task.name}: {len(task.emotion)} clips, its index {len(index)}")
    tasks = []
    for number, (_, _, part) in enumerate(splits.speaker_folds(index, n_groups, seed=0), start=1):
        rows = task.rows(part)
        group = replace(
            task,
            features=task.features[rows],
            emotion=task.emotion[part],
            speaker=task.speaker[part],
            folds=tuple(splits.folds_for(index.iloc[part].reset_index(drop=True))),
            variant=f"groups={n_groups}",
            draw=number,
            clip=np.searchsorted(part, task.clip[rows]),
            group=None,
            statement=None,
        )
        tasks.append(group)
    return tasks


def with_few_speakers(task, n_speakers, *, draw=0):
    """Return the task with at most so many training speakers a fold, drawn by `draw`."""
    folds = []
    for fold in task.folds:
        speakers = np.unique(task.speaker[fold.train])
        order = np.random.default_rng([draw, *fold.name.encode()]).permutation(speakers)
        few = fold.train[np.isin(task.speaker[fold.train], order[:n_speakers])]
        folds.append(fold._replace(train=few))
    return replace(task, folds=tuple(folds), variant=f"training_speakers={n_speakers}", draw=draw)


def with_folds(task, folds, variant):
    """Return the task on other folds, of that variant."""
    return replace(task, folds=tuple(folds), variant=variant)


def with_sentences_parted(task, *, n_groups=5):
    """Return the task twice: tested on sentences that are unheard in training, and its control.

    Variants `sentences_disjoint` and `sentences_shared`, see `splits.speaker_and_sentence_disjoint`
    and `splits.as_many_clips`."""
    if task.statement is None:
        raise ValueError(f"task {task.name}: the column statement does not say what is said")
    index = pd.DataFrame({name: vars(task)[name] for name in ("speaker", "emotion", "statement")})
    folds = splits.speaker_and_sentence_disjoint(index, task.folds, n_groups=n_groups)
    control = splits.as_many_clips(index, folds, task.folds)
    parted = with_folds(task, folds, "sentences_disjoint")
    return parted, with_folds(task, control, "sentences_shared")


def pooled(tasks):
    """Return one task made of several: all their clips, over all emotions that any has.

    Each stays a group of its own, scaled by itself. Its clips come in the order of `tasks`; it has
    the folds of the first, with all clips of the others in training."""
    sizes = [len(task.emotion) for task in tasks]
    offsets, n_groups = np.cumsum([0, *sizes]), np.cumsum([0, *(max(t.group) + 1 for t in tasks)])
    others = np.arange(sizes[0], offsets[-1])
    folds = [fold._replace(train=np.append(fold.train, others)) for fold in tasks[0].folds]
    return replace(
        tasks[0],
        name="&".join(task.name for task in tasks),
        features=np.concatenate([task.features for task in tasks]),
        emotion=np.concatenate([task.emotion for task in tasks]),
        speaker=np.array([f"{t.name} {speaker}" for t in tasks for speaker in t.speaker]),
        folds=tuple(folds),
        version="&".join(task.version for task in tasks),
        clip=np.concatenate([task.clip + offset for task, offset in zip(tasks, offsets)]),
        group=np.concatenate([task.group + offset for task, offset in zip(tasks, n_groups)]),
        statement=None,
    )
