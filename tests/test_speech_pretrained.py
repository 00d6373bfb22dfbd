"""Embeddings of encoders that others trained: Whisper without padding, any other by its format."""

import json
import shutil

import numpy as np
import pytest
import soundfile
import torch
import transformers
from safetensors.torch import load_file, save_file
from test_speech import RATE, frame, sawtooth

from pathemo import speech
from pathemo.speech import pretrained


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PATHEMO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def clips(tmp_path):
    """Index of three clips: of 1.3 s, 0.2 s, and the first again, slower."""
    paths = [tmp_path / f"{name}.wav" for name in ("long", "short", "slow")]
    for path, seconds, hertz in zip(paths, (1.3, 0.2, 1.3), (200, 200, 150), strict=True):
        soundfile.write(path, np.resize(sawtooth(hertz), round(seconds * RATE)), RATE)
    return frame(*paths)


def copy_of(folder, tmp_path, name="copy"):
    return shutil.copytree(folder, tmp_path / name)


@pytest.fixture
def tiny(synthetic_root):
    return synthetic_root / "models" / "tiny-random"


def test_embeddings_are_statistics_of_the_layers_asked_for(clips, synthetic_root):
    """Mean and standard deviation over a clip's frames, layer by layer, of each clip; kept."""
    options = dict(root=synthetic_root, n_jobs=1)
    rows = speech.embeddings(clips, "tiny-random", layers=[1, -1], **options)
    assert rows.shape == (3, 2 * 2 * 16) and rows.dtype == np.float32 and np.isfinite(rows).all()
    last = speech.embeddings(clips, "tiny-random", layers=[4], **options)
    assert (rows[:, 32:] == last).all() and (rows[0] != rows[2]).any()
    encoder, prepare = pretrained.load_encoder(synthetic_root / "models" / "tiny-random")
    y = speech.decode(clips["audio"][0], sampling_rate=RATE)
    layers = pretrained.hidden_layers(encoder, prepare, y)
    assert layers.shape == (5, 65, 16)  # frames of 20 ms
    mean, spread = layers[1].numpy().mean(0), layers[1].numpy().std(0)
    np.testing.assert_allclose(rows[0, :32], np.concatenate([mean, spread]), atol=1e-5)


def test_whisper_unpadded_is_whisper_without_attention_to_padding(tiny):
    """Before the first layer, frames of a clip are those of the clip padded to 30 s."""
    encoder, prepare = pretrained.load_encoder(tiny)
    y = np.float32(sawtooth(200))
    own = pretrained.hidden_layers(encoder, prepare, y)[0]
    whole, prepare = pretrained.load_encoder(tiny)
    inputs = prepare(y, sampling_rate=RATE, return_tensors="pt")
    with torch.inference_mode():
        padded = whole(**inputs, output_hidden_states=True).hidden_states[0][0]
    np.testing.assert_allclose(own[:-2], padded[: len(own) - 2], atol=1e-4)  # windows at the end


def test_a_clip_that_is_longer_than_whisper_hears_is_heard_in_parts(tmp_path, synthetic_root):
    """Forty seconds of one sound have nearly the embeddings of twenty."""
    paths = [tmp_path / "20.wav", tmp_path / "40.wav"]
    for path, seconds in zip(paths, (20, 40), strict=True):
        soundfile.write(path, np.resize(sawtooth(200), seconds * RATE), RATE)
    options = dict(layers=[0], root=synthetic_root, n_jobs=1)
    one, two = speech.embeddings(frame(*paths), "tiny-random", **options)
    np.testing.assert_allclose(one, two, atol=0.02)


def test_any_encoder_of_the_hub_gives_embeddings(clips, tmp_path):
    """A tiny HuBERT in the hub's format, whose input is the wave: by its folder; its own rate."""
    sizes = dict(hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16)
    sizes |= dict(
        conv_dim=(8, 8), conv_kernel=(10, 8), conv_stride=(5, 4), num_feat_extract_layers=2
    )
    sizes |= dict(num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2)
    torch.manual_seed(0)
    transformers.HubertModel(transformers.HubertConfig(**sizes)).save_pretrained(tmp_path / "own")
    transformers.Wav2Vec2FeatureExtractor(sampling_rate=8000).save_pretrained(tmp_path / "own")
    rows = speech.embeddings(clips, tmp_path / "own", layers=[1, 2], n_jobs=1)
    assert rows.shape == (3, 2 * 2 * 8) and np.isfinite(rows).all()
    assert pretrained.load_encoder(tmp_path / "own")[1].sampling_rate == 8000


def test_what_cannot_be_used_is_named_with_the_way_out(clips, tiny, tmp_path, monkeypatch):
    """No such network, on the hub or here; another kind of model; layers and weights that lack."""
    for name in ("whisper-huge", "nobody/nothing"):
        with pytest.raises(FileNotFoundError, match=f"models.{name}.*put its config.json"):
            speech.embeddings(clips, name, layers=[1], root=tmp_path)
        assert not speech.is_here(name, tmp_path)
    with pytest.raises(ValueError, match=r"layers \[5\] of .*tiny-random: choose from 0 to 4"):
        speech.embeddings(clips, tiny, layers=[5], n_jobs=1)
    other = copy_of(tiny, tmp_path)
    (other / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(
        ValueError, match="copy is no speech encoder in the hub's format|copy lacks"
    ):
        pretrained.load_encoder(other)
    lacking = copy_of(tiny, tmp_path, "lacking")
    weights = load_file(lacking / "model.safetensors")
    save_file(
        {k: v for k, v in weights.items() if "layers.3" not in k}, lacking / "model.safetensors"
    )
    with pytest.raises(ValueError, match="lacking lacks .* weights, first layers.3"):
        pretrained.load_encoder(lacking)
    shapes = copy_of(tiny, tmp_path, "shapes")
    save_file(weights | {"conv1.bias": torch.zeros(3)}, shapes / "model.safetensors")
    with pytest.raises(ValueError, match="shapes is no speech encoder"):
        pretrained.load_encoder(shapes)


def test_without_transformers_the_way_out_is_named(clips, tiny, monkeypatch):
    """The extra that has it; nothing else of the package needs it."""
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    pretrained._loaded.cache_clear()
    with pytest.raises(ImportError, match=r'pip install "pathemo\[pretrained\]"'):
        speech.embeddings(clips, tiny, layers=[1], n_jobs=1)
    assert not speech.is_here(tiny)


def test_another_network_under_the_same_name_is_not_taken_from_the_cache(clips, tiny, tmp_path):
    """What is kept is named by the content of the network's files."""
    other = copy_of(tiny, tmp_path)
    first = speech.embeddings(clips, other, layers=[1], n_jobs=1)
    weights = load_file(other / "model.safetensors")
    save_file({k: 2 * v for k, v in weights.items()}, other / "model.safetensors")
    pretrained._digest.cache_clear()
    pretrained._loaded.cache_clear()
    assert (speech.embeddings(clips, other, layers=[1], n_jobs=1) != first).any()


@pytest.mark.recorded
def test_whisper_knows_emotion_in_its_middle_layers(recorded_root, clips):
    """The published weights load whole, and give what other programs give of them."""
    if not speech.is_here("whisper-tiny.en", recorded_root):
        pytest.skip("no whisper-tiny.en in models/ of PATHEMO_DATA")
    rows = speech.embeddings(clips, "whisper-tiny.en", layers=[1, 2], root=recorded_root, n_jobs=1)
    assert rows.shape == (3, 2 * 2 * 384) and np.isfinite(rows).all()
