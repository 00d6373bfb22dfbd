"""The laws of PathNet, and stacked = alone."""

import functools
import os
import pickle
import subprocess
import sys
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pathemo.engine import Examples, PathNet, evolve
from pathemo.engine.layers import Episode

N, D, K = 60, 11, 3


def data(d=D):
    """Features (N, d) of K emotions that lie apart, and labels (N,)."""
    generator, labels = np.random.default_rng(0), np.arange(N) % K
    features = generator.standard_normal((N, d))
    features += 1.5 * np.eye(K)[labels] @ generator.standard_normal((K, d))
    return features.astype(np.float32), labels


def stack(seeds=(0, 1, 2), rows=None, *, inputs=D, **shape):
    """A PathNet with a head for task "a", its examples, and a path for each replica."""
    features, labels = data(np.prod(inputs))
    rows = [np.arange(N)] * len(seeds) if rows is None else rows
    shape = dict(n_layers=3, n_modules=6, n_active=2, width=5) | shape
    net = PathNet(inputs, seeds=seeds, **shape)
    net.add_head("a", K)
    orders = [np.random.default_rng(seed).permutation(net.n_modules) for seed in seeds]
    paths = np.stack([[order[: net.n_active]] * net.n_layers for order in orders])
    return net, Examples(features, labels, rows), paths


def on_path(net, paths):
    """Which modules the paths use: bool tensor (R, L, M)."""
    return torch.zeros_like(net.frozen).scatter_(2, torch.as_tensor(paths), True)


def copies_of(tensors):
    return [tensor.clone() for tensor in tensors]


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


def test_parameter_count_is_the_formula():
    """N * ((d + 1) w + (L - 1) (w + 1) w) numbers on a path, M / N times as many in the network."""
    net, *_ = stack()
    assert net.parameters_on_path() == 2 * ((D + 1) * 5 + 2 * (5 + 1) * 5)
    assert sum(layer[0].numel() for layer in net.layers) == 3 * net.parameters_on_path()


def test_the_output_depends_on_the_path_only():
    """Changing every module off the path changes nothing; changing one on it does."""
    net, examples, paths = stack()
    before = np.stack(net.predict("a", paths, examples))
    off = ~on_path(net, paths)
    for layer in range(3):
        net.layers[layer][off[:, layer]] = 1e3
    assert (np.stack(net.predict("a", paths, examples)) == before).all()
    net.layers[1][0, paths[0, 1, 0]] += 1
    assert (np.stack(net.predict("a", paths, examples))[0] != before[0]).any()


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_training_touches_only_unfrozen_active_modules(optimiser):
    """Frozen modules, and modules off the path, stay to the bit; the others all learn."""
    net, examples, paths = stack()
    net.freeze(paths[:, :, :1])
    before = copies_of(net.layers)
    net.train("a", paths, examples, steps=20, optimiser=optimiser, dropout=0.25)
    may_learn = on_path(net, paths) & ~net.frozen
    for layer in range(3):
        same = (net.layers[layer] == before[layer]).all((2, 3))
        assert (same == ~may_learn[:, layer]).all()


def test_frozen_modules_take_part_in_the_forward_pass():
    """Freezing changes no prediction, and the gradient still reaches what lies before."""
    net, examples, paths = stack()
    before = np.stack(net.predict("a", paths, examples))
    net.frozen[:, 1:] = True
    assert (np.stack(net.predict("a", paths, examples)) == before).all()
    first = net.layers[0].clone()
    net.train("a", paths, examples, steps=1)
    assert (net.layers[0] != first).any()


@pytest.mark.parametrize("inputs", [D, (1, 6, 5)])
def test_fixed_modules_are_frozen_ones(inputs):
    """Training that is told of the frozen first modules of paths gives what it does untold."""
    net, examples, paths = stack(inputs=inputs, n_active=3)
    net.freeze(paths[:, :, :2])
    net.freeze(paths[:1, 1:])
    twin, before = net.repeat([0, 1, 2]), copies_of(net.layers)
    net.generators = twin.repeat([0, 1, 2]).generators
    told = net.train("a", paths, examples, steps=10, dropout=0.25, n_fixed=2)
    untold = twin.train("a", paths, examples, steps=10, dropout=0.25)
    np.testing.assert_allclose(told, untold, rtol=1e-4)
    for layer in range(3):
        torch.testing.assert_close(net.layers[layer], twin.layers[layer], rtol=1e-3, atol=1e-4)
        assert (net.layers[layer] == before[layer])[net.frozen[:, layer]].all()
    assert (net.layers[0] != before[0]).any() and (net.layers[2] != before[2]).any()


