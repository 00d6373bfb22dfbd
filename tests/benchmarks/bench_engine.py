"""Path-steps a second of the stacked engine, beside a plain PathNet and the machine's own matrix products.

A path-step is one minibatch forward, backward and update along one path. Sizes as in the MNIST experiment
that re-implementations of Fernando et al. 2017 quote: L=3, M=10, N=3, width 20, batch 16, 784 inputs,
10 classes, plain SGD. Prints a table; run it on a quiet machine: `make bench`.
"""

import resource
import time

import numpy as np
import torch
from torch import nn

from pathemo.evolution import random_genotype
from pathemo.examples import Examples
from pathemo.pathnet import PathNet

LAYERS, MODULES, ACTIVE, WIDTH, BATCH, INPUTS, CLASSES = 3, 10, 3, 20, 16, 784, 10


class PlainPathNet(nn.Module):
    """The same mathematics, one path at a time and module by module, with autograd: the yardstick."""

    def __init__(self):
        super().__init__()
        inputs = [INPUTS] + [WIDTH] * (LAYERS - 1)
        layers = ([nn.Linear(d, WIDTH) for _ in range(MODULES)] for d in inputs)
        self.layers = nn.ModuleList(nn.ModuleList(layer) for layer in layers)
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, x, path):
        for layer, active in zip(self.layers, path, strict=True):
            x = sum(layer[module](x).relu() for module in active)
        return self.head(x)


def plain(features, labels, path, steps):
    """Path-steps a second of the yardstick."""
    net = PlainPathNet()
    modules = [layer[m] for layer, active in zip(net.layers, path, strict=True) for m in active]
    optimiser = torch.optim.SGD(nn.ModuleList([*modules, net.head]).parameters(), lr=0.01)
    drawn = torch.randint(len(features), (steps, BATCH))
    started = time.perf_counter()
    for rows in drawn:
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(features[rows], path), labels[rows]).backward()
        optimiser.step()
    return steps / (time.perf_counter() - started)


def stacked(features, labels, paths, steps):
    """Path-steps a second of the engine, of all replicas together."""
    replicas = len(paths)
    shape = dict(n_layers=LAYERS, n_modules=MODULES, n_active=ACTIVE, width=WIDTH)
    net = PathNet(INPUTS, seeds=range(replicas), **shape)
    net.add_head("task", CLASSES)
    examples = Examples(features, labels, [np.arange(len(features))] * replicas)
    settings = dict(batch_size=BATCH, optimiser="sgd", momentum=0, learning_rate=0.01, balanced=False)
    net.train("task", paths, examples, steps=2, **settings)
    started = time.perf_counter()
    net.train("task", paths, examples, steps=steps, **settings)
    return replicas * steps / (time.perf_counter() - started)


def limit(replicas, repetitions=20):
    """Path-steps a second if nothing but the path's matrix products were done, batched over the replicas."""
    spent = 0
    for d, last in zip([INPUTS] + [WIDTH] * (LAYERS - 1), [True] + [False] * (LAYERS - 1), strict=True):
        x, w = torch.randn(replicas, BATCH, d), torch.randn(replicas, d, ACTIVE * WIDTH)
        y = x @ w
        started = time.perf_counter()
        for _ in range(repetitions):
            torch.bmm(x, w)
            torch.bmm(x.mT, y)
            if not last:
                torch.bmm(y, w.mT)
        spent += (time.perf_counter() - started) / repetitions
    return replicas / spent


def main():
    """Print the table."""
    generator = np.random.default_rng(0)
    features = generator.standard_normal((2000, INPUTS)).astype(np.float32)
    labels = generator.integers(CLASSES, size=2000)
    shape = dict(n_layers=LAYERS, n_modules=MODULES, n_active=ACTIVE)
    path = random_genotype(generator, **shape)
    yardstick = plain(torch.as_tensor(features), torch.as_tensor(labels), path, 500)
    print(f"{torch.get_num_threads()} threads; plain, one path at a time: {yardstick:,.0f} path-steps/s")
    print("replicas  path-steps/s  times plain  products only  share  peak MB")
    for replicas in (1, 2, 8, 32, 128, 512):
        paths = np.stack([random_genotype(generator, **shape) for _ in range(replicas)])
        rate, bound = stacked(features, labels, paths, max(20, 2000 // replicas)), limit(replicas)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        times, share = rate / yardstick, rate / bound
        print(f"{replicas:8} {rate:13,.0f} {times:12.1f} {bound:14,.0f} {share:6.0%} {peak:8,.0f}")


if __name__ == "__main__":
    main()
