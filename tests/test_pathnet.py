"""The laws of PathNet, and stacked = alone."""

import numpy as np
import pytest
import torch
from torch import nn

from pathemo.evolution import evolve
from pathemo.examples import Examples
from pathemo.pathnet import PathNet

N, D, K = 60, 11, 3


def data(seed=0):
    generator = np.random.default_rng(seed)
    labels = np.arange(N) % K
    features = generator.standard_normal((N, D)) + 1.5 * np.eye(K)[labels] @ generator.standard_normal((K, D))
    return features.astype(np.float32), labels


def stack(seeds=(0, 1, 2), rows=None, **shape):
    """A PathNet with a head for task "a", its examples, and a path for each replica."""
    features, labels = data()
    rows = [np.arange(N)] * len(seeds) if rows is None else rows
    net = PathNet(D, seeds=seeds, **dict(dict(n_layers=3, n_modules=6, n_active=2, width=5), **shape))
    net.add_head("a", K)
    paths = np.stack(
        [[np.random.default_rng(s).permutation(net.n_modules)[: net.n_active]] * net.n_layers for s in seeds]
    )
    return net, Examples(features, labels, rows), paths


def autograd_gradients(net, examples, paths, rows):
    """Gradients of the mean cross-entropy by autograd through plain layers: the oracle."""
    replicas = slice(0, net.n_replicas)
    leaves = [weights.clone().requires_grad_() for weights in net._check_out("a", replicas, paths)[0]]
    h = examples.inputs(rows, replicas)
    for weights in leaves[:-1]:
        units = (h @ weights.mT).clamp(min=0).unflatten(2, (net.n_active, -1))
        h = torch.cat([units.sum(2), torch.ones(*h.shape[:2], 1)], dim=2)
    logits = h @ leaves[-1].mT
    truth = torch.as_tensor(examples.labels)[rows]
    loss = sum(nn.functional.cross_entropy(one, y) for one, y in zip(logits, truth, strict=True))
    return torch.autograd.grad(loss, leaves)


@pytest.mark.parametrize("shape", [{}, dict(n_layers=1), dict(n_active=1, width=1), dict(n_layers=4)])
def test_gradients_by_hand_equal_autograd(shape):
    """One step of plain SGD moves head and modules by the gradient that autograd finds."""
    net, examples, paths = stack(**shape)
    net.generators = [np.random.default_rng(9) for _ in net.generators]
    once = dict(steps=1, batch_size=8, balanced=True)
    rows = np.stack([examples.draw(np.random.default_rng(9), r, **once)[0] for r in range(3)])
    expected = autograd_gradients(net, examples, paths, torch.as_tensor(rows))
    before = net._check_out("a", slice(0, 3), paths)[0]
    net.train("a", paths, examples, steps=1, batch_size=8, optimiser="sgd", momentum=0, learning_rate=1.0)
    after = net._check_out("a", slice(0, 3), paths)[0]
    for old, new, gradient in zip(before, after, expected, strict=True):
        assert gradient.abs().max() > 1e-4
        torch.testing.assert_close(old - new, gradient, rtol=1e-4, atol=1e-6)


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
    off = ~net.on_path(paths)
    for layer in range(3):
        net.layers[layer][off[:, layer]] = 1e3
    assert (np.stack(net.predict("a", paths, examples)) == before).all()
    net.layers[1][0, paths[0, 1, 0]] += 1
    assert (np.stack(net.predict("a", paths, examples))[0] != before[0]).any()


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_training_touches_only_unfrozen_active_modules(optimiser):
    """Frozen modules and modules off the path stay as they were, to the bit; the others all learn."""
    net, examples, paths = stack()
    net.freeze(paths[:, :, :1])
    before = [layer.clone() for layer in net.layers]
    net.train("a", paths, examples, steps=20, optimiser=optimiser, dropout=0.25)
    may_learn = net.on_path(paths) & ~net.frozen
    for layer in range(3):
        same = (net.layers[layer] == before[layer]).all((2, 3))
        assert (same == ~may_learn[:, layer]).all()


def test_frozen_modules_take_part_in_the_forward_pass():
    """Freezing changes no prediction, and a frozen path still carries the gradient to what lies before it."""
    net, examples, paths = stack()
    before = np.stack(net.predict("a", paths, examples))
    net.frozen[:, 1:] = True
    assert (np.stack(net.predict("a", paths, examples)) == before).all()
    first = net.layers[0].clone()
    net.train("a", paths, examples, steps=1)
    assert (net.layers[0] != first).any()


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


def evolved(seeds, rows, **options):
    net, examples, _ = stack(seeds=seeds, rows=rows)
    brief = {"generations": 6, "population_size": 5, "minibatches": 5}
    found = evolve(net, "a", examples, **{**brief, **options})
    return net, found, net.predict("a", found.best, examples)