def test_reinitialising_touches_only_the_rest():
    """Frozen modules stay to the bit, every other module is new."""
    net, _, paths = stack()
    net.freeze(paths)
    before = copies_of(net.layers)
    net.reinitialise()
    for layer in range(3):
        same = (net.layers[layer] == before[layer]).all((2, 3))
        assert (same == net.frozen[:, layer]).all()


def test_a_path_that_is_fixed_leaves_the_head_to_learn():
    """Training the head alone changes the head and nothing else."""
    net, examples, paths = stack()
    before, head = copies_of(net.layers), net.heads["a"].clone()
    net.train("a", paths, examples, steps=5, n_fixed=net.n_active)
    assert all((new == old).all() for new, old in zip(net.layers, before, strict=True))
    assert (net.heads["a"] != head).any()


def test_repeat_copies_and_separates():
    """Copies start equal, have streams of their own, and leave the original alone."""
    net, _, paths = stack(seeds=[0, 1])
    copies = net.repeat([10, 11, 12, 13])
    for copy, original in ((1, 0), (2, 1)):
        assert (copies.layers[0][copy] == net.layers[0][original]).all()
    before = net.layers[0].clone()
    wide = Examples(*data(), [np.arange(N)] * 4)
    copies.train("a", paths.repeat(2, axis=0), wide, steps=3)
    assert (net.layers[0] == before).all()
    assert (copies.layers[0][0] != copies.layers[0][1]).any()
    with pytest.raises(ValueError, match="3 seeds for 2 replicas: not as many each"):
        net.repeat([0, 1, 2])


SHAPES = [
    dict(),
    dict(n_layers=1, n_modules=3, n_active=3, width=2),
    dict(n_layers=2, width=6),
    dict(inputs=(1, 6, 5), n_layers=2, n_modules=4, width=3),
]
TRAININGS = [
    dict(optimiser="sgd", learning_rate=0.05),
    dict(optimiser="sgd", balanced=False, gaussian_noise=0.1),
    dict(dropout=0.25, label_smoothing=0.1, gaussian_noise=0.2),
]


def evolved(members, shape, training):
    """A stack after an evolution on "a", with one on a source before it, and what it predicts."""
    shape, training = (
        dict(inputs=D, n_modules=6, n_active=2, width=5) | SHAPES[shape],
        TRAININGS[training],
    )
    features, labels = data(d=np.prod(shape["inputs"]))
    net = PathNet(seeds=[100 + member for member in members], **shape)
    examples = Examples(features, labels, [np.arange(6 * member, N) for member in members])
    brief = dict(generations=4, population_size=4, minibatches=4)
    net.add_head("source", K)
    net.freeze(evolve(net, "source", examples, **brief, **training).best)
    net.reinitialise()
    net.add_head("a", K)
    evolution = evolve(net, "a", examples, **brief, **training)
    return net, evolution, net.predict("a", evolution.best, examples)


all_evolved = functools.cache(functools.partial(evolved, range(6)))


@settings(max_examples=20)
@given(
    members=st.lists(st.integers(0, 5), min_size=1, max_size=4, unique=True),
    shape=st.integers(0, len(SHAPES) - 1),
    training=st.integers(0, len(TRAININGS) - 1),
    chunk=st.sampled_from([1, 1e4, 1e9]),
)
def test_stacked_equals_alone(members, shape, training, chunk):
    """A replica's path, history, weights and posteriors depend neither on R nor on neighbours."""
    net, evolution, posteriors = all_evolved(shape, training)
    with mock.patch("pathemo.engine.pathnet.CHUNK_BYTES", chunk):
        part, evolution_part, posteriors_part = evolved(members, shape, training)
    history, history_part = (e.history.set_index("replica") for e in (evolution, evolution_part))
    for place, member in enumerate(members):
        paths, paths_part = evolution.populations[:, member], evolution_part.populations[:, place]
        assert (paths_part == paths).all()
        one, other = history_part.loc[[place]], history.loc[[member]].set_axis([place] * 4)
        pd.testing.assert_frame_equal(one, other, rtol=1e-4, check_names=False)
        np.testing.assert_allclose(posteriors_part[place], posteriors[member], rtol=1e-3, atol=1e-4)
        for ours, theirs in zip(part.layers, net.layers, strict=True):
            torch.testing.assert_close(ours[place], theirs[member], rtol=1e-3, atol=1e-4)


