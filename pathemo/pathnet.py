"""PathNet with its replicas stacked: R independent super-networks in one tensor program.

A study trains the same small network hundreds of times (folds x seeds x directions): stacked, tiny
products become batched ones that fill a processor. Every tensor has a leading replica axis, every
replica draws from a generator of its own, and so what a replica learns does not depend on who
shares the stack.

Letters: R replicas, L layers, M modules, N active modules, B batch, T minibatches, K emotions; r
replicas of a chunk.

Source: Fernando et al. 2017, arXiv 1701.08734.
"""

import warnings
from math import prod

import joblib
import numpy as np
import torch
from torch.nn.functional import one_hot

from . import checkpoints
from .episode import Episode
from .examples import BYTE, random_bytes
from .modules import Convolution, Linear, apart, side_by_side

CHUNK_BYTES = 40e6  # replicas are trained some at a time: about what a processor's last cache holds
BLOCK = 50  # steps whose minibatches are drawn at once, so that memory does not grow with the steps
ROWS = 256  # of each replica that are predicted at once, for the same reason


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
    width : int, or one int a layer
        Units, or feature maps, of a module.
    kernel, stride : int
        Of convolutional modules.
    combine : {"sum", "mean"}
        Of the outputs of a layer's active modules. The sum is the paper's, and was 3 to 5 points
        better on development speakers; the mean leaves the scale as it is when N changes.

    Attributes
    ----------
    layers : list of L tensors (R, M, width, fan_in + 1)
        Weights, as in torch.nn.Linear; the last column is the bias. fan_in is the inputs of a unit,
        those of a map in the order row, column, channel.
    frozen : bool tensor (R, L, M)
        Modules that take part in the forward pass and are never updated.
    heads : dict of tensors (R, K, d + 1)
    stopped : dict of str
        By replica, why it learns no more.

    Examples
    --------
    >>> net = PathNet(4, seeds=[0, 1], n_layers=2, n_modules=5, n_active=2, width=3)
    >>> [tuple(layer.shape) for layer in net.layers]
    [(2, 5, 3, 5), (2, 5, 3, 4)]
    >>> net.parameters_on_path()  # 2 modules of 3 x (4 + 1) and 2 of 3 x (3 + 1)
    54
    >>> PathNet((1, 48, 48), seeds=[0], width=8).kinds[-1].shape  # three layers of stride 2
    (6, 6, 8)
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
        kernel=3,
        stride=2,
        combine="sum",
        device="cpu",
    ):
        if not 1 <= n_active <= n_modules:
            raise ValueError(
                f"n_active = {n_active}: of {n_modules} modules 1 to {n_modules} can be active"
            )
        if combine not in ("sum", "mean"):
            raise ValueError(f"combine = {combine!r}: choose 'sum' or 'mean'")
        self.shape = dict(
            inputs=inputs,
            n_layers=n_layers,
            n_modules=n_modules,
            n_active=n_active,
            width=width,
            kernel=kernel,
            stride=stride,
            combine=combine,
        )
        self.generators = [np.random.default_rng(seed) for seed in seeds]
        self.n_layers, self.n_modules, self.n_active = n_layers, n_modules, n_active
        self.combine, self.device, self.heads, self.stopped = combine, device, {}, {}
        self.kinds, shape = [], (inputs,) if np.isscalar(inputs) else (*inputs[1:], inputs[0])
        for units in np.broadcast_to(width, n_layers).tolist():
            images = len(shape) == 3
            kind = (
                Convolution(shape, units, kernel=kernel, stride=stride)
                if images
                else Linear(shape, units)
            )
            self.kinds.append(kind)
            shape = kind.shape
        self.frozen = torch.zeros(len(seeds), n_layers, n_modules, dtype=torch.bool, device=device)
        shapes = [(len(seeds), n_modules, kind.width, kind.fan_in + 1) for kind in self.kinds]
        self.layers = [torch.empty(shape, device=device) for shape in shapes]
        self.reinitialise()

    @property
    def n_replicas(self):
        """Number of replicas R."""
        return len(self.generators)

    def parameters_on_path(self):
        """Return how many numbers a path trains, heads aside: N times the sum of width * (fan_in +
        1).
        """
        return self.n_active * sum(kind.width * (kind.fan_in + 1) for kind in self.kinds)

    def add_head(self, task, n_emotions):
        """Give `task` a freshly drawn head; one that it had is replaced."""
        d = prod(self.kinds[-1].shape)
        drawn = [_fresh(generator, (n_emotions, d + 1)) for generator in self.generators]
        self.heads[task] = torch.as_tensor(np.stack(drawn), device=self.device)

    def freeze(self, paths):
        """Freeze the modules on `paths` (R, L, N); those frozen before stay frozen."""
        self.frozen |= self.on_path(paths)

    def on_path(self, paths):
        """Return which modules `paths` (R, L, N) use: bool tensor (R, L, M)."""
        return torch.zeros_like(self.frozen).scatter_(
            2, torch.as_tensor(paths, device=self.device), True
        )

    def reinitialise(self, *, scale=1.0):
        """Draw all modules that are not frozen anew, times `scale`; frozen ones stay, to the
        bit.
        """
        for layer, weights in enumerate(self.layers):
            for replica, generator in enumerate(self.generators):
                fresh = torch.as_tensor(
                    scale * _fresh(generator, weights.shape[1:]), device=self.device
                )
                learns = ~self.frozen[replica, layer]
                weights[replica, learns] = fresh[learns]

    def repeat(self, seeds):
        """Return a PathNet of each replica len(seeds) / R times in a row, each copy on its own
        seed.
        """
        copies, rest = divmod(len(seeds), self.n_replicas)
        if rest:
            raise ValueError(
                f"{len(seeds)} seeds cannot be shared evenly by {self.n_replicas} replicas"
            )
        net = object.__new__(PathNet)
        net.__dict__.update(
            self.__dict__, generators=[np.random.default_rng(seed) for seed in seeds]
        )
        net.layers = [layer.repeat_interleave(copies, 0) for layer in self.layers]
        net.frozen = self.frozen.repeat_interleave(copies, 0)
        net.heads = {task: head.repeat_interleave(copies, 0) for task, head in self.heads.items()}
        net.stopped = {
            r: self.stopped[r // copies] for r in range(len(seeds)) if r // copies in self.stopped
        }
        return net

    def state(self):
        """Return all that the network is, random streams included, as tensors, numbers, texts and
        dicts.
        """
        kept = {
            name: getattr(self, name) for name in ("shape", "layers", "heads", "frozen", "stopped")
        }
        return kept | {"streams": [generator.bit_generator.state for generator in self.generators]}

    def restore(self, state):
        """Become what the network of the same shape was when `state` was taken."""
        for name in ("layers", "heads", "frozen", "stopped"):
            setattr(self, name, state[name])
        for generator, stream in zip(self.generators, state["streams"], strict=True):
            generator.bit_generator.state = stream

    def fingerprint(self):
        """Return a digest of the state."""
        tensors = [
            tensor.cpu().numpy() for tensor in (*self.layers, *self.heads.values(), self.frozen)
        ]
        return joblib.hash([self.shape, [g.bit_generator.state for g in self.generators], tensors])

    def save(self, path):
        """Write the network to a file, at once; `PathNet.load` gives it back, random streams
        included.
        """
        checkpoints.write(path, "a PathNet", self.state())

    @classmethod
    def load(cls, path, *, device="cpu"):
        """Return the network that `save` wrote; see `pathemo.checkpoints.read` for errors."""
        state = checkpoints.read(path, "a PathNet", device=device)
        net = cls(**state["shape"], seeds=range(len(state["streams"])), device=device)
        net.restore(state)
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
        momentum=0.9,
        dropout=0.0,
        salt_and_pepper=0.0,
        gaussian_noise=0.0,
        mask=0.0,
        label_smoothing=0.0,
        balanced=True,
        head_only=False,
        n_held=0,
    ):
        """Train the modules on `paths` and the head of `task`; return accuracy and loss over the
        minibatches.

        A replica whose loss or weights are not finite keeps what it had before this call, learns no
        more, and is named in a warning and in `stopped`; the others go on.
        tests/benchmarks/README.md has what the options are worth in transfer.

        Parameters
        ----------
        paths : int array (R, L, N)
        examples : Examples
        steps : int
            Gradient steps, one minibatch each.
        optimiser : {"adam", "sgd"}
            Moments and momentum start anew at each call.
        momentum : float
            Of SGD.
        dropout : float
            Probability that a unit of a layer's output, or a whole feature map, is dropped.
        salt_and_pepper : float
            Probability that an input is replaced by its least or greatest value over the replica's
            rows.
        gaussian_noise : float
            Standard deviation of what is added to each input [that of a scaled input is 1].
        mask : float
            Greatest share of an image's rows, and of its columns, that one band of each hides with
            zeros, in each minibatch anew: SpecAugment (Park et al. 2019) for log-mel segments.
        label_smoothing : float
            Share of the goal that is spread evenly over all emotions.
        balanced : bool
            Draw emotions equally often; see `Examples.draw`.
        head_only : bool
            Leave every module as it is.
        n_held : int
            Leave the first modules of each layer's path as they are, in all replicas, and spend no
            time on their gradients.

        Returns
        -------
        accuracy, loss : float arrays (R,)
            Means over the minibatches as they were seen, before each step; NaN for a stopped
            replica.
        """
        if optimiser not in ("adam", "sgd"):
            raise ValueError(f"optimiser = {optimiser!r}: choose 'adam' or 'sgd'")
        accuracy, loss = np.full((2, self.n_replicas), np.nan)
        labels = torch.as_tensor(examples.labels, device=self.device)
        if mask and len(examples.shape) != 3:
            raise ValueError(
                f"mask = {mask}: images have rows and columns, {examples.shape} features do not"
            )
        noise = dict(salt_and_pepper=salt_and_pepper, gaussian_noise=gaussian_noise, mask=mask)
        copies = 4 if optimiser == "adam" else 2 if momentum else 1  # weights, gradients, moments
        for replicas in self._chunks(batch_size, copies):
            mine = self.generators[replicas]
            weights, places = self._check_out(replicas, paths[:, :, n_held:])
            weights.append(self.heads[task][replicas].clone())
            held = self._check_out(replicas, paths[:, :, :n_held])[0] if n_held else None
            learns = [self._learns(layer, place) for layer, place in enumerate(places)]
            episode = Episode(self.kinds, weights, batch_size, learns, held)
            episode.descend(
                optimiser, learning_rate=learning_rate, momentum=momentum, head_only=head_only
            )
            right, total = 0, 0
            for start in range(0, steps, BLOCK):
                n_steps = min(BLOCK, steps - start)
                rows = examples.draw(
                    mine, replicas, steps=n_steps, batch_size=batch_size, balanced=balanced
                )
                gates = self._draw_gates(mine, n_steps, batch_size, dropout, paths.shape[2])
                truth = labels[rows]
                goals = one_hot(truth, weights[-1].shape[1]).mT * (1 - label_smoothing)
                goals += label_smoothing / goals.shape[2]
                logits, drawn = [], rows + examples.first[replicas, None]
                for step in range(n_steps):
                    x = examples.at(drawn[step])
                    if any(noise.values()):
                        examples.disturb(x, mine, replicas, **noise)
                    logits.append(episode.step(x, goals[step], gates[step]))
                logits = torch.stack(logits)  # (T, r, K, B)
                of_truth = logits.gather(2, truth[:, :, None])
                right += (of_truth == logits.amax(2, keepdim=True)).sum((0, 2, 3))
                total += (logits.logsumexp(2, keepdim=True) - of_truth).sum((0, 2, 3))
            going = self._going(task, replicas, [total[:, None], *weights])
            self._check_in(task, replicas, weights, places, going)
            accuracy[replicas] = np.where(going, right.cpu() / (steps * batch_size), np.nan)
            loss[replicas] = np.where(going, total.cpu() / (steps * batch_size), np.nan)
        return accuracy, loss

    @torch.inference_mode()
    def predict(self, task, paths, examples, rows=None):
        """Return the posteriors of each replica for its own rows: list of R float arrays (n_rows,
        K).

        rows : list of R int arrays, optional
            Rows of the examples' features, those that the replicas learn from when not given.
        """
        rows = examples.rows if rows is None else rows
        longest = max(len(r) for r in rows)
        gates = self._draw_gates([], 1, 0, 0.0, paths.shape[2])[0]
        posteriors = []
        for replicas in self._chunks(min(longest, ROWS)):
            padded = np.stack([np.resize(r, longest) for r in rows[replicas]])
            weights, _ = self._check_out(replicas, paths)
            weights.append(self.heads[task][replicas])
            parts = []
            for part in np.array_split(padded, -(-longest // ROWS), axis=1):
                episode = Episode(self.kinds, weights, part.shape[1])
                logits, *_ = episode.forward(examples.inputs(part, replicas), gates)
                parts.append(logits.softmax(1).mT.cpu().numpy())
            chunk = np.concatenate(parts, axis=1)
            posteriors += [p[: len(r)] for p, r in zip(chunk, rows[replicas], strict=True)]
        return posteriors

    def _chunks(self, batch_size, copies=1):
        """Yield slices of replicas whose active modules, in so many copies, and numbers fit the
        cache.
        """
        numbers = sum(
            prod(kind.shape[:-1]) * (kind.fan_in + self.n_active * kind.width)
            for kind in self.kinds
        )
        a_replica = 4 * (copies * self.parameters_on_path() + 2 * batch_size * numbers)
        most = self.n_replicas if self.device != "cpu" else max(2, int(CHUNK_BYTES / a_replica))
        for part in np.array_split(np.arange(self.n_replicas), -(-self.n_replicas // most)):
            yield slice(part[0], part[-1] + 1)

    def _check_out(self, replicas, paths):
        """Return copies of each layer's modules on `paths` (r, fan_in + 1, N * width), and their
        places.
        """
        at = torch.arange(replicas.start, replicas.stop, device=self.device)[:, None]
        modules = torch.as_tensor(paths[replicas], device=self.device)
        places = [(at, modules[:, layer]) for layer in range(self.n_layers)]
        return [
            side_by_side(bank[place]) for bank, place in zip(self.layers, places, strict=True)
        ], places

    def _check_in(self, task, replicas, weights, places, going):
        """Put modules and head back, of the replicas that are `going`: bool tensor (r,)."""
        *active, head = weights
        for kind, bank, learned, (at, modules) in zip(
            self.kinds, self.layers, active, places, strict=True
        ):
            bank[at[going], modules[going]] = apart(learned[going], kind.width)
        self.heads[task][replicas][going] = head[going]

    def _learns(self, layer, place):
        """Return 1 for modules that learn and 0 for frozen ones (r, 1, ..., N, 1); None if all
        learn.
        """
        frozen = self.frozen[place[0], layer, place[1]]
        ones = [1] * len(self.kinds[layer].shape)
        return (~frozen).float().view(len(frozen), *ones, -1, 1) if frozen.any() else None

    def _draw_gates(self, generators, steps, batch_size, dropout, n_active):
        """Return for each step what each layer's sum is multiplied by.

        List of T lists of L: None where it is 1, a number (1 / N for a mean), or a tensor (r, B,
        ..., width) that is 0 where a unit is dropped."""
        share = 1 / n_active if self.combine == "mean" else 1.0
        if not dropout:
            return [[None if share == 1 else share] * self.n_layers] * steps
        widths = [kind.width for kind in self.kinds]
        drawn = random_bytes(generators, (steps, batch_size, sum(widths))).transpose(0, 1)
        kept = (drawn.to(self.device) >= round(dropout * BYTE)) * (share / (1 - dropout))
        gates = [
            gate.unflatten(
                3, (*[1] * (len(kind.shape) - 1), kind.width)
            )  # a feature map is dropped whole
            for gate, kind in zip(kept.split(widths, dim=3), self.kinds, strict=True)
        ]
        return list(zip(*gates, strict=True))

    def _going(self, task, replicas, tensors):
        """Return which replicas go on: bool tensor (r,). One with a value that is not finite is
        stopped.
        """
        finite = torch.stack([tensor.flatten(1).sum(1) for tensor in tensors]).isfinite().all(0)
        for replica in (np.flatnonzero(~finite.cpu().numpy()) + replicas.start).tolist():
            if replica not in self.stopped:
                self.stopped[replica] = f"its loss on {task} was not finite"
                way_out = "the others go on; a smaller learning rate helps"
                warnings.warn(
                    f"replica {replica} stopped, {self.stopped[replica]}; {way_out}", stacklevel=3
                )
        return torch.tensor([r not in self.stopped for r in range(replicas.start, replicas.stop)])


def _fresh(generator, shape):
    """Return fresh weights (..., fan_in + 1), uniform within 1 / sqrt(fan_in) as in
    torch.nn.Linear.
    """
    return (2 * generator.random(shape, dtype=np.float32) - 1) / np.float32(np.sqrt(shape[-1] - 1))
