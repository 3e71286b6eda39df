"""An ONNX file as costs and providers see it."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from swiftdeploy.errors import ArtifactError
from swiftdeploy.placement.onnx_graph import Value, read_graph

F, H = TensorProto.FLOAT, TensorProto.FLOAT16


def test_nodes_values_and_what_is_known_before(write):
    nodes = [
        helper.make_node("Constant", [], ["two"], value=numpy_helper.from_array(np.float32(2))),
        helper.make_node("DequantizeLinear", ["w8", "scale"], ["w"]),
        helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1]),
        helper.make_node("Mul", ["y", "two"], ["z"], name="twice"),
    ]
    tensors = {"w8": np.ones((4, 3, 3, 3), np.int8), "scale": np.float32(0.5)}
    graph = read_graph(write(nodes, [("x", F, (1, 3, 8, 8))], [("z", F, (1, 4, 8, 8))], tensors))
    assert graph.opset == 20
    assert [(node.op, node.name) for node in graph.nodes] == [("Conv", "y"), ("Mul", "twice")]
    assert graph.values["y"] == Value(dtype="fp32", shape=(1, 4, 8, 8))
    assert graph.static["w"] == ("w8", "scale")
    assert graph.static["two"] == ("two",)
    conv, twice = graph.nodes
    assert graph.is_static(conv, 1)
    assert graph.is_static(conv, 2)  # the bias that is not given
    assert not graph.is_static(twice, 0)
    assert graph.shape(conv, 1) == (4, 3, 3, 3)


def test_a_free_batch_is_one_sample_and_other_sizes_stay_open(write):
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    graph = read_graph(write(nodes, [("x", H, ("batch", 3, "height", 8))], [("y", H, ("batch", 3, "height", 8))]))
    assert graph.values["y"] == Value(dtype="fp16", shape=(1, 3, None, 8))


def test_a_domain_of_its_own_is_in_the_name(write):
    nodes = [helper.make_node("QuickGelu", ["x"], ["y"], domain="com.microsoft")]
    graph = read_graph(write(nodes, [("x", F, (1, 3))], [("y", F, (1, 3))]))
    assert [node.op for node in graph.nodes] == ["com.microsoft:QuickGelu"]


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x00" * 100])
def test_a_damaged_file(tmp_path, content):
    (tmp_path / "bad.onnx").write_bytes(content)
    if not content:
        assert read_graph(tmp_path / "bad.onnx").nodes == ()  # protobuf reads nothing as an empty message
        return
    with pytest.raises(ArtifactError, match="no readable ONNX file"):
        read_graph(tmp_path / "bad.onnx")
