"""Oracles: torch's normalisations, and the written formulas in float64."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

RNG = np.random.default_rng(0)


def values(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


MEAN, VARIANCE, GAMMA, BETA = values(3), np.abs(values(3)) + 0.1, values(3), values(3)


@pytest.mark.parametrize("spatial", [(5,), (5, 6), (2, 3, 4)])
@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm(predict, spatial, affine):
    x = values(2, 3, *spatial)
    extra = {"gamma": GAMMA, "beta": BETA} if affine else {}
    graph = lambda mb, a: mb.batch_norm(x=a, mean=MEAN, variance=VARIANCE, epsilon=1e-3, **extra)  # noqa: E731
    found = predict(graph, [x], ops=["batch_norm"])[0]
    shape = (3, *(1,) * len(spatial))
    wanted = (x - MEAN.reshape(shape)) / np.sqrt(VARIANCE.reshape(shape) + 1e-3)
    if affine:
        wanted = GAMMA.reshape(shape) * wanted + BETA.reshape(shape)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("spatial", [(5,), (5, 6)])
@pytest.mark.parametrize("affine", [True, False])
def test_instance_norm(predict, spatial, affine):
    x = values(2, 3, *spatial)
    extra = {"gamma": GAMMA, "beta": BETA} if affine else {}
    found = predict(lambda mb, a: mb.instance_norm(x=a, epsilon=1e-3, **extra), [x], ops=["instance_norm"])[0]
    given = (torch.from_numpy(GAMMA), torch.from_numpy(BETA)) if affine else (None, None)
    wanted = F.instance_norm(torch.from_numpy(x), weight=given[0], bias=given[1], eps=1e-3)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_instance_norm_of_one_pixel_is_its_beta(predict):
    found = predict(lambda mb, a: mb.instance_norm(x=a, beta=BETA, gamma=GAMMA), [values(2, 3, 1, 1)])[0]
    assert np.array_equal(found, np.broadcast_to(BETA.reshape(3, 1, 1), (2, 3, 1, 1)))


@pytest.mark.parametrize("shape", [(3, 4, 5), (2, 3, 4, 5), (2, 2, 3, 4, 5)])
def test_l2_norm(predict, shape):
    x = values(*shape)
    found = predict(lambda mb, a: mb.l2_norm(x=a, epsilon=1e-2), [x], ops=["l2_norm"])[0]
    np.testing.assert_allclose(found, x / np.sqrt((x**2).sum((-3, -2, -1), keepdims=True) + 1e-2), rtol=1e-5)


@pytest.mark.parametrize("axes", [[-1], [1], [2, 3], [1, 2], [-1, 1], [0, 1, 2, 3]])
@pytest.mark.parametrize("affine", [True, False])
def test_layer_norm(predict, axes, affine):
    x = values(2, 3, 4, 5)
    over = tuple(sorted(axis % 4 for axis in axes))
    sizes = [x.shape[axis] for axis in over]
    extra = {"gamma": values(*sizes), "beta": values(*sizes)} if affine else {}
    found = predict(lambda mb, a: mb.layer_norm(x=a, axes=axes, epsilon=1e-3, **extra), [x], ops=["layer_norm"])[0]
    exact = x.astype(np.float64)
    wanted = (exact - exact.mean(over, keepdims=True)) / np.sqrt(exact.var(over, keepdims=True) + 1e-3)
    if affine:
        shape = [x.shape[axis] if axis in over else 1 for axis in range(4)]
        wanted = wanted * extra["gamma"].reshape(shape) + extra["beta"].reshape(shape)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("shape", [(2, 7, 4), (2, 7, 4, 5)])
def test_local_response_norm(predict, size, shape):
    x = values(*shape)
    graph = lambda mb, a: mb.local_response_norm(x=a, size=size, alpha=0.5, beta=0.6, k=2.0)  # noqa: E731
    found = predict(graph, [x], ops=["local_response_norm"])[0]
    for channel in range(7):
        near = x[:, max(0, channel - size // 2) : channel + size // 2 + 1]
        wanted = x[:, channel] / (2.0 + 0.5 / size * (near**2).sum(1)) ** 0.6
        np.testing.assert_allclose(found[:, channel], wanted, rtol=1e-5)
