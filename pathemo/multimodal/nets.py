"""The networks of speech and faces: CNN-14, mn04, AlexNet, guided transformer, attentive bi-LSTM.

All take tensors, a row a clip or a frame, and give logits (B, K). Luna-Jimenez et al., Sensors
21(22):7665, 2021, put them together.
"""

from collections import OrderedDict
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from librosa.effects import trim
from torch import nn
from torch.nn import BatchNorm2d, Conv2d, Dropout, Flatten, Linear, MaxPool2d, ReLU, Sequential
from torch.nn.functional import affine_grid, grid_sample, interpolate, layer_norm
from torch.nn.utils.rnn import pad_sequence
from torchaudio.compliance.kaldi import get_mel_banks
from torchvision.models import alexnet, mobilenet_v3_large
from torchvision.models.mobilenetv3 import InvertedResidual

from .. import files, speech
from ..speech import pretrained
from ..speech.recordings import MEDIA


def log_mels(index, *, sampling_rate, n_jobs=-1):
    """Return `speech.log_mel` of each clip, a list of (64, n_frames) float32 [dB]; cached.

    The index has columns clip, audio, video (paths or NA). ValueError names all clips without
    usable sound.
    """
    options = dict(calls=("speech",), n_jobs=n_jobs)
    return files.per_recording(index, MEDIA, _log_mel, (sampling_rate,), **options)


def _log_mel(path, sampling_rate):
    y = speech.decode(path, sampling_rate=sampling_rate)
    return speech.log_mel(y, sampling_rate=sampling_rate)


class CNN14(nn.Module):
    """CNN-14 of PANNs, parameters named as there: log-mel levels (B, 64, n_frames >= 32) [dB].

    `width` scales channels and embedding: 1 is the published network, of 64 to 2048 channels.

    Source: Kong et al., "PANNs: Large-Scale Pretrained Audio Neural Networks", 2020.

    >>> sum(parameter.numel() for parameter in CNN14().parameters())
    80753615
    """

    def __init__(self, n_classes=527, *, width=1.0):
        super().__init__()
        self.bn0 = BatchNorm2d(64)
        channels = [1, *(round(width * 64 * 2**block) for block in range(6))]
        for block, (n_in, n_out) in enumerate(pairwise(channels), start=1):
            layers = OrderedDict(
                conv1=Conv2d(n_in, n_out, 3, padding=1, bias=False),
                bn1=BatchNorm2d(n_out),
                relu1=ReLU(),
                conv2=Conv2d(n_out, n_out, 3, padding=1, bias=False),
                bn2=BatchNorm2d(n_out),
                relu2=ReLU(),
                pool=nn.AvgPool2d(2 if block < 6 else 1),
                dropout=Dropout(0.2),
            )
            self.add_module(f"conv_block{block}", Sequential(layers))
        self.fc1 = Linear(n_out, n_out)
        self.fc_audioset = Linear(n_out, n_classes)
        self.dropout = Dropout(0.5)
        for weight in self.parameters():
            if weight.ndim > 1:
                nn.init.xavier_uniform_(weight)

    def embed(self, levels):
        """Return embeddings (B, 2048 * width) of clips: what `fc1` gives."""
        x = self.bn0(levels[..., None]).transpose(1, 3)  # (B, 1, n_frames, n_mels)
        for block in range(1, 7):
            x = self.get_submodule(f"conv_block{block}")(x)
        x = x.mean(dim=3)  # (B, channels, n_frames // 32)
        x = self.dropout(x.amax(dim=2) + x.mean(dim=2))
        return self.fc1(x).relu()

    def forward(self, levels):
        return self.fc_audioset(self.dropout(self.embed(levels)))


def published_cnn14(path, n_classes=None):
    """Return `CNN14` with the weights of PANNs' checkpoint; `n_classes` gives it a new head.

    Nothing in the file is run. ValueError names all weights of other names or shapes.
    """
    net = _with_weights(CNN14(), path)
    if n_classes:
        net.fc_audioset = Linear(net.fc1.out_features, n_classes)
    return net


def _with_weights(net, path):
    weights = torch.load(path, map_location="cpu", weights_only=True)
    front_end = "spectrogram_extractor", "logmel_extractor"  # of PANNs; ours is `speech.log_mel`
    try:
        weights = weights.get("model", weights)
        net.load_state_dict({k: v for k, v in weights.items() if not k.startswith(front_end)})
    except (RuntimeError, AttributeError) as problem:
        reason = f"{path} does not hold the weights of {type(net).__name__}: {problem}"
        way_out = 'see "Weights" in data/README.md for the file that has them'
        raise ValueError(f"{reason}; {way_out}") from None
    return net


