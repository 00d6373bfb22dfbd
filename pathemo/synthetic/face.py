"""A parametric face: 68 landmarks that move with the emotion, drawn with light and shade as
filmed.
"""

from collections import namedtuple

import cv2
import numpy as np

from .layout import stream

FRAME_RATE = 15  # [frames/s]
FACE = 33  # half the width of a face [pixels]
FINE = 3  # drawn that much larger, then reduced
CIRCLE = np.column_stack([np.cos(np.arange(0, 6.28, 0.2)), np.sin(np.arange(0, 6.28, 0.2))])

# inner and outer brow up, eyes wide, nose up, smile, mouth open, head leaning [degrees]
EMOTIONS = {
    "anger": (-1.1, 0.3, 0.4, 0.4, -0.4, 0.15, 0),
    "boredom": (0, 0.1, -0.8, 0, -0.3, 0, 7),
    "calm": (0.1, 0, -0.2, 0, 0.3, 0, 2),
    "disgust": (-0.8, 0, -0.5, 1.2, -0.4, 0.15, -3),
    "fear": (0.8, 0.3, 0.9, 0, -0.3, 0.3, 0),
    "happiness": (0.1, 0.2, -0.3, 0.1, 1.2, 0.3, 3),
    "neutral": (0, 0, 0, 0, 0, 0, 0),
    "sadness": (0.8, -0.3, -0.5, 0, -0.8, 0, 4),
    "surprise": (0.9, 1.0, 1.0, 0, 0, 0.9, 0),
}
SPREAD = np.array([0.35, 0.35, 0.35, 0.35, 0.4, 0.15, 3])  # of speakers, and of a speaker's clips

# [pixels], (red, green, blue), [grey levels]; gain of red, green and blue; how much brighter it is
# where the light comes from; share of the clips in which a hand hides the face for a moment
Camera = namedtuple("Camera", "width height wall noise colour light hidden")
CAMERAS = {
    "enterface": Camera(180, 144, (90, 88, 82), 2.5, (1.05, 1, 0.85), 0.35, 0.3),
    "ravdess": Camera(256, 144, (226, 228, 226), 1, (1, 1, 1), 0.1, 0),
    "savee": Camera(192, 144, (84, 120, 150), 1.5, (0.9, 0.97, 1.08), 0.2, 0),
}
BLINK = 0.1  # [s] from open to closed
HIDDEN = 4  # [frames] behind a hand


def landmarks(inner_brow, outer_brow, lids, nose, smile, jaw):
    """Landmarks (68, 2) of a face that moves so far, in half face widths from between the eyes, y
    down.
    """
    side = np.linspace(-np.pi / 2, np.pi / 2, 17)
    chin = np.column_stack([np.sin(side), (1.51 + 0.22 * jaw * np.cos(side)) * np.cos(side) - 0.05])
    inward = np.linspace(0, 1, 5)  # along a brow
    lift = 0.17 * inner_brow * inward + 0.15 * outer_brow * (1 - inward)
    brow = np.column_stack([0.62 * inward - 0.82, -0.28 - 0.11 * np.sin(np.pi * inward) - lift])
    bridge = np.column_stack([np.zeros(4), np.linspace(-0.05, 0.52, 4)])
    nostrils = np.column_stack([np.linspace(-0.2, 0.2, 5), [0.63, 0.67, 0.70, 0.67, 0.63]])
    nostrils[:, 1] -= 0.06 * nose
    turn = np.pi - np.arange(6) * np.pi / 3
    eye = np.column_stack([0.185 * np.cos(turn), -(0.1 + 0.05 * lids) * np.sin(turn)])
    parts = [
        chin,
        brow,
        (brow * (-1, 1))[::-1],
        bridge,
        nostrils,
        eye - (0.435, 0),
        eye + (0.435, 0),
    ]
    for n_points, width, thickness in (
        (12, 0.36, 0.1),
        (8, 0.3, 0.01),
    ):  # of the lips, outside and inside
        turn = np.pi - np.arange(n_points) * 2 * np.pi / n_points
        width = width * (1 + 0.28 * smile - 0.17 * jaw)
        down = (
            1
            - thickness * np.sin(turn)
            - 0.14 * smile * np.cos(turn) ** 2
            - 0.04 * nose * (turn > 0)
        )
        parts.append(
            np.column_stack([width * np.cos(turn), down + 0.3 * jaw * np.maximum(-np.sin(turn), 0)])
        )
    return np.concatenate(parts)


def track(clip, sound, sampling_rate, seed):
    """Landmarks of the speaking face in every frame: (n_frames, 68, 2) [pixels]."""
    camera = CAMERAS[clip.corpus]
    rng = stream(seed, clip.corpus, clip.name, "face")
    person = stream(seed, clip.corpus, clip.speaker, "face")
    n_frames = max(int(len(sound) / sampling_rate * FRAME_RATE), 1)
    time = (np.arange(n_frames)[:, None] + 0.5) / n_frames
    onset, offset = rng.uniform(0, 0.15), rng.uniform(0.9, 1.1)  # of the clip
    course = np.clip((time - onset) / 0.3, 0, 1) * np.clip((offset - time) / 0.2, 0.3, 1)
    apex = EMOTIONS[clip.emotion] * person.lognormal(0, 0.3, 7) * rng.lognormal(-0.1, 0.4)
    moves = person.normal(0, SPREAD) + course * (apex + rng.normal(0, SPREAD))
    loudness = np.array([np.abs(part).mean() for part in np.array_split(sound, n_frames)])
    moves[:, 5] = np.maximum(moves[:, 5] + 0.5 * loudness / loudness.max(), 0)  # the mouth speaks
    moments = stream(seed, clip.corpus, clip.name, "blinks").uniform(
        0, 2, 2
    )  # half of them in the clip
    away = np.abs(time - moments).min(axis=1) * n_frames / FRAME_RATE  # [s]
    moves[:, 2] = np.minimum(moves[:, 2], -1.9 + 3 * away / BLINK)  # the lids

    shape = FACE * person.normal(1, 0.05, 2) * [landmarks(*move) for move in moves[:, :6]]
    lean = (shape[:, :, 0] + 1j * shape[:, :, 1]) * np.exp(1j * np.radians(moves[:, 6:]))
    sway = np.sin(2 * np.pi * (rng.uniform(0.3, 0.8, 2) * time + rng.uniform(0, 1, 2)))
    centre = (0.5 * camera.width, 0.47 * camera.height) + rng.normal(0, 2, 2) + 1.5 * sway
    return np.dstack([lean.real, lean.imag]) + centre[:, None]


