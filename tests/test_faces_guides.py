"""Facts of pathemo.faces.guides: where an image is salient, where its landmarks are."""

import numpy as np
import pytest
from scipy import ndimage

from pathemo import faces


def texture():
    """Image (48, 48) of even stripes, with a little noise."""
    stripes = 0.5 + 0.3 * np.sin(2 * np.pi * np.arange(48) / 6)[None] * np.ones((48, 1))
    return stripes + np.random.default_rng(0).normal(0, 0.005, (48, 48))


@pytest.mark.parametrize("place", [(12, 12), (30, 20), (24, 36)])
def test_what_is_unusual_is_salient(place):
    """In even stripes a spot stands out, and the map is highest there."""
    image = texture()
    image[place[0] - 2 : place[0] + 3, place[1] - 2 : place[1] + 3] = 1
    (guide,) = faces.saliency(image[None])
    assert np.hypot(*(np.subtract(np.unravel_index(guide.argmax(), guide.shape), place))) < 4


def test_saliency_is_the_spectral_residual():
    """The map equals one written down from the equations of the paper, loop by loop."""
    image = np.random.default_rng(0).random((24, 32))
    spectrum = np.fft.fft2(image)
    amplitude, phase = np.log(np.abs(spectrum)), np.angle(spectrum)
    mean = sum(np.roll(amplitude, (down, right), (0, 1)) for down in (-1, 0, 1) for right in (-1, 0, 1)) / 9
    expected = np.abs(np.fft.ifft2(np.exp(amplitude - mean + 1j * phase))) ** 2
    expected = ndimage.gaussian_filter(expected, (2.5 * 24 / 64, 2.5 * 32 / 64))
    expected = (expected - expected.min()) / np.ptp(expected)
    np.testing.assert_allclose(faces.saliency(image[None])[0], expected, atol=1e-3)


def test_each_map_is_its_own_images():
    """Maps of many images are those of each alone, in [0, 1] as float32; an even image has an empty one."""
    images = np.stack([texture(), texture().T, np.full((48, 48), 0.5)])
    maps = faces.saliency(images)
    assert maps.dtype == np.float32
    assert maps.shape == images.shape
    assert np.isfinite(maps).all() and maps.min() == 0 and maps.max() == 1
    np.testing.assert_allclose(maps[1], faces.saliency(images[1:2])[0], atol=1e-6)


def test_a_binary_mask_is_one_on_each_landmark():
    """Points are x, then y, rounded; those outside do not count; each image has its own."""
    points = np.array([[[10, 20], [30.4, 5.6], [-3, 10], [48, 48]], [[0, 0], [47, 47], [47, 0], [0, 47]]])
    masks = faces.landmark_mask(points)
    assert masks.shape == (2, 48, 48)
    assert list(zip(*np.nonzero(masks[0]))) == [(6, 30), (20, 10)]
    assert masks.sum(axis=(1, 2)).tolist() == [2, 4]


def test_a_dilated_mask_is_a_disc_and_a_soft_one_a_gaussian():
    """Around one landmark: the 13 pixels within a distance of 2, and exp(-d^2 / 8)."""
    points = np.array([[[20, 24]]])
    down, across = np.mgrid[:48, :48]
    squared = (down - 24) ** 2 + (across - 20) ** 2
    np.testing.assert_array_equal(faces.landmark_mask(points, kind="dilated")[0], squared <= 4)
    np.testing.assert_allclose(faces.landmark_mask(points, kind="soft")[0], np.exp(-squared / 8), atol=1e-6)


@pytest.mark.parametrize("kind", ["binary", "dilated", "soft"])
def test_without_a_landmark_inside_a_mask_is_empty(kind):
    """No landmark, no guide."""
    assert not faces.landmark_mask(np.full((1, 68, 2), -100.0), kind=kind).any()


def test_an_unknown_kind_is_named():
    """The error says which there are."""
    with pytest.raises(ValueError, match="unknown kind 'hard'; valid: 'binary', 'soft', 'dilated'"):
        faces.landmark_mask(np.zeros((1, 68, 2)), kind="hard")
