"""Training by hand is training by autograd: gradients, masks, and the optimisers of torch."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from pathemo.episode import Episode
from pathemo.modules import Convolution, Linear, apart, side_by_side

R, B, K, N = 3, 8, 4, 2
LINEAR = [Linear((6,), 5), Linear((5,), 3)]
CONVOLUTION = [
    Convolution((6, 4, 2), 3, kernel=3, stride=2),
    Convolution((3, 2, 3), 4, kernel=3, stride=1),
]
MIXED = [Convolution((6, 4, 2), 3, kernel=3, stride=2), Linear((3, 2, 3), 5)]
OPTIMISERS = {
    "plain SGD": (dict(optimiser="sgd", momentum=0.0), lambda p: torch.optim.SGD(p, lr=0.1)),
    "momentum": (
        dict(optimiser="sgd", momentum=0.9),
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    ),
    "Adam": (dict(optimiser="adam", momentum=0.9), lambda p: torch.optim.Adam(p, lr=0.1)),
}
generator = torch.Generator().manual_seed(0)


def weights_of(kinds):
    """Small random weights of every layer and of the heads."""
    d = torch.Size(kinds[-1].shape).numel()
    shapes = [*((R, N, kind.width, kind.fan_in + 1) for kind in kinds), (R, K, d + 1)]
    *modules, heads = [0.5 * torch.randn(shape, generator=generator) for shape in shapes]
    return [*(side_by_side(of_layer) for of_layer in modules), heads]


def batch(kinds):
    """Inputs with ones, and goals that sum to 1."""
    d = torch.Size(getattr(kinds[0], "shape_in", (6,))).numel()
    x = torch.cat([torch.randn(R, B, d, generator=generator), torch.ones(R, B, 1)], dim=2)
    return x, torch.randn(R, K, B, generator=generator).softmax(1)


def plain_logits(kinds, weights, x, gates):
    """The same network by differentiable operations, gates as factors."""
    for kind, of_layer, gate in zip(kinds, weights[:-1], gates, strict=True):
        modules = apart(of_layer, kind.width).split(1, dim=1)
        joined = sum(
            kind.forward(kind.rows(x), side_by_side(module)).squeeze(-2) for module in modules
        )
        joined = joined if gate is None else joined * gate
        x = torch.cat([joined.flatten(2), torch.ones(R, B, 1)], dim=2)
    return weights[-1] @ x.mT


@pytest.mark.parametrize("name", OPTIMISERS)
@pytest.mark.parametrize("kinds", [LINEAR, CONVOLUTION, MIXED])
@pytest.mark.parametrize("gated", [False, True])
def test_steps_equal_autograd_and_torch_optim(name, kinds, gated):
    """Weights after five steps are those of autograd with torch's optimiser, with and without
    gates.
    """
    options, optimiser = OPTIMISERS[name]
    ours = weights_of(kinds)
    theirs = [weights.clone().requires_grad_() for weights in ours]
    before, stepper = [weights.clone() for weights in ours], optimiser(theirs)
    episode = Episode(kinds, ours, B, [None] * len(kinds))
    episode.descend(learning_rate=0.1, head_only=False, **options)
    for _ in range(5):
        x, goals = batch(kinds)
        gates = [None] * len(kinds)
        if gated:
            draw = torch.rand(R, B, kinds[0].width, generator=generator) < 0.7
            gates = [1.4 * draw.unflatten(2, (*[1] * (len(kinds[0].shape) - 1), -1)), 0.5]
        logits = episode.step(x, goals, gates)
        expected = plain_logits(kinds, theirs, x, gates)
        torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-4)
        loss = sum(
            cross_entropy(one.mT, goal.mT) for one, goal in zip(expected, goals, strict=True)
        )
        stepper.zero_grad()
        loss.backward()
        stepper.step()
    for old, hand, auto in zip(before, ours, theirs, strict=True):
        assert (auto - old).abs().max() > 0.01
        torch.testing.assert_close(hand, auto, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_frozen_modules_pass_the_gradient_on(name):
    """A frozen module keeps its weights to the bit; what lies before it learns as if it were not
    frozen.
    """
    start = weights_of(LINEAR)
    x, goals = batch(LINEAR)
    learned = []
    for frozen in (False, True):
        weights = [tensor.clone() for tensor in start]
        learns = torch.tensor([1.0, 0.0]).view(1, 1, 2, 1).expand(R, 1, 2, 1) if frozen else None
        episode = Episode(LINEAR, weights, B, [None, learns])
        episode.descend(learning_rate=0.1, head_only=False, **OPTIMISERS[name][0])
        episode.step(x, goals, [None, None])
        learned.append(weights)
    free, masked = learned
    torch.testing.assert_close(masked[0], free[0])
    masked, free, start = (apart(weights[1], LINEAR[1].width) for weights in (masked, free, start))
    assert (masked[:, 1] == start[:, 1]).all() and (free[:, 1] != start[:, 1]).any()
    torch.testing.assert_close(masked[:, 0], free[:, 0])


def test_head_only_trains_the_head():
    """Modules stay to the bit, the head moves as it would with them."""
    start = weights_of(LINEAR)
    x, goals = batch(LINEAR)
    heads = []
    for head_only in (False, True):
        weights = [tensor.clone() for tensor in start]
        episode = Episode(LINEAR, weights, B, [None, None])
        episode.descend(optimiser="sgd", momentum=0.0, learning_rate=0.1, head_only=head_only)
        episode.step(x, goals, [None, None])
        heads.append(weights[-1])
    assert all((now == old).all() for now, old in zip(weights[:-1], start, strict=False))
    assert (heads[0] == heads[1]).all() and (heads[0] != start[-1]).any()
