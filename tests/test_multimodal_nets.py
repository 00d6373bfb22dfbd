"""The networks: published names, counts and shapes; what guides do; weights that are refused."""

import functools
import pickle

import librosa
import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from torch.nn.functional import conv2d, hardswish, linear

from pathemo import speech, synthetic
from pathemo.multimodal import nets
from pathemo.speech import pretrained

FRONT_END = {
    "spectrogram_extractor.stft.conv_real.weight": (513, 1, 1024),
    "spectrogram_extractor.stft.conv_imag.weight": (513, 1, 1024),
    "logmel_extractor.melW": (513, 64),
}
NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
NAMES = [f"bn0.{name}" for name in NORM]
for block in range(1, 7):
    NAMES += [f"conv_block{block}.conv{n}.weight" for n in (1, 2)]
    NAMES += [f"conv_block{block}.bn{n}.{name}" for n in (1, 2) for name in NORM]
NAMES += [f"{layer}.{name}" for layer in ("fc1", "fc_audioset") for name in ("weight", "bias")]


@pytest.fixture
def cnn14(monkeypatch):
    """The network as `published_cnn14` makes it, a sixteenth as wide so that its file is small."""
    monkeypatch.setattr(nets, "CNN14", functools.partial(nets.CNN14, width=1 / 16))
    return nets.CNN14()


@pytest.fixture
def checkpoint(cnn14, tmp_path):
    """A file as PANNs publishes it: the front end's buffers and other entries around weights."""
    state = {name: torch.zeros(shape) for name, shape in FRONT_END.items()} | cnn14.state_dict()
    torch.save({"iteration": 1, "model": state}, tmp_path / "cnn14.pth")
    return tmp_path / "cnn14.pth"


def test_log_mels_are_those_of_each_clip(tmp_path, monkeypatch):
    """As decoded and transformed by hand, (64, n_frames) float32; kept on disk."""
    monkeypatch.setenv("PATHEMO_CACHE", str(tmp_path / "cache"))
    files = [str(tmp_path / f"{seconds}.wav") for seconds in (1, 2)]
    for seconds, file in enumerate(files, start=1):
        soundfile.write(
            file, np.random.default_rng(seconds).normal(size=seconds * 16000) / 9, 16000
        )
    index = pd.DataFrame({"clip": ["a", "b"], "audio": [files[0], pd.NA], "video": files})
    first = nets.log_mels(index, sampling_rate=16000)
    y = speech.decode(files[1], sampling_rate=16000)
    expected = speech.log_mel(y, sampling_rate=16000)
    monkeypatch.setattr(nets.speech, "decode", None)  # the second time from the disk
    for levels in (first, nets.log_mels(index, sampling_rate=16000)):
        assert [level.shape for level in levels] == [(64, 101), (64, 201)]
        np.testing.assert_array_equal(levels[1], expected)


def test_front_end_is_librosa_s_at_the_published_settings():
    """Log-mel levels of a sweep in noise, at 32 and 16 kHz: equal to librosa's within 0.001 dB."""
    for rate, window, hop, highest in ((32000, 1024, 320, 14000), (16000, 512, 160, 8000)):
        y = librosa.chirp(fmin=50, fmax=8000, sr=rate, duration=0.5)
        y += np.random.default_rng(0).normal(size=len(y)) / 20
        published = dict(n_fft=window, hop_length=hop, n_mels=64, fmin=50, fmax=highest)
        mel = librosa.feature.melspectrogram(y=y, sr=rate, pad_mode="reflect", **published)
        expected = librosa.power_to_db(mel, ref=1.0, amin=1e-10, top_db=None)
        levels = speech.log_mel(y, sampling_rate=rate)
        np.testing.assert_allclose(levels, expected, rtol=0, atol=1e-3)


def test_cnn14_has_the_published_names_and_size():
    """PANNs' names; weights, statistics and front end fill the published file but for its frame."""
    state = nets.CNN14().state_dict()
    assert set(state) == set(NAMES)
    floats = sum(t.numel() for t in state.values() if t.is_floating_point())
    front_end = sum(np.prod(shape) for shape in FRONT_END.values())
    assert 0 < 327_428_481 - 4 * (floats + front_end) < 20_000
    assert state["conv_block6.conv2.weight"].shape == (2048, 2048, 3, 3)


