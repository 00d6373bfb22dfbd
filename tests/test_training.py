"""Training: it learns, repeats, stops by strangers alone, says what went wrong; folds are kept."""

import functools

import numpy as np
import pandas as pd
import pytest
import torch

from pathemo import fusion, nets, splits, training, transfer

RNG = np.random.default_rng(0)
LABELS = np.tile(np.arange(4), 12)
SPEAKER = np.repeat([f"{number:02d}" for number in range(1, 7)], 8)
TRACKS = (RNG.normal(size=(48, 6, 5)) + np.eye(4, 5)[LABELS][:, None]).astype(np.float32)
LEVELS = RNG.normal(size=(48, 32, 32)).astype(np.float32)
FRAMES = RNG.random((12, 48, 48)).astype(np.float32)
NETWORKS = {
    "CNN14": (lambda: nets.CNN14(4, width=1 / 16, n_mels=32), (LEVELS,)),
    "AlexNet": (lambda: nets.AlexNet(4), (LEVELS[:8],)),
    "GuidedTransformer": (lambda: nets.GuidedTransformer(4), (FRAMES, FRAMES)),
    "AttentiveLSTM": (lambda: nets.AttentiveLSTM(5, 4, hidden=8), (TRACKS,)),
}
OPTIONS = dict(network="AttentiveLSTM", options=dict(n_features=5, n_classes=4, hidden=8), epochs=2)
TASK = transfer.Task("toy", TRACKS, np.array(list("abcd"))[LABELS], SPEAKER)


def made(name):
    torch.manual_seed(0)
    make, inputs = NETWORKS[name]
    return make(), inputs, LABELS[: len(inputs[0])]


def learned(seed=0, **settings):
    """Bi-LSTM after a short training on four speakers, and its history."""
    net, inputs, labels = made("AttentiveLSTM")
    settings = dict(epochs=4, learning_rate=0.01) | settings
    return net, training.fit(net, inputs, labels, np.arange(32), seed=seed, **settings)


@pytest.mark.parametrize("name", NETWORKS)
def test_steps_on_a_batch_lower_its_loss(name):
    """On the same eight clips, for each network; its posteriors sum to 1."""
    net, inputs, labels = made(name)
    rate = 1e-4 if name == "AlexNet" else 3e-3
    loss = training.fit(net, inputs, labels, np.arange(8), seed=0, epochs=8, learning_rate=rate)[
        "loss"
    ]
    assert loss.tail(3).mean() < loss[0]
    posteriors = training.predict(net, inputs, np.arange(8))
    np.testing.assert_allclose(posteriors.sum(axis=1), np.ones(8), atol=1e-5)


def test_few_clips_are_learned_by_heart():
    """The bi-LSTM reaches posteriors near 1 on eight clips."""
    net, inputs, labels = made("AttentiveLSTM")
    training.fit(net, inputs, labels, np.arange(8), seed=0, epochs=80, learning_rate=0.02)
    assert training.predict(net, inputs, np.arange(8))[np.arange(8), labels[:8]].min() > 0.9


def test_the_seed_decides_and_nothing_else():
    """The same network for the same seed, whatever was drawn before; and torch's own draws go on
    after it.
    """
    one, _ = learned(mixup=0.3, masks=(1, 2))
    torch.rand(3)
    (again, _), (other, _) = (
        learned(mixup=0.3, masks=(1, 2)),
        learned(seed=1, mixup=0.3, masks=(1, 2)),
    )
    for name, weights in one.state_dict().items():
        assert torch.equal(weights, again.state_dict()[name])
    assert not torch.equal(one.head[1].weight, other.head[1].weight)
    net, inputs, labels = made("AttentiveLSTM")
    state = torch.random.get_rng_state()
    training.fit(net, inputs, labels, np.arange(8), seed=0, epochs=1)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_rows_that_are_not_given_are_not_used():
    """Test clips turned to noise, then to what is no number: the same network."""
    net, _ = learned()
    tracks = TRACKS.copy()
    tracks[32:] = np.nan
    again, _, labels = made("AttentiveLSTM")
    training.fit(again, (tracks,), labels, np.arange(32), seed=0, epochs=4, learning_rate=0.01)
    assert torch.equal(net.head[1].weight, again.head[1].weight)