def test_replicas_in_different_states_share_a_stack():
    """One with a frozen path, one fresh, one wholly frozen: each trains as it does alone."""
    seeds = [0, 1, 2]

    def trained(members):
        net, examples, paths = stack([seeds[m] for m in members])
        for place, member in enumerate(members):
            if member == 0:
                net.frozen[place] = on_path(net, paths)[place]
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


def test_noise_is_added_to_inputs(monkeypatch):
    """Of the deviation asked for; the last column stays 1."""
    net, examples, paths = stack()
    seen, step = [], Episode.step
    monkeypatch.setattr(Episode, "step", lambda *all: seen.append(all[1].clone()) or step(*all))
    net.train("a", paths, examples, steps=100, gaussian_noise=2.0)
    x = torch.cat(seen, dim=1)
    assert abs(x[0, :, :-1].var() - (1 + 2.0**2)) < 0.3
    assert (x[..., -1] == 1).all()


def test_dropout_keeps_the_mean_of_a_layer():
    """A quarter of the gates is 0, the others are 4/3, each feature map whole."""
    net, *_ = stack(inputs=(1, 4, 3))
    gates = net._draw_gates(net.generators, steps=200, batch_size=16, dropout=0.25)
    first = torch.stack([gates_of_step[0] for gates_of_step in gates])
    assert first.shape == (200, 3, 16, 1, 1, 5)
    assert set(first.unique().tolist()) == {0.0, torch.tensor(4 / 3).item()}
    assert abs(first.mean() - 1) < 0.02


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
@pytest.mark.parametrize("weight", [3e38, -np.inf])
def test_a_replica_that_is_not_finite_is_named(optimiser, weight, monkeypatch):
    """Its loss, or a weight that a dead unit hides from it; its state stays to the bit."""
    monkeypatch.setattr("pathemo.engine.pathnet.CHUNK_BYTES", 1)  # two replicas at a time
    net, examples, paths = stack(seeds=range(4))
    entry = (..., slice(None)) if weight > 0 else (0, -1)
    net.layers[0][3, paths[3, 0, 0]][entry] = weight
    before = copies_of(net.layers)
    with pytest.raises(FloatingPointError, match=r"replicas \[3\] on 'a' is not finite: try"):
        net.train("a", paths, examples, steps=5, optimiser=optimiser)
    assert all((now[2:] == old[2:]).all() for now, old in zip(net.layers, before))


def test_saved_and_loaded_it_is_the_same(tmp_path):
    """Weights, heads and what is frozen come back to the bit; new seeds train it on."""
    net, examples, paths = stack(inputs=(1, 6, 5), width=4)
    net.freeze(paths[:, :, :1])
    net.train("a", paths, examples, steps=5)
    net.save(tmp_path / "net")
    copy, again = (PathNet.load(tmp_path / "net", seeds=[5, 6, 7]) for _ in range(2))
    assert copy.shape == net.shape and (copy.frozen == net.frozen).all()
    for ours, theirs in zip([*copy.layers, *copy.heads.values()], [*net.layers, net.heads["a"]]):
        assert (ours == theirs).all() and ours.stride() == theirs.stride()
    predicted, expected = (one.predict("a", paths, examples) for one in (copy, net))
    assert all((p == e).all() for p, e in zip(predicted, expected))
    for one in (copy, again):
        one.train("a", paths, examples, steps=5, dropout=0.25)
    assert all((one == two).all() for one, two in zip(copy.layers, again.layers))
    assert (copy.layers[0] == net.layers[0])[net.frozen[:, 0]].all()
    with pytest.raises(ValueError, match="net has 3 replicas, and seeds are 2"):
        PathNet.load(tmp_path / "net", seeds=[0, 1])


