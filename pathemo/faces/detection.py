"""Faces found in pictures, followed through videos, and cut out.

A box (x, y, width, height) is in shares of the picture's shorter side, from its upper left corner,
so it holds however much the picture is reduced.
"""

import warnings
from itertools import compress

import cv2
import numpy as np
from scipy import ndimage

from .. import files
from .pictures import frames, picture, reduce

CASCADE = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_default.xml")
# Smallest face sought, of the shorter side, and the step between sizes: where the first search
# finds too few faces, the second looks for smaller ones.
SEARCHES = (1 / 5, 1.2), (1 / 16, 1.1)
SMALLEST = 24  # [pixels] of the smallest face, in the reduced picture: the cascade's window
WHOLE = 100  # [pixels] images up to this size are faces already
LEAST = 0.5  # share of a clip's frames in which its face has to be found
SAME = 0.3  # overlap from which on two boxes are of one face
GAP = 0.5  # [s] a face is taken to be where it was found this long before or after


def find(image, *, smallest=1 / 5, step=1.1):
    """Return boxes (n_faces, 4) of all faces in a picture (height, width) uint8, the largest first.

    `smallest` is the width of the smallest face sought, a share of the picture's shorter side;
    `step` is the ratio of the sizes that OpenCV's cascade tries. Source: Viola & Jones 2001.
    """
    reduced = reduce(image, round(SMALLEST / smallest))
    shorter = min(reduced.shape)
    width = round(smallest * shorter)
    boxes = CASCADE.detectMultiScale(reduced, step, 5, minSize=(width, width))
    return np.array(sorted(boxes, key=lambda box: -box[2])).reshape(-1, 4) / shorter


def follow(faces, time):
    """Return boxes (n_frames, 4) of one person through a video, NaN where that person is not seen.

    `faces` holds boxes (n_faces, 4) a frame; `time` (n_frames,) [s] increases. Boxes that overlap
    from frame to frame are one person's, and the person with the largest sum of widths is followed.
    A median over three frames removes single jumps. Up to 0.5 s away from a frame with the face the
    box is interpolated.

    >>> small, large = [0.8, 0, 0.1, 0.1], [0, 0, 0.4, 0.4]
    >>> follow([np.array([large, small]), np.array([small])], [0, 1])[:, 2]
    array([0.4, nan])
    """
    people = []  # the times of each one, and the box at each
    for moment, boxes in zip(time, faces):
        for box in boxes:
            absent = [person for person in people if person[-1][0] < moment]
            near = [person for person in absent if _overlap(person[-1][1], box) >= SAME]
            same = max(near, key=lambda person: _overlap(person[-1][1], box), default=[])
            if not same:
                people.append(same)
            same.append((moment, box))
    if not people:
        return np.full((len(faces), 4), np.nan)
    seen, boxes = zip(*max(people, key=lambda person: sum(box[2] for _, box in person)))
    boxes = ndimage.median_filter(np.array(boxes), (3, 1), mode="nearest")
    every = np.apply_along_axis(lambda column: np.interp(time, seen, column), 0, boxes)
    every[np.abs(np.subtract.outer(time, seen)).min(axis=1) > GAP] = np.nan
    return every


def _overlap(one, other):
    """Return the intersection of two boxes over their union."""
    shared = cv2.rectangleIntersectionArea(one, other)
    return shared / (one[2] * one[3] + other[2] * other[3] - shared)


def detections(index, *, n_frames=16, whole=False, n_jobs=-1):
    """Return a list of face boxes (n_frames, 6), for each row of the index those of its recording.

    Columns are time [s], x, y, width, height, and whether the face was found in that frame, 1 or 0:
    then the box is interpolated, or NaN where there is no face. They are kept in the cache.

    ValueError where clips have no usable video or image: all by name.

    Parameters
    ----------
    index : DataFrame with columns clip, corpus and video, or image
        An index that has images is of images, each a frame. Those of at most 100 pixels are faces
        already.
    n_frames : int
        Frames of each video, evenly over its time.
    whole : bool
        Pictures are faces already, whatever their size, and taken whole.
    n_jobs : int
        Processes; -1: one a processor.
    """
    return _per_recording(index, _detect, n_frames, whole, n_jobs=n_jobs)