class SqueezeExcitation(nn.Module):
    """A gate (B, C, 1, 1) on channels from their means; parameters named as in EfficientAT."""

    def __init__(self, channels, squeezed):
        super().__init__()
        layers = dict(fc1=Linear(channels, squeezed), relu=ReLU(), fc2=Linear(squeezed, channels))
        self.conc_se_layers = nn.ModuleList([Sequential(OrderedDict(layers))])

    def forward(self, x):
        gate = self.conc_se_layers[0](x.mean(dim=(2, 3))).sigmoid()
        return gate[..., None, None] * x


class MN04(nn.Module):
    """EfficientAT's `mn04_as`, a MobileNetV3 of 0.4 times the width: `mn04_levels` (B, 128, T).

    Parameters are named as there. Source: Schmid et al., "Efficient Large-Scale Audio Tagging via
    Transformer-to-CNN Knowledge Distillation", ICASSP 2023.

    >>> sum(parameter.numel() for parameter in MN04().parameters())
    983599
    """

    def __init__(self, n_classes=527):
        super().__init__()
        block = partial(InvertedResidual, se_layer=SqueezeExcitation)
        net = mobilenet_v3_large(width_mult=0.4, num_classes=n_classes, block=block)
        self.features = net.features
        self.features[0][0] = Conv2d(1, 8, 3, stride=2, padding=1, bias=False)  # of one channel
        self.classifier = Sequential(nn.AdaptiveAvgPool2d(1), Flatten(), *net.classifier)
        self.to(memory_format=torch.channels_last)  # processors are half as long at it

    def embed(self, levels):
        """Return embeddings (B, 384) of clips: the mean over time and bands of the last layer."""
        return self.classifier[:2](self.features(levels[:, None]))

    def forward(self, levels):
        return self.classifier[2:](self.embed(levels))


def published_mn04(path, n_classes=None):
    """Return `MN04` with the weights of EfficientAT's checkpoint, as in `published_cnn14`."""
    net = _with_weights(MN04(), path)
    if n_classes:
        net.classifier[5] = Linear(512, n_classes)
    return net


def mn04_levels(index, *, n_jobs=-1):
    """Return what `MN04` reads of each clip, (128, T) float32, 100 frames a second; cached.

    Silence before and after speech, 40 dB below the loudest, is cut off. Index and errors are as in
    `log_mels`.
    """
    options = dict(calls=("speech",), n_jobs=n_jobs)
    return files.per_recording(index, MEDIA, _mn04_levels, **options)


def _mn04_levels(path):
    y, _ = trim(speech.decode(path, sampling_rate=32000), top_db=40)
    return mn04_front_end(y)


def mn04_front_end(y):
    """Return the levels (128, 1 + (n_samples - 1) // 320) float32 of sound (n_samples,) at 32 kHz.

    Pre-emphasis, power of windows of 25 ms every 10 ms, 128 bands of 0 to 15 kHz even on Kaldi's
    mel scale, logarithm, scaled to about -1 to 1, as in the training of Schmid et al. 2023. Sound
    is padded with silence to a window of 1024 samples.
    """
    y = torch.as_tensor(np.pad(np.float32(y), (0, max(0, 1025 - len(y)))))
    window = torch.hann_window(800, periodic=False)
    spectrum = torch.stft(y[1:] - 0.97 * y[:-1], 1024, 320, 800, window, return_complex=True)
    banks, _ = get_mel_banks(128, 1024, 32000, 0.0, 15000.0, 100.0, -500.0, 1.0)  # (128, 512)
    bands = banks @ (spectrum.real**2 + spectrum.imag**2)[:512]
    return (((bands + 1e-5).log() + 4.5) / 5).numpy()


class LastLayers(nn.Module):
    """The last two layers of an encoder in Whisper's format, and a head: `encoder_states`, lengths.

    What is beyond a clip's length is not attended to, and no part of the mean over its frames.
    """

    def __init__(self, folder, n_classes):
        super().__init__()
        encoder, _ = pretrained.load_encoder(folder)
        self.layers, self.norm = encoder.layers[-2:], encoder.layer_norm
        self.head = Linear(encoder.config.d_model, n_classes)

    def embed(self, states, lengths):
        """Return embeddings (B, d): the mean over a clip's frames of the last layer, normed."""
        states = states[:, : lengths.max()].float()  # (B, T, d)
        inside = torch.arange(states.shape[1], device=states.device) < lengths[:, None]  # (B, T)
        attended = inside[:, None, None].expand(-1, 1, states.shape[1], -1)  # (B, 1, T, T)
        for layer in self.layers:
            states = layer(states, attended)
        return (self.norm(states) * inside[..., None]).sum(dim=1) / lengths[:, None]

    def forward(self, states, lengths):
        return self.head(self.embed(states, lengths))


