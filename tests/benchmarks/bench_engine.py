"""Path-steps a second of the stacked engine, beside a plain PathNet and the machine's own matrix
products.

A path-step is one minibatch forward, backward and update along one path. Sizes as in the MNIST
experiment that re-implementations of Fernando et al. 2017 quote: L=3, M=10, N=3, width 20, batch
16, 784 inputs, 10 classes, plain SGD. Prints a table; run it on a quiet machine: `make bench`. With
a GPU, `bench_engine.py cuda` goes up to 4,096 replicas.

The plain PathNet is the same mathematics, one path at a time and module by module, with autograd.
The limit is what the machine does when it does nothing but the path's matrix products, batched over
as many replicas as is best for it. All are measured in turn, several times, and the medians
compared, for machines are noisy."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from pathemo.engine import Examples, PathNet, evolve, random_genotype

LAYERS, MODULES, ACTIVE, WIDTH, BATCH, INPUTS, CLASSES = 3, 10, 3, 20, 16, 784, 10
SHAPE = dict(n_layers=LAYERS, n_modules=MODULES, n_active=ACTIVE)
ROUNDS = 5


class PlainPathNet(nn.Module):
    """The yardstick: the same mathematics, one path and module at a time, with autograd."""

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


def data(n=2000):
    """Features (n, INPUTS) and labels (n,) that mean nothing."""
    generator = np.random.default_rng(0)
    features = generator.standard_normal((n, INPUTS), dtype=np.float32)
    return features, generator.integers(CLASSES, size=n)


def plain(steps=500):
    """Path-steps a second of the yardstick."""
    features, labels = (torch.as_tensor(array) for array in data())
    net, path = PlainPathNet(), random_genotype(np.random.default_rng(0), **SHAPE)
    modules = [layer[m] for layer, active in zip(net.layers, path, strict=True) for m in active]
    optimiser = torch.optim.SGD(nn.ModuleList([*modules, net.head]).parameters(), lr=0.01)
    drawn = torch.randint(len(features), (steps, BATCH))
    started = time.perf_counter()
    for rows in drawn:
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(features[rows], path), labels[rows]).backward()
        optimiser.step()
    return steps / (time.perf_counter() - started)


def stacked(replicas, device="cpu"):
    """Return a function that trains a stack and gives its path-steps a second, of all replicas."""
    features, labels = data()
    paths = np.stack([random_genotype(np.random.default_rng(r), **SHAPE) for r in range(replicas)])
    net = PathNet(INPUTS, seeds=range(replicas), width=WIDTH, device=device, **SHAPE)
    net.add_head("task", CLASSES)
    examples = Examples(features, labels, [np.arange(len(features))] * replicas, device=device)
    settings = dict(batch_size=BATCH, optimiser="sgd", learning_rate=0.01, balanced=False)

    def rate(steps=50):
        started = time.perf_counter()
        net.train("task", paths, examples, steps=steps, **settings)
        return replicas * steps / (time.perf_counter() - started)

    rate(2)
    return rate


def limit(replicas, device="cpu", repetitions=50):
    """Return path-steps a second if nothing but the path's matrix products were done, batched."""
    spent = 0
    for layer in range(LAYERS):
        d = INPUTS if layer == 0 else WIDTH
        x = torch.randn(replicas, BATCH, d, device=device)
        weights = torch.randn(replicas, ACTIVE * WIDTH, d, device=device)
        y, z, gradient = x @ weights.mT, x.clone(), weights.clone()
        for repetition in range(-3, repetitions):
            if repetition == 0:
                _wait(device)
                started = time.perf_counter()
            torch.bmm(x, weights.mT, out=y)
            torch.bmm(y.mT, x, out=gradient)
            if layer:
                torch.bmm(y, weights, out=z)
        _wait(device)
        spent += (time.perf_counter() - started) / repetitions
    return replicas / spent


def _wait(device):
    if device != "cpu":
        torch.cuda.synchronize()


