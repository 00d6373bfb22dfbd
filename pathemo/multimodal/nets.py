"""The networks of speech and faces: CNN-14, AlexNet, guided spatial transformer, attentive bi-LSTM.

All take tensors, a row a clip or a frame, and give logits (B, K). Luna-Jimenez et al., Sensors
21(22):7665, 2021, put them together.
"""

from collections import OrderedDict
from itertools import pairwise

import torch
from torch import nn
from torch.nn import BatchNorm2d, Conv2d, Dropout, Flatten, Linear, MaxPool2d, ReLU, Sequential
from torch.nn.functional import affine_grid, grid_sample, interpolate, layer_norm
from torchvision.models import alexnet

from .. import files, speech


def log_mels(index, *, sampling_rate=16000, n_jobs=-1, **options):
    """Return the log-mel spectrogram (n_mels, n_frames) float32 [dB] of each clip; cached.

    Parameters
    ----------
    index : DataFrame with columns clip, audio, video (paths or NA)
        ValueError names all clips without usable sound.
    sampling_rate : int [Hz]
    options
        Those of `speech.log_mel`: n_mels, window [s], hop [s].
    """
    settings, media = (sampling_rate, options), ("audio", "video")
    return files.per_recording(index, media, _levels, settings, calls=("speech",), n_jobs=n_jobs)


def _levels(path, sampling_rate, options):
    y = speech.decode(path, sampling_rate=sampling_rate)
    return speech.log_mel(y, sampling_rate=sampling_rate, **options)


class CNN14(nn.Module):
    """CNN-14 of PANNs, parameters named as there: log-mel levels (B, n_mels, n_frames >= 32) [dB].

    Parameters
    ----------
    width : float
        Scale of channels and embedding; 1 is the published network, of 64 to 2048 channels.
    dropout : (float, float)
        After each block, and around `fc1`; the published ones starve narrow networks.

    Source: Kong et al., "PANNs: Large-Scale Pretrained Audio Neural Networks", 2020.

    >>> sum(parameter.numel() for parameter in CNN14().parameters())
    80753615
    """

    def __init__(self, n_classes=527, *, width=1.0, n_mels=64, dropout=(0.2, 0.5)):
        super().__init__()
        self.bn0 = BatchNorm2d(n_mels)
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
                dropout=Dropout(dropout[0]),
            )
            self.add_module(f"conv_block{block}", Sequential(layers))
        self.fc1 = Linear(n_out, n_out)
        self.fc_audioset = Linear(n_out, n_classes)
        self.dropout = Dropout(dropout[1])
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
    """Return CNN-14 with the weights of PANNs' checkpoint; `n_classes` gives it a new head.

    Nothing in the file is run. RuntimeError names all weights of other names or shapes.
    """
    net = CNN14()
    weights = torch.load(path, map_location="cpu", weights_only=True)["model"]
    front_end = "spectrogram_extractor", "logmel_extractor"  # ours is `speech.log_mel`
    net.load_state_dict({k: v for k, v in weights.items() if not k.startswith(front_end)})
    if n_classes:
        net.fc_audioset = Linear(net.fc1.out_features, n_classes)
    return net


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
    """Guided spatial transformer: face images and guides, (B, 48, 48) each in [0, 1].

    From the guide (a saliency map, or a mask of landmarks) comes the affine warp of the image, at
    first the identity; a small convolutional network classifies what the warp shows.

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
        maps, images = self.localisation(guides[:, None]), images[:, None]  # (B, 6), (B, 1, 48, 48)
        grid = affine_grid(maps.view(-1, 2, 3), images.shape, align_corners=False)
        return grid_sample(images, grid, align_corners=False)[:, 0]

    def embed(self, images, guides):
        """Return the layer (B, 50) that a bi-LSTM reads."""
        return self.body(self.warp(images, guides)[:, None])

    def forward(self, images, guides):
        return self.head(self.embed(images, guides))


class AttentiveLSTM(nn.Module):
    """Two bi-LSTM layers of `hidden` units in each direction, two of attention: (B, T, d).

    Source: Luna-Jimenez et al., Applied Sciences 12(1):327, 2022.
    """

    def __init__(self, n_features, n_classes, *, hidden=50, dropout=0.3):
        super().__init__()
        options = dict(batch_first=True, bidirectional=True, dropout=dropout)
        self.lstm = nn.LSTM(n_features, hidden, 2, **options)
        both, tanh = 2 * hidden, nn.Tanh()
        self.score = Sequential(Linear(both, both), tanh, Dropout(dropout), Linear(both, 1), tanh)
        self.head = Sequential(Dropout(dropout), Linear(both, n_classes))

    def attend(self, sequences):
        """Return each clip's outputs (B, 2 * hidden), summed by attention, and that (B, T)."""
        outputs, _ = self.lstm(sequences)  # (B, T, 2 * hidden)
        attention = self.score(outputs).softmax(dim=1)  # (B, T, 1)
        return (attention * outputs).sum(dim=1), attention[..., 0]

    def forward(self, sequences):
        return self.head(self.attend(sequences)[0])
