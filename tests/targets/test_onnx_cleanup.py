import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from swiftdeploy.targets.onnx_cleanup import clean, op_counts


def model(nodes, initializers=(), inputs=("x",), outputs=("y",)):
    def value(name):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 2])

    graph = helper.make_graph(
        nodes,
        "g",
        [value(name) for name in inputs],
        [value(name) for name in outputs],
        [numpy_helper.from_array(np.asarray(v, np.float32), n) for n, v in initializers],
    )
    found = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(found)
    return found


def constant(name, value):
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.asarray(value, np.float32)))


def run(found):
    session = onnxruntime.InferenceSession(found.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": np.array([[1.0, -2.0], [3.0, 4.0]], np.float32)})


CASES = {
    "constants": (
        [constant("two", 2.0), helper.make_node("Mul", ["x", "two"], ["y"])],
        [],
        ("y",),
        {"Mul": 1},
    ),
    "a chain of identities": (
        [
            helper.make_node("Identity", ["x"], ["a"]),
            helper.make_node("Identity", ["a"], ["b"]),
            helper.make_node("Add", ["b", "x"], ["y"]),
        ],
        [],
        ("y",),
        {"Add": 1},
    ),
    "an identity of a weight": (
        [helper.make_node("Identity", ["w"], ["v"]), helper.make_node("Add", ["x", "v"], ["y"])],
        [("w", [[1.0, 2.0], [3.0, 4.0]])],
        ("y",),
        {"Add": 1},
    ),
    "an identity that is an output": (
        [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Identity", ["a"], ["y"])],
        [],
        ("y",),
        {"Identity": 1, "Relu": 1},
    ),
    "an identity behind an output": (
        [
            helper.make_node("Relu", ["x"], ["y"]),
            helper.make_node("Identity", ["y"], ["a"]),
            helper.make_node("Neg", ["a"], ["z"]),
        ],
        [],
        ("y", "z"),
        {"Neg": 1, "Relu": 1},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_clutter_goes_and_values_stay(case):
    nodes, initializers, outputs, expected = CASES[case]
    found = model(nodes, initializers, outputs=outputs)
    before = run(found)
    cleaned = clean(found)
    onnx.checker.check_model(cleaned, full_check=True)
    assert op_counts(cleaned) == expected
    for first, second in zip(before, run(cleaned), strict=True):
        np.testing.assert_array_equal(first, second)


def test_unread_weights_go():
    found = clean(model([helper.make_node("Relu", ["x"], ["y"])], [("unread", [[0.0, 0.0], [0.0, 0.0]])]))
    assert not found.graph.initializer


def test_generated_names_give_way_to_counted_ones():
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="/n/0", doc_string="file.py:3"),
        helper.make_node("Neg", ["a"], ["y"]),
    ]
    found = clean(model(nodes))
    assert [(node.name, node.doc_string) for node in found.graph.node] == [("Relu_0", ""), ("Neg_1", "")]


def test_twice_is_once():
    nodes, initializers, outputs, _ = CASES["a chain of identities"]
    once = clean(model(nodes, initializers, outputs=outputs)).SerializeToString(deterministic=True)
    assert clean(onnx.load_from_string(once)).SerializeToString(deterministic=True) == once