def test_width_scales_channels_and_embedding():
    """A sixteenth: 4 to 128 channels, embeddings of 128."""
    net = nets.CNN14(8, width=1 / 16).eval()
    assert net.conv_block1.conv1.out_channels == 4
    embedding = net.embed(torch.randn(2, 64, 40))
    assert embedding.shape == (2, 128) and (embedding >= 0).all()
    assert net(torch.randn(2, 64, 40)).shape == (2, 8)


def test_published_weights_are_taken_over(cnn14, checkpoint):
    """Every weight, for AudioSet's classes; other classes have a new head on the same body."""
    for n_classes in (None, 8):
        net = nets.published_cnn14(checkpoint, n_classes)
        for name, weights in net.state_dict().items():
            new = n_classes and name.startswith("fc_audioset")
            assert new or torch.equal(weights, cnn14.state_dict()[name])
        assert net.fc_audioset.weight.shape == (n_classes or 527, 128)


def test_other_names_and_shapes_are_listed(checkpoint):
    """A weight under another name, and one of another shape: all of them are in the error."""
    state = torch.load(checkpoint)
    state["model"]["fc2.weight"] = state["model"].pop("fc1.weight")
    state["model"]["bn0.weight"] = torch.ones(128)
    torch.save(state, checkpoint)
    with pytest.raises(ValueError, match=r'(?s)CNN14.*"fc1\.weight".*"fc2\.weight".*bn0\.weight'):
        nets.published_cnn14(checkpoint)


class Harmful:
    def __reduce__(self):
        return print, ("code of a checkpoint was run",)


def test_nothing_of_a_checkpoint_is_run(tmp_path, capsys):
    """A pickle that calls a function is refused."""
    torch.save({"model": Harmful()}, tmp_path / "harmful.pth")
    with pytest.raises(pickle.UnpicklingError):
        nets.published_cnn14(tmp_path / "harmful.pth")
    assert "was run" not in capsys.readouterr().out


BLOCKS = [  # of mn04: squeeze-excitation, activation, stride
    *[(0, torch.relu, stride) for stride in (1, 2, 1)],
    *[(1, torch.relu, stride) for stride in (2, 1, 1)],
    *[(0, hardswish, stride) for stride in (2, 1, 1, 1)],
    *[(1, hardswish, stride) for stride in (1, 1, 2, 1, 1)],
]


@pytest.fixture(scope="module")
def mn04():
    """Random weights, and statistics of its norms that are not those of a fresh one."""
    torch.manual_seed(0)
    net = nets.MN04().train()
    for _ in range(30):
        net(torch.randn(8, 128, 64))
    return net.eval()


@pytest.fixture
def mn04_file(mn04, tmp_path):
    """A file as EfficientAT publishes it: weights by name."""
    torch.save(mn04.state_dict(), tmp_path / "mn04.pt")
    return tmp_path / "mn04.pt"


