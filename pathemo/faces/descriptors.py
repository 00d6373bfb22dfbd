"""Edges of face images as features, and saliency, which guides a spatial transformer."""

import cv2
import numpy as np
from scipy import fft, ndimage


def hog(images):
    """Return histograms of oriented gradients (n, n_features) float32 of images (n, size, size).

    Images are in [0, 1]. 12 directions of a full turn a cell, contrast-normalised over every block
    of 2 x 2 cells. Each number is the mean over an image and its mirror image, so the blocks of the
    left half, the middle column among them, hold all: of a 48 x 48 image 3 columns of 5 blocks of
    48 numbers. Cells are of 8 pixels, which divide the size.

    Source: Dalal and Triggs, "Histograms of Oriented Gradients for Human Detection", CVPR 2005;
    OpenCV's. Signed directions and the mirror image are ours.

    >>> hog(np.zeros((3, 48, 48))).shape
    (3, 720)
    """
    size = images.shape[1:]
    descriptor = cv2.HOGDescriptor(size, (16, 16), (8, 8), (8, 8), 12, _signedGradient=True)
    n_columns = size[1] // 8 - 1  # of blocks; OpenCV goes through them column by column
    left = descriptor.getDescriptorSize() // n_columns * ((n_columns + 1) // 2)
    rows = []
    for image in images:
        image = np.uint8(np.round(255 * image))
        both = descriptor.compute(image) + descriptor.compute(cv2.flip(image, 1))
        rows.append(both[:left] / 2)
    return np.stack(rows)


def saliency(images):
    """Return saliency maps of images (n_images, height, width): float32 in [0, 1], the same shape.

    What is left of the spectrum's logarithm once its local mean is taken away belongs to what is
    unusual in the picture. The blur, of 2.5 pixels at a width of 64, scales with the image.

    Source: Hou & Zhang 2007, "Saliency detection: a spectral residual approach".
    """
    images = np.asarray(images, np.float32)
    spectrum = fft.fft2(images)
    amplitude = np.log(np.abs(spectrum) + 1e-9)
    residual = amplitude - ndimage.uniform_filter(amplitude, (0, 3, 3), mode="wrap")
    maps = np.square(np.abs(fft.ifft2(np.exp(residual + 1j * np.angle(spectrum)))))
    maps = ndimage.gaussian_filter(maps, np.array([0, *images.shape[1:]]) * 2.5 / 64)
    maps -= maps.min(axis=(1, 2), keepdims=True)
    return maps / np.maximum(maps.max(axis=(1, 2), keepdims=True), 1e-12)
