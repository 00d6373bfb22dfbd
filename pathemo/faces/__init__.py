"""Faces: from video or image to crops, landmarks and guides.

pictures.py decodes, detection.py finds, follows and cuts out faces, descriptors.py describes them, tracks.py
measures landmarks, guides.py says where to look.
"""

from .descriptors import hog
from .detection import crops, cut, detections, find, follow, onto_crop, square
from .guides import landmark_mask, saliency
from .pictures import frames, picture
from .tracks import FUNCTIONALS, MEASURES, functionals, functionals_of, landmarks, measures, normalise, track

__all__ = [
    "FUNCTIONALS", "MEASURES", "crops", "cut", "detections", "find", "follow", "frames", "functionals",
    "functionals_of", "hog", "landmark_mask", "landmarks", "measures", "normalise", "onto_crop", "picture",
    "saliency", "square", "track",
]  # fmt: skip
