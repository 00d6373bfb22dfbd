"""What the active modules of a layer compute, in r replicas at once, and its gradients by hand.

Two kinds, one interface. Numbers pass from layer to layer flat, (r, B, d + 1): `shape` says what
the d of them are, and a last column of ones meets the bias. What the units see of them at each of P
places lies in `rows`, (r, B * P, fan_in + 1): a linear module has one place, a convolution one a
pixel of its map, and so both are the same products. In an episode the modules lie side by side, the
bias in the last row: that is three times as fast as (N, width, fan_in + 1), in which a PathNet
keeps them as torch.nn.Linear does.

Letters: r replicas, B batch, N active modules.
"""

from itertools import product
from math import prod

import torch
from torch.nn.functional import pad


def side_by_side(modules):
    """Return modules (r, N, width, fan_in + 1) as weights (r, fan_in + 1, N * width)."""
    return modules.flatten(1, 2).mT.contiguous()


def apart(weights, width):
    """Return weights that lie side by side as modules (r, N, width, fan_in + 1)."""
    return weights.mT.unflatten(1, (-1, width))


class Linear:
    """Fully connected modules of `width` units, max(0, W x + b), on inputs of any `shape`."""

    def __init__(self, shape, width):
        self.fan_in, self.width, self.shape = prod(shape), width, (width,)

    def rows(self, x):
        """Return what units see of x (r, B, d + 1): (r, B * P, fan_in + 1)."""
        return x

    def forward(self, rows, weights):
        """Return the outputs of the modules (r, B, ..., N, width); in between are the places, if
        several.
        """
        outputs = torch.bmm(rows, weights).relu_()
        return outputs.view(
            len(rows), -1, *self.shape[:-1], weights.shape[2] // self.width, self.width
        )

    def upstream(self, delta, weights):
        """Return the gradient by x (r, B, d), from `delta` by what ReLU gets, of the shape of the
        outputs.
        """
        return torch.bmm(_matrix(delta), weights[:, :-1].mT)

    def accumulate(self, target, delta, rows, *, beta, alpha):
        """Make `target`, of the shape of the weights, beta * target + alpha * their gradient."""
        target.baddbmm_(rows.mT, _matrix(delta), beta=beta, alpha=alpha)


class Convolution(Linear):
    """Convolutional modules with ReLU.

    Parameters
    ----------
    shape : (height, width, channels)
        Of the input; the output has `self.shape` = (height / stride, width / stride, maps), rounded
        up.
    width : int
        Feature maps of a module.
    kernel, stride : int
        The kernel is odd; the input is padded by kernel // 2 zeros. Weights of a map are in the
        order row, column, channel.
    """

    def __init__(self, shape, width, *, kernel, stride):
        if kernel % 2 == 0:
            raise ValueError(f"kernel = {kernel}: choose an odd one, so that maps stay centred")
        self.shape_in, self.width, self.kernel, self.stride = shape, width, kernel, stride
        self.fan_in, self.margin = shape[2] * kernel**2, kernel // 2
        self.shape = (*(-(-length // stride) for length in shape[:2]), width)

    def rows(self, x):
        """Return the windows of the images x (r, B, d + 1), one a place: (r, B * P, fan_in + 1)."""
        images = pad(x[..., :-1].unflatten(2, self.shape_in), (0, 0, *[self.margin] * 4))
        windows = images.unfold(2, self.kernel, self.stride).unfold(3, self.kernel, self.stride)
        rows = x.new_empty(*windows.shape[:4], self.fan_in + 1)
        rows[..., :-1].unflatten(4, (self.kernel, self.kernel, -1)).copy_(windows.movedim(4, -1))
        rows[..., -1] = 1
        return rows.flatten(1, 3)

    def upstream(self, delta, weights):
        """Return the gradient by x (r, B, d): each pixel's is the sum over the windows that it lies
        in.
        """
        by_window = super().upstream(delta, weights)
        by_window = by_window.view(*delta.shape[:-2], self.kernel, self.kernel, -1)
        (r, batch, n_rows, n_columns), (height, width, channels) = (
            by_window.shape[:4],
            self.shape_in,
        )
        padded = delta.new_zeros(
            r, batch, height + 2 * self.margin, width + 2 * self.margin, channels
        )
        for row, column in product(range(self.kernel), repeat=2):
            pixels = padded[:, :, row :: self.stride, column :: self.stride]
            pixels[:, :, :n_rows, :n_columns] += by_window[..., row, column, :]
        return padded[:, :, self.margin :, self.margin :][:, :, :height, :width].flatten(2)


def _matrix(delta):
    """Return what belongs to outputs (r, B, ..., N, width) as rows: (r, B * P, N * width)."""
    return delta.flatten(-2).flatten(1, -2)
