"""Guides of the spatial transformer: where in a face image to look, as images of the same size."""

import numpy as np
from scipy import fft, ndimage


def saliency(images):
    """Saliency maps of images (n_images, height, width): float32 in [0, 1], the same shape.

    What is left of the spectrum's logarithm once its local mean is taken away belongs to what is unusual in
    the picture. The blur, of 2.5 pixels at a width of 64, scales with the image.

    Source: Hou & Zhang 2007, "Saliency detection: a spectral residual approach".
    """
    images = np.asarray(images, np.float32)
    spectrum = fft.fft2(images)
    amplitude = np.log(np.abs(spectrum) + 1e-9)
    residual = amplitude - ndimage.uniform_filter(amplitude, (0, 3, 3), mode="wrap")
    map_ = np.square(np.abs(fft.ifft2(np.exp(residual + 1j * np.angle(spectrum)))))
    map_ = ndimage.gaussian_filter(map_, (0, *(2.5 * np.array(images.shape[1:]) / 64)))
    low, high = (edge(map_, axis=(1, 2), keepdims=True) for edge in (np.min, np.max))
    return ((map_ - low) / np.maximum(high - low, 1e-12)).astype(np.float32)


def landmark_mask(points, size=48, *, kind="binary"):
    """Masks of landmarks: (n_images, size, size) float32 in [0, 1], 1 on the landmarks.

    `points` are (n_images, n_points, 2) [pixels of the mask], x before y; those outside count for nothing.
    Elsewhere, "binary" is 0; "dilated" is 1 up to 2 pixels around, for a mask of 48; "soft" falls off like a
    Gaussian of that width. ValueError for another kind.

    >>> landmark_mask(np.array([[[1, 0]]]), 3)
    array([[[0., 1., 0.],
            [0., 0., 0.],
            [0., 0., 0.]]], dtype=float32)
    """
    if kind not in ("binary", "soft", "dilated"):
        raise ValueError(f"unknown kind {kind!r}; valid: 'binary', 'soft', 'dilated'")
    column, row = np.moveaxis(np.round(points).astype(int), -1, 0)
    inside = (column >= 0) & (column < size) & (row >= 0) & (row < size)
    image = np.nonzero(inside)[0]
    mask = np.zeros((len(points), size, size), np.float32)
    mask[image, row[inside], column[inside]] = 1
    if kind == "binary":
        return mask
    width = 2 * size / 48
    away = np.stack([ndimage.distance_transform_edt(one == 0) for one in mask])
    away[~mask.any(axis=(1, 2))] = np.inf
    return np.float32(away <= width if kind == "dilated" else np.exp(-0.5 * np.square(away / width)))
