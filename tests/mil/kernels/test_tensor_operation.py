"""Oracles: numpy's function of the same meaning; torch for `pad` and `topk`."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from swiftdeploy.errors import ArtifactError
from swiftdeploy.mil.kernels import tensor_operation as ops

RNG = np.random.default_rng(0)
X = RNG.permutation(60).reshape(3, 4, 5).astype(np.float32)
I = RNG.permutation(60).reshape(3, 4, 5).astype(np.int32) - 30
TIES = np.array([[2, 1, 2, 1, 0]], dtype=np.float32)


def case(op, graph, oracle, *inputs, ios=15):
    return {"ops": (op,), "graph": graph, "inputs": inputs or (X,), "oracle": oracle, "ios": ios}


def band(x, lower, upper):
    m, n = np.indices(x.shape[-2:])
    return x * (((lower < 0) | (m - n <= lower)) & ((upper < 0) | (n - m <= upper)))


def one_hot(mb, a):
    five = np.int32(5)
    return (
        mb.one_hot(indices=a, one_hot_vector_size=five, on_value=2.0, off_value=-1.0),
        mb.one_hot(indices=a, one_hot_vector_size=five, axis=0),
        mb.one_hot(indices=a, one_hot_vector_size=five, axis=1),
    )


INDICES = np.array([[0, 4], [2, 7]], dtype=np.int32)
HOT = np.vstack([np.eye(5), np.zeros((3, 5))])[INDICES]

CASES = {
    "argsort": case("argsort", lambda mb, a: mb.argsort(x=a, axis=1), lambda a: np.argsort(-a, 1).astype(np.int32)),
    "argsort ascending": case(
        "argsort", lambda mb, a: mb.argsort(x=a, ascending=True), lambda a: np.argsort(a, -1).astype(np.int32), I
    ),
    **{
        f"band_part {lower} {upper}": case(
            "band_part",
            lambda mb, a, lower=lower, upper=upper: mb.band_part(x=a, lower=lower, upper=upper),
            lambda a, lower=lower, upper=upper: band(a, lower, upper),
        )
        for lower, upper in [(0, -1), (-1, 0), (0, 0), (1, 2), (-1, -1)]
    },
    "concat": case(
        "concat",
        lambda mb, a, b: mb.concat(values=(a, b, a), axis=-2),
        lambda a, b: np.concatenate([a, b, a], 1),
        X,
        X[:, :2],
    ),
    "concat interleaved": case(
        "concat",
        lambda mb, a, b: mb.concat(values=(a, b), axis=1, interleave=True),
        lambda a, b: np.stack([a, b], 2).reshape(3, 8, 5),
        X,
        -X,
    ),
    "cumsum": case("cumsum", lambda mb, a: mb.cumsum(x=a, axis=1), lambda a: a.cumsum(1)),
    "cumsum reversed": case(
        "cumsum", lambda mb, a: mb.cumsum(x=a, axis=2, reverse=True), lambda a: a[..., ::-1].cumsum(2)[..., ::-1]
    ),
    "cumsum exclusive": case("cumsum", lambda mb, a: mb.cumsum(x=a, exclusive=True), lambda a: a.cumsum(0) - a),
    "cumsum exclusive reversed integers": case(
        "cumsum",
        lambda mb, a: mb.cumsum(x=a, axis=-1, exclusive=True, reverse=True),
        lambda a: a[..., ::-1].cumsum(-1, dtype=np.int32)[..., ::-1] - a,
        I,
    ),
    "fill": case("fill", lambda mb, a: mb.fill(shape=mb.shape(x=a), value=1.5), lambda a: np.full_like(a, 1.5)),
    "fill with integers": case(
        "fill", lambda mb, a: mb.fill(shape=mb.shape(x=a), value=7), lambda a: np.full(a.shape, 7, np.int32)
    ),
    "fill_like": case(
        "fill_like", lambda mb, a: mb.fill_like(ref_tensor=a, value=-2.0), lambda a: np.full_like(a, -2), ios=16
    ),
    **{
        f"flatten2d {axis}": case(
            "flatten2d",
            lambda mb, a, axis=axis: mb.flatten2d(x=a, axis=axis),
            lambda a, axis=axis: a.reshape(int(np.prod(a.shape[:axis])), -1),
        )
        for axis in (0, 1, -1, 2)
    },
    "identity": case("identity", lambda mb, a: mb.identity(x=a), lambda a: a),
    "non_zero": case(
        "non_zero",
        lambda mb, a: mb.non_zero(x=a),
        lambda a: np.argwhere(a).astype(np.int32),
        (X % 3).astype(np.float32),
    ),
    "one_hot": case(
        "one_hot",
        one_hot,
        lambda a: (
            (HOT * 3 - 1).astype(np.float32),
            np.moveaxis(HOT, -1, 0).astype(np.int32),
            np.moveaxis(HOT, -1, 1).astype(np.int32),
        ),
        INDICES,
    ),
    "pad constant": case(
        "pad",
        lambda mb, a: mb.pad(x=a, pad=[0, 1, 2, 0], constant_val=9.0),
        lambda a: np.pad(a, [(0, 0), (0, 1), (2, 0)], constant_values=9),
    ),
    "pad reflect": case(
        "pad",
        lambda mb, a: mb.pad(x=a, pad=[3, 2, 1, 4], mode="reflect"),
        lambda a: np.pad(a, [(0, 0), (3, 2), (1, 4)], "reflect"),
    ),
    "pad replicate every axis": case(
        "pad",
        lambda mb, a: mb.pad(x=a, pad=[1, 2, 0, 3, 5, 1], mode="replicate"),
        lambda a: np.pad(a, [(1, 2), (0, 3), (5, 1)], "edge"),
    ),
    "pad as torch does": case(
        "pad",
        lambda mb, a: mb.pad(x=a, pad=[1, 1, 2, 2], mode="reflect"),
        lambda a: F.pad(torch.from_numpy(a), (2, 2, 1, 1), mode="reflect").numpy(),
        X[None],
    ),
    "range_1d": case(
        "range_1d",
        lambda mb, a: mb.range_1d(start=mb.squeeze(x=a), end=np.float32(2.1), step=np.float32(0.3)),
        lambda a: np.arange(0.5, 2.1, 0.3, dtype=np.float32),
        np.array([0.5], np.float32),
    ),
    "range_1d backwards": case(
        "range_1d",
        lambda mb, a: mb.range_1d(start=mb.squeeze(x=a), end=np.int32(-7), step=np.int32(-3)),
        lambda a: np.arange(5, -7, -3, dtype=np.int32),
        np.array([5], np.int32),
    ),
    "shape": case("shape", lambda mb, a: mb.shape(x=a), lambda a: np.array(a.shape, np.int32)),
    "split evenly": case(
        "split", lambda mb, a: mb.split(x=a, num_splits=2, axis=1), lambda a: tuple(np.split(a, 2, 1))
    ),
    "split by sizes": case(
        "split", lambda mb, a: mb.split(x=a, split_sizes=[1, 3, 1], axis=-1), lambda a: tuple(np.split(a, [1, 4], 2))
    ),
    "stack": case("stack", lambda mb, a, b: mb.stack(values=(a, b), axis=-1), lambda a, b: np.stack([a, b], -1), X, -X),
    "tile": case("tile", lambda mb, a: mb.tile(x=a, reps=[2, 1, 3]), lambda a: np.tile(a, (2, 1, 3))),
    "topk": case(
        "topk",
        lambda mb, a: mb.topk(x=a, k=2, axis=1),
        lambda a: (torch.from_numpy(a).topk(2, 1)[0].numpy(), torch.from_numpy(a).topk(2, 1)[1].int().numpy()),
    ),
    "topk ascending": case(
        "topk",
        lambda mb, a: mb.topk(x=a, k=3, ascending=True),
        lambda a: (np.sort(a, -1)[..., :3], np.argsort(a, -1)[..., :3].astype(np.int32)),
        I,
    ),
    "topk values only": case(
        "topk", lambda mb, a: mb.topk(x=a, k=2, return_indices=False), lambda a: -np.sort(-a, -1)[..., :2], ios=16
    ),
    "topk of equals": case(
        "topk",
        lambda mb, a: mb.topk(x=a, k=3),
        lambda a: (np.array([[2, 2, 1]], np.float32), np.array([[0, 2, 1]], np.int32)),
        TIES,
        ios=17,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_tensor_operation(agree, name):
    agree(CASES[name])


def test_padding_that_depends_on_the_input(predict):
    graph = lambda mb, a, b: mb.pad(x=a, pad=b)  # noqa: E731
    found = predict(graph, [X, np.array([1, 0, 0, 2, 3, 0], np.int32)], ops=["pad"])[0]
    assert np.array_equal(found, np.pad(X, [(1, 0), (0, 2), (3, 0)]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: ops.pad(x, (1,)), "does not fit rank"),
        (lambda x: ops.pad(x, (1, -1)), "does not fit rank"),
        (lambda x: ops.pad(x, (1, 1), mode="wrap"), "no mode"),
        (lambda x: ops.pad(x, (5, 0), mode="reflect"), "reflect needs"),
        (lambda x: ops.tile(x, (1, 2)), "do not fit rank"),
        (lambda x: ops.split(x, 1, num_splits=3), "do not divide"),
        (lambda x: ops.tile(x, (1, 1, 1 << 30)), "more than this runtime makes"),
        (lambda x: ops.fill((1 << 20, 1 << 20), torch.float32), "more than this runtime makes"),
        (lambda x: ops.pad(x, (0, 1 << 30)), "more than this runtime makes"),
    ],
)
def test_what_makes_no_sense_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.from_numpy(X))


def test_a_range_without_end_is_refused(predict):
    graph = lambda mb, a: mb.range_1d(start=np.float32(0), end=np.float32(1), step=mb.squeeze(x=a))  # noqa: E731
    for step in (0.0, 1e-12):
        with pytest.raises(ArtifactError, match="range_1d"):
            predict(graph, [np.array([step], np.float32)])
