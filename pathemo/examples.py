"""What a stack of replicas learns a task from: one table of inputs, and rows of each replica's
own.
"""

from math import prod

import joblib
import numpy as np
import torch

BYTE = 256  # what is dropped or disturbed is drawn as bytes: probabilities are multiples of 1/256


def random_bytes(generators, shape):
    """Return random bytes (r, *shape), each replica's from its own generator."""
    drawn = bytearray().join(generator.bytes(prod(shape)) for generator in generators)
    return torch.frombuffer(drawn, dtype=torch.uint8).view(-1, *shape)


class Examples:
    """Inputs and labels that R replicas share, and the rows that each may learn from.

    Inputs are scaled to mean 0 and spread 1 by the rows that a replica learns from, and by no
    others. Each distinct choice of rows (a fold) has a scaled copy of all inputs: folds * n * (d +
    1) * 4 bytes.

    Parameters
    ----------
    features : float array (n, d), or images (n, channels, height, width)
    labels : int array (n,)
        Emotions as integers 0..K-1.
    rows : list of R int arrays
        The rows that each replica may learn from.
    scaling : pair of arrays (F, d), optional
        Mean and 1 / spread, the `scaling` of other examples, to take their place.

    Attributes
    ----------
    table : float tensor (F * n, d + 1)
        Of F distinct folds; the last column is 1.
    first : int tensor (R,)
        Where in the table the fold of each replica begins.
    shape : tuple
        Of one input: (d,), or (height, width, channels).
    low, high : float tensors (F, d)
        Least and greatest value of each input over the rows of a fold.
    """

    def __init__(self, features, labels, rows, *, scaling=None, device="cpu"):
        features = np.asarray(features, dtype=np.float32)
        features = np.moveaxis(features, 1, -1)  # of images, the channels
        self.shape = features.shape[1:]
        features = features.reshape(len(features), -1)
        finite = np.isfinite(features).all(axis=1)
        if not finite.all():
            raise ValueError(
                f"features of {(~finite).sum()} rows are not finite, "
                f"the first is row {finite.argmin()}"
            )
        self.labels, self.rows, self.device = (
            np.asarray(labels),
            [np.asarray(r) for r in rows],
            device,
        )
        folds = {r.tobytes(): r for r in self.rows}
        place = {key: fold for fold, key in enumerate(folds)}
        self.fold = torch.as_tensor([place[r.tobytes()] for r in self.rows], device=device)
        self.first = self.fold * len(features)
        if scaling is None:
            mean = np.stack([features[r].mean(axis=0, dtype=np.float64) for r in folds.values()])
            spread = np.stack([features[r].std(axis=0, dtype=np.float64) for r in folds.values()])
            scale = np.where(spread > 1e-6, 1 / np.maximum(spread, 1e-6), 0)
            scaling = mean.astype(np.float32), scale.astype(np.float32)
        self.scaling = scaling
        table = np.ones((len(folds), len(features), features.shape[1] + 1), dtype=np.float32)
        table[..., :-1] = features
        table[..., :-1] -= scaling[0][:, None]
        table[..., :-1] *= scaling[1][:, None]
        seen = (table[fold, r, :-1] for fold, r in enumerate(folds.values()))  # one copy at a time
        extremes = [(of_fold.min(axis=0), of_fold.max(axis=0)) for of_fold in seen]
        self.low, self.high = torch.as_tensor(np.stack(extremes, axis=1), device=device)
        self.table = torch.as_tensor(table, device=device).flatten(0, 1)

    def inputs(self, rows, replicas=slice(None)):
        """Return the inputs (r, B, d + 1) at `rows` (r, B) of each replica, with a last column of
        ones.
        """
        return self.at(torch.as_tensor(rows, device=self.device) + self.first[replicas, None])

    def at(self, places):
        """Return the inputs at places of the table: (r, B, d + 1) for an int tensor (r, B)."""
        return self.table.index_select(0, places.flatten()).view(*places.shape, -1)

    def draw(self, generators, replicas, *, steps, batch_size, balanced):
        """Return the rows of the next minibatches of a slice of replicas: int tensor (steps, r,
        batch_size).

        Each draws from its own generator, with replacement. Balanced minibatches draw an emotion
        first and one of its rows second, so that rare emotions weigh as much as common ones, as
        they do in UAR."""
        drawn = []
        for generator, rows in zip(generators, self.rows[replicas], strict=True):
            if not balanced:
                drawn.append(rows[generator.integers(len(rows), size=(steps, batch_size))])
                continue
            order = np.argsort(self.labels[rows], kind="stable")
            _, starts, counts = np.unique(
                self.labels[rows][order], return_index=True, return_counts=True
            )
            emotion = generator.integers(len(counts), size=(steps, batch_size))
            within = (generator.random((steps, batch_size)) * counts[emotion]).astype(int)
            drawn.append(rows[order[starts[emotion] + within]])
        return torch.as_tensor(np.stack(drawn, axis=1), device=self.device)

    def disturb(self, x, generators, replicas, *, salt_and_pepper, gaussian_noise, mask):
        """Disturb inputs x (r, B, d + 1), in place; see `PathNet.train`. Each replica draws its
        own.
        """
        clean, shape = x[..., :-1], (x.shape[1], x.shape[2] - 1)
        if gaussian_noise:
            drawn = [generator.standard_normal(shape, dtype=np.float32) for generator in generators]
            clean.add_(torch.as_tensor(np.stack(drawn), device=self.device), alpha=gaussian_noise)
        if salt_and_pepper:
            drawn, half = (
                random_bytes(generators, shape).to(self.device),
                round(salt_and_pepper * BYTE / 2),
            )
            low, high = (extreme[self.fold[replicas], None] for extreme in (self.low, self.high))
            clean.copy_(
                torch.where(drawn < half, low, torch.where(drawn >= BYTE - half, high, clean))
            )
        if mask:
            self._mask(clean.unflatten(2, self.shape), generators, mask)

    def _mask(self, images, generators, mask):
        """Set a band of rows and one of columns of each image (r, B, height, width, channels)
        to 0.
        """
        for axis in (2, 3):
            length = images.shape[axis]
            drawn = np.stack(
                [g.random((2, images.shape[1], 1), np.float32) for g in generators], axis=1
            )
            width, start = torch.as_tensor(drawn, device=self.device)
            width = mask * length * width
            start = start * (length - width)
            place = torch.arange(length, device=self.device)
            band = (place >= start) & (place < start + width)
            around = [*images.shape[:2], 1, 1, 1]
            around[axis] = length
            images.masked_fill_(band.view(around), 0.0)

    def fingerprint(self):
        """Return a digest of all that a replica could learn from."""
        return joblib.hash([self.table.cpu().numpy(), self.labels, self.rows])