def _per_recording(index, compute, n_frames, *settings, **options):
    """Return what is computed of each row's image (n_frames is None), or else of its video."""
    if "image" in index and index["image"].notna().any():
        return files.per_recording(index, ("image",), compute, (None, *settings), **options)
    return files.per_recording(index, ("video",), compute, (n_frames, *settings), few=8, **options)


def _pictures(path, n_frames, side):
    """Return times and pictures, their shorter side at most `side` [pixels]."""
    if n_frames is None:
        return [(0.0, reduce(picture(path), side))]
    return frames(path, n_frames=n_frames, side=side)


def _detect(path, n_frames, whole):
    for smallest, step in SEARCHES:
        time, faces = [], []
        for moment, image in _pictures(path, n_frames, round(SMALLEST / smallest)):
            time.append(moment)
            if whole or (n_frames is None and max(image.shape) <= WHOLE):
                height, width = np.array(image.shape) / min(image.shape)
                faces.append([((width - 1) / 2, (height - 1) / 2, 1, 1)])  # the middle
            else:
                faces.append(find(image, smallest=smallest, step=step))
        boxes = follow(faces, time)
        pairs = zip(boxes, faces)
        seen = [any(_overlap(box, face) >= SAME for face in found) for box, found in pairs]
        if np.mean(seen) >= LEAST:
            break
    return np.column_stack([time, boxes, seen])


def crops(index, size=48, *, n_frames=16, whole=False, margin=0.0, n_jobs=-1):
    """Return face images (n_images, size, size) as float32 in [0, 1], and the clip of each.

    The second array (n_images,) holds positions in the index: of each image's clip, or of the first
    of its rows where images share a clip. So `index["emotion"].iloc[clip]` are the labels,
    `np.isin(clip, fold.test)` are the images of a fold, and posteriors are averaged a clip by
    `pd.DataFrame(posteriors).groupby(clip).mean()`. Images are in the order of the index and of
    time: where `detections` has a box. They are kept in the cache.

    An image without a face, and a video whose face was found in less than half of its frames, is
    left out, and a warning names it; ValueError where none is left.

    Parameters
    ----------
    index, n_frames, whole, n_jobs : as in `detections`
    size : int [pixels]
    margin : float
        As in `cut`; pictures that are taken whole have none.
    """
    boxes = detections(index, n_frames=n_frames, whole=whole, n_jobs=n_jobs)
    seen = np.array([part[:, 5].mean() for part in boxes]) >= LEAST
    names = ", ".join(index["clip"][~seen].head(20))
    what = f"{sum(~seen)} of {len(seen)} have no face in {LEAST:.0%} of their frames: {names}"
    if not seen.any():
        raise ValueError(f"{what}; are they faces already? Try whole=True")
    if not seen.all():
        warnings.warn(f"left out, {what}", stacklevel=2)
    options = dict(given=[*compress(boxes, seen)], n_jobs=n_jobs)
    images = _per_recording(index[seen], _cut, n_frames, whole, size, margin, **options)
    keys = index["corpus"].fillna("") + "/" + index["clip"]
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    clip = np.repeat(first[inverse][seen], [len(part) for part in images])
    return np.divide(np.concatenate(images), 255, dtype=np.float32), clip


def _cut(path, n_frames, whole, size, margin, boxes):
    width = np.nanmedian(boxes[:, 3])
    side = int(np.ceil(2 * size / width))  # the face twice as large as its image
    return [
        cut(image, box, size, margin=margin if box[2] < 1 else 0)
        for (_, image), box in zip(_pictures(path, n_frames, side), boxes[:, 1:5])
        if not np.isnan(box[0])
    ]


def cut(image, box, size=48, *, margin=0.0):
    """Return the image (size, size) uint8 of the square around a box in a picture (height, width).

    `margin` widens the square on each side, by that share of it. Outside of the picture its edge is
    repeated.
    """
    x, y, width, height = box
    side = max(width, height) * (1 + 2 * margin)
    square = np.array([x + width / 2 - side / 2, y + height / 2 - side / 2, side])
    left, top, side = np.round(square * min(image.shape)).astype(int)
    part = image.take(range(top, top + side), 0, mode="clip")
    part = part.take(range(left, left + side), 1, mode="clip")
    way = cv2.INTER_AREA if side > size else cv2.INTER_CUBIC
    return cv2.resize(part, (size, size), interpolation=way)
