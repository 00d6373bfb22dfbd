"""Landmarks: 68 points a frame, made independent of where the face is, and one row of functionals a
clip.

The points are those of the 300-W scheme, which OpenFace uses: 0-16 the jaw, 17-26 the brows, 27-35
the nose, 36-47 the eyes, 48-67 the lips; from the left of the picture to its right.

Source: measures after the action units of FACS (Ekman & Friesen 1978); ours in detail, as the
papers give no inputs. Which were kept was chosen by cross-validation within training actors of
RAVDESS."""

import csv
import gzip
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pooch

from .. import cache
from .pictures import WAY_OUT

MEASURES = (
    "mouth width",
    "mouth opening",
    "lip height",
    "smile",
    "upper lip",
    "chin",
    "right eye opening",
    "left eye opening",
    "right outer brow",
    "right middle brow",
    "right inner brow",
    "left outer brow",
    "left middle brow",
    "left inner brow",
    "frown",
    "right brow tilt",
    "left brow tilt",
    "nose down",
    "nose aside",
    "chin aside",
    "chin down",
    "nostrils",
    "mouth tilt",
    "roll",
    "distance",
    "position x",
    "position y",
)
STATISTICS = ("mean", "sd", "range", "velocity")
COSINES = (1, 2, 3, 4)  # draw the course of a measure, by the number of their halves
FUNCTIONALS = tuple(
    f"{measure} {name}"
    for name in (*STATISTICS, *(f"contour{n}" for n in COSINES))
    for measure in MEASURES
)
COLUMNS = [f"{axis}_{number}" for axis in "xy" for number in range(68)]
CODE = pooch.file_hash(__file__)  # part of cache names


def track(path):
    """Landmarks as they were tracked: times (n_frames,) [s] and points (n_frames, 68, 2) [pixels],
    y down.

    Columns are those of OpenFace, `x_0` to `x_67`, `y_0` to `y_67` and, each where it is there,
    `timestamp`, `success` (frames of 0 are left out), and `face_id` (the person in most frames is
    taken). Without timestamps, frames are 1/30 s apart.

    FileNotFoundError where nothing is there. ValueError where it is no such table, its rows differ
    in length, its times do not increase, or no frame has a face. (What ends between two rows, not
    packed, passes.)"""
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such table of landmarks. {WAY_OUT}")
    try:
        table = pd.read_csv(path, skipinitialspace=True)
        with (gzip.open if path.suffix == ".gz" else open)(
            path, "rt", encoding="utf-8", newline=""
        ) as file:
            lengths = {len(row) for row in csv.reader(file) if row}
    except (
        OSError,
        EOFError,
        zlib.error,
        csv.Error,
        ValueError,
    ) as problem:  # those of pandas are the last
        raise ValueError(f"{path}: it is damaged or no table ({problem}). {WAY_OUT}") from problem
    if lacking := [column for column in COLUMNS if column not in table]:
        raise ValueError(
            f"{path}: {len(lacking)} columns are lacking, {lacking[0]} first; landmarks are the "
            f"columns x_0..x_67 and y_0..y_67 of OpenFace. {WAY_OUT}"
        )
    if len(lengths) > 1:  # pandas shifts the longer ones, and fills the shorter ones
        shortest, longest = min(lengths), max(lengths)
        raise ValueError(
            f"{path}: it is damaged: rows have {shortest} to {longest} cells. {WAY_OUT}"
        )
    time = table.get("timestamp", np.arange(len(table)) / 30)
    try:
        rows = np.column_stack([time, table[COLUMNS]]).astype(float)
    except ValueError as problem:
        raise ValueError(f"{path}: it holds what is no number ({problem}). {WAY_OUT}") from None
    points = rows[:, 1:].reshape(-1, 2, 68).swapaxes(1, 2)
    good = (np.abs(rows) < 1e15).all(axis=1)  # neither empty nor beyond all squares
    good &= np.ptp(points, axis=1).min(axis=1) > 0  # no face: all points are one
    if "success" in table:
        good &= table["success"] == 1
    if "face_id" in table:
        good &= table["face_id"] == table["face_id"][good].mode().min()
    time, points = rows[good, 0], points[good]
    if not len(points):
        raise ValueError(f"{path}: no frame of it has a face. {WAY_OUT}")
    if (np.diff(time) <= 0).any():
        raise ValueError(f"{path}: its times do not increase. {WAY_OUT}")
    return time, points


