"""Faces found in pictures, followed through videos, and cut out.

A box (x, y, width, height) is in shares of the picture's shorter side, so it holds however much the
picture is reduced. Its origin is the upper left corner."""

import warnings
from functools import cache as once
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pooch
from scipy import ndimage

from .. import cache
from ..corpora import model
from .pictures import frames, picture

# Smallest face sought, of the shorter side, and the step between sizes: where the first search
# finds too few faces, the second looks for smaller ones.
SEARCHES = (1 / 5, 1.2), (1 / 16, 1.1)
SMALLEST = (
    24  # [pixels] of the smallest face sought, in the reduced picture: the window of the cascade
)
WHOLE = 100  # [pixels] images up to this size are faces already
LEAST = 0.5  # share of a clip's frames in which its face has to be found
GAP = 0.5  # [s] a face is taken to be where it was found this long before or after
CODE = "".join(
    pooch.file_hash(Path(__file__).with_name(name)) for name in ("detection.py", "pictures.py")
)


def find(image, *, detector="haar", smallest=1 / 5, step=1.1):
    """Boxes (n_faces, 4) of all faces in a picture (height, width) uint8, the largest first.

    The detector is "haar", the cascade that OpenCV ships, or "yunet", once `python -m pathemo fetch
    yunet` got it. `smallest` is the width of the smallest face sought, of the picture's shorter
    side; `step` is the ratio of the sizes that the cascade tries.

    Source: Viola & Jones 2001 (the cascade); Wu et al. 2023 (YuNet).
    """
    reduced = _reduce(image, round(SMALLEST / smallest))
    shorter = min(reduced.shape)
    width = max(1, round(smallest * shorter))
    if detector == "haar":
        boxes = np.reshape(
            _cascade().detectMultiScale(reduced, step, 5, minSize=(width, width)), (-1, 4)
        )
    else:
        _yunet().setInputSize(reduced.shape[::-1])
        _, boxes = _yunet().detect(cv2.cvtColor(reduced, cv2.COLOR_GRAY2BGR))
        boxes = np.empty((0, 4)) if boxes is None else boxes[boxes[:, 2] >= width, :4]
    return boxes[np.argsort(-boxes[:, 2], kind="stable")] / shorter


@once
def _cascade():
    return cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_default.xml")


@once
def _yunet():
    return cv2.FaceDetectorYN.create(str(model("yunet")), "", (320, 320), 0.7)