def test_early_stopping_sees_development_speakers_alone():
    """Test labels changed at random: same epoch kept. Development labels changed: the history
    differs.
    """
    development, histories = np.arange(24, 32), []
    for changed in ([], range(32, 48), development):
        net, inputs, labels = made("AttentiveLSTM")
        labels = labels.copy()
        labels[list(changed)] = 3 - labels[list(changed)]
        settings = dict(seed=0, epochs=12, learning_rate=0.02, patience=3)
        histories.append(training.fit(net, inputs, labels, np.arange(24), development, **settings))
    pd.testing.assert_frame_equal(histories[0], histories[1])
    np.testing.assert_allclose(histories[0]["loss"][0], histories[2]["loss"][0])
    assert not np.allclose(histories[0]["development"][0], histories[2]["development"][0])


def test_the_best_epoch_is_kept_and_patience_ends_the_training():
    """What is left gives the least development loss of the history, `patience` epochs before its
    end.
    """
    net, inputs, labels = made("AttentiveLSTM")
    development = np.arange(24, 32)
    settings = dict(seed=0, epochs=200, learning_rate=0.03, patience=4)
    history = training.fit(net, inputs, labels, np.arange(24), development, **settings)
    posteriors = training.predict(net, inputs, development)
    loss = -np.log(posteriors[np.arange(8), labels[development]]).mean()
    assert loss == pytest.approx(history["development"].min(), rel=1e-4)
    assert len(history) == history["development"].idxmin() + 1 + 4 < 200


def test_the_rate_falls_by_a_cosine():
    """As in its formula, from the full rate."""
    _, history = learned(epochs=4)
    np.testing.assert_allclose(
        history["rate"], 0.01 * (1 + np.cos(np.pi * np.arange(4) / 4)) / 2, rtol=1e-6
    )


def test_rare_emotions_weigh_as_much_as_common_ones():
    """With nothing to tell clips apart, posteriors are even, though one emotion is nine times as
    frequent.
    """
    labels = np.repeat([0, 1], [36, 4])
    torch.manual_seed(0)
    net = nets.AttentiveLSTM(2, 2, hidden=2, dropout=0.0)
    flat = (np.ones((40, 3, 2), np.float32),)
    training.fit(
        net, flat, labels, np.arange(40), seed=0, epochs=60, batch_size=40, learning_rate=0.05
    )
    np.testing.assert_allclose(training.predict(net, flat, [0]), [[0.5, 0.5]], atol=0.02)


def test_masks_hide_and_mixup_mixes_training_clips_alone(monkeypatch):
    """What the network is given in training differs from the clips; what it is given afterwards
    does not.
    """
    given = []
    net, inputs, labels = made("AttentiveLSTM")
    forward = net.forward
    monkeypatch.setattr(
        net, "forward", lambda *x: given.append((net.training, x[0].clone())) or forward(*x)
    )
    kept = inputs[0].copy()
    training.fit(
        net, inputs, labels, np.arange(32), seed=0, epochs=1, batch_size=32, mixup=0.5, masks=(2, 2)
    )
    training.predict(net, inputs)
    (in_training, augmented), (_, clean) = given[0], given[-1]
    assert (
        in_training
        and not (augmented[:, None] == torch.as_tensor(kept[None, :32])).all((2, 3)).any()
    )
    np.testing.assert_array_equal(clean.numpy(), kept)
    np.testing.assert_array_equal(inputs[0], kept)


