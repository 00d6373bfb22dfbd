"""What the active modules of a layer compute, in r replicas at once, and its gradients by hand.

Two kinds, one interface. Numbers pass from layer to layer flat, (r, B, d + 1): `shape` says what
the d of them are, and a last column of ones meets the bias. `views` are how a module sees them.
Weights of a layer's active modules lie side by side, (r, fan_in + 1, N * width), the bias in the
last row: three times as fast as (r, N, width, fan_in + 1), the shape of torch.nn.Linear.

Letters: r replicas, L layers, N active modules, B batch, K emotions.
"""

from math import prod

import torch
from torch.nn.functional import conv2d
from torch.nn.grad import conv2d_input, conv2d_weight


class Linear:
    """Fully connected modules of `width` units, max(0, W x + b), on inputs of any `shape`."""

    def __init__(self, shape, width):
        self.fan_in, self.width, self.shape = prod(shape), width, (width,)

    def views(self, x):
        """Return x (r, B, d + 1) as the other methods want it: as it is."""
        return x

    def forward(self, views, weights, out):
        """Write the outputs of modules to `out` (r, B, N, width)."""
        torch.bmm(views, weights, out=out.flatten(2)).relu_()

    def add_up(self, parts, out):
        """Write the sum over all modules of `parts`, outputs of `forward`, to `out`."""
        torch.sum(parts[0], -2, out=out)
        for others in parts[1:]:
            out.add_(others.sum(-2))

    def upstream(self, delta, weights):
        """Return the gradient by x (r, B, d); `delta` is that by what ReLU gets."""
        return torch.bmm(delta.flatten(2), weights[:, :-1].mT)

    def add_gradient(self, target, delta, views, *, beta, alpha):
        """Make `target`, shaped as the weights, beta * target + alpha * their gradient."""
        target.baddbmm_(views.mT, delta.flatten(2), beta=beta, alpha=alpha)


