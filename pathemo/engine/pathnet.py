"""PathNet with its replicas stacked: R independent super-networks in one tensor program.

A study trains the same small network hundreds of times (folds x seeds x directions): stacked, tiny
products become batched ones that fill a processor. Every replica draws from a generator of its own,
so what it learns does not depend on who shares the stack.

Letters: R replicas, L layers, M modules, N active modules, B batch, T minibatches, K emotions; r
replicas of a chunk. Source: Fernando et al. 2017, arXiv 1701.08734.
"""

import copy
import warnings
from math import prod

import numpy as np
import torch
from scipy.stats import norm
from torch.nn.functional import one_hot

from .layers import Convolution, Episode, Linear
from .settings import Interval, check

CHUNK_BYTES = 40e6  # replicas are trained some at a time: about what a processor's last cache holds
BLOCK = 50  # steps whose minibatches are drawn at once, so that memory does not grow with the steps
ROWS = 256  # of each replica that are predicted at once, for the same reason
BYTE = 256  # what is dropped, and noise, are drawn as bytes: probabilities are multiples of 1/256
NORMAL = norm.ppf((np.arange(BYTE) + 0.5) / BYTE).astype(np.float32)  # evenly many of each


class PathNet:
    """A super-network of layers of small modules, in R independent replicas.

    A module is linear or convolutional, with ReLU; the outputs of the active modules of a layer are
    summed; each task has a linear head of its own on all that the last layer gives.

    Parameters
    ----------
    inputs : int or (channels, height, width)
        Features for linear modules, or images for convolutional ones.
    seeds : list of R ints or numpy.random.SeedSequence
        One a replica; all its draws (weights, minibatches, dropout, mutations) come from it.
    n_layers, n_modules, n_active : int
        L layers of M modules, N of them active. The defaults are those that re-implementations
        quote for the MNIST experiment of Fernando et al. 2017.
    width : int
        Units, or feature maps, of a module.

    Attributes
    ----------
    layers : list of L tensors (R, M, width, fan_in + 1)
        Weights, as in torch.nn.Linear; the last column is the bias. They lie (R, M, fan_in + 1,
        width).
    modules : list of L `layers.Linear` or `layers.Convolution`
        What a module of each layer computes.
    frozen : bool tensor (R, L, M)
        Modules that take part in the forward pass and are never updated.
    heads : dict of tensors (R, K, d + 1)

    Examples
    --------
    >>> net = PathNet(4, seeds=[0, 1], n_layers=2, n_modules=5, n_active=2, width=3)
    >>> [tuple(layer.shape) for layer in net.layers]
    [(2, 5, 3, 5), (2, 5, 3, 4)]
    >>> net.parameters_on_path()  # 2 modules of 3 x (4 + 1) and 2 of 3 x (3 + 1)
    54
    """

    def __init__(
        self,
        inputs,
        *,
        seeds,
        n_layers=3,
        n_modules=10,
        n_active=3,
        width=20,
        device="cpu",
    ):
        check(n_layers=n_layers, n_modules=n_modules, width=width)
        check({"n_active": Interval(0, n_modules)}, n_active=n_active)
        self.shape = dict(inputs=inputs, n_layers=n_layers, n_modules=n_modules, n_active=n_active)
        self.shape["width"] = width
        self.n_layers, self.n_modules, self.n_active = n_layers, n_modules, n_active
        self.generators = [np.random.default_rng(seed) for seed in seeds]
        self.device, self.heads, self.modules = device, {}, []
        kind, shape = Linear, (inputs,)
        if not np.isscalar(inputs):
            kind, shape = Convolution, (*inputs[1:], inputs[0])  # channels last
        for _ in range(n_layers):
            self.modules.append(kind(shape, width))
            shape = self.modules[-1].shape
        self.frozen = torch.zeros(len(seeds), n_layers, n_modules, dtype=torch.bool, device=device)
        sizes = [(len(seeds), n_modules, m.fan_in + 1, m.width) for m in self.modules]
        self.layers = [torch.empty(size, device=device).mT for size in sizes]
        self.reinitialise()

    @property
    def n_replicas(self):
        """Number of replicas R."""
        return len(self.generators)

    def parameters_on_path(self):
        """Return how many numbers a path trains, heads aside: N * sum of width * (fan_in + 1)."""
        return self.n_active * sum(m.width * (m.fan_in + 1) for m in self.modules)

    def add_head(self, task, n_emotions):
        """Give `task` a freshly drawn head; one that it had is replaced."""
        size = n_emotions, prod(self.modules[-1].shape) + 1
        weights = np.stack([_fresh(generator, size) for generator in self.generators])
        self.heads[task] = torch.as_tensor(weights, device=self.device)

    def freeze(self, paths):
        """Freeze the modules on `paths` (R, L, N); those frozen before stay frozen."""
        self.frozen.scatter_(2, torch.as_tensor(paths, device=self.device), True)
        if self.frozen.all(2).any():
            full = f"all n_modules = {self.n_modules} modules of a layer are frozen"
            warnings.warn(f"{full}: the next task cannot train any there", stacklevel=2)

    def reinitialise(self, *, scale=1.0):
        """Draw all modules that are not frozen anew, times `scale`; frozen ones stay."""
        for layer, weights in enumerate(self.layers):
            for replica, generator in enumerate(self.generators):
                fresh = scale * _fresh(generator, weights.shape[1:])
                learns = ~self.frozen[replica, layer]
                weights[replica, learns] = torch.as_tensor(fresh, device=self.device)[learns]

    def repeat(self, seeds):
        """Return a PathNet of each replica several times in a row, each copy on its own seed."""
        copies, rest = divmod(len(seeds), self.n_replicas)
        if rest or not copies:
            raise ValueError(f"{len(seeds)} seeds for {self.n_replicas} replicas: not as many each")
        net = copy.copy(self)
        net.generators = [np.random.default_rng(seed) for seed in seeds]
        net.layers = [layer.mT.repeat_interleave(copies, 0).mT for layer in self.layers]
        net.frozen = self.frozen.repeat_interleave(copies, 0)
        net.heads = {task: head.repeat_interleave(copies, 0) for task, head in self.heads.items()}
        return net

    def save(self, path):
        """Write shape, weights, heads and what is frozen to a file, but no random streams."""
        names = "shape", "layers", "heads", "frozen"
        torch.save({name: getattr(self, name) for name in names}, path)

    @classmethod
    def load(cls, path, *, seeds, device="cpu"):
        """Return the network that `save` wrote, on new `seeds`; no code in the file is run."""
        state = torch.load(path, map_location=device, weights_only=True)
        net = cls(**state.pop("shape"), seeds=seeds, device=device)
        if net.frozen.shape != state["frozen"].shape:
            n_replicas = len(state["frozen"])
            raise ValueError(f"{path} has {n_replicas} replicas, and seeds are {len(seeds)}")
        net.__dict__.update(state)
        return net

    @torch.inference_mode()
    def train(
        self,
        task,
        paths,
        examples,
        *,
        steps,
        batch_size=32,
        learning_rate=1e-3,
        optimiser="adam",
        dropout=0.0,
        gaussian_noise=0.0,
        label_smoothing=0.0,
        balanced=True,
        n_fixed=0,
    ):
        """Train the modules on `paths` and the head of `task`; return each replica's accuracy (R,).

        It is the mean over the minibatches as they were seen, before each step.

        Parameters
        ----------
        paths : int array (R, L, N)
        examples : Examples
        steps : int
            Gradient steps, one minibatch each.
        optimiser : {"adam", "sgd"}
            Moments start anew at each call.
        dropout : float
            Probability that a unit of a layer's output, or a whole feature map, is dropped.
        gaussian_noise : float
            Standard deviation of what is added to each input [that of a scaled input is 1]: of 256
            quantiles of the normal distribution, a fifth of the time that drawing it takes.
        label_smoothing : float
            Share of the goal that is spread evenly over all emotions.
        balanced : bool
            Draw emotions equally often; see `Examples.draw`.
        n_fixed : int
            Leave the first modules of each layer's path as they are, in all replicas.

        Raises
        ------
        FloatingPointError
            Loss or weights of replicas are not finite; they are as they were before this call.
        """
        check(steps=steps, batch_size=batch_size, learning_rate=learning_rate, optimiser=optimiser)
        check(dropout=dropout, gaussian_noise=gaussian_noise, label_smoothing=label_smoothing)
        accuracy, n_emotions = np.empty(self.n_replicas), self.heads[task].shape[1]
        if (last := examples.labels.max()) >= n_emotions:
            raise ValueError(f"label {last} in {task!r}: its head is of labels 0..{n_emotions - 1}")
        labels = torch.as_tensor(examples.labels, device=self.device)
        for replicas in self._chunks(batch_size, copies=4):  # weights, gradients, moments
            generators = self.generators[replicas]
            weights, places = self._check_out(replicas, paths[:, :, n_fixed:])
            weights.append(self.heads[task][replicas].clone())
            fixed, _ = self._check_out(replicas, paths[:, :, :n_fixed])
            episode = Episode(self.modules, weights, fixed, batch_size)
            learns = [self._learns(layer, place) for layer, place in enumerate(places)]
            episode.start(optimiser, learning_rate, learns)
            correct = 0
            for start in range(0, steps, BLOCK):
                n_steps = min(BLOCK, steps - start)
                sizes = dict(steps=n_steps, batch_size=batch_size)
                rows = examples.draw(generators, replicas, **sizes, balanced=balanced)  # (T, r, B)
                gates = self._draw_gates(generators, **sizes, dropout=dropout)
                truth = labels[rows]
                goals = one_hot(truth, n_emotions).mT * (1.0 - label_smoothing)  # (T, r, K, B)
                goals += label_smoothing / n_emotions
                logits = []
                for step in range(n_steps):
                    x = examples.inputs(rows[step], replicas)  # (r, B, d + 1)
                    if gaussian_noise:
                        x[..., :-1].add_(self._draw_noise(generators, x), alpha=gaussian_noise)
                    logits.append(episode.step(x, goals[step], gates[step]))
                logits = torch.stack(logits)  # (T, r, K, B)
                of_truth = logits.gather(2, truth[:, :, None])
                correct += (of_truth == logits.amax(2, keepdim=True)).sum((0, 2, 3))
            self._assert_finite(task, replicas, [logits[-1], *weights])
            self.heads[task][replicas] = weights.pop()
            for bank, learned, place in zip(self.layers, weights, places, strict=True):
                by_module = place[1].shape[1], bank.shape[2]  # N, width
                bank.mT[place] = learned.unflatten(2, by_module).transpose(1, 2)
            accuracy[replicas] = correct.cpu() / (steps * batch_size)
        return accuracy

    @torch.inference_mode()
    def predict(self, task, paths, examples, rows=None):
        """Return the posteriors of each replica for its rows: list of R float arrays (n_rows, K).

        `rows`, a list of R int arrays, are those that the replicas learn from when not given.
        """
        rows = examples.rows if rows is None else rows
        longest = max(map(len, rows))
        posteriors, no_gates = [], [None] * self.n_layers
        for replicas in self._chunks(min(longest, ROWS)):
            padded = np.stack([np.resize(of_replica, longest) for of_replica in rows[replicas]])
            weights, places = self._check_out(replicas, paths)
            nothing, _ = self._check_out(replicas, paths[:, :, :0])
            weights.append(self.heads[task][replicas])
            parts = []
            for part in np.array_split(padded, -(-longest // ROWS), axis=1):
                episode = Episode(self.modules, weights, nothing, part.shape[1])
                logits, _ = episode.forward(examples.inputs(part, replicas), no_gates)
                parts.append(logits.softmax(1).mT.cpu().numpy())
            chunk = np.concatenate(parts, axis=1)  # (r, longest, K)
            posteriors += [p[: len(r)] for p, r in zip(chunk, rows[replicas], strict=True)]
        return posteriors

    def _chunks(self, batch_size, copies=1):
        """Yield slices of replicas whose active modules, in so many copies, fit the cache."""
        numbers = [(m.fan_in + self.n_active * m.width) * prod(m.shape[:-1]) for m in self.modules]
        a_replica = 4 * (copies * self.parameters_on_path() + 2 * batch_size * sum(numbers))
        most = self.n_replicas if self.device != "cpu" else max(2, int(CHUNK_BYTES / a_replica))
        for part in np.array_split(np.arange(self.n_replicas), -(-self.n_replicas // most)):
            yield slice(part[0], part[-1] + 1)

    def _check_out(self, replicas, paths):
        """Return each layer's modules on `paths` (r, fan_in + 1, N * width), and their places."""
        replica = torch.arange(replicas.start, replicas.stop, device=self.device)[:, None]
        modules = torch.as_tensor(paths[replicas], device=self.device)
        places = [(replica, modules[:, layer]) for layer in range(self.n_layers)]
        banks = [bank.mT[place] for bank, place in zip(self.layers, places, strict=True)]
        return [bank.transpose(1, 2).flatten(2) for bank in banks], places

    def _learns(self, layer, place):
        """Return 1 for modules that learn, 0 for frozen ones (r, 1, ..., N, 1), or None."""
        frozen = self.frozen[place[0], layer, place[1]]
        ones = [1] * len(self.modules[layer].shape)
        return (~frozen).float().view(len(frozen), *ones, -1, 1) if frozen.any() else None

    def _draw_gates(self, generators, *, steps, batch_size, dropout):
        """Return T lists of L tensors (r, B, ..., width), 0 where a unit is dropped, or of None."""
        if not dropout:
            return [[None] * self.n_layers] * steps
        *places, width = self.modules[0].shape
        size = steps, batch_size, self.n_layers * width
        drawn = [generator.integers(BYTE, size=size, dtype=np.uint8) for generator in generators]
        byte = torch.as_tensor(np.stack(drawn, axis=1), device=self.device)
        kept = (byte >= round(dropout * BYTE)) / (1 - dropout)  # (T, r, B, L * width)
        size = self.n_layers, *[1] * len(places), width  # a feature map is dropped whole
        return [gates.unbind(2) for gates in kept.unflatten(3, size)]

    def _draw_noise(self, generators, x):
        """Return normal noise of the shape of inputs x (r, B, d + 1) without their ones."""
        shape = x.shape[1], x.shape[2] - 1
        drawn = [generator.integers(BYTE, size=shape, dtype=np.uint8) for generator in generators]
        return torch.as_tensor(NORMAL.take(np.stack(drawn)), device=self.device)

    def _assert_finite(self, task, replicas, tensors):
        """Raise FloatingPointError that names the replicas with a value that is not finite."""
        finite = torch.stack([tensor.flatten(1).sum(1) for tensor in tensors]).isfinite().all(0)
        if not finite.all():
            wrong = (np.flatnonzero(~finite.cpu().numpy()) + replicas.start).tolist()
            problem = f"the loss of replicas {wrong} on {task!r} is not finite"
            raise FloatingPointError(f"{problem}: try a smaller learning rate")


def _fresh(generator, shape):
    """Return fresh weights (..., fan_in + 1), within 1 / sqrt(fan_in) as in torch.nn.Linear."""
    uniform = 2 * generator.random(shape, dtype=np.float32) - 1
    return uniform / np.float32(np.sqrt(shape[-1] - 1))