@pytest.mark.parametrize("split", [[[0], [1], [2], [3]], [[3, 1], [0, 2]], [[2], [1, 0, 3]]])
@pytest.mark.parametrize("fitness", ["train", "dev"])
def test_stacked_equals_alone(split, fitness):
    """Paths are equal, and weights and posteriors within float tolerance, for any split of the replicas."""
    seeds = [7, 8, 9, 10]
    rows = [np.arange(start, N) for start in (0, 6, 15, 30)]

    def run(members):
        options = dict(dropout=0.25, label_smoothing=0.1, fitness=fitness)
        if fitness == "dev":
            options["development"] = [np.arange(N)[: 10 + m] for m in members]
        return evolved([seeds[m] for m in members], [rows[m] for m in members], **options)

    net, found, posteriors = run(range(4))
    for members in split:
        part, found_part, posteriors_part = run(members)
        for place, member in enumerate(members):
            assert (found_part.best[place] == found.best[member]).all()
            assert (found_part.populations[:, place] == found.populations[:, member]).all()
            np.testing.assert_allclose(posteriors_part[place], posteriors[member], rtol=1e-4, atol=1e-5)
            for ours, theirs in zip(part.layers, net.layers, strict=True):
                torch.testing.assert_close(ours[place], theirs[member], rtol=1e-4, atol=1e-5)


def test_chunks_do_not_matter(monkeypatch):
    """Training a few replicas at a time gives what training all at once gives."""
    rows = [np.arange(N)] * 5
    whole = evolved(range(5), rows)
    monkeypatch.setattr("pathemo.pathnet.CHUNK_BYTES", 1)
    parts = evolved(range(5), rows)
    assert (whole[1].best == parts[1].best).all()
    np.testing.assert_allclose(np.stack(whole[2]), np.stack(parts[2]), rtol=1e-4, atol=1e-5)


def test_scaling_comes_from_the_replicas_own_rows():
    """Each replica sees features of mean 0 and spread 1 over its own rows, whatever the others see."""
    features, labels = data()
    examples = Examples(features * 100 + 7, labels, [np.arange(20), np.arange(20, N)])
    x = examples.inputs(torch.arange(20, N)[None], slice(1, 2))[0, :, :-1].numpy()
    np.testing.assert_allclose(x.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(x.std(0), 1, atol=1e-4)


def test_a_constant_feature_is_zero():
    """A feature that does not vary over the training rows carries nothing."""
    features, labels = data()
    features[:30, 2] = 5.0
    x = Examples(features, labels, [np.arange(30)]).inputs(torch.arange(N)[None], slice(0, 1))
    assert (x[0, :, 2] == 0).all()


def test_balanced_minibatches_weigh_emotions_alike():
    """With 50 rows of one emotion and 5 of another, each is half of what is drawn."""
    labels = np.array([0] * 50 + [2] * 5 + [1] * 5)
    examples = Examples(np.zeros((60, 2)), labels, [np.arange(55)])
    drawn = labels[examples.draw(np.random.default_rng(0), 0, steps=100, batch_size=20, balanced=True)]
    assert set(drawn.flat) == {0, 2}
    assert abs((drawn == 2).mean() - 0.5) < 0.05


def test_repeat_copies_and_separates():
    """Copies start equal, have streams of their own, and leave the original alone."""
    net, examples, paths = stack(seeds=[0, 1])
    copies = net.repeat([10, 11, 12, 13])
    assert (copies.layers[0][1] == net.layers[0][0]).all() and (copies.layers[0][2] == net.layers[0][1]).all()
    before = net.layers[0].clone()
    wide = Examples(*data(), [np.arange(N)] * 4)
    copies.train("a", paths.repeat(2, axis=0), wide, steps=3)
    assert (net.layers[0] == before).all()
    assert (copies.layers[0][0] != copies.layers[0][1]).any()


def test_evolution_learns_and_its_history_has_a_row_a_tournament():
    """The evolved path beats chance by far; the history counts generations and steps."""
    net, found, posteriors = evolved([0, 1], [np.arange(N)] * 2, learning_rate=0.02)
    assert (np.stack(posteriors).argmax(2) == data()[1]).mean() > 0.8
    assert len(found.history) == 6 * 2
    assert found.history.steps.max() == 6 * 2 * 5
    assert (found.history.frozen_share == 0).all()


@pytest.mark.parametrize(
    "wrong, said",
    [
        (dict(fitness="test"), "choose 'train' or 'dev'"),
        (dict(generations=0), "generations = 0"),
        (dict(fitness="dev"), "development"),
        (dict(optimiser="lbfgs"), "choose 'adam' or 'sgd'"),
    ],
)
def test_unknown_options_are_named(wrong, said):
    """The error names the valid ones."""
    with pytest.raises(ValueError, match=said):
        evolved([0], [np.arange(N)], **wrong)


def test_features_that_are_not_finite_are_named():
    """The error says which row."""
    features, labels = data()
    features[17, 3] = np.nan
    with pytest.raises(ValueError, match="row 17"):
        Examples(features, labels, [np.arange(N)])