def normalise(points):
    """Landmarks (n_frames, 68, 2) without the place, size and roll of the head, frame by frame.

    The origin is the mean of the 68 points, their root mean square distance from it is 1, and the
    line between the eyes is level; y points down.

    >>> points = np.random.default_rng(0).normal(size=(1, 68, 2))
    >>> turned = 3 * points[:, :, ::-1] * (-1, 1) + 5  # by 90 degrees
    >>> np.allclose(normalise(points), normalise(turned))
    True
    """
    plane = points[..., 0] + 1j * points[..., 1]
    across = plane[:, 42:48].mean(axis=1) - plane[:, 36:42].mean(axis=1)
    plane = (plane - plane.mean(axis=1, keepdims=True)) / (across / np.abs(across))[:, None]
    plane /= np.sqrt(np.square(np.abs(plane)).mean(axis=1, keepdims=True))
    return np.stack([plane.real, plane.imag], axis=-1)


def landmarks(index, *, n_frames=32, n_jobs=-1):
    """Normalised landmarks at even times over each clip: (n_clips, n_frames, 68, 2) float32,
    cached.

    The index has columns clip and landmarks (paths or NA). The first frame is a clip's first, the
    last its last; points between tracked frames are interpolated. `n_jobs` processes; -1: one a
    processor.

    ValueError names all clips that have no usable landmarks; the others stay cached.
    """
    made = cache.arrays(
        index,
        ("landmarks",),
        _resampled,
        (n_frames,),
        kind="faces",
        code=CODE,
        shape=(n_frames, 68, 2),
        n_jobs=n_jobs,
    )
    return np.stack(made)


def _resampled(path, n_frames):
    time, points = track(path)
    flat = normalise(points).reshape(len(points), -1)
    moments = np.linspace(time[0], time[-1], n_frames)
    return np.column_stack([np.interp(moments, time, column) for column in flat.T]).reshape(
        n_frames, 68, 2
    )


def functionals(index, *, n_jobs=-1):
    """Functionals of each clip's landmarks, (n_clips, n_features) as float32, as FUNCTIONALS;
    cached.

    Parameters and errors are those of `landmarks`.
    """
    made = cache.arrays(
        index,
        ("landmarks",),
        _row,
        (),
        kind="faces",
        code=CODE,
        shape=(len(FUNCTIONALS),),
        n_jobs=n_jobs,
    )
    return np.stack(made)


def _row(path):
    return functionals_of(*track(path))


def functionals_of(time, points):
    """Functionals (n_features,) float32 of one track: STATISTICS of MEASURES, then their course in
    time.

    The range is from the 10th to the 90th percentile; velocity is the mean absolute change [1/s]; a
    contour is the mean product with half a cosine, a whole one, ... over the clip. `time` is
    (n_frames,) [s], and `points` are (n_frames, 68, 2) [pixels]."""
    tracks = measures(points)
    low, high = np.percentile(tracks, [10, 90], axis=0)
    duration = max(time[-1] - time[0], 1e-3)
    velocity = np.abs(np.diff(tracks, axis=0)).sum(axis=0) / duration
    course = np.cos(np.pi * np.outer(COSINES, (time - time[0]) / duration)) @ tracks / len(tracks)
    return np.float32(
        [*tracks.mean(axis=0), *tracks.std(axis=0), *(high - low), *velocity, *course.ravel()]
    )


def measures(points):
    """MEASURES of points (n_frames, 68, 2) [pixels]: (n_frames, n_measures), in sizes of the face
    or radians.

    Those of the head are its roll, how near it is (the logarithm of the eyes' distance) and its
    place, the last three relative to the clip's own mean. "right" is the right of the person, the
    left of the picture."""
    shape = normalise(points)
    x, y = shape[..., 0], shape[..., 1]

    def distance(one, other):
        return np.hypot(x[:, one] - x[:, other], y[:, one] - y[:, other])

    plane = points[..., 0] + 1j * points[..., 1]
    across = plane[:, [42, 45]].mean(axis=1) - plane[:, [36, 39]].mean(axis=1)
    apart = np.abs(across)
    place = plane[:, 27:31].mean(axis=1) / np.median(apart)
    return np.column_stack(
        [
            distance(48, 54),
            y[:, 66] - y[:, 62],
            distance(51, 57),
            (y[:, 62] + y[:, 66] - y[:, 48] - y[:, 54]) / 2,  # corners above the middle of the lips
            y[:, 51] - y[:, 33],
            y[:, 8] - y[:, 57],
            (distance(37, 41) + distance(38, 40)) / 2,
            (distance(43, 47) + distance(44, 46)) / 2,
            y[:, 36:42].mean(axis=1, keepdims=True) - y[:, [17, 19, 21]],
            y[:, 42:48].mean(axis=1, keepdims=True) - y[:, [26, 24, 22]],
            distance(21, 22),
            y[:, 21] - y[:, 17],
            y[:, 22] - y[:, 26],
            y[:, 33] - y[:, 36:48].mean(axis=1),
            x[:, 33],
            x[:, 8],
            y[:, 8],
            distance(31, 35),
            y[:, 48] - y[:, 54],
            np.angle(across),
            np.log(apart) - np.log(apart).mean(),
            place.real - place.real.mean(),
            place.imag - place.imag.mean(),
        ]
    )
