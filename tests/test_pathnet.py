"""The laws of PathNet, and stacked = alone."""

import subprocess
import sys
import warnings
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pathemo.episode import Episode
from pathemo.evolution import evolve
from pathemo.examples import Examples
from pathemo.pathnet import PathNet

N, D, K = 60, 11, 3


def data(d=D):
    generator = np.random.default_rng(0)
    labels = np.arange(N) % K
    features = generator.standard_normal((N, d)) + 1.5 * np.eye(K)[
        labels
    ] @ generator.standard_normal((K, d))
    return features.astype(np.float32), labels


def stack(seeds=(0, 1, 2), rows=None, **shape):
    """A PathNet with a head for task "a", its examples, and a path for each replica."""
    inputs = shape.pop("inputs", D)
    features, labels = data(np.prod(inputs))
    rows = [np.arange(N)] * len(seeds) if rows is None else rows
    net = PathNet(
        inputs, seeds=seeds, **dict(dict(n_layers=3, n_modules=6, n_active=2, width=5), **shape)
    )
    net.add_head("a", K)
    paths = np.stack(
        [
            [np.random.default_rng(s).permutation(net.n_modules)[: net.n_active]] * net.n_layers
            for s in seeds
        ]
    )
    return net, Examples(features, labels, rows), paths


def test_one_module_a_layer_is_a_sequential():
    """With one active module the network is Linear, ReLU, ..., Linear."""
    net, examples, paths = stack(seeds=[4], n_active=1)
    plain = nn.Sequential()
    for layer in range(3):
        weights = net.layers[layer][0, paths[0, layer, 0]]
        plain += nn.Sequential(nn.Linear(weights.shape[1] - 1, 5), nn.ReLU())
        plain[-2].weight.data, plain[-2].bias.data = weights[:, :-1], weights[:, -1]
    plain.append(nn.Linear(5, K))
    plain[-1].weight.data, plain[-1].bias.data = net.heads["a"][0, :, :-1], net.heads["a"][0, :, -1]
    x = examples.inputs(torch.arange(N)[None], slice(0, 1))[0, :, :-1]
    expected = plain(x).softmax(1).detach().numpy()
    np.testing.assert_allclose(net.predict("a", paths, examples)[0], expected, rtol=1e-5, atol=1e-6)


def test_the_mean_is_the_sum_of_modules_divided_by_their_number():
    """A network that averages N modules is one that sums modules with all weights divided by N."""
    net, examples, paths = stack(combine="mean")
    twin, *_ = stack()
    for layer in twin.layers:
        layer /= 2
    mean, total = (np.stack(one.predict("a", paths, examples)) for one in (net, twin))
    np.testing.assert_allclose(mean, total, rtol=1e-5)
    assert (mean != np.stack(stack()[0].predict("a", paths, examples))).any()


def test_parameter_count_is_the_formula():
    """N * ((d + 1) w + (L - 1) (w + 1) w) numbers on a path, M / N times as many in the network."""
    net, *_ = stack()
    assert net.parameters_on_path() == 2 * ((D + 1) * 5 + 2 * (5 + 1) * 5)
    assert sum(layer[0].numel() for layer in net.layers) == 3 * net.parameters_on_path()


def test_the_output_depends_on_the_path_only():
    """Changing every module off the path changes nothing; changing one on it does."""
    net, examples, paths = stack()
    before = np.stack(net.predict("a", paths, examples))
    off = ~net.on_path(paths)
    for layer in range(3):
        net.layers[layer][off[:, layer]] = 1e3
    assert (np.stack(net.predict("a", paths, examples)) == before).all()
    net.layers[1][0, paths[0, 1, 0]] += 1
    assert (np.stack(net.predict("a", paths, examples))[0] != before[0]).any()


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_training_touches_only_unfrozen_active_modules(optimiser):
    """Frozen modules and modules off the path stay as they were, to the bit; the others all
    learn.
    """
    net, examples, paths = stack()
    net.freeze(paths[:, :, :1])
    before = [layer.clone() for layer in net.layers]
    net.train("a", paths, examples, steps=20, optimiser=optimiser, dropout=0.25)
    may_learn = net.on_path(paths) & ~net.frozen
    for layer in range(3):
        same = (net.layers[layer] == before[layer]).all((2, 3))
        assert (same == ~may_learn[:, layer]).all()


