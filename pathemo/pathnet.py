"""PathNet with its replicas stacked: R independent super-networks in one tensor program.

A study trains the same small network hundreds of times (folds x seeds x directions). Alone each is a chain of
tiny products that leaves a processor idle; stacked they are batched products that fill it. Every tensor here
has a leading replica axis, every replica draws from a generator of its own, and so what a replica learns does
not depend on who shares the stack.

Letters: R replicas, L layers, M modules, N active modules, B batch, T minibatches, K emotions.

Source: Fernando et al. 2017, arXiv 1701.08734.
"""

import numpy as np
import torch

CHUNK_BYTES = 24e6  # replicas are trained a few at a time: their active modules stay in the processor's cache
NOISE_LEVELS = 256  # dropout masks are drawn as bytes, so probabilities are multiples of 1/256


class Examples:
    """What R replicas learn a task from: shared arrays, and rows and scaling of each replica's own.

    Parameters
    ----------
    features : float array (n, d)
    labels : int array (n,)
        Emotions as integers 0..K-1.
    rows : list of R int arrays
        The rows that each replica may see. Mean and spread of the features are taken from these rows only.
    """

    def __init__(self, features, labels, rows, *, device="cpu"):
        features = np.array(features, dtype=np.float32)
        if not np.isfinite(features).all():
            bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
            raise ValueError(f"features of {len(bad)} rows are not finite, the first is row {bad[0]}")
        self.labels, self.rows = np.asarray(labels), [np.asarray(r) for r in rows]
        seen = {r.tobytes(): r for r in self.rows}
        mean = {key: features[r].mean(axis=0, dtype=np.float64) for key, r in seen.items()}
        spread = {key: features[r].std(axis=0, dtype=np.float64) for key, r in seen.items()}
        self.features = torch.as_tensor(features, device=device)
        mean = np.stack([mean[r.tobytes()] for r in self.rows])
        self.mean = torch.as_tensor(mean, dtype=torch.float32, device=device)
        spread = np.stack([spread[r.tobytes()] for r in self.rows])
        scale = np.where(spread > 1e-6, 1 / np.maximum(spread, 1e-6), 0)
        self.scale = torch.as_tensor(scale, dtype=torch.float32, device=device)

    def standardised(self, rows, replicas):
        """Return features at `rows` (r, B), scaled for each replica, with a column of ones (r, B, d + 1)."""
        x = torch.ones(*rows.shape, self.features.shape[1] + 1, device=self.features.device)
        gathered = self.features[rows.flatten()].view(*rows.shape, -1)
        torch.mul(gathered.sub_(self.mean[replicas, None]), self.scale[replicas, None], out=x[..., :-1])
        return x

    def draw(self, generator, replica, *, steps, batch_size, balanced):
        """Return the rows of `steps` minibatches for one replica (steps, batch_size), drawn with replacement.

        Balanced minibatches draw an emotion first and one of its rows second, so that rare emotions weigh as
        much as common ones, as they do in UAR.
        """
        rows = self.rows[replica]
        if not balanced:
            return rows[generator.integers(len(rows), size=(steps, batch_size))]
        order = np.argsort(self.labels[rows], kind="stable")
        _, starts, counts = np.unique(self.labels[rows][order], return_index=True, return_counts=True)
        emotion = generator.integers(len(counts), size=(steps, batch_size))
        place = starts[emotion] + (generator.random((steps, batch_size)) * counts[emotion]).astype(int)
        return rows[order[place]]


