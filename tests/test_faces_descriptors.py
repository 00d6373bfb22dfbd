"""Descriptors of face images."""

import numpy as np

from pathemo.faces import hog


def test_hog_tells_the_direction_of_edges():
    """Upright and level stripes differ most, brightness added to all pixels changes nothing."""
    ramp = np.tile(np.sin(np.arange(48) / 2) / 4 + 0.4, (48, 1))
    upright, level, brighter = hog(np.stack([ramp, ramp.T, ramp + 0.2]))
    assert upright.shape == (900,) and upright.dtype == np.float32
    directions = upright.reshape(25, 4, 9).mean((0, 1)), level.reshape(25, 4, 9).mean((0, 1))
    assert directions[0].argmax() != directions[1].argmax()
    np.testing.assert_allclose(brighter, upright, atol=0.05)


def test_hog_normalises_contrast_block_by_block():
    """Half the contrast gives nearly the same numbers; each block has length 1."""
    generator = np.random.default_rng(0)
    image = generator.random((1, 32, 32))
    whole, half = hog(image, cell=8), hog(image / 2, cell=8)
    np.testing.assert_allclose(half, whole, atol=0.02)
    np.testing.assert_allclose(np.linalg.norm(whole.reshape(-1, 36), axis=1), 1, atol=0.02)
