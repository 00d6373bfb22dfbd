"""Edges of face images as features, and saliency, which guides a spatial transformer."""

import cv2
import numpy as np
from scipy import fft, ndimage


def hog(images):
    """Return histograms of oriented gradients (n, n_features) float32 of images (n, size, size).

    12 directions of a full turn a cell, contrast-normalised over every block
    of 2 x 2 cells. Each number is the mean over an image and its mirror image, so the blocks of the
    left half, the middle column among them, hold all: of a 48 x 48 image 3 columns of 5 blocks of
    48 numbers. Cells are of 8 pixels.

    Raises ValueError where images are not in [0, 1], or their size is not 16, 24, 32, ... pixels.

    Source: Dalal and Triggs, "Histograms of Oriented Gradients for Human Detection", CVPR 2005;
    OpenCV's. Signed directions and the mirror image are ours.

    >>> hog(np.zeros((3, 48, 48))).shape
    (3, 720)
    """
    _, height, width = images.shape
    if height % 8 or width % 8 or min(height, width) < 16:
        raise ValueError(f"images of {height} x {width} pixels: both have to be 16, 24, 32, ...")
    if not 0 <= images.min() <= images.max() <= 1:
        raise ValueError(
            f"images from {images.min():g} to {images.max():g}: they have to be in [0, 1]"
        )
    size, block, cell = (width, height), (16, 16), (8, 8)
    descriptor = cv2.HOGDescriptor(size, block, cell, cell, 12, _signedGradient=True)
    n_columns = width // 8 - 1  # of blocks; OpenCV goes through them column by column
    left = descriptor.getDescriptorSize() // n_columns * ((n_columns + 1) // 2)
    grey = np.uint8(np.round(255 * images))
    both = [descriptor.compute(image) + descriptor.compute(cv2.flip(image, 1)) for image in grey]
    return np.stack(both)[:, :left] / 2


def resemblance(images, others):
    """Return the highest correlation (n,) of each image (n, height, width) with any of `others`.

    The others (m, height, width) count as they are and mirrored. A near-duplicate has almost 1; the
    median tells whether two corpora frame the face alike.

    >>> images = np.random.default_rng(0).random((5, 8, 8))
    >>> resemblance(2 * images[:2, :, ::-1] + 1, images).round(6).tolist()
    [1.0, 1.0]
    """
    one, same, mirrored = (
        x.reshape(len(x), -1) - x.mean(axis=(1, 2))[:, None]
        for x in (images, others, others[:, :, ::-1])
    )
    one, same, mirrored = (
        x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9)
        for x in (one, same, mirrored)
    )
    return np.maximum((one @ same.T).max(axis=1), (one @ mirrored.T).max(axis=1))


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