def mn04_logits(state, levels):
    """A plain re-implementation: logits from weights by name."""

    def layer(x, name, activation=None, stride=1):
        weight = state[f"{name}.0.weight"]
        groups = 1 if weight.shape[1] == x.shape[1] else x.shape[1]  # else depthwise
        x = conv2d(x, weight, None, stride, weight.shape[-1] // 2, groups=groups)
        scale, shift, mean, variance = (state[f"{name}.1.{part}"] for part in NORM[:4])
        scale = scale / (variance + 1e-3).sqrt()
        x = scale[:, None, None] * (x - mean[:, None, None]) + shift[:, None, None]
        return activation(x) if activation else x

    def dense(x, name):
        return linear(x, state[f"{name}.weight"], state[f"{name}.bias"])

    x = layer(levels[:, None], "features.0", hardswish, 2)
    for number, (squeezed, activation, stride) in enumerate(BLOCKS, start=1):
        block, before = f"features.{number}.block", x
        places = iter(range(4))
        if number > 1:  # the first one does not expand
            x = layer(x, f"{block}.{next(places)}", activation)
        x = layer(x, f"{block}.{next(places)}", activation, stride)
        if squeezed:
            gate = f"{block}.{next(places)}.conc_se_layers.0"
            means = dense(x.mean(dim=(2, 3)), f"{gate}.fc1").relu()
            x = x * dense(means, f"{gate}.fc2").sigmoid()[:, :, None, None]
        x = layer(x, f"{block}.{next(places)}")
        x = x + before if x.shape == before.shape and stride == 1 else x
    x = layer(x, "features.16", hardswish).mean(dim=(2, 3))
    return dense(hardswish(dense(x, "classifier.2")), "classifier.5")


def test_mn04_is_a_plain_chain_of_its_blocks(mn04):
    """Logits are those of the re-implementation; embeddings are 384 numbers a clip."""
    levels = torch.randn(2, 128, 70)
    torch.testing.assert_close(
        mn04(levels), mn04_logits(mn04.state_dict(), levels), atol=1e-4, rtol=1e-4
    )
    assert mn04.embed(levels).shape == (2, 384)


def test_mn04_front_end_is_that_of_its_training():
    """Levels of a sweep in noise equal those of a plain reference within 1e-4."""
    y = librosa.chirp(fmin=50, fmax=15000, sr=32000, duration=0.3)
    y = np.float32(y + np.random.default_rng(0).normal(size=len(y)) / 20)
    emphasised = np.pad(y[1:] - 0.97 * y[:-1], 512, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(emphasised, 1024)[::320]
    power = np.abs(np.fft.rfft(windows * np.pad(np.hanning(800), 112))) ** 2
    mel = 1127 * np.log(1 + np.arange(513) * 31.25 / 700)
    edges = np.linspace(0, 1127 * np.log(1 + 15000 / 700), 130)
    bands = [np.interp(mel, edges[band : band + 3], [0, 1, 0]) @ power.T for band in range(128)]
    expected = (np.log(np.array(bands) + 1e-5) + 4.5) / 5
    levels = nets.mn04_front_end(y)
    assert levels.dtype == np.float32
    np.testing.assert_allclose(levels, expected, rtol=0, atol=1e-4)


def test_mn04_levels_are_those_of_speech_alone(tmp_path, monkeypatch):
    """Silence around it is cut off; what is shorter than a window is padded; kept on disk."""
    monkeypatch.setenv("PATHEMO_CACHE", str(tmp_path / "cache"))
    y = np.random.default_rng(0).normal(size=16000) / 9
    for name, sound in ("a", np.pad(y, 8000)), ("b", y[:300]):
        soundfile.write(tmp_path / f"{name}.wav", sound, 16000)
    files = [str(tmp_path / f"{name}.wav") for name in "ab"]
    index = pd.DataFrame({"clip": ["a", "b"], "audio": files})
    first = nets.mn04_levels(index)
    assert first[0].shape[1] in range(101, 111) and first[1].shape == (128, 4)
    monkeypatch.setattr(nets.speech, "decode", None)
    for levels, again in zip(first, nets.mn04_levels(index)):
        np.testing.assert_array_equal(levels, again)


def test_published_mn04_is_taken_over(mn04, mn04_file):
    """Every weight, for AudioSet's tags; other classes have a new last layer on the same body."""
    for n_classes in (None, 8):
        net = nets.published_mn04(mn04_file, n_classes)
        for name, weights in net.state_dict().items():
            new = n_classes and name.startswith("classifier.5")
            assert new or torch.equal(weights, mn04.state_dict()[name])
        assert net.classifier[5].weight.shape == (n_classes or 527, 512)


def test_what_does_not_hold_mn04_is_refused(mn04, tmp_path):
    """Other names, other shapes, or no weights: the file, the names, and the way out."""
    state = mn04.state_dict()
    state["classifier.6.bias"] = state.pop("classifier.5.bias")
    state["features.0.1.bias"] = torch.ones(16)
    named = r'mn04.pt does not.*"classifier.5.bias".*"classifier.6.bias".*features.0.1.bias'
    for content, message in (state, named), ([1, 2], "mn04.pt does not"), ({}, "features.0.0"):
        torch.save(content, tmp_path / "mn04.pt")
        with pytest.raises(ValueError, match=rf'(?s){message}.*"Weights" in data/README.md'):
            nets.published_mn04(tmp_path / "mn04.pt")


@pytest.mark.recorded
def test_published_mn04_knows_a_tone_from_noise(recorded_root):
    """The published weights load by their names, and hear white noise (tag 515) in noise."""
    path = recorded_root / "models" / "mn04_as_mAP_432.pt"
    if not path.is_file():
        pytest.skip(f"{path.name} is not there")
    net = nets.published_mn04(path).eval()
    noise = nets.mn04_front_end(np.random.default_rng(0).normal(size=96000) / 20)
    assert net(torch.from_numpy(noise)[None]).argmax() == 515


def test_last_layers_end_as_the_encoder_does(tmp_path):
    """Of each clip the mean of the encoder's own last layer, whatever longer clip stands beside."""
    pytest.importorskip("transformers")
    folder = synthetic.encoder(tmp_path)
    paths = [str(tmp_path / f"{name}.wav") for name in "ab"]
    for path, seconds in zip(paths, (1, 2)):
        noise = np.random.default_rng(seconds).normal(size=seconds * 16000) / 9
        soundfile.write(path, noise, 16000)
    index = pd.DataFrame({"clip": ["a", "b"], "audio": paths})
    states, lengths = nets.encoder_states(index, folder)
    assert states.shape == (2, 100, 16) and lengths.tolist() == [50, 100]
    assert states.dtype == np.float16 and not states[0, 50:].any()
    net = nets.LastLayers(folder, 8).eval()
    states, lengths = torch.from_numpy(states), torch.from_numpy(lengths)
    embedded = net.embed(states, lengths)
    encoder, prepare = pretrained.load_encoder(folder)
    for path, own in zip(paths, embedded):
        y = speech.decode(path, sampling_rate=16000)
        last = pretrained.hidden_layers(encoder, prepare, y)[-1]
        torch.testing.assert_close(own, last.mean(dim=0), atol=2e-3, rtol=2e-3)  # float16
    assert net(states, lengths).shape == (2, 8)


def test_alexnet_takes_log_mel_images_of_any_size():
    """Level and spread of a clip change nothing."""
    net, levels = nets.AlexNet(8).eval(), torch.randn(2, 64, 90)
    logits = net(levels)
    assert logits.shape == (2, 8)
    torch.testing.assert_close(net(10 * levels - 40), logits, atol=1e-4, rtol=1e-4)


def test_guided_transformer_has_the_published_layers():
    """640 numbers of the guide, 810 of the image, a layer of 50 for the bi-LSTM; emotions."""
    net = nets.GuidedTransformer(8).eval()
    images, guides = torch.rand(2, 3, 48, 48)
    assert net.localisation[:7](guides[:, None]).shape == (3, 640)
    assert net.body[:-2](images[:, None]).shape == (3, 810)
    assert net.embed(images, guides).shape == (3, 50)
    assert net(images, guides).shape == (3, 8)


def test_guided_transformer_starts_at_the_identity():
    """Before training images are shown as they are, whatever the guide, which learns at once."""
    torch.manual_seed(0)
    net = nets.GuidedTransformer(8).eval()
    images, guides = torch.rand(2, 3, 48, 48)
    torch.testing.assert_close(net.warp(images, guides), images, atol=1e-5, rtol=0)
    net(images, guides).sum().backward()
    assert net.localisation[-1].weight.grad.abs().sum() > 0


def test_the_guide_moves_the_image():
    """A map that shifts by half a width shows the right half of the image on the left."""
    net = nets.GuidedTransformer(8).eval()
    net.localisation[-1].bias.data[2] = 1.0
    image = torch.rand(1, 48, 48)
    warped = net.warp(image, torch.zeros(1, 48, 48))
    torch.testing.assert_close(warped[..., :24], image[..., 24:], atol=1e-5, rtol=0)
    assert (warped[..., 25:] == 0).all()


def test_attention_weighs_the_moments_of_a_clip():
    """It is positive, sums to one, and logits follow from outputs weighted by it."""
    torch.manual_seed(0)
    net, sequences = nets.AttentiveLSTM(5, 4).eval(), torch.randn(2, 9, 5)
    outputs = net.lstm(sequences)[0]
    attention = net.score(outputs)[..., 0].softmax(dim=1)
    assert attention.shape == (2, 9) and (attention > 0).all()
    torch.testing.assert_close(attention.sum(dim=1), torch.ones(2))
    summed = torch.einsum("bt,btd->bd", attention, outputs)
    torch.testing.assert_close(net(sequences), net.head(summed))