class Convolution:
    """Convolutional modules with ReLU, each replica's by torch's own convolution.

    Inputs are of `shape` (height, width, channels), outputs, `self.shape`, half as high and wide,
    rounded up, with `width` feature maps. Weights of a map: row, column, channel.
    """

    kernel = 3
    options = {"stride": 2, "padding": 1}

    def __init__(self, shape, width):
        self.shape_in, self.width, self.fan_in = shape, width, shape[2] * self.kernel**2
        self.shape = (shape[0] + 1) // 2, (shape[1] + 1) // 2, width

    def views(self, x):
        """Return the images of x (r, B, d + 1): (r, B, channels, height, width), channels last."""
        return x[..., :-1].unflatten(2, self.shape_in).contiguous().movedim(4, 2)

    def forward(self, views, weights, out):
        """Write the outputs of modules to `out` (r, B, height, width, N, maps)."""
        parts = zip(views, self._kernels(weights), weights[:, -1], out.flatten(-2), strict=True)
        for *inputs, maps in parts:
            torch.clamp_min(conv2d(*inputs, **self.options).movedim(1, 3), 0, out=maps)

    def add_up(self, parts, out):
        """As in `Linear`; one by one, since torch.sum takes five times as long on maps."""
        first, *others = [outputs for part in parts for outputs in part.unbind(-2)]
        out.copy_(first)
        for outputs in others:
            out.add_(outputs)

    def upstream(self, delta, weights):
        """As in `Linear`."""
        size = delta.shape[1], self.shape_in[2], *self.shape_in[:2]
        pairs = zip(self._kernels(weights), self._maps(delta), strict=True)
        images = [conv2d_input(size, *pair, **self.options).movedim(1, 3) for pair in pairs]
        return torch.stack(images).flatten(2)

    def add_gradient(self, target, delta, views, *, beta, alpha):
        """As in `Linear`."""
        size = target.shape[2], self.shape_in[2], self.kernel, self.kernel
        target.mul_(beta)
        for of_replica, images, maps in zip(target, views, self._maps(delta), strict=True):
            kernels = conv2d_weight(images, size, maps, **self.options)
            of_replica[:-1].add_(kernels.movedim(1, 3).flatten(1).mT, alpha=alpha)
            of_replica[-1].add_(maps.sum((0, 2, 3)), alpha=alpha)

    def _kernels(self, weights):
        """Return weights (r, fan_in + 1, N * maps) as torch does: (r, N * maps, channels, ...)."""
        kernels = weights[:, :-1].mT.contiguous()
        return kernels.unflatten(2, (self.kernel, self.kernel, -1)).movedim(4, 2)

    def _maps(self, delta):
        """Return delta (r, B, height, width, N, maps) as torch does: (r, B, N * maps, ...)."""
        return delta.flatten(-2).movedim(4, 2)


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
        *layers, head = self.weights = weights
        self.modules, self.parts = modules, []  # weights of each layer that take part
        self.inputs, self.sums, self.outputs = [], [], []  # new memory costs more than filling it
        for module, both in zip(modules, zip(layers, fixed, strict=True), strict=True):
            parts = [part for part in both if part.shape[2]]
            places = len(head), batch_size, *module.shape[:-1]
            sizes = [(*places, part.shape[2] // module.width, module.width) for part in parts]
            x = head.new_ones(len(head), batch_size, prod(module.shape) + 1)
            self.parts.append(parts)
            self.outputs.append([head.new_empty(size) for size in sizes])
            self.sums.append(x[..., :-1].unflatten(2, module.shape))
            self.inputs.append(x)  # of the next layer, or the heads: the sums and ones

    def forward(self, x, gates):
        """Return logits (r, K, B), and what layers and head see.

        `x` (r, B, d + 1) ends in a column of ones. `gates` multiply the sum of each layer: None, or
        a tensor (r, B, ..., width).
        """
        views = []
        for layer, module in enumerate(self.modules):
            views.append(module.views(x))
            for part, outputs in zip(self.parts[layer], self.outputs[layer], strict=True):
                module.forward(views[layer], part, outputs)
            module.add_up(self.outputs[layer], self.sums[layer])
            if gates[layer] is not None:
                self.sums[layer].mul_(gates[layer])
            x = self.inputs[layer]
        return torch.bmm(self.weights[-1], x.mT), [*views, x]

    def start(self, optimiser, learning_rate, learns):
        """Make ready to `step`; moments start at zero.

        `learns` are L tensors (r, 1, ..., N, 1) that are 0 where a module is frozen, or None where
        all learn."""
        self.learns = learns
        self.n_learning = len(self.modules) if self.weights[0].shape[2] else 0
        if optimiser == "sgd":  # needs no gradient in memory: what is added is the product itself
            self.targets, self.scale = self.weights, {"beta": 1.0, "alpha": -learning_rate}
            self.update = lambda: None
            return
        for weights in self.weights:
            weights.grad = torch.zeros_like(weights)
        self.targets = [weights.grad for weights in self.weights]
        self.scale = {"beta": 0.0, "alpha": 1.0}
        learning = self.weights[-1 - self.n_learning :]
        self.update = torch.optim.Adam(learning, lr=learning_rate, fused=True).step

    def step(self, x, goals, gates):
        """Do one minibatch, forward, backward, update; return the logits (r, K, B) before that.

        The loss is the mean cross-entropy to `goals` (r, K, B). Frozen modules get no update, and
        what lies before them does.
        """
        logits, views = self.forward(x, gates)
        delta = logits.softmax(1).sub_(goals).div_(x.shape[1])  # (r, K, B)
        upstream = torch.bmm(delta.mT, self.weights[-1][..., :-1])  # (r, B, d)
        self.targets[-1].baddbmm_(delta, views[-1], **self.scale)
        for layer in reversed(range(self.n_learning)):
            module, upstream = self.modules[layer], upstream.view(self.sums[layer].shape)
            if gates[layer] is not None:
                upstream.mul_(gates[layer])
            deltas = self.outputs[layer]
            for outputs in deltas:  # ReLU passes the gradient on where it gave more than 0
                for one in outputs.sign_().unbind(-2):
                    one.mul_(upstream)
            if layer:
                upstream, *others = map(module.upstream, deltas, self.parts[layer])
                for other in others:
                    upstream += other
            if self.learns[layer] is not None:
                deltas[0] *= self.learns[layer]
            module.add_gradient(self.targets[layer], deltas[0], views[layer], **self.scale)
        self.update()
        return logits
