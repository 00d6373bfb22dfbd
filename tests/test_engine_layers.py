"""Modules are the plain layers of torch, and training them by hand is training them by autograd."""

import pytest
import torch
from torch.nn.functional import conv2d, cross_entropy, linear

from pathemo.engine.layers import Convolution, Episode, Linear

R, B, K, N = 3, 4, 4, 2
KINDS = [
    Linear((7,), 5),
    Linear((3, 4, 4), 5),
    Convolution((9, 6, 1), 4),
    Convolution((5, 5, 3), 2),
    Convolution((4, 7, 2), 3),
]
LINEAR = [Linear((6,), 5), Linear((5,), 3)]
CONVOLUTION = [Convolution((6, 4, 2), 3), Convolution((3, 2, 3), 4)]
MIXED = [Convolution((6, 4, 2), 3), Linear((3, 2, 3), 5)]
OPTIMISERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.1),
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=0.1),
}
generator = torch.Generator().manual_seed(0)


def pack(weights):
    """Modules (r, N, width, fan_in + 1) side by side: (r, fan_in + 1, N * width)."""
    return weights.flatten(1, 2).mT.contiguous()


def unpack(weights, width):
    """What `pack` had: modules (r, N, width, fan_in + 1)."""
    return weights.mT.unflatten(1, (-1, width))


def random_inputs(shape, batch=B):
    """Inputs (r, B, d + 1) with their column of ones."""
    x = torch.randn(R, batch, torch.Size(shape).numel(), generator=generator)
    return torch.cat([x, torch.ones(R, batch, 1)], dim=2)


def random_modules(module, scale=1.0):
    """Weights (r, N, width, fan_in + 1)."""
    return scale * torch.randn(R, N, module.width, module.fan_in + 1, generator=generator)


def shape_in(module):
    return module.shape_in if isinstance(module, Convolution) else (module.fan_in,)


def plain(module, x, weights):
    """Outputs (r, B, ..., N, width) one replica and one module at a time, by torch's own layers."""
    outputs = []
    for replica in range(R):
        for one in weights[replica]:
            inputs = x[replica, :, :-1]
            if not isinstance(module, Convolution):
                outputs.append(linear(inputs, one[:, :-1], one[:, -1]).relu())
                continue
            kernels = one[:, :-1].unflatten(1, (3, 3, -1)).movedim(3, 1)
            images = inputs.unflatten(1, module.shape_in).movedim(3, 1)
            maps = conv2d(images, kernels, one[:, -1], stride=2, padding=1)
            outputs.append(maps.relu().movedim(1, 3))
    return torch.stack(outputs).unflatten(0, (R, N)).movedim(1, -2)