def test_frozen_modules_take_part_in_the_forward_pass():
    """Freezing changes no prediction, and a frozen path still carries the gradient to what lies
    before it.
    """
    net, examples, paths = stack()
    before = np.stack(net.predict("a", paths, examples))
    net.frozen[:, 1:] = True
    assert (np.stack(net.predict("a", paths, examples)) == before).all()
    first = net.layers[0].clone()
    net.train("a", paths, examples, steps=1)
    assert (net.layers[0] != first).any()


@pytest.mark.parametrize("inputs", [D, (1, 6, 5)])
def test_held_modules_are_frozen_ones(inputs):
    """Training that is told of the frozen first modules of all paths gives what it does when it is
    not.
    """
    net, examples, paths = stack(inputs=inputs, n_active=3)
    net.freeze(paths[:, :, :2])
    net.freeze(paths[:1, 1:])
    twin, before = net.repeat([0, 1, 2]), [layer.clone() for layer in net.layers]
    net.generators = twin.repeat([0, 1, 2]).generators
    told = net.train("a", paths, examples, steps=10, dropout=0.25, n_held=2)
    np.testing.assert_allclose(
        told, twin.train("a", paths, examples, steps=10, dropout=0.25), rtol=1e-4
    )
    for layer in range(3):
        torch.testing.assert_close(net.layers[layer], twin.layers[layer], rtol=1e-3, atol=1e-4)
        assert (net.layers[layer] == before[layer])[net.frozen[:, layer]].all()
    assert (net.layers[0] != before[0]).any() and (net.layers[2] != before[2]).any()


def test_reinitialising_touches_only_the_rest():
    """Frozen modules stay to the bit, every other module is new."""
    net, _, paths = stack()
    net.freeze(paths)
    before = [layer.clone() for layer in net.layers]
    net.reinitialise()
    for layer in range(3):
        same = (net.layers[layer] == before[layer]).all((2, 3))
        assert (same == net.frozen[:, layer]).all()


def test_head_only_leaves_every_module():
    """Training the head alone changes the head and nothing else."""
    net, examples, paths = stack()
    before, head = [layer.clone() for layer in net.layers], net.heads["a"].clone()
    net.train("a", paths, examples, steps=5, head_only=True)
    assert all((new == old).all() for new, old in zip(net.layers, before, strict=True))
    assert (net.heads["a"] != head).any()


def test_repeat_copies_and_separates():
    """Copies start equal, have streams of their own, and leave the original alone."""
    net, examples, paths = stack(seeds=[0, 1])
    copies = net.repeat([10, 11, 12, 13])
    assert (copies.layers[0][1] == net.layers[0][0]).all() and (
        copies.layers[0][2] == net.layers[0][1]
    ).all()
    before = net.layers[0].clone()
    wide = Examples(*data(), [np.arange(N)] * 4)
    copies.train("a", paths.repeat(2, axis=0), wide, steps=3)
    assert (net.layers[0] == before).all()
    assert (copies.layers[0][0] != copies.layers[0][1]).any()


SHAPES = [
    dict(),
    dict(n_layers=1, n_modules=3, n_active=3, width=2),
    dict(n_layers=2, width=(6, 3), combine="mean"),
    dict(inputs=(1, 6, 5), n_layers=2, n_modules=4, width=(3, 2), stride=2),
]
TRAININGS = [
    dict(optimiser="sgd", momentum=0.0, learning_rate=0.05),
    dict(optimiser="sgd", balanced=False, salt_and_pepper=0.25),
    dict(dropout=0.25, label_smoothing=0.1, gaussian_noise=0.2),
]


