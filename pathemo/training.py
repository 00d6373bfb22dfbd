"""Training of the networks of `pathemo.nets`, and the posteriors that they give over the folds of a
study.

Inputs are arrays with a row a clip. Where a row is not finite, the clip lacks that modality:
nothing is learned from it, and its posteriors are not numbers."""

import copy
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pooch
import torch
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_class_weight
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence
from torch.optim.lr_scheduler import CosineAnnealingLR
from torchaudio.transforms import FrequencyMasking, TimeMasking
from torchvision.transforms.v2 import MixUp
from tqdm.auto import tqdm

from . import cache, nets
from .splits import development_split

CODE = "".join(
    pooch.file_hash(Path(__file__).with_name(name)) for name in ("nets.py", "training.py")
)


def fit(
    net,
    inputs,
    labels,
    train,
    development=(),
    *,
    seed,
    epochs=30,
    batch_size=64,
    learning_rate=1e-3,
    patience=30,
    label_smoothing=0.0,
    mixup=0.0,
    masks=(),
):
    """History of the training, a row an epoch; `net` is left as in its best epoch, or in the last.

    Adam on the cross-entropy, emotions weighted against their frequency; the learning rate falls to
    0 by a cosine. The same seed gives the same network, whatever was drawn before.

    Parameters
    ----------
    inputs : tuple of arrays (n, ...)
        The arguments of `net`.
    labels : int array (n,)
    train, development : int arrays of rows
        Development rows, of other speakers than `train`, decide when to stop, if there are any: the
        epoch of their least loss is kept, and `patience` epochs without a better one are the end.
    mixup : float
        Alpha of mixup, for log-mel images; 0: none.
    masks : (frequency, time) [mels, frames]
        SpecAugment: greatest length of the two masks along each axis.

    Raises
    ------
    FloatingPointError
        The loss is not finite.

    Source: Park et al., "SpecAugment", 2019; Zhang et al., "mixup: Beyond Empirical Risk
    Minimization", 2018."""
    device, labels = next(net.parameters()).device, np.asarray(labels)
    inputs = [torch.as_tensor(part).to(device) for part in inputs]
    present, weight = np.unique(labels[train]), torch.ones(labels.max() + 1, device=device)
    balanced = compute_class_weight("balanced", classes=present, y=labels[train])
    weight[present] = torch.as_tensor(balanced, dtype=torch.float32, device=device)
    optimiser = torch.optim.Adam(net.parameters(), learning_rate)
    rate = CosineAnnealingLR(optimiser, epochs)
    mix = MixUp(alpha=mixup, num_classes=len(weight)) if mixup else None
    hide = [
        mask(size, iid_masks=True) for mask, size in zip((FrequencyMasking, TimeMasking), masks)
    ] * 2
    labels, train = torch.as_tensor(labels).to(device), torch.as_tensor(train)
    history, least, kept = [], np.inf, None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for epoch in range(1, epochs + 1):
            net.train()
            losses = []
            for rows in train[torch.randperm(len(train))].split(batch_size):
                if len(rows) == 1:
                    continue  # batch normalisation needs two
                batch, target = [part[rows] for part in inputs], labels[rows]
                if hide or mix:
                    levels = batch[0][:, None].clone()
                    for mask in hide:
                        levels = mask(levels, levels.mean())
                    levels, target = mix(levels, target) if mix else (levels, target)
                    batch = [levels[:, 0]]
                loss = cross_entropy(net(*batch), target, weight, label_smoothing=label_smoothing)
                if not loss.isfinite():
                    way_out = f"try a learning rate below {learning_rate:g}"
                    raise FloatingPointError(
                        f"the loss is {loss.item()} in epoch {epoch}: {way_out}"
                    )
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                losses.append(loss.item())
            row = {"epoch": epoch, "rate": optimiser.param_groups[0]["lr"], "loss": np.mean(losses)}
            if len(development):
                logits = apply(net, net, inputs, development)
                row["development"] = cross_entropy(logits, labels[development], weight).item()
                if row["development"] < least:
                    least, kept, best = row["development"], copy.deepcopy(net.state_dict()), epoch
            history.append(row)
            rate.step()
            if kept and epoch - best >= patience:
                break
    if kept:
        net.load_state_dict(kept)
    return pd.DataFrame(history)


def predict(net, inputs, rows=slice(None)):
    """Posteriors (n, K) of these rows."""
    return apply(net, net, inputs, rows).softmax(dim=1).cpu().numpy()


@torch.no_grad()
def apply(net, method, inputs, rows=slice(None)):
    """What a method of a network, which is not being trained, gives for these rows: a tensor (n,
    ...).
    """
    net.eval()
    device = next(net.parameters()).device
    batches = zip(*(torch.as_tensor(part)[rows].split(256) for part in inputs))
    return torch.cat([method(*(part.to(device) for part in batch)) for batch in batches])


