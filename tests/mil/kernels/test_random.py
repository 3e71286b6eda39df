"""Oracle: the distributions themselves, since the numbers cannot be Core ML's; shapes, seeding, edges of the ranges."""

import numpy as np
import pytest
import torch

from swiftdeploy.mil.kernels import random as ops

N = 20_000


@pytest.mark.parametrize("draw", [ops.random_bernoulli, ops.random_normal, ops.random_uniform])
def test_a_seed_repeats_and_the_default_does_not(draw):
    assert torch.equal(draw((3, 4), seed=5), draw((3, 4), seed=5))
    assert not torch.equal(draw((64,), seed=5), draw((64,), seed=6))
    assert not torch.equal(draw((64,)), draw((64,)))
    torch.manual_seed(3)
    first = draw((64,))
    torch.manual_seed(3)
    assert torch.equal(draw((64,)), first)
    assert draw((2, 1, 3), seed=0).shape == (2, 1, 3)


@pytest.mark.parametrize("prob", [0.0, 0.3, 1.0])
def test_bernoulli(prob):
    found = ops.random_bernoulli((N,), prob, seed=1)
    assert set(found.tolist()) <= {0.0, 1.0}
    assert found.mean().item() == pytest.approx(prob, abs=0.015)


def test_normal():
    found = ops.random_normal((N,), mean=2.0, stddev=3.0, seed=1)
    assert found.mean().item() == pytest.approx(2.0, abs=0.1)
    assert found.std().item() == pytest.approx(3.0, abs=0.1)
    assert ops.random_normal((4,), mean=1.0, stddev=0.0).tolist() == [1.0] * 4


def test_uniform_lies_in_the_half_open_interval():
    found = ops.random_uniform((N,), low=-2.0, high=6.0, seed=1).numpy()
    assert found.min() >= -2.0
    assert found.max() < 6.0
    np.testing.assert_allclose(np.quantile(found, (0.25, 0.5, 0.75)), (0, 2, 4), atol=0.15)
    assert ops.random_uniform((3,), low=4.0, high=4.0).tolist() == [4.0] * 3


@pytest.mark.parametrize("mode", ["logits", "probs"])
def test_categorical_draws_each_row_from_its_own_distribution(mode):
    probs = torch.tensor([[0.1, 0.2, 0.7], [1.0, 0.0, 0.0]])
    x = probs if mode == "probs" else probs.log()
    found = ops.random_categorical(x, mode, size=N, seed=1)
    assert found.shape == (2, N)
    for row, expected in zip(found, probs, strict=True):
        shares = np.bincount(row.numpy().astype(int), minlength=3) / N
        np.testing.assert_allclose(shares, expected, atol=0.015)


def test_categorical_keeps_leading_axes_and_refuses_an_unknown_mode():
    assert ops.random_categorical(torch.zeros(2, 3, 4), size=5).shape == (2, 3, 5)
    assert ops.random_categorical(torch.zeros(1)).tolist() == [0.0]
    with pytest.raises(ValueError, match="odds"):
        ops.random_categorical(torch.zeros(3), "odds")