def evolved(seeds, rows, shape=(), fitness="train", **options):
    """A stack of these seeds after an evolution with a source before it, and what it predicts."""
    shape = dict(shape)
    features, labels = data(d=np.prod(shape.get("inputs", D)))
    net = PathNet(
        shape.pop("inputs", D), seeds=seeds, **{**dict(n_modules=6, n_active=2, width=5), **shape}
    )
    examples = Examples(features, labels, rows)
    brief = dict(generations=4, population_size=4, minibatches=4, fitness=fitness)
    brief["development"] = [r[:: 1 + r[0] % 3] for r in rows] if fitness == "dev" else None
    net.add_head("source", K)
    net.freeze(evolve(net, "source", examples, **brief, **options).best)
    net.reinitialise()
    net.add_head("a", K)
    found = evolve(net, "a", examples, **brief, **options)
    return net, found, net.predict("a", found.best, examples)


@settings(max_examples=25, deadline=None)
@given(
    members=st.lists(st.integers(0, 5), min_size=1, max_size=4, unique=True),
    shape=st.sampled_from(SHAPES),
    training=st.sampled_from(TRAININGS),
    fitness=st.sampled_from(["train", "dev"]),
    chunk=st.sampled_from([1, 1e4, 1e9]),
)
def test_stacked_equals_alone(members, shape, training, fitness, chunk):
    """A replica's paths, history, weights and posteriors depend neither on R nor on its
    neighbours.
    """

    def run(chosen):
        rows = [np.arange(6 * m, N) for m in chosen]
        return evolved([100 + m for m in chosen], rows, shape, fitness, **training)

    net, found, posteriors = run(range(6))
    with mock.patch("pathemo.pathnet.CHUNK_BYTES", chunk):
        part, found_part, posteriors_part = run(members)
    history = found.history.set_index("replica")
    for place, member in enumerate(members):
        assert (found_part.populations[:, place] == found.populations[:, member]).all()
        mine = found_part.history.set_index("replica").loc[[place]].reset_index(drop=True)
        pd.testing.assert_frame_equal(mine, history.loc[[member]].reset_index(drop=True), rtol=1e-4)
        np.testing.assert_allclose(posteriors_part[place], posteriors[member], rtol=1e-3, atol=1e-4)
        for ours, theirs in zip(part.layers, net.layers, strict=True):
            torch.testing.assert_close(ours[place], theirs[member], rtol=1e-3, atol=1e-4)


def test_replicas_in_different_states_share_a_stack():
    """One replica with a frozen path, one fresh, one wholly frozen: each trains as it does
    alone.
    """
    seeds = [0, 1, 2]

    def trained(members):
        net, examples, paths = stack([seeds[m] for m in members])
        for place, member in enumerate(members):
            if member == 0:
                net.frozen[place] = net.on_path(paths)[place]
            if member == 2:
                net.frozen[place] = True
        net.train("a", paths, examples, steps=10)
        return net

    together, start = trained([0, 1, 2]), stack(seeds)[0]
    for member in range(3):
        alone = trained([member])
        for ours, theirs in zip(alone.layers, together.layers, strict=True):
            torch.testing.assert_close(ours[0], theirs[member], rtol=1e-4, atol=1e-5)
    unchanged = [(together.layers[0][m] == start.layers[0][m]).all().item() for m in range(3)]
    assert unchanged == [True, False, True]


def test_noise_reaches_inputs_and_stays_within_bounds(monkeypatch):
    """Salt and pepper replaces the share asked for by extremes of the replica's rows; Gaussian
    noise adds.
    """
    net, examples, paths = stack()
    seen = []
    step = Episode.step
    monkeypatch.setattr(Episode, "step", lambda *all: seen.append(all[1].clone()) or step(*all))
    net.train("a", paths, examples, steps=40, salt_and_pepper=0.5)
    x = torch.cat(seen, dim=1)[0, :, :-1]
    extreme = (x == examples.low[0]) | (x == examples.high[0])
    assert abs(extreme.float().mean() - 0.5) < 0.05
    assert (torch.cat(seen, dim=1)[..., -1] == 1).all()
    seen.clear()
    net.train("a", paths, examples, steps=400, gaussian_noise=2.0)
    assert abs(torch.cat(seen, dim=1)[0, :, :-1].var() - (1 + 2.0**2)) < 0.3


