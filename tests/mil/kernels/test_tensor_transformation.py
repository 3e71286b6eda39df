"""Oracles: numpy's reshapes and transposes, torch's `unfold`, TensorFlow's definition of reverse_sequence as a loop."""

import numpy as np
import pytest
import torch

from swiftdeploy.errors import ArtifactError
from swiftdeploy.mil.kernels import tensor_transformation as ops

X = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
THIN = X.reshape(1, 2, 1, 3, 4)


def case(op, graph, oracle, x=X, ios=15):
    return {"ops": (op,), "graph": graph, "inputs": (x,), "oracle": oracle, "ios": ios}


CASES = {
    "expand_dims": case(
        "expand_dims", lambda mb, a: mb.expand_dims(x=a, axes=[-1, 1]), lambda a: a[:, None, :, :, None]
    ),
    "reshape": case("reshape", lambda mb, a: mb.reshape(x=a, shape=[4, 6]), lambda a: a.reshape(4, 6)),
    "reshape with -1": case("reshape", lambda mb, a: mb.reshape(x=a, shape=[2, -1]), lambda a: a.reshape(2, 12)),
    "reshape with 0": case("reshape", lambda mb, a: mb.reshape(x=a, shape=[0, -1, 2]), lambda a: a.reshape(2, 6, 2)),
    "reshape since iOS17": case(
        "reshape", lambda mb, a: mb.reshape(x=a, shape=[1, 0, -1, 0]), lambda a: a.reshape(1, 1, 2, 50),
        np.arange(100, dtype=np.float32).reshape(2, 50), ios=17,
    ),
    "reshape_like": case(
        "reshape_like",
        lambda mb, a: mb.reshape_like(
            x=a,
            ref_tensors=(mb.reshape(x=a, shape=[2, 2, 6]), mb.reshape(x=a, shape=[4, 1, 6])),
            begins=(0, 1), ends=(2, 0), end_masks=(False, True),
        ),
        lambda a: a.reshape(2, 2, 1, 6), ios=16,
    ),
    "reverse": case("reverse", lambda mb, a: mb.reverse(x=a, axes=[0, -1]), lambda a: a[::-1, :, ::-1]),
    "reverse all": case("reverse", lambda mb, a: mb.reverse(x=a), lambda a: a[::-1, ::-1, ::-1]),
    "sliding_windows": case(
        "sliding_windows",
        lambda mb, a: mb.sliding_windows(x=a, axis=1, size=2),
        lambda a: np.moveaxis(torch.from_numpy(a).unfold(1, 2, 1).numpy(), -1, 2),
    ),
    "sliding_windows apart": case(
        "sliding_windows",
        lambda mb, a: mb.sliding_windows(x=a, axis=-1, size=2, stride=2),
        lambda a: torch.from_numpy(a).unfold(2, 2, 2).numpy(),
    ),
    "squeeze": case("squeeze", lambda mb, a: mb.squeeze(x=a, axes=[0]), lambda a: a[0], THIN),
    "squeeze two": case("squeeze", lambda mb, a: mb.squeeze(x=a, axes=[-3, 0]), lambda a: a[0, :, 0], THIN),
    "squeeze all": case("squeeze", lambda mb, a: mb.squeeze(x=a), lambda a: a.squeeze(), THIN),
    "squeeze leaves other sizes alone": case(
        "squeeze", lambda mb, a: mb.squeeze(x=a, axes=[0, 1]), lambda a: a[0], THIN
    ),
    "transpose": case("transpose", lambda mb, a: mb.transpose(x=a, perm=[2, 0, 1]), lambda a: a.transpose(2, 0, 1)),
    "transpose, negative": case(
        "transpose", lambda mb, a: mb.transpose(x=a, perm=[-1, -2, -3]), lambda a: a.transpose(2, 1, 0)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_tensor_transformation(agree, name):
    agree(CASES[name])


@pytest.mark.parametrize(("batch_axis", "seq_axis"), [(0, 1), (1, 0), (0, 2), (2, 1)])
def test_reverse_sequence(predict, batch_axis, seq_axis):
    lengths = np.array([2, 0, 1, 2][: X.shape[batch_axis]], dtype=np.int32)
    graph = lambda mb, a, b: mb.reverse_sequence(x=a, lengths=b, seq_axis=seq_axis, batch_axis=batch_axis)  # noqa: E731
    found = predict(graph, [X, lengths], ops=["reverse_sequence"])[0]
    wanted = np.moveaxis(X.copy(), (batch_axis, seq_axis), (0, 1))
    for item, length in enumerate(lengths):
        wanted[item, :length] = wanted[item, :length][::-1].copy()
    assert np.array_equal(found, np.moveaxis(wanted, (0, 1), (batch_axis, seq_axis)))


def test_a_shape_that_depends_on_the_input(predict):
    found = predict(lambda mb, a, b: mb.reshape(x=a, shape=b), [X, np.array([6, -1], np.int32)], ops=["reshape"])[0]
    assert np.array_equal(found, X.reshape(6, 4))
    with pytest.raises(ArtifactError, match="reshape"):
        predict(lambda mb, a, b: mb.reshape(x=a, shape=b), [X, np.array([5, -1], np.int32)])


def test_zeros_before_ios17_need_the_same_rank():
    with pytest.raises(ValueError, match="as many axes"):
        ops.reshape(torch.from_numpy(X), (0, -1))


def test_empty_tensors_keep_their_shape():
    assert ops.reshape(torch.zeros(0, 3), (3, -1)).shape == (3, 0)
    assert ops.reshape_ios17(torch.zeros(0, 3), (3, -1)).shape == (3, 0)
