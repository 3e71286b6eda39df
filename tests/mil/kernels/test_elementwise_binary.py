"""Oracle: numpy's operator of the same name, with its broadcasting."""

import numpy as np
import pytest

RNG = np.random.default_rng(0)
X = (RNG.standard_normal((2, 3, 4)) * 3).astype(np.float32)
Y = (RNG.standard_normal((3, 1)) * 3).astype(np.float32)
I = RNG.integers(-9, 9, (2, 3, 4), dtype=np.int32)
J = np.array([[-3], [2], [5]], dtype=np.int32)

ARITHMETIC = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "floor_div": np.floor_divide,
    "mod": np.mod,
}
COMPARISONS = {
    "equal": np.equal,
    "not_equal": np.not_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "less": np.less,
    "less_equal": np.less_equal,
}
LOGICAL = {"logical_and": np.logical_and, "logical_or": np.logical_or, "logical_xor": np.logical_xor}


@pytest.mark.parametrize("op", ARITHMETIC)
@pytest.mark.parametrize(("x", "y"), [(X, Y), (I, J)], ids=["floats", "integers"])
def test_arithmetic(predict, op, x, y):
    found = predict(lambda mb, a, b: getattr(mb, op)(x=a, y=b), [x, y], ops=[op])[0]
    assert found.dtype == x.dtype
    np.testing.assert_allclose(found, ARITHMETIC[op](x, y), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("op", COMPARISONS)
@pytest.mark.parametrize(("x", "y"), [(X.round(), Y.round()), (I, J)], ids=["floats", "integers"])
def test_comparisons(predict, op, x, y):
    found = predict(lambda mb, a, b: mb.cast(x=getattr(mb, op)(x=a, y=b), dtype="int32"), [x, y], ops=[op])[0]
    assert np.array_equal(found, COMPARISONS[op](x, y).astype(np.int32))


@pytest.mark.parametrize("op", LOGICAL)
def test_logical(predict, op):
    def graph(mb, a, b):
        truth = getattr(mb, op)(x=mb.cast(x=a, dtype="bool"), y=mb.cast(x=b, dtype="bool"))
        return mb.cast(x=truth, dtype="int32")

    a, b = np.array([0, 0, 1, 2], dtype=np.int32), np.array([0, 3, 0, 1], dtype=np.int32)
    assert np.array_equal(predict(graph, [a, b], ops=[op])[0], LOGICAL[op](a, b).astype(np.int32))


def test_real_div(predict):
    assert np.allclose(predict(lambda mb, a, b: mb.real_div(x=a, y=b), [X, Y], ops=["real_div"])[0], X / Y)


def test_real_div_of_integers_truncates(predict):
    found = predict(lambda mb, a, b: mb.real_div(x=a, y=b), [I, J], ops=["real_div"])[0]
    assert np.array_equal(found, np.trunc(I / J).astype(np.int32))


def test_pow(predict):
    base, exponent = np.abs(X) + 0.1, Y
    found = predict(lambda mb, a, b: mb.pow(x=a, y=b), [base, exponent], ops=["pow"])[0]
    np.testing.assert_allclose(found, base**exponent, rtol=1e-5)


def test_pow_of_integers(predict):
    exponent = np.array([[0], [3], [2]], dtype=np.int32)
    found = predict(lambda mb, a, b: mb.pow(x=a, y=b), [I, exponent], ops=["pow"])[0]
    assert np.array_equal(found, I**exponent)


def test_a_constant_on_the_left(predict):
    assert np.allclose(predict(lambda mb, a: mb.sub(x=np.float32(1.5), y=a), [X], ops=["sub"])[0], 1.5 - X)


def test_division_by_zero_follows_ieee(predict):
    x, y = np.array([1, -1, 0], dtype=np.float32), np.zeros(3, dtype=np.float32)
    found = predict(lambda mb, a, b: mb.real_div(x=a, y=b), [x, y])[0]
    assert np.array_equal(found, [np.inf, -np.inf, np.nan], equal_nan=True)