def test_dropout_keeps_the_mean_of_a_layer(monkeypatch):
    """A quarter of the gates is 0, the others are 4/3, each feature map whole."""
    net, *_ = stack(inputs=(1, 4, 3), stride=1)
    gates = torch.stack([g[0] for g in net._draw_gates(net.generators, 200, 16, 0.25, 2)])
    assert gates.shape == (200, 3, 16, 1, 1, 5)
    assert set(gates.unique().tolist()) == {0.0, torch.tensor(4 / 3).item()}
    assert abs(gates.mean() - 1) < 0.02


def test_a_loss_that_is_not_finite_stops_that_replica_only():
    """It keeps its state to the bit and is named; the others learn as if it were not there."""
    net, examples, paths = stack()
    twin, *_ = stack()
    net.layers[0][1, paths[1, 0, 0]] = 3e38
    before = [layer.clone() for layer in net.layers]
    with pytest.warns(UserWarning, match="replica 1 stopped.*a was not finite"):
        accuracy, loss = net.train("a", paths, examples, steps=5)
    twin.train("a", paths, examples, steps=5)
    assert np.isnan(accuracy).tolist() == np.isnan(loss).tolist() == [False, True, False]
    assert list(net.stopped) == [1]
    for now, old, other in zip(net.layers, before, twin.layers, strict=True):
        assert (
            (now[1] == old[1]).all() and (now[0] == other[0]).all() and (now[2] == other[2]).all()
        )
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # named once
        net.train("a", paths, examples, steps=5)
    assert (net.layers[0][1] == before[0][1]).all()
    assert net.repeat(range(6)).stopped.keys() == {2, 3}


def test_a_weight_that_is_not_finite_stops_a_replica_whose_loss_is():
    """A unit that never answers hides an infinite weight from the loss."""
    net, examples, paths = stack()
    net.layers[0][1, paths[1, 0, 0], 0, -1] = -np.inf
    with pytest.warns(UserWarning, match="replica 1 stopped"):
        net.train("a", paths, examples, steps=1)


def test_saved_and_loaded_it_learns_on_the_same(tmp_path):
    """Weights, frozen modules, heads and random streams come back to the bit."""
    net, examples, paths = stack()
    net.freeze(paths[:, :, :1])
    net.train("a", paths, examples, steps=5, dropout=0.25)
    net.save(tmp_path / "net")
    copy = PathNet.load(tmp_path / "net")
    assert copy.fingerprint() == net.fingerprint()
    for one in (net, copy):
        one.train("a", paths, examples, steps=5, dropout=0.25)
        one.reinitialise()
    assert copy.fingerprint() == net.fingerprint()


MEMORY = """
from pathlib import Path
import numpy as np
from pathemo.examples import Examples
from pathemo.pathnet import PathNet
def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
generator = np.random.default_rng(0)
def train(replicas, n):
    rows = [np.arange(r % 4, n) for r in range(replicas)]
    examples = Examples(generator.standard_normal((n, 500), dtype=np.float32), np.arange(n) % 7, rows)
    net = PathNet(500, seeds=range(replicas), n_modules=20, n_active=4, width=40)
    net.add_head("a", 7)
    net.train("a", np.tile(np.arange(4), (replicas, 3, 1)), examples, steps=60)
    return sum(weights.nbytes for weights in (*net.layers, *net.heads.values(), examples.table))
train(4, 100)
before = peak()
formula = train(100, 4000)
print((peak() - before) / formula)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells the peak")
def test_peak_memory_is_near_the_formula():
    """Beside weights and scaled inputs, training takes less than half as much again."""
    told = subprocess.run(
        [sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True
    )
    assert 0.5 < float(told.stdout) < 1.5


def test_many_rows_are_predicted_in_parts(monkeypatch):
    """Posteriors do not depend on how many rows are predicted at once, nor on how many others
    have.
    """
    net, examples, paths = stack()
    rows = [np.arange(N), np.arange(7), np.arange(3, 40)]
    whole = net.predict("a", paths, examples, rows)
    monkeypatch.setattr("pathemo.pathnet.ROWS", 16)
    for at_once, in_parts, own in zip(
        whole, net.predict("a", paths, examples, rows), rows, strict=True
    ):
        assert len(at_once) == len(own)
        np.testing.assert_allclose(in_parts, at_once, rtol=1e-5, atol=1e-6)
