"""Edges of face images as features, and saliency, which guides a spatial transformer."""

import cv2
import numpy as np
from scipy import fft, ndimage


def hog(images):
    """Return histograms of oriented gradients (n, n_features) float32 of images (n, size, size).

    12 directions of a full turn a cell of 8 x 8 pixels, contrast-normalised over every block of
    2 x 2 cells. Each number is the mean over an image and its mirror image, so the blocks of the
    left half, the middle column among them, hold all: of a 48 x 48 image 3 columns of 5 blocks of
    48 numbers.

    Raises ValueError where images are not in [0, 1], or their size is not 16, 24, 32, ... pixels.

    Source: Dalal and Triggs, "Histograms of Oriented Gradients for Human Detection", CVPR 2005;
    OpenCV's. Signed directions and the mirror image are ours.

    >>> hog(np.zeros((3, 48, 48))).shape
    (3, 720)
    """
    n, height, width = images.shape
    low, high = images.min(), images.max()
    if height % 8 or width % 8 or min(height, width) < 16 or not 0 <= low <= high <= 1:
        valid = "sides have to be 16, 24, 32, ..., values in [0, 1]"
        raise ValueError(f"images of {height} x {width} pixels from {low:g} to {high:g}: {valid}")
    size, block, cell = (width, height), (16, 16), (8, 8)
    descriptor = cv2.HOGDescriptor(size, block, cell, cell, 12, _signedGradient=True)
    grey = np.uint8(np.round(255 * images))
    both = [descriptor.compute(image) + descriptor.compute(cv2.flip(image, 1)) for image in grey]
    columns = np.reshape(both, (n, width // 8 - 1, -1))  # of blocks, as OpenCV goes through them
    return columns[:, : width // 16].reshape(n, -1) / 2


def resemblance(images, others):
    """Return the highest correlation (n,) of each image (n, height, width) with any of `others`.

    The others (m, height, width) count as they are and mirrored. A near-duplicate has almost 1; the
    median tells whether two corpora frame the face alike.

    >>> images = np.random.default_rng(0).random((5, 8, 8))
    >>> resemblance(2 * images[:2, :, ::-1] + 1, images).round(6).tolist()
    [1.0, 1.0]
    """

    def unit(x):
        centred = (x - x.mean(axis=(1, 2), keepdims=True)).reshape(len(x), -1)
        return centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-9)

    same = unit(images) @ unit(others).T
    mirrored = unit(images) @ unit(others[:, :, ::-1]).T
    return np.maximum(same.max(axis=1), mirrored.max(axis=1))


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
