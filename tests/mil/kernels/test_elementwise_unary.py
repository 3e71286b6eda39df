"""Oracle: numpy's function of the same name; the written formula where numpy has none."""

import math

import numpy as np
import pytest

RNG = np.random.default_rng(0)
UNIT = RNG.uniform(-0.99, 0.99, (3, 4)).astype(np.float32)
REAL = (RNG.standard_normal((3, 4)) * 3).astype(np.float32)
POSITIVE = np.abs(REAL) + np.float32(0.01)
HALVES = np.array([-2.5, -1.5, -0.5, 0.0, 0.5, 1.5, 2.5, 2.4999], dtype=np.float32)
INTEGERS = RNG.integers(-9, 9, (3, 4), dtype=np.int32)

FUNCTIONS = {
    "abs": (np.abs, REAL),
    "acos": (np.arccos, UNIT),
    "asin": (np.arcsin, UNIT),
    "atan": (np.arctan, REAL),
    "atanh": (np.arctanh, UNIT),
    "ceil": (np.ceil, REAL),
    "cos": (np.cos, REAL),
    "cosh": (np.cosh, REAL),
    "erf": (np.vectorize(math.erf), REAL),
    "exp": (np.exp, REAL),
    "exp2": (np.exp2, REAL),
    "floor": (np.floor, REAL),
    "round": (np.round, HALVES),
    "sign": (np.sign, HALVES),
    "sin": (np.sin, REAL),
    "sinh": (np.sinh, REAL),
    "sqrt": (np.sqrt, POSITIVE),
    "square": (np.square, REAL),
    "tan": (np.tan, UNIT),
    "tanh": (np.tanh, REAL),
}


@pytest.mark.parametrize("op", FUNCTIONS)
def test_functions(predict, op):
    function, x = FUNCTIONS[op]
    found = predict(lambda mb, a: getattr(mb, op)(x=a), [x], ops=[op])[0]
    np.testing.assert_allclose(found, function(x), rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("op", ["abs", "sign", "exp2"])
def test_functions_of_integers(predict, op):
    x = INTEGERS if op != "exp2" else np.abs(INTEGERS)
    found = predict(lambda mb, a: getattr(mb, op)(x=a), [x], ops=[op])[0]
    assert found.dtype == np.int32
    assert np.array_equal(found, FUNCTIONS[op][0](x).astype(np.int32))


@pytest.mark.parametrize("ios", [15, 17])
def test_epsilons_are_added_before_the_function(predict, ios):
    def graph(mb, a):
        return mb.inverse(x=a, epsilon=0.5), mb.log(x=a, epsilon=0.25), mb.rsqrt(x=a, epsilon=0.125)

    inverse, log, rsqrt = predict(graph, [POSITIVE], ios=ios, ops=["inverse", "log", "rsqrt"])
    np.testing.assert_allclose(inverse, 1 / (POSITIVE + 0.5), rtol=1e-6)
    np.testing.assert_allclose(log, np.log(POSITIVE + 0.25), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(rsqrt, 1 / np.sqrt(POSITIVE + 0.125), rtol=1e-6)


def test_clip_and_threshold(predict):
    graph = lambda mb, a: (mb.clip(x=a, alpha=-1.0, beta=2.0), mb.threshold(x=a, alpha=0.5))  # noqa: E731
    clipped, thresholded = predict(graph, [REAL], ops=["clip", "threshold"])
    assert np.array_equal(clipped, np.clip(REAL, -1, 2))
    assert np.array_equal(thresholded, np.maximum(REAL, 0.5))


def test_logical_not(predict):
    def graph(mb, a):
        return mb.cast(x=mb.logical_not(x=mb.cast(x=a, dtype="bool")), dtype="int32")

    assert np.array_equal(predict(graph, [INTEGERS], ops=["logical_not"])[0], (INTEGERS == 0).astype(np.int32))


CASTS = {
    "int32": np.trunc,
    "fp16": lambda x: x.astype(np.float16),
    "bool": lambda x: x != 0,
}


@pytest.mark.parametrize("dtype", CASTS)
def test_cast_from_float(predict, dtype):
    x = np.array([-2.7, -0.5, 0.0, 0.2, 1 + 2**-11, 1 + 3 * 2**-11, 70000.0], dtype=np.float32)
    with np.errstate(over="ignore"):
        wanted = CASTS[dtype](x).astype(np.float32)
    graph = lambda mb, a: mb.cast(x=mb.cast(x=a, dtype=dtype), dtype="fp32")  # noqa: E731
    assert np.array_equal(predict(graph, [x], ops=["cast"])[0], wanted)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16"])
def test_cast_to_narrow_integers_wraps(predict, dtype):
    x = np.array([-40000, -129, -1, 0, 127, 128, 255, 256, 40000, 70000], dtype=np.int32)
    graph = lambda mb, a: mb.cast(x=mb.cast(x=a, dtype=dtype), dtype="int32")  # noqa: E731
    assert np.array_equal(predict(graph, [x], ios=17, ops=["cast"])[0], x.astype(dtype).astype(np.int32))


def test_a_float_that_int32_cannot_hold_saturates(predict):
    x = np.array([1e20, -1e20, np.inf, -np.inf, np.nan], dtype=np.float32)
    found = predict(lambda mb, a: mb.cast(x=a, dtype="int32"), [x])[0]
    assert found.tolist() == [2**31 - 1, -(2**31), 2**31 - 1, -(2**31), 0]
