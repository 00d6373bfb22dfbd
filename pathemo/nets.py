"""The networks of speech and faces: CNN-14, AlexNet, guided spatial transformer, bi-LSTM with
attention.

All take tensors, a row a clip or a frame, and give logits (B, K).

Source: Luna-Jimenez et al., Sensors 21(22):7665, 2021, which puts them together; each names its
own."""

from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import (
    affine_grid,
    avg_pool2d,
    dropout,
    grid_sample,
    interpolate,
    pad,
    relu,
)
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torchvision import models

from .corpora.reading import refuse

FRONT_END = (
    "spectrogram_extractor.",
    "logmel_extractor.",
)  # of PANNs' checkpoints; ours is speech.log_mel
SHORTEST = 32  # [frames] that reach CNN-14's last block
WAY_OUT = '`python -m pathemo fetch cnn14` gets the published one, see "Weights" in data/README.md'


def loudest(levels, n_frames):
    """Levels (n_mels, n_frames) of the loudest stretch of a clip, so that clips can share a batch.

    A shorter clip gets silence, its own least level, half at either end.

    >>> loudest(np.array([[1.0, 5.0, 6.0, 2.0]]), 2), loudest(np.array([[1.0, 5.0]]), 4)
    (array([[5., 6.]]), array([[1., 1., 5., 1.]]))
    """
    short = max(0, n_frames - levels.shape[1])
    levels = np.pad(
        levels, ((0, 0), (short // 2, short - short // 2)), constant_values=levels.min()
    )
    start = np.convolve(levels.mean(axis=0), np.ones(n_frames), mode="valid").argmax()
    return levels[:, start : start + n_frames]


class CNN14(nn.Module):
    """CNN-14 of PANNs, parameters named as there: log-mel levels (B, n_mels, n_frames) [dB] to
    logits.

    Clips of less than 32 frames are padded by their first and last one, half at either end.

    Parameters
    ----------
    n_classes : int
        527 is AudioSet's.
    width : float
        Scale of channels and embedding; 1 is the published network, of 64 to 2048 channels.
    dropout : (float, float)
        After each block, and around `fc1`; the published ones starve narrow networks.

    Source: Kong et al., "PANNs: Large-Scale Pretrained Audio Neural Networks for Audio Pattern
    Recognition", 2020.

    >>> sum(parameter.numel() for parameter in CNN14().parameters())
    80753615
    """

    def __init__(self, n_classes=527, *, width=1.0, n_mels=64, dropout=(0.2, 0.5)):
        super().__init__()
        self.dropout = dropout
        channels = [1, *(round(width * 64 * 2**block) for block in range(6))]
        self.bn0 = nn.BatchNorm2d(n_mels)
        for block in range(1, 7):
            self.add_module(f"conv_block{block}", Block(channels[block - 1], channels[block]))
        self.fc1 = nn.Linear(channels[6], channels[6])
        self.fc_audioset = nn.Linear(channels[6], n_classes)
        for weight in (parameter for parameter in self.parameters() if parameter.ndim > 1):
            nn.init.xavier_uniform_(weight)

    def embed(self, levels):
        """Embeddings (B, 2048 * width) of clips: what `fc1` gives."""
        short = max(0, SHORTEST - levels.shape[2])
        levels = pad(levels, (short // 2, short - short // 2), mode="replicate")
        x = self.bn0(levels[..., None]).transpose(1, 3)  # (B, 1, n_frames, n_mels)
        for block in range(1, 7):
            x = self.get_submodule(f"conv_block{block}")(x)
            x = dropout(avg_pool2d(x, 2) if block < 6 else x, self.dropout[0], self.training)
        x = x.mean(dim=3)
        x = dropout(x.amax(dim=2) + x.mean(dim=2), self.dropout[1], self.training)
        return relu(self.fc1(x))

    def forward(self, levels):
        return self.fc_audioset(dropout(self.embed(levels), self.dropout[1], self.training))


class Block(nn.Module):
    """Two convolutions of CNN-14, each with batch normalisation and ReLU."""

    def __init__(self, n_in, n_out):
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(n_out), nn.BatchNorm2d(n_out)

    def forward(self, x):
        return relu(self.bn2(self.conv2(relu(self.bn1(self.conv1(x))))))


def published_cnn14(path, n_classes=527):
    """CNN-14 with the weights of PANNs' checkpoint, `corpora.model("cnn14")`; a new head for other
    classes.

    Nothing in the file is run.

    Raises
    ------
    ValueError
        The file is truncated or no checkpoint; or its names or shapes differ: all of them by name.
    """
    net = CNN14()
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:  # zip, pickle and torch each have errors of their own
        raise ValueError(
            f"{path} is truncated or no checkpoint ({type(error).__name__}): {WAY_OUT}"
        ) from None
    found = found.get("model", found) if isinstance(found, dict) else {}
    found = {name: weights for name, weights in found.items() if not name.startswith(FRONT_END)}
    shapes = {name: tuple(getattr(weights, "shape", ())) for name, weights in found.items()}
    wanted = {name: tuple(weights.shape) for name, weights in net.state_dict().items()}
    differ = [
        f"{name}: {shapes.get(name, 'missing')}, CNN-14 has {wanted.get(name, 'none of that name')}"
        for name in wanted | shapes
        if shapes.get(name) != wanted.get(name)
    ]
    refuse(differ, f"{path} is no checkpoint of CNN-14", WAY_OUT)
    net.load_state_dict(found)
    if n_classes != net.fc_audioset.out_features:
        net.fc_audioset = nn.Linear(net.fc_audioset.in_features, n_classes)
    return net


class AlexNet(nn.Module):
    """AlexNet on log-mel images: levels (B, n_mels, n_frames) [dB], of any size, to logits.

    Levels are scaled to mean 0 and spread 1 within a clip, stretched to 224 x 224, the same in each
    colour.

    Raises
    ------
    FileNotFoundError
        `pretrained`, and torchvision's weights (ImageNet) are not where torch keeps its downloads.
    """

    def __init__(self, n_classes, *, pretrained=False):
        super().__init__()
        weights = models.AlexNet_Weights.IMAGENET1K_V1 if pretrained else None
        if pretrained:
            file = Path(torch.hub.get_dir(), "checkpoints", Path(weights.url).name)
            if not file.is_file():
                way_out = f"`torchvision.models.alexnet(weights={weights})` gets it"
                raise FileNotFoundError(f"{file} is not there: {way_out}")
        self.net = models.alexnet(weights=weights)
        self.net.classifier[6] = nn.Linear(4096, n_classes)

    def forward(self, levels):
        spread, mean = torch.std_mean(levels, dim=(1, 2), keepdim=True)
        images = ((levels - mean) / (spread + 1e-6))[:, None]
        return self.net(interpolate(images, (224, 224), mode="bilinear").expand(-1, 3, -1, -1))


class GuidedTransformer(nn.Module):
    """Guided spatial transformer: face images and guides, (B, 48, 48) each in [0, 1], to logits.

    From the guide (a saliency map, or a mask of landmarks) comes the affine warp of the image, at
    first the identity; a small convolutional network classifies what the warp shows.

    Source: Luna-Jimenez et al., Applied Sciences 11(16):7217, 2021.
    """

    def __init__(self, n_classes):
        super().__init__()
        self.localisation = nn.Sequential(
            nn.Conv2d(1, 8, 7),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Conv2d(8, 10, 5),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(640, 32),
            nn.ReLU(),
            nn.Linear(32, 6),
        )
        nn.init.zeros_(self.localisation[-1].weight)
        self.localisation[-1].bias.data = torch.eye(2, 3).flatten()
        self.flat = nn.Sequential(
            nn.Conv2d(1, 10, 3),
            nn.ReLU(),
            nn.Conv2d(10, 10, 3),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Conv2d(10, 10, 3),
            nn.ReLU(),
            nn.Conv2d(10, 10, 3),
            nn.BatchNorm2d(10),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Flatten(),
        )
        self.hidden = nn.Sequential(nn.Linear(810, 50), nn.ReLU())
        self.head = nn.Linear(50, n_classes)

    def warp(self, images, guides):
        """What the classifier sees: images (B, 48, 48), each under the affine map of its guide."""
        maps = self.localisation(guides[:, None]).view(-1, 2, 3)
        grid = affine_grid(maps, (len(images), 1, *images.shape[1:]), align_corners=False)
        return grid_sample(images[:, None], grid, align_corners=False)[:, 0]

    def layers(self, images, guides):
        """The layers that a bi-LSTM may read: the flattened one (B, 810), then the hidden one (B,
        50).
        """
        flat = self.flat(self.warp(images, guides)[:, None])
        return flat, self.hidden(flat)

    def forward(self, images, guides):
        return self.head(self.layers(images, guides)[1])


class AttentiveLSTM(nn.Module):
    """Bi-LSTM with attention: sequences (B, T, d) and their lengths (B,), all T if not given, to
    logits.

    What lies behind a sequence's length changes nothing.

    Parameters
    ----------
    hidden, n_layers : int
        Units of each direction; bi-LSTM layers, and as many layers of attention (tanh).

    Source: Luna-Jimenez et al., Applied Sciences 12(1):327, 2022.
    """

    def __init__(self, n_features, n_classes, *, hidden=50, n_layers=2, dropout=0.3):
        super().__init__()
        both = 2 * hidden
        self.lstm = nn.LSTM(
            n_features,
            hidden,
            n_layers,
            batch_first=True,
            bidirectional=True,
            dropout=dropout if n_layers > 1 else 0,
        )
        deep = [
            (nn.Linear(both, both), nn.Tanh(), nn.Dropout(dropout)) for _ in range(n_layers - 1)
        ]
        self.score = nn.Sequential(*chain(*deep), nn.Linear(both, 1), nn.Tanh())
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(both, n_classes))

    def attend(self, sequences, lengths=None):
        """Sum of a clip's outputs (B, 2 * hidden), weighted by the attention (B, T); and the
        attention.
        """
        n_frames = sequences.shape[1]
        lengths = torch.full((len(sequences),), n_frames) if lengths is None else lengths.cpu()
        packed = pack_padded_sequence(sequences, lengths, batch_first=True, enforce_sorted=False)
        outputs, _ = pad_packed_sequence(
            self.lstm(packed)[0], batch_first=True, total_length=n_frames
        )
        behind = torch.arange(n_frames) >= lengths[:, None]
        scores = self.score(outputs)[..., 0].masked_fill(behind.to(outputs.device), -torch.inf)
        attention = scores.softmax(dim=1)
        return (attention[..., None] * outputs).sum(dim=1), attention

    def forward(self, sequences, lengths=None):
        return self.head(self.attend(sequences, lengths)[0])
