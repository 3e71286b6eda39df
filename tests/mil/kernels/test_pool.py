"""Oracle: each window cut out and reduced in numpy, padding as the reference words it; torch for its `ceil_mode`."""

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

RNG = np.random.default_rng(0)
X1 = RNG.standard_normal((2, 3, 11)).astype(np.float32)
X2 = RNG.standard_normal((2, 3, 9, 8)).astype(np.float32)
X3 = RNG.standard_normal((1, 2, 5, 6, 7)).astype(np.float32)


def windows(x, kernel, strides, padding):
    """(position, the window's values without padding, how many values its padding adds)."""
    spatial = x.shape[2:]
    counts = [(n + b + a - k) // s + 1 for n, k, s, (b, a) in zip(spatial, kernel, strides, padding, strict=True)]
    for position in itertools.product(*(range(count) for count in counts)):
        starts = [p * s - b for p, s, (b, _) in zip(position, strides, padding, strict=True)]
        index = tuple(
            slice(max(0, start), min(n, start + k)) for start, k, n in zip(starts, kernel, spatial, strict=True)
        )
        values = x[(slice(None), slice(None), *index)].reshape(*x.shape[:2], -1)
        yield position, values, math.prod(kernel) - values.shape[-1]


def by_hand(x, kernel, strides, padding, reduce):
    found = {position: reduce(values, extra) for position, values, extra in windows(x, kernel, strides, padding)}
    sizes = [max(axis) + 1 for axis in zip(*found, strict=True)]
    result = np.empty((*x.shape[:2], *sizes), dtype=np.float32)
    for position, value in found.items():
        result[(slice(None), slice(None), *position)] = value
    return result


REDUCE = {
    "avg_pool": lambda v, extra: v.sum(-1) / (v.shape[-1] + extra),
    "avg_pool without padding": lambda v, extra: v.mean(-1),
    "max_pool": lambda v, extra: v.max(-1),
    "l2_pool": lambda v, extra: np.sqrt((v**2).sum(-1)),
}
SHAPES = {
    "valid": (X2, [3, 2], [2, 1], {"pad_type": "valid"}, [(0, 0), (0, 0)]),
    "even": (X2, [3, 2], [2, 2], {"pad_type": "custom", "pad": [1, 1, 1, 1]}, [(1, 1), (1, 1)]),
    "uneven": (X2, [3, 3], [2, 1], {"pad_type": "custom", "pad": [0, 1, 2, 1]}, [(0, 1), (2, 1)]),
    "same": (X2, [3, 4], [2, 1], {"pad_type": "same"}, [(1, 1), (1, 2)]),
    "same_lower": (X2, [3, 4], [2, 1], {"pad_type": "same_lower"}, [(1, 1), (2, 1)]),
    "one axis": (X1, [4], [3], {"pad_type": "custom", "pad": [2, 1]}, [(2, 1)]),
    "three axes": (
        X3,
        [2, 3, 2],
        [1, 2, 3],
        {"pad_type": "custom", "pad": [1, 0, 1, 1, 0, 1]},
        [(1, 0), (1, 1), (0, 1)],
    ),
}


# l2_pool has one or two axes.
COMBINATIONS = [(kind, shape) for kind in REDUCE for shape in SHAPES if (kind, shape) != ("l2_pool", "three axes")]


@pytest.mark.parametrize(("kind", "shape"), COMBINATIONS)
def test_pool(predict, kind, shape):
    x, kernel, strides, keywords, padding = SHAPES[shape]
    op = kind.split()[0]
    extra = {"exclude_padding_from_average": "without" in kind} if op == "avg_pool" else {}
    graph = lambda mb, a: getattr(mb, op)(x=a, kernel_sizes=kernel, strides=strides, **keywords, **extra)  # noqa: E731
    found = predict(graph, [x], ios=16, ops=[op])[0]
    np.testing.assert_allclose(found, by_hand(x, kernel, strides, padding, REDUCE[kind]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("exclude", [True, False])
@pytest.mark.parametrize(("kernel", "stride", "pad"), [(3, 2, 1), (4, 3, 0), (4, 3, 2), (3, 3, 1)])
def test_ceil_mode_is_torchs(predict, kernel, stride, pad, exclude):
    def graph(mb, a):
        same = {
            "kernel_sizes": [kernel] * 2,
            "strides": [stride] * 2,
            "pad_type": "custom",
            "pad": [pad] * 4,
            "ceil_mode": True,
        }
        mean = mb.avg_pool(x=a, exclude_padding_from_average=exclude, **same)
        return mean, mb.max_pool(x=a, **same), mb.l2_pool(x=a, **same)

    mean, greatest, norm = predict(graph, [X2])
    x = torch.from_numpy(X2)
    options = {"stride": stride, "padding": pad, "ceil_mode": True}
    np.testing.assert_allclose(
        mean, F.avg_pool2d(x, kernel, count_include_pad=not exclude, **options), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(greatest, F.max_pool2d(x, kernel, **options))
    squares = F.avg_pool2d(x * x, kernel, divisor_override=1, **options)
    np.testing.assert_allclose(norm, squares.sqrt(), rtol=1e-5)


def test_ceil_mode_keeps_a_window_past_the_input(predict):
    """The declared shape has it where there is no padding; PyTorch drops it."""
    graph = lambda mb, a: tuple(  # noqa: E731
        getattr(mb, op)(x=a, kernel_sizes=[2], strides=[4], pad_type="valid", ceil_mode=True)
        for op in ("avg_pool", "max_pool", "l2_pool")
    )
    mean, greatest, norm = predict(graph, [X1[..., :8]])
    for found, last in ((mean, 0.0), (greatest, -np.inf), (norm, 0.0)):
        assert found.shape == (2, 3, 3)
        assert (found[..., 2] == last).all()
    np.testing.assert_allclose(greatest[..., :2], F.max_pool1d(torch.from_numpy(X1[..., :8]), 2, 4))


def test_ceil_mode_with_padding_that_torch_does_not_take(predict):
    """Padding of more than half a window: torch's rule, on input that is padded by hand."""
    x = np.abs(X1)
    graph = lambda mb, a: (  # noqa: E731
        mb.avg_pool(x=a, kernel_sizes=[3], strides=[3], pad_type="custom", pad=[2, 2], ceil_mode=True),
        mb.max_pool(x=a, kernel_sizes=[3], strides=[3], pad_type="custom", pad=[2, 2], ceil_mode=True),
    )
    mean, greatest = predict(graph, [x])
    padded = F.pad(torch.from_numpy(x), (2, 2))
    np.testing.assert_allclose(mean, F.avg_pool1d(padded, 3, 3), rtol=1e-5)
    np.testing.assert_allclose(greatest, F.max_pool1d(padded, 3, 3))
