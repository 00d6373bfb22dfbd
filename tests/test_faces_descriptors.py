"""Facts of pathemo.faces.descriptors: histograms of gradients, resemblance, saliency."""

import numpy as np
import pytest
from scipy import ndimage

from pathemo import faces
from pathemo.faces import hog


def test_hog_tells_the_direction_of_edges():
    """Upright and level stripes differ most, brightness added to all pixels changes nothing."""
    ramp = np.tile(np.sin(np.arange(48) / 2) / 4 + 0.4, (48, 1))
    upright, level, brighter = hog(np.stack([ramp, ramp.T, ramp + 0.2]))
    assert upright.shape == (720,) and upright.dtype == np.float32
    directions = upright.reshape(15, 4, 12).mean((0, 1)), level.reshape(15, 4, 12).mean((0, 1))
    assert directions[0].argmax() != directions[1].argmax()
    np.testing.assert_allclose(brighter, upright, atol=0.05)


def test_hog_tells_dark_above_light_from_light_above_dark():
    """Directions are signed: a step downwards and its negative have nothing in common."""
    step = np.zeros((48, 48))
    step[20:] = 1
    dark_above, light_above = hog(np.stack([step, 1 - step]))
    assert dark_above.any() and light_above.any()
    assert not (dark_above * light_above).any()


def test_hog_normalises_contrast_block_by_block():
    """Half the contrast gives nearly the same numbers; a block of an even image has length 1."""
    generator = np.random.default_rng(0)
    image = generator.random((1, 32, 16))
    image = np.concatenate([image, image[:, :, ::-1]], axis=2)
    whole, half = hog(image), hog(image / 2)
    np.testing.assert_allclose(half, whole, atol=0.02)
    np.testing.assert_allclose(np.linalg.norm(whole.reshape(-1, 48), axis=1), 1, atol=0.02)


@pytest.mark.parametrize("size", [32, 48, 64])
def test_hog_of_the_mirror_image_is_the_same(size):
    """Left and right are exchanged, the rows of features are equal; above and below are not."""
    images = np.random.default_rng(0).random((2, size, size))
    np.testing.assert_allclose(hog(images[:, :, ::-1]), hog(images), atol=1e-6)
    assert np.abs(hog(images[:, ::-1]) - hog(images)).max() > 0.05


def test_hog_keeps_what_the_left_half_shows():
    """Something in the upper left or upper right changes the first column of blocks, its first
    blocks.
    """
    for column in (4, 43):
        image = np.zeros((1, 48, 48))
        image[0, 4, column] = 1
        blocks = hog(image).reshape(3, 5, 48).any(axis=2)
        assert np.argwhere(blocks).tolist() == [[0, 0]]


@pytest.mark.parametrize(
    "images, reason",
    [
        (np.full((1, 48, 48), 255), "from 255 to 255: .* values in .0, 1."),
        (np.linspace(-1, 1, 48 * 48).reshape(1, 48, 48), "from -1 to 1"),
        (np.full((1, 48, 48), np.nan), "from nan to nan"),
        (np.zeros((1, 48, 50)), "images of 48 x 50 pixels from .* 16, 24"),
        (np.zeros((1, 8, 8)), "images of 8 x 8 pixels"),
    ],
    ids=["bytes", "centred", "not a number", "size", "small"],
)
def test_hog_of_another_range_or_size_is_refused(images, reason):
    """The error gives the range, or the size, and the valid one."""
    with pytest.raises(ValueError, match=reason):
        hog(images)


# --- saliency


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
    mean = (
        sum(
            np.roll(amplitude, (down, right), (0, 1)) for down in (-1, 0, 1) for right in (-1, 0, 1)
        )
        / 9
    )
    expected = np.abs(np.fft.ifft2(np.exp(amplitude - mean + 1j * phase))) ** 2
    expected = ndimage.gaussian_filter(expected, (2.5 * 24 / 64, 2.5 * 32 / 64))
    expected = (expected - expected.min()) / np.ptp(expected)
    np.testing.assert_allclose(faces.saliency(image[None])[0], expected, atol=1e-3)


def test_each_map_is_its_own_images():
    """Maps of many images are those of each alone, in [0, 1] as float32; an even image has an empty
    one.
    """
    images = np.stack([texture(), texture().T, np.full((48, 48), 0.5)])
    maps = faces.saliency(images)
    assert maps.dtype == np.float32
    assert maps.shape == images.shape
    assert np.isfinite(maps).all() and maps.min() == 0 and maps.max() == 1
    np.testing.assert_allclose(maps[1], faces.saliency(images[1:2])[0], atol=1e-6)


def test_resemblance_is_the_highest_correlation_also_mirrored():
    """As numpy's corrcoef; brightness, contrast and mirroring do not count, an even image has 0."""
    images = np.random.default_rng(0).random((6, 16, 16)).astype(np.float32)
    found = faces.resemblance(images[:3], images[3:])
    both = [image.ravel() for other in images[3:] for image in (other, other[:, ::-1])]
    expected = np.corrcoef([image.ravel() for image in images[:3]], both)[:3, 3:].max(axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    changed = 0.5 * images[:2, :, ::-1] + 0.2
    np.testing.assert_allclose(faces.resemblance(changed, images), 1, atol=1e-5)
    assert faces.resemblance(np.ones((1, 16, 16)), images) == 0
