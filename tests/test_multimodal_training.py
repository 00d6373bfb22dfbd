"""Training: it learns, repeats, head first or not, says what went wrong; folds are kept."""

import copy
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

from pathemo import splits
from pathemo.multimodal import fusion, nets, training

RNG = np.random.default_rng(0)
LABELS = np.tile(np.arange(4), 12)
SPEAKER = np.repeat([f"{number:02d}" for number in range(1, 7)], 8)
TRACKS = (RNG.normal(size=(48, 6, 5)) + np.eye(4, 5)[LABELS][:, None]).astype(np.float32)
LEVELS = RNG.normal(size=(48, 64, 32)).astype(np.float32)
FRAMES = RNG.random((12, 48, 48)).astype(np.float32)
LSTM = partial(nets.AttentiveLSTM, 5, 4)
NETWORKS = {
    "CNN14": (partial(nets.CNN14, 4, width=1 / 16), (LEVELS,)),
    "AlexNet": (partial(nets.AlexNet, 4), (LEVELS[:8],)),
    "MN04": (partial(nets.MN04, 4), (LEVELS,)),
    "GuidedTransformer": (partial(nets.GuidedTransformer, 4), (FRAMES, FRAMES)),
    "AttentiveLSTM": (LSTM, (TRACKS,)),
}


class Frames:
    """What `over_folds` uses of a task of `pathemo.transfer`: two rows a clip."""

    clip = np.repeat(np.arange(24), 2)

    def rows(self, clips):
        return np.flatnonzero(np.isin(self.clip, clips))

    def labels(self):
        return LABELS


def side(rows, labels=LABELS):
    return TRACKS[rows], labels[rows]


def learned(seed=0, train=slice(32), **settings):
    """Bi-LSTM after a short training on four speakers, and its history."""
    torch.manual_seed(0)
    net, settings = LSTM(), dict(epochs=4, learning_rate=0.01) | settings
    return net, training.fit(net, side(train), seed=seed, **settings)


def posteriors(net, *inputs):
    return training.apply(net, inputs).softmax(dim=1).numpy()


@pytest.mark.parametrize("name", NETWORKS)
def test_steps_on_a_batch_lower_its_loss(name):
    """On the same eight clips, for each network."""
    torch.manual_seed(0)
    make, inputs = NETWORKS[name]
    train, rate = [part[:8] for part in (*inputs, LABELS)], 1e-4 if name == "AlexNet" else 3e-3
    loss = training.fit(make(), train, seed=0, epochs=8, learning_rate=rate)
    assert np.mean(loss[-3:]) < loss[0]


def test_few_clips_are_learned_by_heart():
    """The bi-LSTM reaches posteriors near 1 on eight clips."""
    net, _ = learned(train=np.arange(8), epochs=80, learning_rate=0.02)
    assert posteriors(net, TRACKS[:8])[np.arange(8), LABELS[:8]].min() > 0.9


def test_the_seed_decides_and_nothing_else():
    """The same seed, the same network, whatever was drawn before; torch's own draws go on after."""
    augment = dict(mixup=0.3, masks=(1, 2))
    one, _ = learned(augment=augment)
    torch.rand(3)
    (again, _), (other, _) = learned(augment=augment), learned(seed=1, augment=augment)
    for name, weights in one.state_dict().items():
        assert torch.equal(weights, again.state_dict()[name])
    assert not torch.equal(one.head[1].weight, other.head[1].weight)
    state = torch.random.get_rng_state()
    training.fit(one, side(np.arange(8)), seed=0, epochs=1)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_head_learns_first(name):
    """While it does, all other weights and statistics stay as they were, bit by bit; then not."""
    torch.manual_seed(0)
    make, inputs = NETWORKS[name]
    net = make()
    torch.nn.init.normal_([*net.parameters()][-1])  # else it may have nothing to learn at first
    before = copy.deepcopy(net.state_dict())
    head = [name for name, _ in net.named_parameters()][-2:]
    for epochs in (2, 3):
        rate = 1e-4 if name == "AlexNet" else 3e-3
        settings = dict(seed=0, epochs=epochs, head_first=2, learning_rate=rate)
        training.fit(net, [part[:7] for part in (*inputs, LABELS)], **settings)
        state = net.state_dict()
        same = {name for name in state if torch.equal(state[name], before[name])}
        assert not same & {*head}
        assert len(same) < len(before) / 2 if epochs == 3 else same == {*before} - {*head}


def test_rare_emotions_weigh_as_much_as_common_ones():
    """With nothing to tell clips apart posteriors are even, though one emotion is more frequent."""
    torch.manual_seed(0)
    net, flat = nets.AttentiveLSTM(2, 2), np.ones((40, 3, 2), np.float32)
    net.lstm.dropout = net.score[2].p = net.head[0].p = 0.0
    train = flat, np.repeat([0, 1], [36, 4])
    training.fit(net, train, seed=0, epochs=60, batch_size=40, learning_rate=0.05)
    np.testing.assert_allclose(posteriors(net, flat[:1]), [[0.5, 0.5]], atol=0.02)


def test_an_emotion_without_training_clips_is_no_obstacle():
    """Posteriors for all that the network knows."""
    net, _ = learned(train=np.flatnonzero(LABELS < 3))
    assert np.isfinite(posteriors(net, TRACKS)).all()