class PathNet:
    """A super-network of layers of small modules, in R independent replicas.

    A module is linear + ReLU; the outputs of the active modules of a layer are summed; each task has a linear
    head of its own on the last layer.

    Parameters
    ----------
    n_features : int
        Inputs of the first layer.
    seeds : list of R ints or numpy.random.SeedSequence
        One a replica; all its draws (weights, minibatches, dropout) come from it.
    n_layers, n_modules, n_active, width : int
        L layers of M modules of `width` units, N of them active. The defaults are those that
        re-implementations quote for the MNIST experiment of Fernando et al. 2017.

    Attributes
    ----------
    layers : list of L tensors (R, M, d_in + 1, width)
        Weights; the last input row is the bias.
    frozen : bool tensor (R, L, M)
        Modules that take part in the forward pass and are never updated.
    heads : dict of tensors (R, width + 1, K)

    Examples
    --------
    >>> net = PathNet(4, seeds=[0, 1], n_layers=2, n_modules=5, n_active=2, width=3)
    >>> [tuple(layer.shape) for layer in net.layers]
    [(2, 5, 5, 3), (2, 5, 4, 3)]
    >>> net.parameters_on_path()  # 2 modules of (4 + 1) x 3 and 2 of (3 + 1) x 3
    54
    """

    def __init__(self, n_features, *, seeds, n_layers=3, n_modules=10, n_active=3, width=20, device="cpu"):
        self.generators = [np.random.default_rng(seed) for seed in seeds]
        self.n_features, self.n_layers, self.width = n_features, n_layers, width
        self.n_modules, self.n_active, self.device = n_modules, n_active, device
        self.layers = [self._draw_weights((n_modules, d, width)) for d in self._inputs()]
        self.frozen = torch.zeros(len(seeds), n_layers, n_modules, dtype=torch.bool, device=device)
        self.heads = {}

    @property
    def n_replicas(self):
        """Number of replicas R."""
        return len(self.generators)

    def _inputs(self):
        return [self.n_features] + [self.width] * (self.n_layers - 1)

    def _draw_weights(self, shape):
        """Return fresh weights (R, ..., d_in + 1, width), within 1 / sqrt(d_in) as in torch.nn.Linear."""
        *front, d, width = shape
        drawn = [g.random((*front, d + 1, width), dtype=np.float32) for g in self.generators]
        return torch.as_tensor((2 * np.stack(drawn) - 1) / np.float32(np.sqrt(d)), device=self.device)

    def parameters_on_path(self):
        """Return how many numbers a path trains, heads aside: N times the sum of (d_in + 1) * width."""
        return self.n_active * sum((d + 1) * self.width for d in self._inputs())

    def add_head(self, task, n_emotions):
        """Give `task` a freshly drawn head; one that it had is replaced."""
        self.heads[task] = self._draw_weights((self.width, n_emotions))

    def freeze(self, paths):
        """Freeze the modules on `paths` (R, L, N); those frozen before stay frozen."""
        self.frozen |= self.on_path(paths)

    def on_path(self, paths):
        """Return which modules `paths` (R, L, N) use: bool tensor (R, L, M)."""
        return torch.zeros_like(self.frozen).scatter_(2, torch.as_tensor(paths, device=self.device), True)

    def reinitialise(self):
        """Draw all modules that are not frozen anew; frozen ones stay as they are, to the bit."""
        for layer, d in enumerate(self._inputs()):
            fresh = self._draw_weights((self.n_modules, d, self.width))
            keep = self.frozen[:, layer, :, None, None]
            self.layers[layer] = torch.where(keep, self.layers[layer], fresh)

    def repeat(self, seeds):
        """Return a PathNet with each replica copied len(seeds) / R times in a row, each copy on its own seed.

        A source task learned once a seed serves all folds of the target this way.
        """
        copies, rest = divmod(len(seeds), self.n_replicas)
        if rest:
            raise ValueError(f"{len(seeds)} seeds cannot be shared evenly by {self.n_replicas} replicas")
        net = object.__new__(PathNet)
        net.__dict__.update(self.__dict__, generators=[np.random.default_rng(seed) for seed in seeds])
        net.layers = [layer.repeat_interleave(copies, 0) for layer in self.layers]
        net.frozen = self.frozen.repeat_interleave(copies, 0)
        net.heads = {task: head.repeat_interleave(copies, 0) for task, head in self.heads.items()}
        return net

    def _check_out(self, replicas, paths):
        """Return each layer's active modules side by side, (r, d_in + 1, N * width), and their places."""
        at = torch.arange(replicas.start, replicas.stop, device=self.device)[:, None]
        modules = torch.as_tensor(paths[replicas], device=self.device)
        places = [(at, modules[:, layer]) for layer in range(self.n_layers)]
        banks = zip(self.layers, places, strict=True)
        return [bank[place].transpose(1, 2).flatten(2) for bank, place in banks], places

    def _check_in(self, active, places):
        for bank, weights, place in zip(self.layers, active, places, strict=True):
            bank[place] = weights.unflatten(2, (self.n_active, self.width)).transpose(1, 2)

    def _forward(self, x, active, head, dropped=None):
        """Return logits (r, B, K), inputs of layers and head, and outputs of modules (r, B, N * width)."""
        inputs, outputs = [x], []
        for layer, weights in enumerate(active):
            outputs.append(torch.bmm(inputs[-1], weights).relu_())
            joined = outputs[-1].unflatten(2, (self.n_active, self.width)).sum(2)
            if dropped is not None:
                joined = joined * dropped[layer]
            inputs.append(torch.nn.functional.pad(joined, (0, 1), value=1.0))
        return torch.bmm(inputs[-1], head), inputs, outputs

    def _backward(self, delta, inputs, outputs, active, head, trained, dropped=None):
        """Fill the gradients of the active modules, by hand; autograd is their oracle in the tests.

        delta : (r, B, K), the gradient of the loss by the logits.
        trained : list of L tensors (r, 1, N * width), 0 where a module is frozen, else 1; None where none is.
        """
        upstream = torch.bmm(delta, head[:, :-1].mT)
        for layer in reversed(range(self.n_layers)):
            if dropped is not None:
                upstream = upstream * dropped[layer]
            through = (outputs[layer] > 0) * upstream.repeat(1, 1, self.n_active)
            learning = through if trained[layer] is None else through * trained[layer]
            torch.bmm(inputs[layer].mT, learning, out=active[layer].grad)
            if layer:
                upstream = torch.bmm(through, active[layer][:, :-1].mT)

    def _chunks(self):
        """Yield slices of replicas whose active modules, with gradients and moments, fit the cache."""
        a_replica = 16 * self.parameters_on_path()
        size = self.n_replicas if self.device != "cpu" else int(max(2, CHUNK_BYTES // a_replica))
        for start in range(0, self.n_replicas, size):
            yield slice(start, min(start + size, self.n_replicas))

    def train(
        self, task, paths, examples, *, steps, batch_size=32, learning_rate=1e-3, optimiser="adam",
        momentum=0.9, dropout=0.0, label_smoothing=0.0, balanced=True, head_only=False,
    ):  # fmt: skip
        """Train the modules on `paths` and the head of `task`; return accuracy and loss over the minibatches.

        Parameters
        ----------
        task : str
            Whose head to use; see `add_head`.
        paths : int array (R, L, N)
        examples : Examples
        steps : int
            Gradient steps, one minibatch each.
        optimiser : {"adam", "sgd"}
            Its moments start anew at each call.
        dropout : float
            Probability that a unit of a layer's output is dropped.
        head_only : bool
            Train the head and leave every module as it is.

        Returns
        -------
        accuracy, loss : float arrays (R,)
            Means over the minibatches as they were seen, before each step.
        """
        accuracy, loss = np.zeros(self.n_replicas), np.zeros(self.n_replicas)
        labels = torch.as_tensor(examples.labels, device=self.device)
        for replicas in self._chunks():
            drawn = [
                examples.draw(self.generators[r], r, steps=steps, batch_size=batch_size, balanced=balanced)
                for r in range(replicas.start, replicas.stop)
            ]
            rows = torch.as_tensor(np.stack(drawn, axis=1), device=self.device)  # (T, r, B)
            dropped = self._draw_dropout(replicas, steps, batch_size, dropout)
            active, places = self._check_out(replicas, paths)
            head = self.heads[task][replicas].clone()
            trained = [self._trained(layer, place) for layer, place in enumerate(places)]
            learning = [head] if head_only else [head, *active]
            for weights in learning:
                weights.grad = torch.empty_like(weights)
            stepper = self._stepper(learning, optimiser, learning_rate, momentum)
            n_right, total = 0, 0
            for step in range(steps):
                x = examples.standardised(rows[step], replicas)
                truth = labels[rows[step]]
                masks = None if dropped is None else dropped[step] / (1 - dropout)
                logits, inputs, outputs = self._forward(x, active, head, masks)
                right = torch.zeros_like(logits).scatter_(2, truth[..., None], 1.0)
                log_posterior = logits.log_softmax(2)
                total += -(log_posterior * right).sum((1, 2))
                n_right += (logits.argmax(2) == truth).sum(1)
                goal = right * (1 - label_smoothing) + label_smoothing / logits.shape[2]
                delta = (log_posterior.exp() - goal) / batch_size
                torch.bmm(inputs[-1].mT, delta, out=head.grad)
                if not head_only:
                    self._backward(delta, inputs, outputs, active, head, trained, masks)
                stepper.step()
            self._check_in(active, places)
            self.heads[task][replicas] = head
            accuracy[replicas] = n_right.cpu() / (steps * batch_size)
            loss[replicas] = total.cpu() / (steps * batch_size)
        return accuracy, loss

    def _trained(self, layer, place):
        """Return 1 for units that learn and 0 for frozen ones (r, 1, N * width); None if all learn."""
        frozen = self.frozen[place[0], layer, place[1]]
        return (~frozen).float().repeat_interleave(self.width, 1)[:, None] if frozen.any() else None

    @staticmethod
    def _stepper(parameters, optimiser, learning_rate, momentum):
        if optimiser == "adam":
            return torch.optim.Adam(parameters, lr=learning_rate, fused=True)
        if optimiser == "sgd":
            return torch.optim.SGD(parameters, lr=learning_rate, momentum=momentum, fused=True)
        raise ValueError(f"optimiser = {optimiser!r}: choose 'adam' or 'sgd'")

    def _draw_dropout(self, replicas, steps, batch_size, dropout):
        """Return masks (T, L, r, B, width), false where a unit is dropped; None without dropout."""
        if not dropout:
            return None
        shape = (steps, self.n_layers, batch_size, self.width)
        drawn = [
            np.frombuffer(self.generators[r].bytes(int(np.prod(shape))), np.uint8).reshape(shape)
            for r in range(replicas.start, replicas.stop)
        ]
        return torch.as_tensor(np.stack(drawn, axis=2), device=self.device) >= round(dropout * NOISE_LEVELS)

    def predict(self, task, paths, examples, rows=None):
        """Return the posteriors of each replica for its own rows: list of R float arrays (n_rows, K).

        rows : list of R int arrays, optional
            Rows of the examples' features, those that the replicas learned from when not given.
        """
        rows = examples.rows if rows is None else rows
        posteriors = []
        for replicas in self._chunks():
            of_chunk = rows[replicas]
            longest = max(len(r) for r in of_chunk)
            padded = np.stack([np.resize(r, longest) for r in of_chunk])
            x = examples.standardised(torch.as_tensor(padded, device=self.device), replicas)
            logits, *_ = self._forward(x, self._check_out(replicas, paths)[0], self.heads[task][replicas])
            chunk = logits.softmax(2).cpu().numpy()
            posteriors += [p[: len(r)] for p, r in zip(chunk, of_chunk, strict=True)]
        return posteriors
