"""Faces: from video or image to crops, landmarks and guides."""

from .detection import crops, cut, detections, find, follow, square
from .frames import frames, picture

__all__ = ["crops", "cut", "detections", "find", "follow", "frames", "picture", "square"]
