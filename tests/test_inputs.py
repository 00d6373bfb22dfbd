"""Inputs of the networks: the same as by hand, scaled by each speaker's own clips, cached."""

import numpy as np
import pytest

from pathemo import corpora, faces, inputs, nets, speech


@pytest.fixture(scope="module")
def index(synthetic_root):
    """Two actors of synthetic RAVDESS."""
    index = corpora.load("ravdess", synthetic_root)
    return index[index["speaker"].isin(["01", "02"])].reset_index(drop=True)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PATHEMO_CACHE", str(tmp_path))


def test_log_mels_are_the_loudest_stretch_of_each_clip(index):
    """As decoded, transformed and cut by hand, less the mean; the second time from the disk."""
    settings = dict(n_mels=32, window=0.05, hop=0.04, n_jobs=1)
    images = inputs.log_mels(index, 40, **settings)
    assert images.shape == (16, 32, 40) and images.dtype == np.float32 and images.flags.c_contiguous
    y = speech.decode(index["audio"][3], sampling_rate=16000)
    level = nets.loudest(
        speech.log_mel(y, sampling_rate=16000, n_mels=32, window=0.05, hop=0.04), 40
    )
    np.testing.assert_allclose(images[3], level - level.mean(), atol=1e-4)
    np.testing.assert_array_equal(inputs.log_mels(index, 40, **settings), images)


def test_sequences_are_measures_beside_the_features(index):
    """Each moment of a clip: 27 measures of its landmarks, then the clip's own features."""
    features = np.random.default_rng(0).normal(size=(16, 3)).astype(np.float32)
    sequences = inputs.sequences(index, features, 5, n_jobs=1)
    assert sequences.shape == (16, 5, len(faces.MEASURES) + 3) and sequences.dtype == np.float32
    track = faces.landmarks(index, n_frames=5, n_jobs=1)[7]
    np.testing.assert_allclose(sequences[7, :, :-3], faces.measures(track), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(sequences[7, :, -3:], np.tile(features[7], (5, 1)))


def test_speaker_normalised_values_are_scaled_within_each_speaker(index):
    """Mean 0 and spread 1 over all moments of a speaker's clips; another speaker's clips change
    nothing.
    """
    settings = dict(inputs="speaker-normalised", n_mels=32, window=0.05, hop=0.04, n_jobs=1)
    images = inputs.log_mels(index, 40, **settings)
    for speaker, of_speaker in index.groupby("speaker"):
        mine = images[of_speaker.index].swapaxes(1, 2).reshape(-1, 32)
        np.testing.assert_allclose(mine.mean(axis=0), 0, atol=1e-4)
        np.testing.assert_allclose(mine.std(axis=0), 1, atol=1e-4)
        alone = inputs.log_mels(of_speaker.reset_index(drop=True), 40, **settings)
        np.testing.assert_allclose(alone, images[of_speaker.index], atol=1e-4)
        assert speaker in ("01", "02")
    features = np.zeros((16, 1), np.float32)
    sequences = inputs.sequences(index, features, 5, inputs="speaker-normalised", n_jobs=1)
    first = sequences[index["speaker"].eq("01").to_numpy(), :, 0]
    assert first.mean() == pytest.approx(0, abs=1e-4) and first.std() == pytest.approx(1, abs=1e-4)
