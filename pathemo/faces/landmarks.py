"""Landmarks, made independent of where the face is, and one row of functionals a clip.

The 68 points a frame are those of the 300-W scheme, which OpenFace uses: 0-16 the jaw, 17-26 the
brows, 27-35 the nose, 36-47 the eyes, 48-67 the lips; from the left of the picture to its right.

Source: measures after the action units of FACS (Ekman & Friesen 1978); ours in detail, as the
papers give no inputs. Which were kept was chosen by cross-validation within training actors of
RAVDESS.
"""

import zlib
from itertools import product

import numpy as np

from .. import files

COLUMNS = [f"{axis}_{number}" for axis in "xy" for number in range(68)]
AXES = np.complex64([1, 1j])  # of the complex plane
STATISTICS = "mean sd range velocity contour1 contour2 contour3 contour4".split()


def track(path):
    """Return times (n_frames,) [s] and landmarks (n_frames, 68, 2) [pixels], as they were tracked.

    Columns are those of OpenFace, `x_0` to `x_67`, `y_0` to `y_67`, where y points down, and, each
    where it is there, `timestamp`, `frame`, `success` (frames of 0 are left out) and `face_id` (the
    person in most frames is taken). Without timestamps, frames are 1/30 s apart; without `frame`,
    each row is one, if nothing but points and success is there.

    FileNotFoundError where nothing is there. ValueError where it is no such table or one of other
    points, its rows differ in length, nothing tells their times, these do not increase, or no frame
    has a face. (What ends between two rows, not packed, passes.)
    """
    with files.reading(path, "table of landmarks", EOFError, IndexError, zlib.error):
        table = np.genfromtxt(path, delimiter=",", names=True, loose=False, ndmin=1)
        names = {*table.dtype.names}
        if lacking := [name for name in COLUMNS if name not in names]:
            raise ValueError(f"{len(lacking)} columns of x_0..y_67 are lacking, {lacking[0]} first")
        if "x_68" in names:
            raise ValueError("it has more points than the 68 of 300-W: pick those, in their order.")
        flat = np.array([table[name] for name in COLUMNS])  # (136, n_frames)
        points = flat.reshape(2, 68, len(table)).T
        if "timestamp" in names:
            time = table["timestamp"]
        elif "frame" in names:
            time = table["frame"] / 30
        elif others := sorted(names - {*COLUMNS, "success"}):
            raise ValueError(f"no column timestamp or frame beside {others} tells when a row is.")
        else:
            time = np.arange(len(table)) / 30
        good = (np.abs([time, *flat]) < 1e15).all(axis=0)  # neither empty nor beyond all squares
        good &= np.ptp(points, axis=1).min(axis=1) > 0  # no face: all points are one
        if "success" in names:
            good &= table["success"] == 1
        if "face_id" in names and good.any():
            people, counts = np.unique(table["face_id"][good], return_counts=True)
            good &= table["face_id"] == people[counts.argmax()]
        time, points = time[good], points[good]
        if not len(points):
            raise ValueError("no frame of it has a face")
        if (np.diff(time) <= 0).any():
            raise ValueError("its times do not increase; face_id would tell several people apart")
    return time, points


def normalise(points):
    """Return landmarks (n_frames, 68, 2) without the place, size and roll of the head.

    In each frame the origin is the mean of the 68 points, their root mean square distance from it
    is 1, and the line between the eyes is level; y points down.

    >>> points = np.random.default_rng(0).normal(size=(1, 68, 2))
    >>> turned = 3 * points[:, :, ::-1] * (-1, 1) + 5  # by 90 degrees
    >>> np.allclose(normalise(points), normalise(turned))
    True
    """
    plane = points @ AXES  # (n_frames, 68)
    across = plane[:, 42:48].mean(axis=1) - plane[:, 36:42].mean(axis=1)
    plane = (plane - plane.mean(axis=1, keepdims=True)) / (across / np.abs(across))[:, None]
    plane /= np.sqrt(np.square(np.abs(plane)).mean(axis=1, keepdims=True))
    return np.stack([plane.real, plane.imag], axis=-1)