def peak():
    """Peak memory of this process so far [MB]; where the system does not tell (not Linux), NaN."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return np.nan
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def memory(replicas):
    """Return the peak memory [MB] of a process that trains them beyond that of one with one."""
    code = "from bench_engine import *; stacked({})(50); print(peak())"
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); {code}"
    commands = [[sys.executable, "-c", code.format(r)] for r in (replicas, 1)]
    large, small = (float(subprocess.check_output(command)) for command in commands)
    return large - small


def study():
    """Print what a study costs: 10 folds x 5 seeds, 420 features, L=3, M=20, N=5, width 20."""
    generator = np.random.default_rng(0)
    features = generator.standard_normal((535, 420), dtype=np.float32)
    labels = generator.integers(7, size=535)
    rows = [np.flatnonzero(np.arange(535) % 10 != fold) for fold in range(10) for _ in range(5)]
    net = PathNet(420, seeds=range(50), n_layers=3, n_modules=20, n_active=5, width=20)
    net.add_head("task", 7)
    started = time.perf_counter()
    evolve(net, "task", Examples(features, labels, rows), generations=100, batch_size=16)
    spent, steps = time.perf_counter() - started, 50 * 100 * 2 * 50
    print(
        f"10 folds x 5 seeds, 100 generations of 2 x 50 minibatches of 16, Adam: {spent:.0f} s "
        f"({steps / spent:,.0f} path-steps/s), peak memory of the process {peak():,.0f} MB"
    )


def convolutions(replicas=10, steps=20):
    """Print what convolutional modules do: images of 48 x 48, L=2, N=3, width 16."""
    generator, shape = np.random.default_rng(0), SHAPE | dict(n_layers=2)
    images = generator.standard_normal((300, 1, 48, 48), dtype=np.float32)
    labels = generator.integers(CLASSES, size=300)
    net = PathNet((1, 48, 48), seeds=range(replicas), width=16, **shape)
    net.add_head("task", CLASSES)
    examples = Examples(images, labels, [np.arange(300)] * replicas)
    paths = np.stack([random_genotype(np.random.default_rng(r), **shape) for r in range(replicas)])
    spent = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        net.train("task", paths, examples, steps=steps)
        spent.append(time.perf_counter() - started)
    rate = replicas * steps / np.median(spent)
    print(f"convolutional modules, minibatches of 32, Adam: {rate:,.0f} path-steps/s")


def main(device="cpu"):
    """Print the table, and what a study and convolutional modules cost."""
    if device == "cpu":
        study()
        convolutions()
    sizes = [1, 2, 8, 32, 128, 512] + ([2048, 4096] if device != "cpu" else [])
    runs = {replicas: stacked(replicas, device) for replicas in sizes}
    rounds = []
    for _ in range(ROUNDS):
        bound = max(limit(replicas, device) for replicas in (4, 8, 16, 32, sizes[-1]))
        rounds.append({"plain": plain(), "limit": bound, **{r: run() for r, run in runs.items()}})
    median = {what: np.median([one[what] for one in rounds]) for what in rounds[0]}
    threads, version = torch.get_num_threads(), torch.__version__
    print(f"\n{device}, {threads} threads, torch {version}, medians of {ROUNDS}")
    print(f"plain PathNet, one path at a time: {median['plain']:,.0f} path-steps/s")
    print(f"nothing but the matrix products: {median['limit']:,.0f} path-steps/s\n")
    columns = ["replicas", "path-steps/s", "times plain", "share of limit", "weights MB", "peak MB"]
    print("| " + " | ".join(columns) + " |", "| ---: " * len(columns) + "|", sep="\n")
    for replicas in sizes:
        rate, fan_ins = median[replicas], INPUTS + 1 + 2 * (WIDTH + 1)
        weights = 4e-6 * replicas * MODULES * WIDTH * fan_ins
        times, share = rate / median["plain"], rate / median["limit"]
        cells = [f"{replicas:,}", f"{rate:,.0f}", f"{times:.1f}", f"{share:.0%}", f"{weights:,.0f}"]
        cells += [f"{memory(replicas):,.0f}" if device == "cpu" else ""]
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main(*sys.argv[1:])