def _reduce(image, side):
    share = side / min(image.shape)
    return (
        image
        if share >= 1
        else cv2.resize(image, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
    )


def follow(found, time):
    """Boxes (n_frames, 4) of one person through a video, not a number where that person is not
    seen.

    Boxes that overlap from frame to frame are one person's; the person with the largest sum of
    widths, so the largest and most persistent, is followed. Single jumps are removed by a median
    over three frames. Between frames with the face, and up to 0.5 s away from one, the box is
    interpolated. `found` holds an array (n_faces, 4) a frame; `time` (n_frames,) [s] increases.

    >>> small, large = [0.8, 0, 0.1, 0.1], [0, 0, 0.4, 0.4]
    >>> follow([np.array([large, small]), np.array([small])], [0, 1])[:, 2]
    array([0.4, nan])
    """
    people = []  # the numbers of each one's frames, and the boxes there
    for number, boxes in enumerate(found):
        for box in boxes:
            absent = [person for person in people if person[0][-1] < number]
            same = max(absent, key=lambda person: _overlap(person[1][-1], box), default=None)
            if same is None or _overlap(same[1][-1], box) < 0.3:
                same = [], []
                people.append(same)
            same[0].append(number)
            same[1].append(box)
    if not people:
        return np.full((len(found), 4), np.nan)
    numbers, boxes = max(people, key=lambda person: sum(box[2] for box in person[1]))
    boxes = ndimage.median_filter(np.array(boxes), (3, 1), mode="nearest")
    time = np.asarray(time, float)
    seen = time[numbers]
    filled = np.column_stack([np.interp(time, seen, column) for column in boxes.T])
    filled[np.abs(time[:, None] - seen).min(axis=1) > GAP] = np.nan
    return filled


def _overlap(one, other):
    """Intersection of two boxes over their union."""
    (x, y, width, height), (u, v, breadth, length) = one, other
    shared = max(0, min(x + width, u + breadth) - max(x, u)) * max(
        0, min(y + height, v + length) - max(y, v)
    )
    return shared / (width * height + breadth * length - shared)


def detections(index, *, n_frames=16, detector="haar", n_jobs=-1):
    """Face boxes, a row a frame: the table row, clip, time [s], x, y, width, height, found; cached.

    `row` is the position in the index of the clip's first row. Where `found` is False, the box is
    interpolated, or not a number where there is no face. ValueError for an unknown detector, or
    clips without a usable video or image: all by name; FileNotFoundError where the model of YuNet
    is not there.

    Parameters
    ----------
    index : DataFrame with columns clip, corpus and video, or image
        An index that has images is of images, each a frame. Those of at most 100 pixels are faces
        already.
    n_frames : int
        Frames of each video, evenly over its time.
    detector : str or None
        "haar", "yunet", or None: pictures are faces already and taken whole.
    n_jobs : int
        Processes; -1: one a processor.
    """
    return _found(index, n_frames, detector, n_jobs)[0]


def _found(index, n_frames, detector, n_jobs):
    """The table of `detections`, its part (n_frames, 6) of each row's file, and the settings of
    both.
    """
    if detector not in ("haar", "yunet", None):
        raise ValueError(f"unknown detector {detector!r}; valid: 'haar', 'yunet', None")
    if detector == "yunet":
        _yunet()
    of_images = "image" in index and index["image"].notna().any()
    settings = ("image", None, detector) if of_images else ("video", n_frames, detector)
    found = _cached(index, _detect, settings, (-1, 6), np.float64, n_jobs)
    table = pd.DataFrame(
        np.concatenate(found), columns=["time", "x", "y", "width", "height", "found"]
    )
    table["found"] = table["found"].astype(bool)
    row = np.repeat(_first_rows(index), [len(boxes) for boxes in found])
    table.insert(0, "row", row)
    table.insert(1, "clip", index["clip"].to_numpy()[row])
    return table, found, settings


def _cached(index, make, settings, shape, dtype, n_jobs, given=None):
    medium = settings[0]
    few = 8 if medium == "video" else 50  # take less time than to start processes
    return cache.arrays(
        index,
        (medium,),
        make,
        settings,
        kind="faces",
        code=CODE,
        shape=shape,
        dtype=dtype,
        given=given,
        n_jobs=n_jobs,
        few=few,
    )


def _shown(path, medium, n_frames, side):
    """Time and picture of each chosen frame, reduced to a shorter side of at most `side`."""
    if medium == "video":
        return frames(path, n_frames=n_frames, side=side)
    return [(0.0, _reduce(picture(path), side))]


def _detect(path, medium, n_frames, detector):
    """Times, boxes and whether the face was found there: (n_frames, 6)."""
    for smallest, step in SEARCHES:
        time, found = [], []
        for moment, image in _shown(path, medium, n_frames, round(SMALLEST / smallest)):
            time.append(moment)
            height, width = image.shape
            if detector is None or (medium == "image" and max(image.shape) <= WHOLE):
                offset = np.array([width, height]) / min(image.shape) / 2 - 0.5
                found.append(np.array([[*offset, 1, 1]]))  # the largest square in the middle
            else:
                found.append(find(image, detector=detector, smallest=smallest, step=step))
        boxes = follow(found, time)
        seen = [
            any(_overlap(box, other) >= 0.3 for other in others)
            for box, others in zip(boxes, found)
        ]
        if np.mean(seen) >= 0.5:
            break
    return np.column_stack([time, boxes, seen])


def crops(index, size=48, *, n_frames=16, detector="haar", margin=0.0, n_jobs=-1):
    """Face images (n_images, size, size) as float32 in [0, 1], and the clip each belongs to;
    cached.

    The second array (n_images,) holds positions in the index: of each image's clip, or of the first
    of its rows where images share a clip. So `index["emotion"].iloc[clip]` are the labels,
    `np.isin(clip, fold.test)` are the images of a fold, and posteriors are averaged a clip by
    `pd.DataFrame(posteriors).groupby(clip).mean()`. Images are in the order of the index and of
    time; they are those rows of `detections` which have a box.

    A clip whose face was found in less than half of its frames is left out; a warning names all
    such. Errors are those of `detections`; ValueError, too, where no clip is left.

    Parameters
    ----------
    index, n_frames, detector, n_jobs : as in `detections`
    size : int [pixels]
    margin : float
        Widens the square around the face on each side, by that share of it; edges are repeated
        outwards. Pictures that are taken whole have none.
    """
    table, found, settings = _found(index, n_frames, detector, n_jobs)
    share = table.groupby("row")["found"].mean()
    few = share[share < LEAST]
    if len(few) == len(share):
        raise ValueError(
            f"no clip has a face in {LEAST:.0%} of its frames: try another detector, or None"
        )
    if len(few):
        names = [f"{index['clip'].iloc[row]} ({value:.0%})" for row, value in few.iloc[:20].items()]
        more = f" and {len(few) - 20} more" if len(few) > 20 else ""
        warnings.warn(
            f"{len(few)} of {len(share)} clips are left out, with a face in less than {LEAST:.0%} "
            f"of their frames: {', '.join(names)}{more}",
            stacklevel=2,
        )
    clip = table["row"][table["x"].notna() & ~table["row"].isin(few.index)].to_numpy()
    kept = np.flatnonzero(np.isin(_first_rows(index), clip))
    made = _cached(
        index.iloc[kept],
        _cut,
        (*settings, size, margin),
        (-1, size, size),
        np.uint8,
        n_jobs,
        given=[found[row][:, 1:5] for row in kept],
    )
    return np.divide(np.concatenate(made), 255, dtype=np.float32), clip


def _first_rows(index):
    """Position of the first row of each row's clip."""
    codes, _ = pd.factorize(index["corpus"].fillna("") + "/" + index["clip"])
    return np.unique(codes, return_index=True)[1][codes]


def _cut(path, medium, n_frames, detector, size, margin, boxes):
    """Face images (n, size, size) uint8 of a recording, at the boxes (n_frames, 4) that it has."""
    known = boxes[~np.isnan(boxes[:, 0])]
    if not len(known):
        return np.empty((0, size, size))
    side = int(
        np.ceil(2 * size / np.median(known[:, 2]))
    )  # the face about twice as large as its image
    shown = _shown(path, medium, n_frames, side)
    found = [(image, box) for (_, image), box in zip(shown, boxes) if not np.isnan(box[0])]
    return [cut(image, box, size, margin=margin if box[2] < 1 else 0) for image, box in found]


def square(box, margin=0.0):
    """Left, top and side of the square around a box: (3,), in the box's unit."""
    x, y, width, height = box
    side = max(width, height) * (1 + 2 * margin)
    return np.array([x + width / 2 - side / 2, y + height / 2 - side / 2, side])


def cut(image, box, size=48, *, margin=0.0):
    """Image (size, size) uint8 of a box in a picture (height, width); what lies outside repeats the
    edge.
    """
    left, top, side = np.round(square(box, margin) * min(image.shape)).astype(int)
    rows, columns = (
        np.clip(np.arange(start, start + side), 0, end - 1)
        for start, end in zip((top, left), image.shape)
    )
    way = cv2.INTER_AREA if side > size else cv2.INTER_CUBIC
    return cv2.resize(image[np.ix_(rows, columns)], (size, size), interpolation=way)