def one_network(
    inputs,
    labels,
    train,
    development,
    *,
    network,
    options,
    seed,
    scaled=False,
    device="cpu",
    **settings,
):
    """Posteriors (n, K) of all clips, from a network that learned from those of `train`.

    Parameters
    ----------
    inputs : tuple of arrays (n, ...)
    network, options : str, dict
        What makes it, of `pathemo.nets`, and its arguments. The other settings are those of `fit`.
    scaled : bool
        Scale features, the last axis of the first input, to mean 0 and spread 1 by the clips of
        `train`.
    """
    net = _made(network, seed, **options).to(device)
    there = np.isfinite(inputs[0].reshape(len(labels), -1)).all(axis=1)
    train, development = (rows[there[rows]] for rows in (train, development))
    if scaled:
        first, *others = inputs
        scaler = StandardScaler().fit(first[train].reshape(-1, first.shape[-1]))
        scaled_first = scaler.transform(first.reshape(-1, first.shape[-1])).reshape(first.shape)
        inputs = scaled_first.astype(np.float32), *others
    fit(net, inputs, labels, train, development, seed=seed, **settings)
    posteriors = np.full((len(labels), labels.max() + 1), np.nan, np.float32)
    posteriors[there] = predict(net, inputs, there)
    return posteriors


def frames_and_clips(inputs, labels, train, development, *, seed, spatial, temporal):
    """Posteriors (n, K) of all clips: a guided transformer learns from frames, a bi-LSTM from its
    50-d layer.

    Parameters
    ----------
    inputs : (images, guides, clip)
        (n_frames, 48, 48) each, and the clip of each frame, in order.
    spatial, temporal : dict
        Settings of `fit` for either network.
    """
    images, guides, clip = inputs
    n_classes = labels.max() + 1
    frames = [np.flatnonzero(np.isin(clip, rows)) for rows in (train, development)]
    transformer = _made("GuidedTransformer", seed, n_classes=n_classes)
    fit(transformer, (images, guides), labels[clip], *frames, seed=seed, **spatial)
    embedded = apply(transformer, lambda *frame: transformer.layers(*frame)[1], (images, guides))
    n_frames = np.bincount(clip, minlength=len(labels))
    there = np.flatnonzero(n_frames)
    sequences = np.full((len(labels), n_frames.max(), embedded.shape[1]), np.nan, np.float32)
    sequences[there] = pad_sequence(embedded.split(n_frames[there].tolist()), batch_first=True)
    options = dict(n_features=embedded.shape[1], n_classes=n_classes)
    inputs = sequences, n_frames.clip(min=1)  # a length of 0 cannot be packed
    return one_network(
        inputs,
        labels,
        train,
        development,
        network="AttentiveLSTM",
        seed=seed,
        options=options,
        **temporal,
    )


def over_folds(learn, inputs, task, parts, seeds, *, development=0.0, n_jobs=1, **settings):
    """Posteriors (n_seeds, n_parts, n, K) of all clips of a task, learned from each part's training
    side.

    What is finished is kept in the folder of `pathemo.cache`, by the data, the settings and this
    code.

    Parameters
    ----------
    learn : function
        `one_network` or `frames_and_clips`; `settings` are its own.
    task : pathemo.transfer.Task
        For emotions and speakers.
    parts : list of pathemo.splits.Fold
    development : float
        Share of the training speakers who decide when to stop, and train nothing; 0: none.
    """
    kept = joblib.Memory(cache.folder() / "networks", verbose=0).cache(_learn)
    labels = np.searchsorted(task.emotions, task.emotion)
    jobs = [
        (
            learn.__name__,
            inputs,
            labels,
            task.speaker,
            part.train,
            development,
            seed,
            settings,
            CODE,
        )
        for seed in seeds
        for part in parts
    ]
    # Arrays go to processes whole: a mapped one would have another name in the cache.
    running = joblib.Parallel(n_jobs=n_jobs, return_as="generator", max_nbytes=None)(
        joblib.delayed(kept)(*job) for job in jobs
    )
    made = np.stack(list(tqdm(running, total=len(jobs), desc="networks", unit="network")))
    return made.reshape(len(seeds), len(parts), *made.shape[1:])


def _learn(learn, inputs, labels, speaker, train, development, seed, settings, code):
    held_out = np.empty(0, int)
    if development:
        train, held_out = development_split(speaker, train, share=development, seed=seed)
    return globals()[learn](inputs, labels, train, held_out, seed=seed, **settings)


def _made(network, seed, **options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return getattr(nets, network)(**options)