@pytest.mark.parametrize("module", KINDS)
def test_stacked_modules_are_plain_layers(module):
    """Outputs are those of torch.nn.functional, a module at a time; `shape` is that of one."""
    x, weights = random_inputs(shape_in(module)), random_modules(module)
    outputs = torch.empty(R, B, *module.shape[:-1], N, module.width)
    module.forward(module.views(x), pack(weights), outputs)
    torch.testing.assert_close(outputs, plain(module, x, weights), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("module", KINDS)
def test_gradients_equal_autograd(module):
    """Gradients by weights and by inputs are those of autograd, added with the factors given."""
    x, weights = random_inputs(shape_in(module)), random_modules(module)
    x.requires_grad_(), weights.requires_grad_()
    outputs = plain(module, x, weights)
    upstream = torch.randn(outputs.shape, generator=generator)
    by_x, by_weights = torch.autograd.grad(outputs, (x, weights), upstream)
    delta = upstream * (outputs > 0)
    with torch.no_grad():
        upstream = module.upstream(delta, pack(weights))
        torch.testing.assert_close(upstream, by_x[..., :-1], rtol=1e-4, atol=1e-4)
        target = pack(torch.ones_like(weights))
        module.add_gradient(target, delta, module.views(x), beta=0.5, alpha=-2.0)
    by_hand = unpack(target, module.width)
    torch.testing.assert_close(by_hand, 0.5 - 2 * by_weights, rtol=1e-4, atol=1e-4)


def random_network(modules):
    """Small random weights of every layer, packed, and of the heads (r, K, d + 1)."""
    d = torch.Size(modules[-1].shape).numel()
    heads = 0.5 * torch.randn(R, K, d + 1, generator=generator)
    return [*(pack(random_modules(module, 0.5)) for module in modules), heads]


def random_batch(modules):
    """Inputs with ones, and goals (r, K, B) that sum to 1."""
    goals = torch.randn(R, K, 2 * B, generator=generator).softmax(1)
    return random_inputs(shape_in(modules[0]), 2 * B), goals


def plain_logits(modules, weights, x, gates):
    """The same network by differentiable operations, gates as factors."""
    for module, packed, gate in zip(modules, weights[:-1], gates, strict=True):
        summed = plain(module, x, unpack(packed, module.width)).sum(-2)
        joined = summed if gate is None else summed * gate
        x = torch.cat([joined.flatten(2), torch.ones(R, len(x[0]), 1)], dim=2)
    return weights[-1] @ x.mT


def start_episode(modules, weights, optimiser, *, fixed=None, learns=None):
    """An episode on these weights, ready to step."""
    fixed = [packed[:, :, :0] for packed in weights[:-1]] if fixed is None else fixed
    episode = Episode(modules, weights, fixed, 2 * B)
    episode.start(optimiser, 0.1, [None] * len(modules) if learns is None else learns)
    return episode


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("modules", [LINEAR, CONVOLUTION, MIXED])
@pytest.mark.parametrize("gated", [False, True])
def test_steps_equal_autograd_and_torch_optim(optimiser, modules, gated):
    """Weights after five steps are those of autograd with torch's optimiser, also with gates."""
    ours = random_network(modules)
    theirs = [weights.clone().requires_grad_() for weights in ours]
    before, stepper = [weights.clone() for weights in ours], OPTIMISERS[optimiser](theirs)
    episode = start_episode(modules, ours, optimiser)
    for _ in range(5):
        x, goals = random_batch(modules)
        gates = [None] * len(modules)
        if gated:
            kept = torch.rand(R, 2 * B, modules[0].width, generator=generator) < 0.7
            gates = [1.4 * kept.unflatten(2, (*[1] * (len(modules[0].shape) - 1), -1)), 0.5]
        logits = episode.step(x, goals, gates)
        expected = plain_logits(modules, theirs, x, gates)
        torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-4)
        losses = [cross_entropy(one.mT, goal.mT) for one, goal in zip(expected, goals)]
        stepper.zero_grad()
        sum(losses).backward()
        stepper.step()
    for old, hand, auto in zip(before, ours, theirs, strict=True):
        assert (auto - old).abs().max() > 0.01
        torch.testing.assert_close(hand, auto, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_frozen_modules_pass_the_gradient_on(optimiser):
    """A frozen module stays to the bit; what lies before it learns as if it were not frozen."""
    start = random_network(LINEAR)
    x, goals = random_batch(LINEAR)
    learned = []
    for frozen in (False, True):
        weights = [tensor.clone() for tensor in start]
        mask = torch.tensor([1.0, 0.0]).view(1, 1, 2, 1).expand(R, 1, 2, 1) if frozen else None
        episode = start_episode(LINEAR, weights, optimiser, learns=[None, mask])
        episode.step(x, goals, [None, None])
        learned.append(weights)
    free, masked = learned
    torch.testing.assert_close(masked[0], free[0])
    masked, free, start = (unpack(weights[1], LINEAR[1].width) for weights in (masked, free, start))
    assert (masked[:, 1] == start[:, 1]).all() and (free[:, 1] != start[:, 1]).any()
    torch.testing.assert_close(masked[:, 0], free[:, 0])


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("modules", [LINEAR, CONVOLUTION, MIXED])
def test_fixed_modules_are_frozen_ones(optimiser, modules):
    """Modules that are fixed in all replicas take part as frozen ones do, and stay to the bit."""
    start = random_network(modules)
    masks = [torch.tensor([1.0, 0.0]).view(*[1] * len(m.shape), 1, 2, 1) for m in modules]
    masked = [tensor.clone() for tensor in start]
    frozen = start_episode(modules, masked, optimiser, learns=masks)
    parts = [
        [pack(part) for part in unpack(packed, module.width).split(1, dim=1)]
        for packed, module in zip(start, modules)
    ]
    learning = [*(first for first, _ in parts), start[-1].clone()]
    fixed = [second.clone() for _, second in parts]
    episode = start_episode(modules, learning, optimiser, fixed=fixed)
    for _ in range(3):
        x, goals = random_batch(modules)
        frozen.step(x, goals, [None, None]), episode.step(x, goals, [None, None])
    for layer, module in enumerate(modules):
        assert (fixed[layer] == parts[layer][1]).all()
        expected = pack(unpack(masked[layer], module.width)[:, :1])
        torch.testing.assert_close(learning[layer], expected, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(learning[-1], masked[-1], rtol=1e-3, atol=1e-4)


def test_with_every_module_fixed_the_head_learns_alone():
    """Modules stay to the bit, the head moves as it would with them."""
    start = random_network(LINEAR)
    x, goals = random_batch(LINEAR)
    heads = []
    for all_fixed in (False, True):
        modules, head = [tensor.clone() for tensor in start[:-1]], start[-1].clone()
        nothing = [packed[:, :, :0] for packed in modules]
        weights, fixed = (nothing, modules) if all_fixed else (modules, nothing)
        episode = start_episode(LINEAR, [*weights, head], "sgd", fixed=fixed)
        episode.step(x, goals, [None, None])
        heads.append(head)
    assert all((now == old).all() for now, old in zip(modules, start))
    assert (heads[0] == heads[1]).all() and (heads[0] != start[-1]).any()
