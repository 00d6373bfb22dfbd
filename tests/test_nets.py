"""The networks: published names, counts and shapes; what padding and guides do; weights that are
refused.
"""

import functools

import librosa
import numpy as np
import pytest
import torch

from pathemo import nets, speech

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
    """A file as PANNs publishes it: the front end's buffers and other entries around the
    weights.
    """
    state = {name: torch.zeros(shape) for name, shape in FRONT_END.items()} | cnn14.state_dict()
    torch.save({"iteration": 1, "model": state}, tmp_path / "cnn14.pth")
    return tmp_path / "cnn14.pth"


def changed(checkpoint, change):
    found = torch.load(checkpoint)
    change(found["model"])
    torch.save(found, checkpoint)
    return checkpoint


def test_cnn14_has_the_published_names_and_size():
    """PANNs' names; weights, statistics and front end together fill the published file but for its
    frame.
    """
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


def test_clips_shorter_than_the_reach_are_padded_by_their_ends():
    """20 frames give what the same clip gives with its first and last frame repeated up to 32."""
    net, levels = nets.CNN14(8, width=1 / 16).eval(), torch.randn(1, 64, 20)
    padded = torch.cat(
        [levels[..., :1].repeat(1, 1, 6), levels, levels[..., -1:].repeat(1, 1, 6)], dim=2
    )
    assert torch.equal(net(levels), net(padded))


def test_front_end_is_librosa_s_at_the_published_settings():
    """Log-mel levels of a sweep in noise, at 32 kHz and at 16 kHz: equal to librosa's within 0.001
    dB.
    """
    for rate, window, hop, highest in ((32000, 1024, 320, 14000), (16000, 512, 160, 8000)):
        y = librosa.chirp(fmin=50, fmax=8000, sr=rate, duration=0.5)
        y += np.random.default_rng(0).normal(size=len(y)) / 20
        published = dict(
            n_fft=window, hop_length=hop, n_mels=64, fmin=50, fmax=highest, pad_mode="reflect"
        )
        mel = librosa.feature.melspectrogram(y=y, sr=rate, **published)
        expected = librosa.power_to_db(mel, ref=1.0, amin=1e-10, top_db=None)
        np.testing.assert_allclose(
            speech.log_mel(y, sampling_rate=rate), expected, rtol=0, atol=1e-3
        )


def test_published_weights_are_taken_over(cnn14, checkpoint):
    """Every weight, for AudioSet's classes; another number of classes has a new head on the same
    body.
    """
    for n_classes in (527, 8):
        net = nets.published_cnn14(checkpoint, n_classes)
        for name, weights in net.state_dict().items():
            assert name.startswith("fc_audioset") or torch.equal(weights, cnn14.state_dict()[name])
        assert net.fc_audioset.weight.shape == (n_classes, 128)


def test_other_names_and_shapes_are_listed(checkpoint):
    """A weight under another name, and one of another shape: all of them are in the error."""

    def change(state):
        state["fc2.weight"] = state.pop("fc1.weight")
        state["bn0.weight"] = torch.ones(128)

    with pytest.raises(ValueError) as error:  # noqa: PT011
        nets.published_cnn14(changed(checkpoint, change))
    for part in (
        "problems: 3",
        "fc1.weight: missing",
        "bn0.weight: (128,), CNN-14 has (64,)",
        "fc2.weight: (128, 128), CNN-14 has none of that name",
        "fetch cnn14",
    ):
        assert part in str(error.value)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_truncated_checkpoints_are_refused(tmp_path, zipped):
    """In either format of torch, cut anywhere; a missing file is another error."""
    path = tmp_path / "cut.pth"
    torch.save(
        {"model": {"bn0.weight": torch.ones(64)}}, path, _use_new_zipfile_serialization=zipped
    )
    content = path.read_bytes()
    for end in (0, 20, len(content) // 2, len(content) - 4):
        path.write_bytes(content[:end])
        with pytest.raises(
            ValueError, match=r"cut\.pth is truncated or no checkpoint.*fetch cnn14"
        ):
            nets.published_cnn14(path)
    with pytest.raises(FileNotFoundError):
        nets.published_cnn14(tmp_path / "none.pth")


class Harmful:
    def __reduce__(self):
        return print, ("code of a checkpoint was run",)


def test_nothing_of_a_checkpoint_is_run(tmp_path, capsys):
    """A pickle that calls a function is refused."""
    torch.save({"model": Harmful()}, tmp_path / "harmful.pth")
    with pytest.raises(ValueError, match="no checkpoint"):
        nets.published_cnn14(tmp_path / "harmful.pth")
    assert "was run" not in capsys.readouterr().out


def test_alexnet_takes_log_mel_images_of_any_size(tmp_path, monkeypatch):
    """Level and spread of a clip change nothing; without torchvision's weights the way to them is
    named.
    """
    net, levels = nets.AlexNet(8).eval(), torch.randn(2, 64, 90)
    logits = net(levels)
    assert logits.shape == (2, 8)
    torch.testing.assert_close(net(10 * levels - 40), logits, atol=1e-4, rtol=1e-4)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(
        FileNotFoundError, match=r"alexnet-owt-7be5be79\.pth is not there.*IMAGENET1K_V1"
    ):
        nets.AlexNet(8, pretrained=True)


def test_guided_transformer_has_the_published_layers():
    """640 numbers of the guide; layers of 810 and 50 for the bi-LSTM; a logit a class."""
    net = nets.GuidedTransformer(8).eval()
    images, guides = torch.rand(2, 3, 48, 48)
    assert net.localisation[:7](guides[:, None]).shape == (3, 640)
    assert [layer.shape for layer in net.layers(images, guides)] == [(3, 810), (3, 50)]
    assert net(images, guides).shape == (3, 8)


def test_guided_transformer_starts_at_the_identity():
    """Before training, whatever the guide, images are shown as they are; and the guide learns at
    once.
    """
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


def test_padding_changes_nothing():
    """What lies behind a sequence's length has no attention, and no effect on the logits."""
    torch.manual_seed(0)
    net, sequences, lengths = (
        nets.AttentiveLSTM(5, 4).eval(),
        torch.randn(3, 9, 5),
        torch.tensor([9, 4, 1]),
    )
    logits, (_, attention) = net(sequences, lengths), net.attend(sequences, lengths)
    for row, length in enumerate(lengths):
        alone = sequences[row : row + 1, :length]
        torch.testing.assert_close(net(alone), logits[row : row + 1])
        torch.testing.assert_close(net.attend(alone)[1][0], attention[row, :length])
        sequences[row, length:] = 1e3
    torch.testing.assert_close(net(sequences, lengths), logits)


def test_attention_sums_to_one():
    """Over the moments of a clip, and it is 0 behind them."""
    net, lengths = nets.AttentiveLSTM(5, 4).eval(), torch.tensor([9, 4])
    _, attention = net.attend(torch.randn(2, 9, 5), lengths)
    torch.testing.assert_close(attention.sum(dim=1), torch.ones(2))
    assert (attention[1, 4:] == 0).all() and (attention[1, :4] > 0).all()


def test_as_many_attention_layers_as_lstm_layers():
    """Two tanh layers for two bi-LSTM layers, one for one."""
    for n_layers in (1, 2):
        net = nets.AttentiveLSTM(5, 4, n_layers=n_layers)
        assert (
            sum(isinstance(layer, torch.nn.Tanh) for layer in net.score)
            == net.lstm.num_layers
            == n_layers
        )