class Trap:
    """An object that makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_no_code_of_a_file_is_run(tmp_path):
    """A file that would run something when it is read is refused."""
    trap = Trap(str(tmp_path / "executed"))
    torch.save(dict(shape={}, layers=[], heads={}, frozen=trap), tmp_path / "net")
    with pytest.raises(pickle.UnpicklingError):
        PathNet.load(tmp_path / "net", seeds=[0])
    assert not (tmp_path / "executed").exists()


MEMORY = """
from pathlib import Path
import numpy as np
from pathemo.engine import Examples, PathNet
def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
generator = np.random.default_rng(0)
def train(replicas, n):
    rows = [np.arange(r % 4, n) for r in range(replicas)]
    features = generator.standard_normal((n, 500), dtype=np.float32)
    examples = Examples(features, np.arange(n) % 7, rows)
    net = PathNet(500, seeds=range(replicas), n_modules=20, n_active=4, width=40)
    net.add_head("a", 7)
    net.train("a", np.tile(np.arange(4), (replicas, 3, 1)), examples, steps=10)
    return sum(weights.nbytes for weights in (*net.layers, *net.heads.values(), examples.table))
train(4, 100)
before = peak()
formula = train(100, 4000)
print((peak() - before) / formula)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells the peak")
def test_peak_memory_is_near_the_formula():
    """Beside weights and scaled inputs, training takes less than half as much again."""
    command = [sys.executable, "-c", MEMORY]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert 0.5 < float(printed) < 1.5


def test_many_rows_are_predicted_in_parts(monkeypatch):
    """Posteriors depend neither on how many rows are predicted at once, nor on others' rows."""
    net, examples, paths = stack()
    rows = [np.arange(N), np.arange(7), np.arange(3, 40)]
    at_once = net.predict("a", paths, examples, rows)
    monkeypatch.setattr("pathemo.engine.pathnet.ROWS", 16)
    in_parts = net.predict("a", paths, examples, rows)
    assert [len(posteriors) for posteriors in at_once] == [N, 7, 37]
    for one, other in zip(in_parts, at_once, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "wrong, words",
    [
        (dict(n_active=0), r"n_active = 0: choose from \(0, 6\]"),
        (dict(n_active=7), r"n_active = 7: choose from \(0, 6\]"),
        (dict(width=0), "width = 0"),
        (dict(n_layers=0), "n_layers = 0"),
    ],
)
def test_impossible_shapes_are_named(wrong, words):
    """The error names the value and the valid ones."""
    with pytest.raises(ValueError, match=words):
        stack(**wrong)


@pytest.mark.parametrize(
    "wrong, words",
    [
        (dict(optimiser="lbfgs"), "optimiser = 'lbfgs': choose from adam, sgd"),
        (dict(dropout=1.0), r"dropout = 1.0: choose from \[0, 1\)"),
        (dict(batch_size=0), "batch_size = 0"),
        (dict(learning_rate=0), r"learning_rate = 0: choose from \(0, inf\)"),
        (dict(steps=0), r"steps = 0: choose from \[1, inf\)"),
        (dict(label_smoothing=1), "label_smoothing = 1"),
    ],
)
def test_impossible_trainings_are_named(wrong, words):
    """The error names the value and the valid ones."""
    net, examples, paths = stack()
    with pytest.raises(ValueError, match=words):
        net.train("a", paths, examples, **{"steps": 1} | wrong)


def test_integers_are_numbers():
    """A smoothing of 0 is one of 0.0."""
    (one, examples, paths), (other, *_) = stack(), stack()
    one.train("a", paths, examples, steps=3, label_smoothing=0)
    other.train("a", paths, examples, steps=3, label_smoothing=0.0)
    assert (one.heads["a"] == other.heads["a"]).all()


def test_labels_fit_the_head():
    """Labels that start at 1 reach beyond the head: the error names the label."""
    net, examples, paths = stack()
    n_emotions = net.heads["a"].shape[1]
    examples.labels = examples.labels + 1
    with pytest.raises(
        ValueError, match=f"label {n_emotions} in 'a': its head is of labels 0..{n_emotions - 1}"
    ):
        net.train("a", paths, examples, steps=1)


def test_a_layer_without_free_modules_is_told():
    """Whoever freezes the last module of a layer is warned: nothing is left to train."""
    net, _, paths = stack()
    net.freeze(paths)
    with pytest.warns(UserWarning, match="all n_modules = 6 modules of a layer are frozen"):
        net.freeze(np.tile(np.arange(6), (net.n_replicas, net.n_layers, 1)))