def landmarks(index, *, n_frames=32, n_jobs=-1):
    """Return normalised landmarks at even times over each clip: (n_clips, n_frames, 68, 2) float32.

    From a clip's first frame to its last, interpolated between tracked ones; kept in the cache. The
    index has columns clip, landmarks (paths or NA). ValueError where clips have no usable
    landmarks: all by name, the others stay cached.
    """
    media = ("landmarks",)
    return np.stack(files.per_recording(index, media, _resample, (n_frames,), n_jobs=n_jobs))


def _resample(path, n_frames):
    time, points = track(path)
    even = np.linspace(time[0], time[-1], n_frames)
    points = np.apply_along_axis(lambda at: np.interp(even, time, at), 0, normalise(points))
    return points.astype(np.float32)


def functionals(index, *, n_jobs=-1):
    """Return FUNCTIONALS of each clip's landmarks, (n_clips, n_features) float32.

    Cache, index and errors are as in `landmarks`.
    """
    return np.stack(files.per_recording(index, ("landmarks",), _row, n_jobs=n_jobs))


def _row(path):
    return functionals_of(*track(path))


def functionals_of(time, points):
    """Return FUNCTIONALS (n_features,) float32 of times (n_frames,) [s] and points [pixels].

    The range of a measure is from its 10th to its 90th percentile; velocity is the mean absolute
    change [1/s]; contours are mean products with 1, 2, 3 and 4 halves of a cosine over the clip.
    """
    tracks = measures(points)
    low, high = np.percentile(tracks, [10, 90], axis=0)
    mean = tracks.mean(axis=0)
    mean[-3:] = 0  # exactly: distance and position are relative to it
    duration = max(time[-1] - time[0], 1e-3)
    velocity = np.abs(np.diff(tracks, axis=0)).sum(axis=0) / duration
    halves = np.outer([1, 2, 3, 4], (time - time[0]) / duration)
    contours = np.cos(np.pi * halves) @ tracks / len(tracks)
    row = mean, tracks.std(axis=0), high - low, velocity, contours
    return np.concatenate(row, axis=None, dtype=np.float32)


def measures(points):
    """Return MEASURES (n_frames, n_measures) of points (n_frames, 68, 2) [pixels].

    They are in sizes of the face, or radians. Those of the head are its roll, how near it is (the
    logarithm of the eyes' distance) and its place, the last three relative to the clip's own mean.
    "right" is the right of the person, the left of the picture.
    """
    return np.array([*_measures(points).values()]).T


def _measures(points):
    """Return the measures (n_frames,) by name."""
    x, y = normalise(points).T  # (68, n_frames)
    right_eye, left_eye = y[36:42].mean(axis=0), y[42:48].mean(axis=0)
    plane = points @ AXES
    across = plane[:, [42, 45]].mean(axis=1) - plane[:, [36, 39]].mean(axis=1)
    nearness = np.log(np.abs(across))
    place = plane[:, 27:31].mean(axis=1) / np.median(np.abs(across))

    def distance(one, other):
        return np.hypot(x[one] - x[other], y[one] - y[other])

    return {
        "mouth width": distance(48, 54),
        "mouth opening": y[66] - y[62],
        "lip height": distance(51, 57),
        "smile": (y[62] + y[66] - y[48] - y[54]) / 2,  # corners above the middle of the lips
        "upper lip": y[51] - y[33],
        "chin": y[8] - y[57],
        "right eye opening": (distance(37, 41) + distance(38, 40)) / 2,
        "left eye opening": (distance(43, 47) + distance(44, 46)) / 2,
        "right outer brow": right_eye - y[17],
        "right middle brow": right_eye - y[19],
        "right inner brow": right_eye - y[21],
        "left outer brow": left_eye - y[26],
        "left middle brow": left_eye - y[24],
        "left inner brow": left_eye - y[22],
        "frown": distance(21, 22),
        "right brow tilt": y[21] - y[17],
        "left brow tilt": y[22] - y[26],
        "nose down": y[33] - y[36:48].mean(axis=0),
        "nose aside": x[33],
        "chin aside": x[8],
        "chin down": y[8],
        "nostrils": distance(31, 35),
        "mouth tilt": y[48] - y[54],
        "roll": np.angle(across),
        "distance": nearness - nearness.mean(),
        "position x": place.real - place.real.mean(),
        "position y": place.imag - place.imag.mean(),
    }


MEASURES = tuple(_measures(np.arange(136.0).reshape(1, 68, 2) ** 2))
FUNCTIONALS = tuple(f"{measure} {name}" for name, measure in product(STATISTICS, MEASURES))
