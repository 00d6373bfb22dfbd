"""A parametric face: 68 landmarks that move with the emotion, drawn with light and shade as filmed."""

from collections import namedtuple

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from .layout import stream

FRAME_RATE = 15  # [frames/s]
SHIFT = 4  # binary places of the coordinates that OpenCV draws

# The left half of a face by first landmark, in half face widths from between the eyes, y down.
LEFT = {
    0: [(-1, -0.05), (-0.98, 0.22), (-0.94, 0.49), (-0.87, 0.75), (-0.75, 0.99), (-0.58, 1.19)],  # jaw
    6: [(-0.39, 1.34), (-0.20, 1.43), (0, 1.46)],  # chin
    17: [(-0.82, -0.27), (-0.70, -0.36), (-0.53, -0.39), (-0.36, -0.36), (-0.20, -0.29)],  # brow
    27: [(0, -0.05), (0, 0.15), (0, 0.34), (0, 0.52), (-0.20, 0.63), (-0.10, 0.67), (0, 0.70)],  # nose
    36: [(-0.62, 0), (-0.51, -0.1), (-0.37, -0.1), (-0.25, 0.02), (-0.38, 0.07), (-0.51, 0.07)],  # eye
    48: [(-0.36, 0.99), (-0.23, 0.94), (-0.09, 0.90), (0, 0.92)],  # upper lip
    57: [(0, 1.12), (-0.10, 1.11), (-0.23, 1.07), (-0.31, 0.99), (-0.10, 0.98), (0, 0.985)],  # and lower
    66: [(0, 1.0), (-0.10, 0.995)],
}
ACTIONS = {  # how far each moves those landmarks
    "inner brow up": {19: [(0, -0.04), (0, -0.12), (0, -0.17)]},
    "outer brow up": {17: [(0, -0.10), (0, -0.15), (0, -0.12), (0, -0.04)]},
    "frown": {18: [(0.02, 0.05), (0.03, 0.08), (0.05, 0.11), (0.07, 0.13)]},
    "wide eyes": {37: [(0, -0.05), (0, -0.05)], 40: [(0, 0.02), (0, 0.02)]},
    "nose up": {31: [(-0.03, -0.05), (0, -0.05), (0, -0.04)], 49: [(0, -0.04), (0, -0.07), (0, -0.06)],
                40: [(0, -0.02), (0, -0.02)], 61: [(0, -0.05), (0, -0.05)]},
    "smile": {48: [(-0.10, -0.13), (-0.06, -0.05), (-0.03, 0)], 40: [(0, -0.03), (0, -0.03)],
              58: [(-0.03, 0), (-0.06, -0.06), (-0.10, -0.13)]},
    "stretch": {48: [(-0.12, 0.04), (-0.07, 0.01), (-0.04, 0.01)], 59: [(-0.07, 0.01), (-0.12, 0.04)]},
    "open": {4: [(0, 0.05), (0, 0.11), (0, 0.17), (0, 0.21), (0, 0.22)], 66: [(0, 0.30), (0, 0.28)],
             48: [(0.06, 0.06)], 57: [(0, 0.30), (0, 0.29), (0.03, 0.17), (0.06, 0.06)]},
}  # fmt: skip
EMOTIONS = {  # the eight actions, then how far the head turns up and leans [degrees]
    "anger": (-0.2, 0.3, 1.1, 0.4, 0.3, -0.4, 0.1, 0.15, -5, 0),
    "boredom": (0, 0.1, 0, -0.8, 0, -0.3, 0, 0, 4, 7),
    "calm": (0.1, 0, 0, -0.2, 0, 0.3, 0, 0, 0, 2),
    "disgust": (-0.2, 0, 0.8, -0.5, 1.2, -0.4, 0, 0.15, 4, -3),
    "fear": (1.0, 0.4, 0.2, 0.9, 0, -0.1, 0.9, 0.4, 2, 0),
    "happiness": (0.1, 0.2, 0, -0.2, 0.1, 1.2, 0.2, 0.3, 3, 3),
    "neutral": (0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
    "sadness": (0.9, -0.3, 0.2, -0.5, 0, -0.8, 0, 0, -7, 4),
    "surprise": (0.9, 1.0, -0.1, 1.0, 0, 0, -0.4, 0.9, 3, 0),
}
CLIP_SPREAD = np.array([0.3, 0.3, 0.3, 0.3, 0.3, 0.35, 0.3, 0.15, 3, 3])
MIRROR = np.r_[16:-1:-1, 26:16:-1, 27:31, 35:30:-1, 45:41:-1, 47, 46, 39:35:-1, 41, 40,
               54:47:-1, 59:54:-1, 64:59:-1, 67:64:-1]  # fmt: skip

# width, height, half the width of a face [pixels]; wall and gain of (red, green, blue); noise [grey levels]
Camera = namedtuple("Camera", "width height face wall gain noise")
CAMERAS = {
    "enterface": Camera(180, 144, 32, (82, 84, 88), (1.04, 0.96, 0.86), 2.5),
    "ravdess": Camera(256, 144, 32, (226, 228, 226), (1.0, 1.0, 1.02), 1),
    "savee": Camera(192, 144, 35, (84, 120, 150), (0.97, 1.0, 1.04), 1.5),
}
LOOKS = [  # skin, hair and iris (red, green, blue)
    ((236, 200, 176), (176, 138, 96), (80, 110, 140)), ((232, 196, 170), (140, 78, 60), (90, 110, 70)),
    ((224, 184, 156), (84, 60, 42), (70, 50, 36)), ((226, 188, 162), (148, 144, 140), (84, 108, 130)),
    ((208, 164, 134), (36, 30, 28), (60, 44, 34)), ((152, 106, 78), (34, 28, 26), (48, 34, 28)),
]  # fmt: skip


def _both_sides(left):
    """Landmarks or their moves (68, 2) from those of the left half."""
    points = np.zeros((68, 2))
    for first, places in left.items():
        points[first : first + len(places)] = places
        points[MIRROR[first : first + len(places)]] = np.array(places) * (-1, 1)
    return points


def track(clip, sound, sampling_rate, seed):
    """Landmarks of the speaking face in every frame: (n_frames, 68, 2) [pixels]."""
    camera = CAMERAS[clip.corpus]
    rng = stream(seed, clip.corpus, clip.name, "face")
    person = stream(seed, clip.corpus, clip.speaker, "face")
    n_frames = max(int(len(sound) / sampling_rate * FRAME_RATE), 1)
    time = (np.arange(n_frames)[:, None] + 0.5) / n_frames
    onset, offset = rng.uniform(0, 0.15), rng.uniform(0.9, 1.1)  # of the clip
    course = np.clip((time - onset) / 0.3, 0, 1) * np.clip((offset - time) / 0.2, 0.3, 1)
    apex = EMOTIONS[clip.emotion] * person.lognormal(0, 0.3, 10) * rng.lognormal(-0.1, 0.4)
    moves = person.normal(0, 0.8 * CLIP_SPREAD) + course * (apex + rng.normal(0, CLIP_SPREAD))
    loudness = np.array([np.abs(part).mean() for part in np.array_split(sound, n_frames)])
    moves[:, 7] = np.maximum(moves[:, 7] + 0.5 * loudness / loudness.max(), 0)  # the mouth speaks

    template = _both_sides(LEFT)
    shape = template * person.normal(1, 0.04, 2)
    shape[17:27, 1] += person.normal(0, 0.03)  # brows
    shape[36:48, 1] *= person.normal(1, 0.12)  # eyes
    shape[48:68, 0] *= person.normal(1, 0.06)  # mouth
    points = shape + np.tensordot(moves[:, :8], [_both_sides(left) for left in ACTIONS.values()], axes=1)
    depth = 0.7 * (1 - template[:, 0] ** 2)
    depth[27:34] += (0.1, 0.2, 0.3, 0.4, 0.15, 0.2, 0.25)  # nose
    solid = np.dstack([points, np.tile(depth, (n_frames, 1))])
    sway = np.sin(2 * np.pi * (rng.uniform(0.3, 0.8, 3) * time + rng.uniform(0, 1, 3)))
    angles = np.column_stack([moves[:, 9], rng.normal(0, 4) + 3 * sway[:, 0], moves[:, 8]])
    turned = solid @ Rotation.from_euler("zyx", angles, degrees=True).as_matrix().swapaxes(1, 2)
    centre = (0.5 * camera.width, 0.47 * camera.height) + rng.normal(0, 2, 2) + 1.5 * sway[:, None, 1:]
    return camera.face * person.normal(1, 0.04) * turned[:, :, :2] + centre


def film(clip, points, seed):
    """Pictures of a face with landmarks (n_frames, 68, 2): (n_frames, height, width, 3) uint8, RGB."""
    camera = CAMERAS[clip.corpus]
    person = stream(seed, clip.corpus, clip.speaker, "colours")
    skin, hair, iris = np.array(LOOKS[person.integers(len(LOOKS))]) * person.uniform(0.92, 1.04)
    cloth = person.uniform(30, 150, 3)
    wall = np.linspace(1.08, 0.85, 2 * camera.height)[:, None, None] * camera.wall
    wall = np.repeat(wall.clip(0, 255).astype(np.uint8), 2 * camera.width, axis=1)
    large = [_draw(wall.copy(), 2 * face, skin, hair, iris, cloth, clip.female) for face in points]
    size = camera.width, camera.height
    frames = np.array([cv2.resize(picture, size, interpolation=cv2.INTER_AREA) for picture in large])
    rng = stream(seed, clip.corpus, clip.name, "camera")
    noise = rng.normal(0, camera.noise, (*frames.shape[:3], 1))
    return np.clip(frames * camera.gain + noise, 0, 255).astype(np.uint8)


def _draw(picture, points, skin, hair, iris, cloth, long_hair):
    """The wall with the person before it, from the hair behind the head to the light in the eyes."""
    across = (points[16] - points[0]) / 2
    down = np.array([-across[1], across[0]])
    unit = np.hypot(*across)  # half the width of the face [pixels]

    def at(*places):  # from face widths to pixels
        return points[27] + np.array(places) @ [across, down]

    skull = at((-1, -0.4), (-0.94, -0.75), (-0.6, -1.15), (0, -1.28), (0.6, -1.15), (0.94, -0.75), (1, -0.4))
    hairline = at((0.92, -0.3), (0.8, -0.65), (0.4, -0.85), (-0.4, -0.85), (-0.8, -0.65), (-0.92, -0.3))
    if long_hair:
        back = at((-1.2, 0), (-1.1, -1), (0, -1.65), (1.1, -1), (1.2, 0), (1.3, 1.7), (-1.3, 1.7))
        _fill(picture, back, 0.8 * hair)
    _fill(picture, at((-0.5, 0.8), (0.5, 0.8), (0.6, 3), (-0.6, 3)), 0.8 * skin)  # neck, clothes, ears, head
    _fill(picture, at((-3, 4), (-2.3, 2), (-0.7, 1.75), (0, 2.2), (0.7, 1.75), (2.3, 2), (3, 4)), cloth)
    _fill(picture, at((-1.15, -0.1), (-1.05, 0.5), (1.05, 0.5), (1.15, -0.1)), 0.85 * skin)
    _fill(picture, [*points[:17], *skull[::-1]], skin)
    _fill(picture, [*(points[27] + 1.08 * (skull - points[27])), *hairline], hair)

    relief = np.full(picture.shape[:2], 128, np.uint8)  # light and shade: 128 leaves a colour as it is
    _line(relief, points[:17], 100, 0.16 * unit)
    _fill(relief, at((-0.5, 1.6), (0.5, 1.6), (0.5, 1.8), (-0.5, 1.8)), 70)
    _fill(relief, at((-0.5, -0.7), (0.5, -0.7), (0.4, -0.5), (-0.4, -0.5)), 146)
    for side, eye, nostril, corner in ((-1, points[36:42], 31, 48), (1, points[42:48], 35, 54)):
        _fill(relief, eye.mean(axis=0) + (eye - eye.mean(axis=0)) * (1.7, 2.4), 88)
        _fill(relief, at((0.3 * side, 0.3), (0.7 * side, 0.25), (0.7 * side, 0.55), (0.35 * side, 0.6)), 146)
        _line(relief, [*at((0.15 * side, 0)), points[nostril]], 104, 0.1 * unit)
        _line(relief, points[[nostril, corner]] + 0.1 * side * across, 100, 0.07 * unit)
    _line(relief, points[27:31], 156, 0.12 * unit)
    _line(relief, points[31:36], 84, 0.08 * unit)
    _line(relief, points[[56, 58]] + 0.12 * down, 96, 0.1 * unit)
    relief = cv2.blur(cv2.blur(relief, (9, 9)), (9, 9))
    picture = cv2.multiply(picture, cv2.merge([relief] * 3), scale=1 / 128)

    for eye, brow, nostril in ((36, 17, 32), (42, 22, 34)):
        eye, brow, nostril = points[eye : eye + 6], points[brow : brow + 5], points[nostril]
        opening, ball = np.zeros_like(relief), np.full_like(picture, 225)
        _fill(opening, eye, 255)
        centre = eye[[1, 2, 4, 5]].mean(axis=0)
        for place, radius, colour in ((0, 0.105, iris), (0, 0.05, 12), (-0.04 * unit, 0.02, 255)):
            _line(ball, [centre + place, centre + place], colour, 2 * radius * unit)
        cv2.copyTo(ball, opening, picture)
        _line(picture, eye[:4], 24, 0.045 * unit)
        _line(picture, brow, 0.6 * hair, 0.1 * unit)
        _line(picture, [nostril - 0.04 * across, nostril + 0.04 * across], 0.35 * skin, 0.05 * unit)
    lips = points[60:68]
    _fill(picture, points[48:60], skin * (0.8, 0.55, 0.55))
    _fill(picture, lips, (52, 22, 24))
    _fill(picture, [*lips[:5], *(0.6 * lips[3:0:-1] + 0.4 * lips[5:])], (224, 216, 206))  # teeth
    _line(picture, lips[:5], 0.4 * skin, 0.02 * unit)
    return cv2.GaussianBlur(picture, (3, 3), 0)


def _fill(picture, polygon, colour):
    """Fill a polygon whose corners are cut twice (Chaikin)."""
    polygon = np.array(polygon)
    for _ in range(2):
        step = np.roll(polygon, -1, axis=0) - polygon
        polygon = np.stack([polygon + 0.25 * step, polygon + 0.75 * step], axis=1).reshape(-1, 2)
    polygon = np.round(polygon * 2**SHIFT).astype(np.int32)
    cv2.fillPoly(picture, [polygon], np.broadcast_to(colour, 3).tolist(), cv2.LINE_AA, SHIFT)


def _line(picture, curve, colour, thickness):
    """Draw a line with round ends through points; a dot where they are one."""
    curve = np.round(np.array(curve) * 2**SHIFT).astype(np.int32)
    colour = np.broadcast_to(colour, 3).tolist()
    cv2.polylines(picture, [curve], False, colour, max(round(thickness), 1), cv2.LINE_AA, SHIFT)
