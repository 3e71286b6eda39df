"""Oracles: numpy's matmul and einsum."""

import numpy as np
import pytest

RNG = np.random.default_rng(0)


def values(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("shape", [(7,), (5, 7), (2, 5, 7)])
@pytest.mark.parametrize("ios", [15, 17])
def test_linear(predict, shape, ios):
    x, w, b = values(*shape), values(3, 7), values(3)
    found = predict(lambda mb, a: mb.linear(x=a, weight=w, bias=b), [x], ios=ios, ops=["linear"])[0]
    np.testing.assert_allclose(found, x @ w.T + b, rtol=1e-5, atol=1e-5)


def test_linear_of_integers(predict):
    x, w = RNG.integers(-5, 5, (2, 4), dtype=np.int32), RNG.integers(-5, 5, (3, 4), dtype=np.int32)
    graph = lambda mb, a: mb.linear(x=a, weight=w, bias=np.arange(3, dtype=np.int32))  # noqa: E731
    assert np.array_equal(predict(graph, [x], ops=["linear"])[0], x @ w.T + np.arange(3))


SHAPES = {
    "matrices": ((4, 3), (3, 2), False, False),
    "broadcast batches": ((10, 4, 3), (5, 10, 3, 2), False, False),
    "x transposed": ((2, 3, 4), (2, 3, 5), True, False),
    "y transposed": ((2, 4, 3), (1, 5, 3), False, True),
    "both transposed": ((3, 4), (5, 3), True, True),
    "vector on the left": ((4,), (4, 3), False, False),
}


@pytest.mark.parametrize("name", SHAPES)
def test_matmul(predict, name):
    left, right, transpose_x, transpose_y = SHAPES[name]
    x, y = values(*left), values(*right)
    graph = lambda mb, a, b: mb.matmul(x=a, y=b, transpose_x=transpose_x, transpose_y=transpose_y)  # noqa: E731
    found = predict(graph, [x, y], ops=["matmul"])[0]
    wanted = (np.swapaxes(x, -1, -2) if transpose_x else x) @ (np.swapaxes(y, -1, -2) if transpose_y else y)
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_matmul_with_a_constant(predict):
    x, y = values(2, 3, 4), values(4, 5)
    found = predict(lambda mb, a: mb.matmul(x=a, y=y), [x], ios=17, ops=["matmul"])[0]
    np.testing.assert_allclose(found, x @ y, rtol=1e-5, atol=1e-5)


def test_matmul_of_integers(predict):
    x, y = RNG.integers(-5, 5, (2, 4), dtype=np.int32), RNG.integers(-5, 5, (4, 3), dtype=np.int32)
    assert np.array_equal(predict(lambda mb, a, b: mb.matmul(x=a, y=b), [x, y])[0], x @ y)


@pytest.mark.parametrize(
    ("equation", "left", "right"),
    [
        ("nchw,nwhu->nchu", (2, 3, 4, 5), (2, 5, 4, 6)),
        ("nchw,nwhu->nchu", (1, 3, 4, 5), (2, 5, 1, 6)),
        ("chw,whr->chr", (3, 4, 5), (5, 4, 6)),
    ],
)
def test_einsum(predict, equation, left, right):
    x, y = values(*left), values(*right)
    found = predict(lambda mb, a, b: mb.einsum(values=(a, b), equation=equation), [x, y], ops=["einsum"])[0]
    batch = np.broadcast_shapes(left[:-3], right[:-3])
    height = max(left[-2], right[-2])
    wide = (
        np.broadcast_to(x, (*batch, left[-3], height, left[-1])),
        np.broadcast_to(y, (*batch, right[-3], height, right[-1])),
    )
    np.testing.assert_allclose(found, np.einsum(equation, *wide), rtol=1e-5, atol=1e-5)
