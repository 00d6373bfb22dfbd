"""Training of the networks of `nets`, and their posteriors over the folds of a study."""

from functools import partial

import joblib
import numpy as np
import torch
from sklearn.preprocessing import StandardScaler
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import CosineAnnealingLR
from torchaudio.transforms import FrequencyMasking, TimeMasking
from torchvision.transforms.v2 import MixUp

from .. import files


def fit(
    net,
    train,
    *,
    seed,
    epochs=30,
    batch_size=64,
    learning_rate=1e-3,
    label_smoothing=0.0,
    augment=None,
    head_first=0,
):
    """Train a network; return the loss of each epoch, a list.

    Adam on the cross-entropy, emotions weighted against their frequency; the learning rate falls to
    0 by a cosine. The same seed gives the same network, whatever was drawn before.
    FloatingPointError where the loss is not finite.

    Parameters
    ----------
    train : tuple of arrays (n, ...)
        The arguments of `net`, then labels (n,) int.
    augment : dict, optional
        Of the first argument: `crop`, the length of a random part along its last axis; `masks`
        (frequency, time), the greatest lengths of SpecAugment's, two along each axis; `mixup`, its
        alpha.
    head_first : int
        Epochs in which the last layer alone learns, the rest being as in evaluation, lest a head
        that knows nothing spoil what others trained.

    Source: Park et al., "SpecAugment", 2019; Zhang et al., "mixup", 2018.
    """
    device = next(net.parameters()).device
    *inputs, labels = (torch.as_tensor(part, device=device) for part in train)
    n_classes = apply(net, [part[:1] for part in inputs]).shape[1]
    counts = torch.bincount(labels, minlength=n_classes)
    weight = torch.where(counts > 0, len(labels) / (counts.count_nonzero() * counts), 1.0)
    optimiser = torch.optim.Adam(net.parameters(), learning_rate)
    rate = CosineAnnealingLR(optimiser, epochs)
    history = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for epoch in range(epochs):
            net.train(epoch >= head_first).requires_grad_(epoch >= head_first)
            for weights in [*net.parameters()][-2:]:
                weights.requires_grad_()
            losses = []
            for rows in torch.randperm(len(labels)).split(batch_size):
                if len(rows) == 1:
                    continue  # batch normalisation needs two
                batch, target = [part[rows] for part in inputs], labels[rows]
                if augment:
                    batch[0], target = _augment(batch[0], target, n_classes, **augment)
                loss = cross_entropy(net(*batch), target, weight, label_smoothing=label_smoothing)
                if not loss.isfinite():
                    reason = f"the loss is {loss.item()} in epoch {epoch + 1}"
                    raise FloatingPointError(f"{reason}: try a rate below {learning_rate:g}")
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                losses.append(loss.item())
            rate.step()
            history.append(np.mean(losses))
    return history


def _augment(levels, labels, n_classes, *, crop=None, masks=(), mixup=0.0):
    if crop:
        starts = torch.randint(levels.shape[2] - crop + 1, (len(levels),))
        levels = torch.stack([x[:, start : start + crop] for x, start in zip(levels, starts)])
    levels = levels[:, None]  # (B, 1, n_mels, n_frames)
    for kind, size in 2 * list(zip((FrequencyMasking, TimeMasking), masks)):
        levels = kind(size, iid_masks=True)(levels, levels.mean())
    if mixup:
        levels, labels = MixUp(alpha=mixup, num_classes=n_classes)(levels, labels)  # labels (B, K)
    return levels[:, 0], labels


@torch.no_grad()
def apply(net, inputs, method=None):
    """Return what a network, or a method of it, gives in evaluation: a tensor (n, ...)."""
    net.eval()
    method, device = method or net, next(net.parameters()).device
    batches = zip(*(torch.as_tensor(part).split(256) for part in inputs))
    return torch.cat([method(*(part.to(device) for part in batch)) for batch in batches])


def scaled(inputs, train):
    """Return inputs (n, T, d) float32, scaled by mean and spread of d in the rows of `train`."""
    scaler = StandardScaler().fit(np.concatenate(inputs[train]))
    return scaler.transform(np.concatenate(inputs)).reshape(inputs.shape).astype(np.float32)


def one_network(
    network, inputs, labels, train, seed, *, scale=False, embed=False, device="cpu", **settings
):
    """Return posteriors (n, K) of all rows, by a network that learned from those of `train`.

    Parameters
    ----------
    network : function
        Makes the network: `functools.partial(MN04, 8)`, for instance.
    inputs : tuple of arrays (n, ...)
        The arguments of the network, `scaled` first if `scale`.
    embed : bool
        Return what its method `embed` gives, (n, d), instead of posteriors.
    settings : of `fit`
    """
    if scale:
        inputs = [scaled(part, train) for part in inputs]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = network().to(device)
    fit(net, [part[train] for part in (*inputs, labels)], seed=seed, **settings)
    outputs = apply(net, inputs, net.embed) if embed else apply(net, inputs).softmax(dim=1)
    return outputs.cpu().numpy()


def over_folds(runs, *, n_jobs=1):
    """Return what `one_network` gives a seed and part, (n_seeds, n_parts, n, K), of each run; all
    side by side, and cached.

    A run is `(network, inputs, task, parts, seeds, settings)`. Rows of its inputs are those of a
    `pathemo.transfer.Task`. Of a part, a `pathemo.splits.Fold`, the training side counts.
    """
    code, home = files.code_digest("multimodal"), files.cache_folder() / "networks"
    calls, kept = [], joblib.delayed(files.load_or_compute)
    for network, inputs, task, parts, seeds, settings in runs:
        learn = partial(one_network, network, inputs, task.labels(), **settings)
        jobs = [(task.rows(part.train), seed) for seed in seeds for part in parts]
        names = [joblib.hash([learn, code, *job]) for job in jobs]
        calls += [kept(home / f"{name}.npz", learn, *job) for name, job in zip(names, jobs)]
    outputs = iter(joblib.Parallel(files.n_processes(n_jobs), max_nbytes=None)(calls))
    return [
        np.stack([[next(outputs) for _ in parts] for _ in seeds])
        for _, _, _, parts, seeds, _ in runs
    ]
