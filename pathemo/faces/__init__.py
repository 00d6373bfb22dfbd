"""Faces: from video or image to crops, landmarks and saliency.

pictures.py decodes, detection.py finds, follows and cuts out faces, descriptors.py describes them,
tracks.py measures landmarks."""

from .descriptors import hog, saliency
from .detection import crops, cut, detections, find, follow, square
from .pictures import frames, picture
from .tracks import (
    FUNCTIONALS,
    MEASURES,
    functionals,
    functionals_of,
    landmarks,
    measures,
    normalise,
    track,
)

__all__ = [
    "FUNCTIONALS",
    "MEASURES",
    "crops",
    "cut",
    "detections",
    "find",
    "follow",
    "frames",
    "functionals",
    "functionals_of",
    "hog",
    "landmarks",
    "measures",
    "normalise",
    "picture",
    "saliency",
    "square",
    "track",
]
