"""Oracles: torch's pixel shuffles, ONNX's DepthToSpace in mode DCR, and each op's inverse."""

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper

X = np.arange(2 * 8 * 6 * 4, dtype=np.float32).reshape(2, 8, 6, 4)


def by_onnx(op, x, **attributes):
    node = helper.make_node(op, ["x"], ["y"], **attributes)
    value = helper.make_tensor_value_info
    graph = helper.make_graph([node], "g", [value("x", TensorProto.FLOAT, None)], [value("y", TensorProto.FLOAT, None)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]


def test_depth_to_space_and_back(predict):
    graph = lambda mb, a: mb.depth_to_space(x=a, block_size=2)  # noqa: E731
    found = predict(graph, [X], ops=["depth_to_space"])[0]
    assert np.array_equal(found, by_onnx("DepthToSpace", X, blocksize=2, mode="DCR"))
    back = predict(lambda mb, a: mb.space_to_depth(x=a, block_size=2), [found], ops=["space_to_depth"])[0]
    assert np.array_equal(back, X)
    assert np.array_equal(back, by_onnx("SpaceToDepth", found, blocksize=2))


def test_pixel_shuffle_and_back(predict):
    found = predict(lambda mb, a: mb.pixel_shuffle(x=a, upscale_factor=2), [X], ops=["pixel_shuffle"])[0]
    assert np.array_equal(found, F.pixel_shuffle(torch.from_numpy(X), 2))
    graph = lambda mb, a: mb.pixel_unshuffle(x=a, downscale_factor=np.uint32(2))  # noqa: E731
    assert np.array_equal(predict(graph, [found], ios=16, ops=["pixel_unshuffle"])[0], X)


def space_to_batch(x, block, paddings):
    padded = np.pad(x, [(0, 0), (0, 0), *paddings])
    return np.concatenate(
        [padded[:, :, i :: block[0], j :: block[1]] for i in range(block[0]) for j in range(block[1])]
    )


@pytest.mark.parametrize(
    ("block", "paddings"), [([2, 2], [[0, 0], [0, 0]]), ([3, 2], [[2, 1], [1, 1]]), ([1, 4], [[0, 0], [3, 1]])]
)
def test_space_to_batch_and_back(predict, block, paddings):
    graph = lambda mb, a: mb.space_to_batch(x=a, block_shape=block, paddings=np.array(paddings, np.int32))  # noqa: E731
    found = predict(graph, [X], ops=["space_to_batch"])[0]
    assert np.array_equal(found, space_to_batch(X, block, paddings))
    graph = lambda mb, a: mb.batch_to_space(x=a, block_shape=block, crops=np.array(paddings, np.int32))  # noqa: E731
    assert np.array_equal(predict(graph, [found], ops=["batch_to_space"])[0], X)
