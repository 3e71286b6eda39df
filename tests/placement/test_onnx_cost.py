"""What a node costs, by hand; the same network's Core ML figures stand in test_cost.py."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from swiftdeploy.placement.artifact import place
from swiftdeploy.placement.cost import make_cost

F, H, I8, U8, I32, I64 = (
    TensorProto.FLOAT,
    TensorProto.FLOAT16,
    TensorProto.INT8,
    TensorProto.UINT8,
    TensorProto.INT32,
    TensorProto.INT64,
)
node = helper.make_node


def ones(*shape, dtype=np.float32):
    return np.ones(shape, dtype)


MACS = {
    "Conv": (
        node("Conv", ["x", "w"], ["y"], group=2, pads=[1, 1, 1, 1]),
        [("x", F, (2, 4, 8, 8))],
        ("y", F, (2, 6, 8, 8)),
        {"w": ones(6, 2, 3, 3)},
        2 * 6 * 8 * 8 * 2 * 9,
    ),
    "ConvTranspose": (
        node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2]),
        [("x", F, (1, 4, 8, 8))],
        ("y", F, (1, 6, 16, 16)),
        {"w": ones(4, 6, 2, 2)},
        4 * 8 * 8 * 6 * 4,
    ),
    "Gemm": (
        node("Gemm", ["x", "w"], ["y"], transA=1, transB=1),
        [("x", F, (7, 3))],
        ("y", F, (3, 5)),
        {"w": ones(5, 7)},
        3 * 5 * 7,
    ),
    "MatMul": (
        node("MatMul", ["a", "b"], ["y"]),
        [("a", F, (2, 3, 4)), ("b", F, (2, 4, 5))],
        ("y", F, (2, 3, 5)),
        {},
        2 * 3 * 4 * 5,
    ),
    "Einsum": (
        node("Einsum", ["a", "b"], ["y"], equation="bchq, bkhc -> bkhq"),
        [("a", F, (1, 2, 3, 4)), ("b", F, (1, 5, 3, 2))],
        ("y", F, (1, 5, 3, 4)),
        {},
        2 * 3 * 4 * 5,
    ),
    "Einsum of one": (
        node("Einsum", ["a"], ["y"], equation="ij->ji"),
        [("a", F, (2, 3))],
        ("y", F, (3, 2)),
        {},
        0,
    ),
    "QLinearConv": (
        node("QLinearConv", ["x", "s", "z", "w", "s", "wz", "s", "z", "b"], ["y"]),
        [("x", U8, (1, 4, 8, 8))],
        ("y", U8, (1, 6, 8, 8)),
        {
            "s": np.float32(0.1),
            "z": np.uint8(3),
            "wz": np.int8(0),
            "w": ones(6, 4, 1, 1, dtype=np.int8),
            "b": ones(6, dtype=np.int32),
        },
        6 * 8 * 8 * 4,
    ),
    "Relu": (node("Relu", ["x"], ["y"]), [("x", F, (1, 4))], ("y", F, (1, 4)), {}, 0),
}


@pytest.mark.parametrize("case", MACS)
def test_macs(write, case):
    operator, inputs, output, tensors, macs = MACS[case]
    record, (op,) = place(write([operator], inputs, [output], tensors))
    assert op.type == operator.op_type
    assert op.cost.macs == record.cost.macs == macs


def test_weights_and_activations_by_hand(write):
    nodes = [
        node("Conv", ["x", "w", "b"], ["c"]),
        node("Reshape", ["c", "shape"], ["r"]),
        node("MatMul", ["r", "m"], ["y"]),
        node("Add", ["y", "y"], ["z"]),
    ]
    tensors = {
        "w": ones(6, 4, 1, 1, dtype=np.float16),
        "b": ones(6, dtype=np.float16),
        "shape": np.array([1, 6, 64]),
        "m": ones(64, 10, dtype=np.float16),
    }
    record, ops = place(write(nodes, [("x", H, (1, 4, 8, 8))], [("z", H, (1, 6, 10))], tensors))
    conv, reshape, matmul, add = (op.cost for op in ops)
    assert conv == make_cost(macs=6 * 64 * 4, weight_bytes=48 + 12, activation_bytes=2 * (256 + 384))
    assert reshape == make_cost(macs=0, weight_bytes=0, activation_bytes=2 * 2 * 384)
    assert matmul == make_cost(macs=60 * 64, weight_bytes=1280, activation_bytes=2 * (384 + 60))
    assert add == make_cost(macs=0, weight_bytes=0, activation_bytes=2 * 2 * 60)  # one value read twice is read once
    assert record.cost.weight_bytes == 48 + 12 + 1280
    assert record.neural_engine is None


def test_quantized_weights_count_as_stored(write):
    nodes = [
        node("DequantizeLinear", ["w8", "scale"], ["w"], axis=0),
        node("Conv", ["x", "w"], ["y"]),
        node("Conv", ["y", "w"], ["z"]),
    ]
    tensors = {"w8": ones(4, 4, 1, 1, dtype=np.int8), "scale": ones(4)}
    record, ops = place(write(nodes, [("x", F, (1, 4, 8, 8))], [("z", F, (1, 4, 8, 8))], tensors))
    assert [op.type for op in ops] == ["Conv", "Conv"]
    assert [op.cost.weight_bytes for op in ops] == [16 + 16] * 2
    assert record.cost.weight_bytes == 16 + 16  # two convolutions of one weight


def test_a_size_that_only_a_run_knows(write):
    nodes = [node("NonZero", ["x"], ["y"])]
    record, _ = place(write(nodes, [("x", F, (1, 4))], [("y", I64, (2, None))]))
    assert record.cost.unsized == 1
    assert record.cost.activation_bytes == 0