def film(clip, points, seed):
    """Pictures of a face with landmarks (n_frames, 68, 2): (n_frames, height, width, 3) uint8,
    RGB.
    """
    camera = CAMERAS[clip.corpus]
    person = stream(seed, clip.corpus, clip.speaker, "colours")
    skin = np.array([236, 196, 168]) * person.uniform(0.6, 1)
    hair = np.array([150, 110, 80]) * person.uniform(0.2, 1)
    cloth = person.uniform(30, 150, 3)
    glasses = person.random() < 0.25
    wall = np.full((FINE * camera.height, FINE * camera.width, 3), camera.wall, np.uint8)
    rng = stream(seed, clip.corpus, clip.name, "camera")
    first = rng.integers(len(points)) if rng.random() < camera.hidden else len(points)
    light = camera.light * np.exp(2j * np.pi * rng.random())  # whence it comes
    across, down = np.meshgrid(np.linspace(-1, 1, camera.width), np.linspace(-1, 1, camera.height))
    gain = (1 + light.real * across + light.imag * down)[:, :, None] * camera.colour

    frames = np.empty((len(points), camera.height, camera.width, 3), np.uint8)
    for number, face in enumerate(FINE * points):
        picture = _draw(wall.copy(), face, skin, hair, cloth, clip.female, glasses)
        if first <= number < first + HIDDEN:
            _fill(picture, face[33] + FINE * FACE * CIRCLE * (1.2, 1.6), 0.9 * skin)
        picture = cv2.resize(picture, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
        noise = rng.normal(0, camera.noise, (*gain.shape[:2], 1))
        frames[number] = np.clip(gain * picture + noise, 0, 255)
    return frames


def _draw(picture, points, skin, hair, cloth, long_hair, glasses):
    """The wall with the person before it, from the hair behind the head to the lips."""
    across = (points[16] - points[0]) / 2
    axes = np.array([across, (-across[1], across[0])])  # of the face
    unit = np.hypot(*across)

    def oval(x, y, width, height, colour):  # in half face widths
        _fill(picture, points[27] + (CIRCLE * (width, height) + (x, y)) @ axes, colour)

    if long_hair:
        oval(0, 0.3, 1.3, 1.9, 0.8 * hair)
    oval(0, 1.5, 0.5, 0.9, 0.75 * skin)  # neck
    oval(0, 3.4, 2.4, 1.6, cloth)
    oval(0, -0.3, 1.1, 1.05, hair)
    oval(0, -0.05, 1, 0.8, skin)
    _fill(picture, points[:17], skin)
    _line(picture, points[:17], 0.8 * skin, 0.14 * unit)
    for side in (-1, 1):
        oval(0.43 * side, 0, 0.28, 0.2, 0.72 * skin)  # eye socket
        oval(0.14 * side, 0.3, 0.05, 0.3, 0.85 * skin)  # of the nose
    _line(picture, points[27:31], 1.08 * skin, 0.1 * unit)
    _line(picture, points[31:36], 0.7 * skin, 0.06 * unit)
    picture = cv2.GaussianBlur(picture, (19, 19), 0)  # light and shade are soft

    for eye, brow in ((points[36:42], points[17:22]), (points[42:48], points[22:27])):
        _fill(picture, eye, 225)
        (x, y), height = (
            eye.mean(axis=0),
            np.hypot(*(eye[1:3].mean(axis=0) - eye[4:6].mean(axis=0))),
        )
        _fill(picture, (x, y) + CIRCLE * (0.1 * unit, min(0.1 * unit, height / 2)), (50, 40, 34))
        _line(picture, eye[:4], 24, 0.045 * unit)
        _line(picture, brow, 0.6 * hair, 0.1 * unit)
        if glasses:
            _line(picture, (x, y) + CIRCLE * 0.3 * unit, (40, 36, 34), 0.04 * unit)
    _line(picture, points[[32, 34]], 0.4 * skin, 0.05 * unit)
    _fill(picture, points[48:60], skin * (0.8, 0.55, 0.55))
    _fill(picture, points[60:68], (52, 22, 24))
    return picture


def _fill(picture, polygon, colour):
    colour = np.broadcast_to(colour, 3).tolist()
    cv2.fillPoly(picture, [np.round(polygon).astype(np.int32)], colour, cv2.LINE_AA)


def _line(picture, curve, colour, thickness):
    colour, thickness = np.broadcast_to(colour, 3).tolist(), max(round(thickness), 1)
    cv2.polylines(
        picture, [np.round(curve).astype(np.int32)], False, colour, thickness, cv2.LINE_AA
    )
