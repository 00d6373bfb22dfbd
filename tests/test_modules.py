"""Layers of modules: each kind is the plain layer of torch, module by module, and so are its
gradients.
"""

import pytest
import torch
from torch.nn.functional import conv2d, linear

from pathemo.modules import Convolution, Linear, apart, side_by_side

R, B, N = 3, 4, 2
KINDS = [
    Linear((7,), 5),
    Linear((3, 4, 4), 5),
    Convolution((9, 6, 1), 4, kernel=3, stride=2),
    Convolution((5, 5, 3), 2, kernel=5, stride=1),
    Convolution((4, 7, 2), 3, kernel=1, stride=3),
]


def numbers(kind, shape):
    """Inputs with their column of ones, and weights of N modules for each of R replicas."""
    generator = torch.Generator().manual_seed(0)
    d = torch.Size(shape).numel()
    x = torch.cat([torch.randn(R, B, d, generator=generator), torch.ones(R, B, 1)], dim=2)
    return x, torch.randn(R, N, kind.width, kind.fan_in + 1, generator=generator)


def plain(kind, shape, x, weights):
    """Outputs (r, B, ..., N, width) one replica and one module at a time, by torch's own layers."""
    outputs = []
    for replica in range(R):
        for module in weights[replica]:
            one = x[replica, :, :-1]
            if not isinstance(kind, Convolution):
                outputs.append(linear(one, module[:, :-1], module[:, -1]).relu())
            else:
                kernels = module[:, :-1].unflatten(1, (kind.kernel, kind.kernel, -1)).movedim(3, 1)
                images, padding = one.unflatten(1, shape).movedim(3, 1), kind.kernel // 2
                maps = conv2d(images, kernels, module[:, -1], stride=kind.stride, padding=padding)
                outputs.append(maps.relu().movedim(1, 3))
    return torch.stack(outputs).unflatten(0, (R, N)).movedim(1, -2)


def shape_of(kind):
    return kind.shape_in if isinstance(kind, Convolution) else (kind.fan_in,)


@pytest.mark.parametrize("kind", KINDS)
def test_stacked_modules_are_plain_layers(kind):
    """Outputs are those of torch.nn.functional, a module at a time; `shape` is that of one of
    them.
    """
    x, weights = numbers(kind, shape_of(kind))
    outputs = kind.forward(kind.rows(x), side_by_side(weights))
    assert outputs.shape == (R, B, *kind.shape[:-1], N, kind.width)
    torch.testing.assert_close(
        outputs, plain(kind, shape_of(kind), x, weights), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_equal_autograd(kind):
    """Gradients by weights and by inputs are those of autograd; `accumulate` adds them as asked."""
    x, weights = numbers(kind, shape_of(kind))
    x.requires_grad_(), weights.requires_grad_()
    outputs = plain(kind, shape_of(kind), x, weights)
    upstream = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(1))
    by_x, by_weights = torch.autograd.grad(outputs, (x, weights), upstream)
    delta = upstream * (outputs > 0)
    with torch.no_grad():
        upstream = kind.upstream(delta, side_by_side(weights))
        torch.testing.assert_close(upstream, by_x[..., :-1], rtol=1e-4, atol=1e-4)
        target = side_by_side(torch.ones_like(weights))
        kind.accumulate(target, delta, kind.rows(x), beta=0.5, alpha=-2.0)
    torch.testing.assert_close(
        apart(target, kind.width), 0.5 - 2 * by_weights, rtol=1e-4, atol=1e-4
    )


def test_even_kernels_are_refused():
    """The error names the kernel."""
    with pytest.raises(ValueError, match="kernel = 4"):
        Convolution((8, 8, 1), 2, kernel=4, stride=2)