def test_a_loss_that_is_not_finite_ends_with_an_error():
    """Its epoch, and the way out."""
    tracks = np.full_like(TRACKS, np.inf)
    net, _, labels = made("AttentiveLSTM")
    with pytest.raises(
        FloatingPointError, match="loss is nan in epoch 1: try a learning rate below 0.001"
    ):
        training.fit(net, (tracks,), labels, np.arange(8), seed=0)


def test_a_clip_that_lacks_the_modality_has_no_posteriors():
    """It is not learned from either: without its row the others' posteriors are the same."""
    tracks = TRACKS.copy()
    tracks[:2] = np.nan
    empty = np.empty(0, int)
    made_of = [
        training.one_network((tracks,), LABELS, train, empty, seed=0, scaled=True, **OPTIONS)
        for train in (np.arange(32), np.arange(2, 32))
    ]
    np.testing.assert_array_equal(made_of[0], made_of[1])
    np.testing.assert_array_equal(np.isnan(made_of[0]).any(axis=1), np.arange(48) < 2)


def test_frames_decide_together_in_their_order():
    """A guided transformer on frames feeds a bi-LSTM; clips without a frame have no posteriors."""
    clip = np.repeat([0, 1, 3, 4, 5, 6], [3, 1, 2, 2, 2, 2])
    labels = np.array([0, 1, 0, 1, 0, 1, 0, 1])
    parts = np.array([0, 1, 2, 3, 4]), np.empty(0, int)
    settings = dict(seed=0, spatial=dict(epochs=1), temporal=dict(epochs=1))
    posteriors = training.frames_and_clips((FRAMES, FRAMES, clip), labels, *parts, **settings)
    assert posteriors.shape == (8, 2)
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(posteriors).any(axis=1)), [2, 7])


def test_over_folds_is_one_training_a_seed_and_part_and_kept(tmp_path, monkeypatch):
    """As if each was trained by itself; a second call trains nothing; development speakers train
    nothing.
    """
    monkeypatch.setenv("PATHEMO_CACHE", str(tmp_path))
    trained = []
    fit = training.fit
    monkeypatch.setattr(training, "fit", lambda *a, **k: trained.append(a[3:5]) or fit(*a, **k))
    folds = splits.speaker_folds(pd.DataFrame({"speaker": SPEAKER}), 3, 0)
    parts = fusion.parts(folds)
    job = (training.one_network, (TRACKS,), TASK, parts, (0, 1))
    posteriors = training.over_folds(*job, development=0.25, **OPTIONS)
    assert posteriors.shape == (2, 6, 48, 4) and len(trained) == 12
    for part, (train, development) in zip([*parts, *parts], trained):
        assert sorted([*train, *development]) == part.train.tolist()
        assert len(development) and not set(SPEAKER[train]) & set(SPEAKER[development])
    again = training.over_folds(*job, development=0.25, **OPTIONS)
    np.testing.assert_array_equal(posteriors, again)
    assert len(trained) == 12
    train, development = trained[7]
    alone = training.one_network((TRACKS,), LABELS, train, development, seed=1, **OPTIONS)
    np.testing.assert_array_equal(posteriors[1, 1], alone)


def test_published_weights_are_fine_tuned(tmp_path, monkeypatch):
    """A checkpoint with a new head learns as any network."""
    monkeypatch.setattr(nets, "CNN14", functools.partial(nets.CNN14, width=1 / 16))
    torch.save({"model": nets.CNN14().state_dict()}, tmp_path / "cnn14.pth")
    levels = RNG.normal(size=(16, 64, 32)).astype(np.float32)
    options = dict(path=tmp_path / "cnn14.pth", n_classes=4)
    settings = dict(network="published_cnn14", options=options, seed=0, epochs=1)
    rows = np.arange(8), np.empty(0, int)
    posteriors = training.one_network((levels,), LABELS[:16], *rows, **settings)
    np.testing.assert_allclose(posteriors.sum(axis=1), np.ones(16), atol=1e-5)
