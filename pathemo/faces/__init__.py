"""Faces: from video or image to crops, landmarks and saliency."""
# ruff: noqa: F401

from .descriptors import hog, resemblance, saliency
from .detection import crops, cut, detections, find
from .landmarks import (
    FUNCTIONALS,
    MEASURES,
    functionals,
    functionals_of,
    landmarks,
    measures,
    track,
)
from .pictures import frames
