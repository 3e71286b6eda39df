"""Oracle: numpy's reductions in float64."""

import numpy as np
import pytest

RNG = np.random.default_rng(0)
X = RNG.standard_normal((2, 3, 4)).astype(np.float32)
POSITIVE = np.abs(X) + np.float32(0.1)
I = RNG.integers(-5, 6, (2, 3, 4), dtype=np.int32)


def l2(x, **keywords):
    return np.sqrt((x.astype(np.float64) ** 2).sum(**keywords))


def log_sum_exp(x, **keywords):
    return np.log(np.exp(x.astype(np.float64)).sum(**keywords))


OPS = {
    "reduce_l1_norm": (lambda x, **k: np.abs(x).sum(**k), X),
    "reduce_l2_norm": (l2, X),
    "reduce_log_sum": (lambda x, **k: np.log(x.sum(**k)), POSITIVE),
    "reduce_log_sum_exp": (log_sum_exp, X),
    "reduce_max": (np.max, X),
    "reduce_mean": (np.mean, X),
    "reduce_min": (np.min, X),
    "reduce_prod": (np.prod, X),
    "reduce_sum": (np.sum, X),
    "reduce_sum_square": (lambda x, **k: (x**2).sum(**k), X),
}
AXES = [None, [0], [-1], [1, 2], [-1, 0]]


@pytest.mark.parametrize("op", OPS)
def test_every_choice_of_axes(predict, op):
    function, x = OPS[op]
    choices = [(axes, keep) for axes in AXES for keep in (False, True)]

    def graph(mb, a):
        return tuple(getattr(mb, op)(x=a, axes=axes, keep_dims=keep) for axes, keep in choices)

    for found, (axes, keep) in zip(predict(graph, [x], ops=[op]), choices, strict=True):
        wanted = np.asarray(function(x, axis=None if axes is None else tuple(axes), keepdims=keep))
        assert found.shape == (wanted.shape or (1,))
        np.testing.assert_allclose(found, wanted.reshape(found.shape), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "op", ["reduce_l1_norm", "reduce_max", "reduce_min", "reduce_prod", "reduce_sum", "reduce_sum_square"]
)
def test_integers_stay_exact(predict, op):
    found = predict(lambda mb, a: getattr(mb, op)(x=a, axes=[1]), [I], ops=[op])[0]
    assert found.dtype == np.int32
    assert np.array_equal(found, OPS[op][0](I, axis=(1,)))


@pytest.mark.parametrize("op", ["reduce_l2_norm", "reduce_mean", "reduce_log_sum_exp"])
def test_integers_are_truncated_where_the_result_is_a_fraction(predict, op):
    found = predict(lambda mb, a: getattr(mb, op)(x=a, axes=[1]), [I], ops=[op])[0]
    assert np.array_equal(found, np.trunc(OPS[op][0](I, axis=(1,))).astype(np.int32))


def test_log_sum_exp_does_not_overflow(predict):
    x = np.array([[1000.0, 1000.0], [-1000.0, -1000.0]], dtype=np.float32)
    found = predict(lambda mb, a: mb.reduce_log_sum_exp(x=a, axes=[1]), [x])[0]
    np.testing.assert_allclose(found, x[:, 0] + np.log(2), rtol=1e-6)


@pytest.mark.parametrize("op", ["reduce_argmax", "reduce_argmin"])
@pytest.mark.parametrize("x", [X, I.astype(np.float32)], ids=["distinct", "ties"])
def test_arg(predict, op, x):
    choices = [(axis, keep) for axis in (0, 1, -1) for keep in (False, True)]
    graph = lambda mb, a: tuple(getattr(mb, op)(x=a, axis=axis, keep_dims=keep) for axis, keep in choices)  # noqa: E731
    best = np.max if op == "reduce_argmax" else np.min
    for found, (axis, keep) in zip(predict(graph, [x], ops=[op]), choices, strict=True):
        index = found if keep else np.expand_dims(found, axis)
        assert found.dtype == np.int32
        assert index.shape == best(x, axis=axis, keepdims=True).shape
        # Which of equals is found is open, so that the value at the index is what is compared.
        assert np.array_equal(np.take_along_axis(x, index.astype(np.int64), axis), best(x, axis=axis, keepdims=True))


def test_arg_since_ios17_with_a_narrow_index(predict):
    graph = lambda mb, a: mb.cast(x=mb.reduce_argmax(x=a, axis=1, output_dtype="uint16"), dtype="int32")  # noqa: E731
    assert np.array_equal(predict(graph, [X], ios=17, ops=["reduce_argmax"])[0], X.argmax(1))
    graph = lambda mb, a: mb.cast(x=mb.reduce_argmin(x=a, axis=1, output_dtype="uint16"), dtype="int32")  # noqa: E731
    assert np.array_equal(predict(graph, [X], ios=17, ops=["reduce_argmin"])[0], X.argmin(1))
