"""What the active modules of a layer compute, in r replicas at once, and its gradients by hand.

Two kinds, one interface. Numbers pass from layer to layer flat, (r, B, d + 1): `shape` says what
the d of them are, and a last column of ones meets the bias. What units see of them at each of P
places are `rows`, (r, B * P, fan_in + 1): one place in a linear module, one a pixel of its map in a
convolution. An `Episode` trains the active modules side by side, the bias in the last row: three
times as fast as (N, width, fan_in + 1), the shape of torch.nn.Linear.

Letters: r replicas, L layers, N active modules, B batch, K emotions.
"""

from itertools import product
from math import prod

import torch
from torch.nn.functional import pad


class Linear:
    """Fully connected modules of `width` units, max(0, W x + b), on inputs of any `shape`."""

    def __init__(self, shape, width):
        self.fan_in, self.width, self.shape = prod(shape), width, (width,)

    def rows(self, x):
        """Return what units see of x (r, B, d + 1): (r, B * P, fan_in + 1)."""
        return x

    def forward(self, rows, weights):
        """Return the outputs of modules (r, B, ..., N, width); between are the places, if any."""
        outputs = torch.bmm(rows, weights).relu_()  # (r, B * P, N * width)
        n_active = weights.shape[2] // self.width
        return outputs.view(len(rows), -1, *self.shape[:-1], n_active, self.width)

    def upstream(self, delta, weights):
        """Return the gradient by x (r, B, d); `delta` is that by what ReLU gets."""
        return torch.bmm(_as_rows(delta), weights[:, :-1].mT)

    def add_gradient(self, target, delta, rows, *, beta, alpha):
        """Make `target`, shaped as the weights, beta * target + alpha * their gradient."""
        target.baddbmm_(rows.mT, _as_rows(delta), beta=beta, alpha=alpha)


class Convolution(Linear):
    """Convolutional modules with ReLU.

    Parameters
    ----------
    shape : (height, width, channels)
        Of the input; that of the output, `self.shape`, is (height / stride, width / stride, maps),
        rounded up.
    width : int
        Feature maps of a module.
    kernel, stride : int
        The kernel is odd; kernel // 2 zeros pad the input. Weights of a map: row, column, channel.
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
        """Return the gradient by x (r, B, d): of a pixel, the sum over the windows it is in."""
        by_window = super().upstream(delta, weights)
        by_window = by_window.view(*delta.shape[:-2], self.kernel, self.kernel, -1)
        r, batch, n_rows, n_columns = by_window.shape[:4]
        height, width, channels = self.shape_in
        padded_shape = height + 2 * self.margin, width + 2 * self.margin, channels
        padded = delta.new_zeros(r, batch, *padded_shape)
        for row, column in product(range(self.kernel), repeat=2):
            pixels = padded[:, :, row :: self.stride, column :: self.stride]
            pixels[:, :, :n_rows, :n_columns] += by_window[..., row, column, :]
        inside = slice(self.margin, self.margin + height), slice(self.margin, self.margin + width)
        return padded[:, :, *inside].flatten(2)


def _as_rows(delta):
    """Return what belongs to outputs (r, B, ..., N, width) as (r, B * P, N * width)."""
    return delta.flatten(-2).flatten(1, -2)


class Episode:
    """The active modules and the head of r replicas, compact, while they are used and trained.

    Parameters
    ----------
    modules : list of L `Linear` or `Convolution`
    weights : list of L + 1 tensors
        Of modules that may learn in each layer (r, fan_in + 1, N * width), and heads (r, K, d + 1).
    fixed : list of L tensors (r, fan_in + 1, F * width)
        Modules that take part beside those and do not learn in any replica; F may be 0.
    batch_size : int
    """

    def __init__(self, modules, weights, fixed, batch_size):
        self.modules, self.weights, self.fixed = modules, weights, fixed
        head = weights[-1]
        sizes = [prod(module.shape) for module in modules]
        self.inputs = [head.new_ones(len(head), batch_size, size + 1) for size in sizes]
        self.sums = [x[..., :-1].unflatten(2, m.shape) for x, m in zip(self.inputs, modules)]

    def forward(self, x, gates):
        """Return logits (r, K, B), the rows that layers and head see, and modules' outputs.

        `x` (r, B, d + 1) ends in a column of ones. `gates` multiply the sum of each layer: None, or
        a tensor (r, B, ..., width).
        """
        rows, outputs = [], []
        for layer, module in enumerate(self.modules):
            rows.append(module.rows(x))
            both = self.weights[layer], self.fixed[layer]
            both = [weights for weights in both if weights.shape[2]]
            outputs.append([module.forward(rows[layer], weights) for weights in both])
            torch.sum(outputs[layer][0], -2, out=self.sums[layer])  # the input of the next layer
            for others in outputs[layer][1:]:
                self.sums[layer].add_(others.sum(-2))
            if gates[layer] is not None:
                self.sums[layer].mul_(gates[layer])
            x = self.inputs[layer]
        return torch.bmm(self.weights[-1], x.mT), [*rows, x], outputs

    def start(self, optimiser, learning_rate, learns):
        """Make ready to `step`; moments start at zero.

        `learns` are L tensors (r, 1, ..., N, 1) that are 0 where a module is frozen, or None where
        all learn."""
        self.learns = learns
        self.n_learning = 0 if self.weights[0].shape[2] == 0 else len(self.modules)
        if optimiser == "sgd":  # needs no gradient in memory: what is added is the product itself
            self.targets, self.scale = self.weights, {"beta": 1.0, "alpha": -learning_rate}
            self.update = lambda: None
            return
        learning = self.weights[-1 - self.n_learning :]
        for weights in self.weights:
            weights.grad = torch.empty_like(weights)
        self.targets = [weights.grad for weights in self.weights]
        self.scale = {"beta": 0.0, "alpha": 1.0}
        self.update = torch.optim.Adam(learning, lr=learning_rate, fused=True).step

    def step(self, x, goals, gates):
        """Do one minibatch, forward, backward, update; return the logits (r, K, B) before that.

        The loss is the mean cross-entropy to `goals` (r, K, B). Frozen modules get no update, and
        what lies before them does.
        """
        logits, rows, outputs = self.forward(x, gates)
        delta = logits.softmax(1).sub_(goals).div_(x.shape[1])  # (r, K, B)
        upstream = torch.bmm(delta.mT, self.weights[-1][..., :-1])  # (r, B, d)
        self.targets[-1].baddbmm_(delta, rows[-1], **self.scale)
        for layer in reversed(range(self.n_learning)):
            module, upstream = self.modules[layer], upstream.view(self.sums[layer].shape)
            if gates[layer] is not None:
                upstream.mul_(gates[layer])
            credit = upstream[..., None, :]
            # ReLU passes the gradient on where it gave more than 0
            deltas = [part.sign_().mul_(credit) for part in outputs[layer]]
            if layer:
                upstream = module.upstream(deltas[0], self.weights[layer])
                if len(deltas) > 1:
                    upstream += module.upstream(deltas[1], self.fixed[layer])
            if self.learns[layer] is not None:
                deltas[0] *= self.learns[layer]
            module.add_gradient(self.targets[layer], deltas[0], rows[layer], **self.scale)
        self.update()
        return logits
