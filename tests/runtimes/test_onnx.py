import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from swiftdeploy.errors import ArtifactError
from swiftdeploy.runtimes import onnx as onnx_runtime
from swiftdeploy.runtimes import open_artifact


@pytest.fixture(params=["fp32", "fp16"])
def runtime(written, request):
    return open_artifact(written("onnx", request.param))


def test_what_a_file_says_of_itself(written):
    found = open_artifact(written("onnx", "fp16"))
    assert [(i.name, i.shape, i.dtype) for i in found.inputs] == [("image", (1, 3, 32, 32), "float16")]
    assert found.outputs == ("logits",)


def test_floats_come_back_as_float32(runtime, network):
    found = runtime.run({"image": network("tiny", 32).images[:1].double().numpy()})
    assert (found["logits"].dtype, found["logits"].shape) == (np.float32, (1, 10))


def test_every_value_is_seen_as_written(runtime, network):
    """With optimisations off: a fused kernel would hide what is between its ops."""
    image = network("tiny", 32).images[:1].numpy()
    seen = runtime.intermediates({"image": image})
    counts = {}
    for _, op, _ in seen:
        counts[op] = counts.get(op, 0) + 1
    assert counts == runtime.op_counts()
    name, _, last = seen[-1]
    assert name == "logits"
    np.testing.assert_allclose(last.astype(np.float32), runtime.run({"image": image})["logits"], rtol=0.02, atol=0.02)


def test_weights_carry_the_names_of_the_checkpoint(runtime):
    names = set(runtime.tensors())
    assert {"head_weight", "head_bias", "patch_embed_0_weight", "network_0_0_attn_to_query_weight"} <= names


@pytest.mark.parametrize(("shared", "names"), [(False, set()), (True, {"scales"})])
def test_a_resizes_scales_are_no_weights_unless_something_else_reads_them(tmp_path, shared, names):
    nodes = [
        helper.make_node("Resize", ["x", "", "scales"], ["big"]),
        helper.make_node("Add" if shared else "Relu", ["big", "scales"] if shared else ["big"], ["y"]),
    ]
    shape = [1, 1, 2, 2]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 1, 4, 4])],
        [numpy_helper.from_array(np.float32([1, 1, 2, 2]), "scales")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), tmp_path / "m.onnx")
    assert set(onnx_runtime.open_model(tmp_path / "m.onnx", threads=1).tensors()) == names


def test_op_counts_are_the_files(written):
    counted = {}
    for node in onnx.load(written("onnx", "fp32")).graph.node:
        counted[node.op_type] = counted.get(node.op_type, 0) + 1
    assert open_artifact(written("onnx", "fp32")).op_counts() == dict(sorted(counted.items()))


def test_a_file_that_goes_while_it_is_open_is_an_error(written, tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(written("onnx", "fp32").read_bytes())
    runtime = onnx_runtime.open_model(path, threads=1)
    path.write_bytes(b"\xff\xff")
    with pytest.raises(ArtifactError, match="is no readable ONNX file"):
        runtime.tensors()