def test_masks_hide_and_mixup_mixes_training_clips_alone(monkeypatch):
    """The network sees other clips in training; what it is given afterwards is as it was."""
    given, net = [], LSTM()
    forward, kept = net.forward, TRACKS.copy()
    monkeypatch.setattr(net, "forward", lambda x: given.append((net.training, x)) or forward(x))
    augment = dict(mixup=0.5, masks=(2, 2))
    training.fit(net, side(np.arange(32)), seed=0, epochs=1, batch_size=32, augment=augment)
    training.apply(net, (TRACKS,))
    [augmented] = [x for in_training, x in given if in_training]
    assert not (augmented[:, None] == torch.as_tensor(kept[None, :32])).all((2, 3)).any()
    np.testing.assert_array_equal(given[-1][1].numpy(), kept)
    np.testing.assert_array_equal(TRACKS, kept)


def test_crops_are_parts_of_their_clips(monkeypatch):
    """In training each clip is a stretch of itself, of the length asked for, at random places."""
    given, net = [], nets.CNN14(4, width=1 / 16)
    levels = np.arange(48 * 64 * 40, dtype=np.float32).reshape(48, 64, 40)
    forward = net.forward
    monkeypatch.setattr(net, "forward", lambda x: given.append((net.training, x)) or forward(x))
    train = levels, LABELS
    training.fit(net, train, seed=0, epochs=1, batch_size=48, augment=dict(crop=32))
    [cropped] = [x.numpy() for in_training, x in given if in_training]
    clip, start = np.divmod(cropped[:, 0, 0].astype(int), 64 * 40)
    assert sorted(clip) == list(range(48)) and len(set(start)) > 3
    for part, number, first in zip(cropped, clip, start):
        np.testing.assert_array_equal(part, levels[number, :, first : first + 32])


def test_a_loss_that_is_not_finite_ends_with_an_error():
    """Its epoch, and the way out."""
    train = np.full_like(TRACKS, np.inf), LABELS
    with pytest.raises(
        FloatingPointError, match=r"loss is nan in epoch 1: try a rate below 0\.001"
    ):
        training.fit(LSTM(), train, seed=0)


def test_what_is_not_of_the_training_side_is_not_used():
    """Other clips may have any label and input; the posteriors of the rest are the same."""
    train = np.arange(32)
    tracks, labels = TRACKS.copy(), LABELS.copy()
    tracks[40:], labels[32:] = np.nan, 0
    first = training.one_network(LSTM, (TRACKS,), LABELS, train, 0, epochs=2)
    again = training.one_network(LSTM, (tracks,), labels, train, 0, epochs=2)
    np.testing.assert_array_equal(first[:40], again[:40])
    np.testing.assert_allclose(first.sum(axis=1), np.ones(48), atol=1e-5)


def test_over_folds_is_one_training_a_seed_and_part_and_kept(tmp_path, monkeypatch):
    """As if each was trained by itself, on the rows of its clips; a second call trains nothing."""
    monkeypatch.setenv("PATHEMO_CACHE", str(tmp_path))
    trained, fit = [], training.fit
    monkeypatch.setattr(training, "fit", lambda *a, **k: trained.append(a[1]) or fit(*a, **k))
    folds = splits.speaker_folds(pd.DataFrame({"speaker": SPEAKER[::2]}), 3, 0)
    parts = fusion.nested_parts(folds)
    job = LSTM, (TRACKS,), Frames(), parts, (0, 1), dict(epochs=2)
    other = LSTM, (TRACKS,), Frames(), parts[:1], (0,), dict(epochs=1)
    outputs, others = training.over_folds([job, other])
    assert outputs.shape == (2, 6, 48, 4) and others.shape == (1, 1, 48, 4) and len(trained) == 13
    for part, (tracks, labels) in zip([*parts, *parts], trained):
        rows = np.sort([2 * part.train, 2 * part.train + 1], axis=None)
        np.testing.assert_array_equal(tracks, TRACKS[rows])
        np.testing.assert_array_equal(labels, LABELS[rows])
    np.testing.assert_array_equal(training.over_folds([job])[0], outputs)
    assert len(trained) == 13
    rows = Frames().rows(parts[4].train)
    alone = training.one_network(LSTM, (TRACKS,), LABELS, rows, 1, epochs=2)
    np.testing.assert_array_equal(outputs[1, 4], alone)


def test_embeddings_of_what_was_learned_are_given(tmp_path, monkeypatch):
    """Those of a guided transformer are 50 numbers a frame, other ones for another seed."""
    monkeypatch.setenv("PATHEMO_CACHE", str(tmp_path))
    part = splits.Fold("1", np.arange(8), np.arange(8, 12))
    frames, clips = np.tile(FRAMES, (4, 1, 1)), Frames()
    make = partial(nets.GuidedTransformer, 4)
    job = make, (frames, frames), clips, [part], (0, 1), dict(embed=True, epochs=1)
    outputs = training.over_folds([job])[0]
    assert outputs.shape == (2, 1, 48, 50) and not np.allclose(outputs[0], outputs[1])


def test_inputs_are_scaled_by_the_clips_learned_from():
    """Each value has mean 0 and spread 1 over the training clips, whatever the others are; what is
    learned is what the scaled inputs teach.
    """
    train = np.arange(32)
    tracks = 5 * TRACKS + 3
    tracks[32:] += 100
    scaled = training.scaled(tracks, train)
    np.testing.assert_allclose(scaled[:32].mean(axis=(0, 1)), np.zeros(5), atol=1e-5)
    np.testing.assert_allclose(scaled[:32].std(axis=(0, 1)), np.ones(5), atol=1e-5)
    assert scaled[32:].mean() > 5 and scaled.dtype == np.float32
    first = training.one_network(LSTM, (tracks,), LABELS, train, 0, scale=True, epochs=2)
    again = training.one_network(LSTM, (scaled,), LABELS, train, 0, epochs=2)
    np.testing.assert_array_equal(first, again)
