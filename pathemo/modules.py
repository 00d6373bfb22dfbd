"""What the active modules of a layer compute, in r replicas at once, and its gradients by hand.

Two kinds, one interface. Numbers pass from layer to layer flat, (r, B, d + 1): `shape` says what the d of
them are, and a last column of ones meets the bias. A kind lays out the weights of a layer's active modules
as its products are fastest: `check_out` takes them from (r, N, width, fan_in + 1), and `check_in` gives that
back; the bias is the last column.

Letters: r replicas, B batch, N active modules.
"""

from math import prod

import torch
from torch.nn.functional import conv2d
from torch.nn.grad import conv2d_input, conv2d_weight


class Linear:
    """Fully connected modules of `width` units, max(0, W x + b), on inputs of any `shape`."""

    def __init__(self, shape, width):
        self.fan_in, self.width, self.shape = prod(shape), width, (width,)

    def check_out(self, modules):
        """Return modules (r, N, width, fan_in + 1) side by side: (r, fan_in + 1, N * width)."""
        return modules.flatten(1, 2).mT.contiguous()  # three times as fast as x times a transposed matrix

    def check_in(self, weights):
        """Return weights that were checked out as modules (r, N, width, fan_in + 1)."""
        return weights.mT.unflatten(1, (-1, self.width))

    def forward(self, x, weights):
        """Return the outputs of the modules (r, B, N, width) for x (r, B, d + 1)."""
        return torch.bmm(x, weights).relu_().view(*x.shape[:2], -1, self.width)

    def upstream(self, delta, weights):
        """Return the gradient by the input (r, B, d), from `delta` by what ReLU gets (r, B, N, width)."""
        return torch.bmm(delta.flatten(2), weights[:, :-1].mT)

    def accumulate(self, target, delta, x, *, beta, alpha):
        """Make `target`, of the shape of the weights, beta * target + alpha * their gradient."""
        target.baddbmm_(x.mT, delta.flatten(2), beta=beta, alpha=alpha)


class Convolution:
    """Convolutional modules with ReLU: convolutions in groups, a replica a group.

    Parameters
    ----------
    shape : (channels, height, width)
        Of the input; the output has `self.shape` = (width, height / stride, width / stride), rounded up.
    width : int
        Feature maps of a module.
    kernel, stride : int
        The kernel is odd; the input is padded by kernel // 2 zeros.
    """

    def __init__(self, shape, width, *, kernel, stride):
        if kernel % 2 == 0:
            raise ValueError(f"kernel = {kernel}: choose an odd one, so that maps stay centred")
        self.shape_in, self.width, self.kernel = shape, width, kernel
        self.fan_in = shape[0] * kernel**2
        self.shape = (width, *(-(-length // stride) for length in shape[1:]))
        self.options = {"stride": stride, "padding": kernel // 2}

    def check_out(self, modules):
        """Return modules (r, N, width, fan_in + 1) one below the other: (r, N * width, fan_in + 1)."""
        return modules.flatten(1, 2)

    def check_in(self, weights):
        """Return weights that were checked out as modules (r, N, width, fan_in + 1)."""
        return weights.unflatten(1, (-1, self.width))

    def forward(self, x, weights):
        """Return the outputs of the modules (r, B, N, width, height, width) for x (r, B, d + 1)."""
        bias = weights[..., -1].flatten()
        maps = conv2d(self._maps(x), self._kernels(weights), bias, groups=len(x), **self.options)
        return maps.relu_().unflatten(1, (len(x), -1, self.width)).transpose(0, 1)

    def upstream(self, delta, weights):
        """Return the gradient by the input (r, B, d), from `delta` by what ReLU gets."""
        r, batch = delta.shape[:2]
        size = (batch, r * self.shape_in[0], *self.shape_in[1:])
        by_maps = conv2d_input(size, self._kernels(weights), _grouped(delta), groups=r, **self.options)
        return by_maps.unflatten(1, (r, -1)).transpose(0, 1).flatten(2)

    def accumulate(self, target, delta, x, *, beta, alpha):
        """Make `target`, of the shape of the weights, beta * target + alpha * their gradient."""
        delta, kernels = _grouped(delta), self._kernels(target)
        gradient = conv2d_weight(self._maps(x), kernels.shape, delta, groups=len(x), **self.options)
        by_bias = delta.sum((0, 2, 3)).view(*target.shape[:2], 1)
        gradient = torch.cat([gradient.reshape(*target.shape[:2], self.fan_in), by_bias], dim=2)
        target.mul_(beta).add_(gradient, alpha=alpha)

    def _maps(self, x):
        return _grouped(x[..., :-1].unflatten(2, self.shape_in))

    def _kernels(self, weights):
        return weights[..., :-1].reshape(-1, self.shape_in[0], self.kernel, self.kernel)


def _grouped(maps):
    """Return maps (r, B, ..., height, width) as a convolution in groups takes them: (B, r * ..., h, w)."""
    return maps.transpose(0, 1).flatten(1, -3)
