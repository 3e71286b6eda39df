import onnx
import pytest

from swiftdeploy.targets.onnx_graph import GraphIndex, attribute, drop_unread, set_nodes

TEXT = """
<ir_version: 9, opset_import: ["": 20]>
g (float[N, 4, 5, 6] x) => (float[N, 4, 5, 6] y)
<int64[1] channels = {1}, int64[2] pixels = {-1, 2}, float unread = {2.0}> {
    norm = ReduceL2 <keepdims = 0> (x, channels)
    total = ReduceSum (x, pixels)
    twice = Mul (total, unread)
    thrice = Add (twice, twice)
    y = Add (x, total)
}
"""


@pytest.fixture
def model():
    return onnx.parser.parse_model(TEXT)


def test_an_index_says_what_the_graph_says(model):
    graph = GraphIndex.of(model)
    assert (graph.sizes["x"], graph.sizes["norm"]) == ((0, 4, 5, 6), (0, 5, 6))
    assert (graph.uses["x"], graph.uses["y"], graph.uses["thrice"]) == (3, 1, 0)
    assert graph.stored["pixels"].tolist() == [-1, 2]
    assert graph.maker("total", "ReduceSum").output[0] == "total"
    assert graph.maker("total", "ReduceL2") is None
    assert graph.maker("x", "ReduceL2") is None
    norm, total = model.graph.node[:2]
    assert (attribute(norm, "keepdims", 1), attribute(total, "keepdims", 1)) == (0, 1)


def test_what_a_node_reduces(model):
    graph = GraphIndex.of(model)
    norm, total, product = model.graph.node[:3]
    assert graph.reduces(norm, (1,))
    assert not graph.reduces(norm, (2, 3))
    assert graph.reduces(total, (2, 3)), "an axis may be counted from the end"
    assert not graph.reduces(total, (2,))
    assert not graph.reduces(product, (1,)), "a factor is no axis of four sizes"


def test_what_nothing_reads_goes_with_all_that_it_alone_read(model):
    drop_unread(model.graph)
    assert [node.op_type for node in model.graph.node] == ["ReduceSum", "Add"]
    assert [tensor.name for tensor in model.graph.initializer] == ["pixels"]
    onnx.checker.check_model(model, full_check=True)


def test_a_graph_may_consist_of_its_own_nodes(model):
    set_nodes(model.graph, list(model.graph.node)[1:])
    assert [node.output[0] for node in model.graph.node] == ["total", "twice", "thrice", "y"]
