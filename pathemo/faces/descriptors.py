"""Descriptors of face images, for modules and classifiers that take a row of features."""

import cv2
import numpy as np


def hog(images, *, cell=8):
    """Histograms of oriented gradients (n, n_features) float32 of images (n, size, size) in [0, 1].

    9 unsigned directions a cell, contrast-normalised over every block of 2 x 2 cells: of a 48 x 48 image with
    cells of 8 pixels, 5 x 5 blocks of 36 numbers.

    Parameters
    ----------
    cell : int [pixels]
        A divisor of the size.

    Source
    ------
    Dalal and Triggs, "Histograms of Oriented Gradients for Human Detection", CVPR 2005; OpenCV's.

    >>> hog(np.zeros((3, 48, 48))).shape
    (3, 900)
    """
    size = images.shape[1:]
    descriptor = cv2.HOGDescriptor(size, (2 * cell, 2 * cell), (cell, cell), (cell, cell), 9)
    return np.stack([descriptor.compute(np.uint8(np.round(255 * image))).ravel() for image in images])
