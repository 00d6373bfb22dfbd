"""An episode: the active modules of r replicas side by side, trained by gradients taken by hand.

`PathNet` checks modules out of its layers into an episode, and in again when it is over; in between
they are compact, so that a layer of r replicas is one batched product.

Letters: r replicas, L layers, N active modules, B batch, K emotions.
"""

from math import prod

import torch


class Episode:
    """Active modules and heads of r replicas.

    Parameters
    ----------
    kinds : list of L `pathemo.modules`
    weights : list of L + 1 tensors
        Of each layer (r, fan_in + 1, N * width), and the heads (r, K, d + 1).
    batch_size : int
    learns : list of L tensors (r, 1, ..., N, 1), optional
        1 where a module learns and 0 where it is frozen; None where all learn.
    held : list of L tensors (r, fan_in + 1, H * width), optional
        Modules that take part beside those, and of which none learns in any replica.
    """

    def __init__(self, kinds, weights, batch_size, learns=None, held=None):
        self.kinds, self.weights, self.learns, self.held = kinds, weights, learns, held
        head = weights[-1]
        self.given = [head.new_ones(len(head), batch_size, prod(kind.shape) + 1) for kind in kinds]
        self.joined = [x[..., :-1].unflatten(2, kind.shape) for x, kind in zip(self.given, kinds)]

    def forward(self, x, gates):
        """Return logits (r, K, B), rows that each layer and the head see, what modules put out and
        held ones.

        `x` (r, B, d + 1) has a last column of ones. `gates` are what the sum of each layer is
        multiplied by: None, a number, or a tensor (r, B, ..., width)."""
        rows, outputs, of_held = [], [], []
        for layer, kind in enumerate(self.kinds):
            rows.append(kind.rows(x))
            outputs.append(kind.forward(rows[layer], self.weights[layer]))
            torch.sum(
                outputs[layer], -2, out=self.joined[layer]
            )  # into the input of the next layer
            if self.held:
                of_held.append(kind.forward(rows[layer], self.held[layer]))
                self.joined[layer].add_(of_held[layer].sum(-2))
            if gates[layer] is not None:
                self.joined[layer].mul_(gates[layer])
            x = self.given[layer]
        return torch.bmm(self.weights[-1], x.mT), [*rows, x], outputs, of_held

    def descend(self, optimiser, *, learning_rate, momentum, head_only):
        """Choose how `step` updates the weights. Moments and momentum start at zero.

        Plain SGD needs no gradient in memory: what is added to the weights is the product itself.
        """
        learning = self.weights[-1:] if head_only else self.weights
        self.lowest = len(self.kinds) if head_only else 0  # the first layer that learns
        self.targets, self.finish = self.weights, lambda: None
        self.update = {"beta": 1.0, "alpha": -learning_rate}
        if optimiser == "adam" or momentum:
            for weights in self.weights:
                weights.grad = torch.zeros_like(weights)
            self.targets = [weights.grad for weights in self.weights]
            choice = torch.optim.Adam if optimiser == "adam" else torch.optim.SGD
            self.finish = choice(learning, lr=learning_rate, fused=True).step
            self.update = {"beta": 0.0 if optimiser == "adam" else momentum, "alpha": 1.0}

    def step(self, x, goals, gates):
        """Do one minibatch: forward, backward, update; return its logits (r, K, B) from before the
        update.

        The loss is the mean cross-entropy to `goals` (r, K, B). Frozen modules get no update, and
        what lies before them does."""
        logits, rows, outputs, of_held = self.forward(x, gates)
        delta = logits.softmax(1).sub_(goals).div_(x.shape[1])
        upstream = torch.bmm(delta.mT, self.weights[-1][..., :-1])
        self.targets[-1].baddbmm_(delta, rows[-1], **self.update)
        for layer in reversed(range(self.lowest, len(self.kinds))):
            kind, weights = self.kinds[layer], self.weights[layer]
            upstream = upstream.view(self.joined[layer].shape)
            if gates[layer] is not None:
                upstream = upstream * gates[layer]
            credit = upstream[..., None, :]
            delta = outputs[layer].sign_().mul_(credit)  # ReLU passes where it gave > 0
            if layer > self.lowest:
                upstream = kind.upstream(delta, weights)
                if self.held:
                    upstream += kind.upstream(of_held[layer].sign_().mul_(credit), self.held[layer])
            if self.learns[layer] is not None:
                delta *= self.learns[layer]
            kind.accumulate(self.targets[layer], delta, rows[layer], **self.update)
        self.finish()
        return logits