def encoder_states(index, folder):
    """Return what `LastLayers` reads of each clip (n_clips, T, d) float16, and lengths (n_clips,).

    These are in frames, 50 a second; beyond them states are 0. The index is as in `log_mels`.
    """
    encoder, prepare = pretrained.load_encoder(folder)
    clips = []
    for path in index.reindex(columns=MEDIA).bfill(axis=1).iloc[:, 0]:
        y = speech.decode(path, sampling_rate=16000)
        y = np.pad(y, (0, -len(y) % 320))  # whole frames
        layers = pretrained.hidden_layers(encoder, prepare, y)
        clips.append(layers[-3].half())  # which the last two layers follow
    return pad_sequence(clips, batch_first=True).numpy(), np.array([*map(len, clips)])


class AlexNet(nn.Module):
    """AlexNet on log-mel images: levels (B, n_mels, n_frames) [dB], of any size.

    Levels are scaled to mean 0 and spread 1 within a clip, stretched to 224 x 224, the same in each
    colour. `weights` are torchvision's, which it downloads where they are not: "IMAGENET1K_V1".
    """

    def __init__(self, n_classes, *, weights=None):
        super().__init__()
        self.net = alexnet(weights=weights)
        self.net.classifier[6] = Linear(4096, n_classes)

    def forward(self, levels):
        images = layer_norm(levels, levels.shape[1:])[:, None]
        images = interpolate(images, (224, 224), mode="bilinear")
        return self.net(images.expand(-1, 3, -1, -1))  # (B, 3, 224, 224)


class GuidedTransformer(nn.Module):
    """Guided spatial transformer: face images and saliency maps, (B, 48, 48) each in [0, 1].

    From the map, the guide, comes the affine warp of the image, at first the identity; a small
    convolutional network classifies what the warp shows.

    Source: Luna-Jimenez et al., Applied Sciences 11(16):7217, 2021.
    """

    def __init__(self, n_classes):
        super().__init__()
        layers = [Conv2d(1, 8, 7), MaxPool2d(2), ReLU(), Conv2d(8, 10, 5), MaxPool2d(2), ReLU()]
        self.localisation = Sequential(*layers, Flatten(), Linear(640, 32), ReLU(), Linear(32, 6))
        nn.init.zeros_(self.localisation[-1].weight)
        self.localisation[-1].bias.data = torch.eye(2, 3).flatten()
        layers = [Conv2d(1, 10, 3), ReLU(), Conv2d(10, 10, 3), MaxPool2d(2), ReLU()]
        layers += [Conv2d(10, 10, 3), ReLU(), Conv2d(10, 10, 3), BatchNorm2d(10), MaxPool2d(2)]
        self.body = Sequential(*layers, ReLU(), Dropout(0.5), Flatten(), Linear(810, 50), ReLU())
        self.head = Linear(50, n_classes)

    def warp(self, images, guides):
        """Return what the classifier sees: (B, 48, 48), each image under its guide's affine map."""
        maps = self.localisation(guides[:, None]).view(-1, 2, 3)
        images = images[:, None]  # (B, 1, 48, 48)
        grid = affine_grid(maps, images.shape, align_corners=False)
        return grid_sample(images, grid, align_corners=False)[:, 0]

    def embed(self, images, guides):
        """Return the layer (B, 50) that a bi-LSTM reads."""
        return self.body(self.warp(images, guides)[:, None])

    def forward(self, images, guides):
        return self.head(self.embed(images, guides))


class AttentiveLSTM(nn.Module):
    """Two bi-LSTM layers of 50 units in each direction, two of attention: (B, T, d).

    Source: Luna-Jimenez et al., Applied Sciences 12(1):327, 2022.
    """

    def __init__(self, n_features, n_classes):
        super().__init__()
        self.lstm = nn.LSTM(n_features, 50, 2, batch_first=True, bidirectional=True, dropout=0.3)
        layers = Linear(100, 100), nn.Tanh(), Dropout(0.3), Linear(100, 1), nn.Tanh()
        self.score = Sequential(*layers)
        self.head = Sequential(Dropout(0.3), Linear(100, n_classes))

    def forward(self, sequences):
        outputs, _ = self.lstm(sequences)  # (B, T, 100)
        attention = self.score(outputs).softmax(dim=1)  # (B, T, 1)
        return self.head((attention * outputs).sum(dim=1))
