"""Descriptors of face images, for modules and classifiers that take a row of features."""

import cv2
import numpy as np


def hog(images, *, cell=8):
    """Histograms of oriented gradients (n, n_features) float32 of images (n, size, size) in [0, 1].

    12 directions of a full turn a cell, contrast-normalised over every block of 2 x 2 cells. Each number is
    the mean over an image and its mirror image, so the blocks of the left half, the middle column among them,
    hold all: of a 48 x 48 image with cells of 8 pixels, 3 columns of 5 blocks of 48 numbers. `cell` [pixels]
    divides the size.

    Source: Dalal and Triggs, "Histograms of Oriented Gradients for Human Detection", CVPR 2005; OpenCV's.
    Signed directions and the mirror image are ours.

    >>> hog(np.zeros((3, 48, 48))).shape
    (3, 720)
    """
    size, block, step = images.shape[1:], (2 * cell, 2 * cell), (cell, cell)
    descriptor = cv2.HOGDescriptor(size, block, step, step, 12, _signedGradient=True)
    levels = [np.uint8(np.round(255 * image)) for image in images]
    both = [(descriptor.compute(image) + descriptor.compute(cv2.flip(image, 1))) / 2 for image in levels]
    n_columns = size[1] // cell - 1  # of blocks; OpenCV goes through them column by column
    return np.reshape(both, (len(both), n_columns, -1))[:, : (n_columns + 1) // 2].reshape(len(both), -1)
