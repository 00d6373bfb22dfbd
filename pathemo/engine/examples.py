"""What a stack of replicas learns from: one table of inputs, and rows of each replica's own."""

import numpy as np
import torch


class Examples:
    """Inputs and labels that R replicas share, and the rows that each may learn from.

    Inputs are scaled to mean 0 and spread 1 by the rows that a replica learns from, those of a
    group (a corpus) by the rows of that group. Each distinct choice of rows (a fold) has a scaled
    copy of all: folds * n * (d + 1) * 4 bytes.

    Parameters
    ----------
    features : float array (n, d), or images (n, channels, height, width)
    labels : int array (n,)
        Emotions as integers 0..K-1.
    rows : list of R int arrays
    group : int array (n,), optional
        The corpus of each row, 0..G-1, where there are several.
    scaling : list of F pairs of arrays (G, d), optional
        Mean and 1 / spread of each fold: the `scaling` of other examples.

    Attributes
    ----------
    table : float tensor (F * n, d + 1)
        Of F distinct folds; the last column is 1. Replica r's begins at row `first[r]`.
    """

    def __init__(self, features, labels, rows, *, group=None, scaling=None, device="cpu"):
        features = np.moveaxis(np.asarray(features, np.float32), 1, -1)  # channels of images last
        features = features.reshape(len(features), -1)
        self.labels, self.rows = np.asarray(labels), [np.asarray(of_replica) for of_replica in rows]
        self.device = device
        if self.labels.dtype.kind not in "iu" or self.labels.min(initial=0) < 0:
            raise ValueError(f"labels {labels[:3]}: number the emotions from 0, as np.unique does")
        wrong = np.flatnonzero(~np.isfinite(features).all(axis=1))
        if len(wrong):
            first = f"the first is row {wrong[0]}"
            raise ValueError(f"features of {len(wrong)} rows are not finite, {first}")
        group = np.zeros(len(features), int) if group is None else group
        _, self.strata = np.unique([group, self.labels], axis=1, return_inverse=True)
        keys = [of_replica.tobytes() for of_replica in self.rows]
        folds = dict(zip(keys, self.rows, strict=True))
        self.scaling = scaling or [_scaling(features, group, fold) for fold in folds.values()]
        table = np.ones((len(folds), len(features), features.shape[1] + 1), dtype=np.float32)
        for scaled, (mean, scale) in zip(table, self.scaling, strict=True):
            scaled[:, :-1] = (features - mean[group]) * scale[group]
        self.table = torch.as_tensor(table, device=device).flatten(0, 1)
        first = dict(zip(folds, range(0, len(self.table), len(features)), strict=True))
        self.first = torch.as_tensor([first[key] for key in keys], device=device)

    def inputs(self, rows, replicas=slice(None)):
        """Return the inputs (r, B, d + 1) at `rows` (r, B); their last is 1."""
        places = torch.as_tensor(rows, device=self.device) + self.first[replicas, None]
        return self.table.index_select(0, places.flatten()).view(*places.shape, -1)

    def draw(self, generators, replicas, *, steps, batch_size, balanced):
        """Return the rows of the next minibatches of some replicas: int tensor (steps, r, B).

        They are drawn with replacement. Balanced minibatches draw an emotion (of a group) first and
        one of its rows second: rare emotions weigh as much as common ones, as in UAR, and small
        corpora as much as large ones."""
        minibatches, size = [], (steps, batch_size)
        for generator, rows in zip(generators, self.rows[replicas], strict=True):
            if balanced:
                order = np.argsort(self.strata[rows], kind="stable")
                _, counts = np.unique(self.strata[rows], return_counts=True)
                emotion = generator.integers(len(counts), size=size)
                within = (generator.random(size) * counts[emotion]).astype(int)
                places = order[(counts.cumsum() - counts)[emotion] + within]
            else:
                places = generator.integers(len(rows), size=size)
            minibatches.append(rows[places])
        return torch.as_tensor(np.stack(minibatches, axis=1), device=self.device)


def _scaling(features, group, rows):
    """Return mean and 1 / spread (G, d) of the rows of each group, 0 for the spread of a constant.

    Constant is what varies by rounding alone, of its own mean, or of all features, of which it may
    be a difference."""
    means, scales = np.zeros((2, max(group) + 1, features.shape[1]), np.float32)
    for number in np.unique(group[rows]):
        mine = features[rows][group[rows] == number]
        mean, spread = mine.mean(axis=0, dtype=np.float64), mine.std(axis=0, dtype=np.float64)
        rounding = np.maximum(1e-7 * np.abs(mean), 1e-12 * np.abs(mine).max())
        np.divide(1, spread, where=spread > rounding, out=scales[number], casting="same_kind")
        means[number] = mean
    return means, scales
