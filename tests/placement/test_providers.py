"""What providers take: each documented condition from both sides, and partitions against an exhaustive search."""

import itertools
import random

import numpy as np
import pytest
from onnx import TensorProto, helper

from swiftdeploy.placement.artifact import place
from swiftdeploy.placement.onnx_graph import Graph, Node, read_graph
from swiftdeploy.placement.providers import COREML, PROVIDERS, XNNPACK, coverage, partitions

F, H, I64 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT64
IMAGE = ("x", F, (1, 4, 8, 8))
node = helper.make_node
ONES = np.ones((4, 4, 1, 1), np.float32)
BIAS = np.ones(4, np.float32)


def conv(rank):
    """A convolution over as many axes as the rank leaves, its weight stored."""
    return (
        [node("Conv", ["x", "w"], ["y"])],
        [("x", F, (1, 4, *[8] * (rank - 2)))],
        {"w": np.ones((4, 4, *[1] * (rank - 2)), np.float32)},
    )


def one(op, inputs=("x",), *, given=(IMAGE,), tensors=None, **attributes):
    return [node(op, list(inputs), ["y"], **attributes)], list(given), tensors or {}


def sized(op, *shape, **attributes):
    return one(op, given=(("x", F, shape),), **attributes)


def resize(mode, *shape):
    scales = np.array([1] * (len(shape) - 2) + [2, 2], np.float32)
    return one("Resize", ("x", "", "s"), given=(("x", F, shape),), tensors={"s": scales}, mode=mode)


def slices(constant):
    names = ("s", "e", "a")
    values = dict(zip(names, (np.array([0]), np.array([2]), np.array([1])), strict=True))
    if constant:
        return one("Slice", ("x", *names), tensors=values)
    return one("Slice", ("x", *names), given=(IMAGE, *((name, I64, (1,)) for name in names)))


MOVING = (IMAGE, ("w", F, (4, 4, 1, 1)), ("b", F, (4,)))
FLAT = (("x", F, (3, 4)), ("w", F, (4, 5)))
# (provider, what is taken, what is declined, the reason)
CONDITIONS = [
    (COREML, conv(4), conv(5), "input 0 has 5 axes"),
    (COREML, conv(3), one("Conv", ("x", "w", "b"), given=MOVING), "input 2 is not constant"),
    (COREML, sized("GlobalAveragePool", 1, 4, 8, 8), sized("GlobalAveragePool", 1, 4, 8, 8, 8), "input 0 has 5 axes"),
    (
        COREML,
        one("ConvTranspose", ("x", "w"), tensors={"w": ONES}),
        one("ConvTranspose", ("x", "w"), given=MOVING[:2]),
        "input 1 is not constant",
    ),
    (
        COREML,
        one("ConvTranspose", ("x", "w"), tensors={"w": ONES}, kernel_shape=[1, 1], auto_pad="VALID"),
        one("ConvTranspose", ("x", "w"), tensors={"w": ONES}, auto_pad="SAME_UPPER"),
        "auto_pad SAME_UPPER",
    ),
    (
        COREML,
        one("ConvTranspose", ("x", "w"), tensors={"w": ONES}, output_padding=[0, 0], strides=[2, 2]),
        one("ConvTranspose", ("x", "w"), tensors={"w": ONES}, output_padding=[1, 1], strides=[2, 2]),
        "output_padding (1, 1)",
    ),
    (
        COREML,
        one("ConvTranspose", ("x", "w"), tensors={"w": ONES}),
        one("ConvTranspose", ("x", "w"), tensors={"w": ONES}, output_shape=[8, 8]),
        "output_shape is given",
    ),
    (
        COREML,
        one("DepthToSpace", blocksize=2, mode="CRD"),
        one("DepthToSpace", given=(("x", F, (1, 4, "h", 8)),), blocksize=2, mode="CRD"),
        "mode CRD on an open shape",
    ),
    (
        COREML,
        one("Gemm", ("x", "w"), given=FLAT[:1], tensors={"w": np.ones((4, 5), np.float32)}),
        one("Gemm", ("x", "w"), given=FLAT),
        "input 1 is not constant",
    ),
    (
        COREML,
        one("Gemm", ("x", "w"), given=FLAT[:1], tensors={"w": np.ones((5, 4), np.float32)}, transB=1),
        one("Gemm", ("x", "w"), given=FLAT[:1], tensors={"w": np.ones((4, 5), np.float32)}, alpha=0.5),
        "alpha 0.5",
    ),
    (
        COREML,
        one("GridSample", ("x", "g"), given=(IMAGE, ("g", F, (1, 8, 8, 2))), mode="linear"),
        one("GridSample", ("x", "g"), given=(IMAGE, ("g", F, (1, 8, 8, 2))), mode="cubic"),
        "mode cubic",
    ),
    (
        COREML,
        one(
            "GridSample", ("x", "g"), given=(IMAGE, ("g", F, (1, 8, 8, 2))), padding_mode="reflection", align_corners=1
        ),
        one("GridSample", ("x", "g"), given=(IMAGE, ("g", F, (1, 8, 8, 2))), padding_mode="reflection"),
        "reflection without align_corners",
    ),
    (
        COREML,
        one("GatherND", ("x", "i"), tensors={"i": np.array([[0, 1]])}),
        one("GatherND", ("x", "i"), tensors={"i": np.array([[1]])}, batch_dims=1),
        "batch_dims 1",
    ),
    (
        COREML,
        one("Pow", ("x", "p"), tensors={"p": np.float32(2)}),
        one("Pow", ("x", "p"), tensors={"p": np.int64(2)}),
        "input 1 is int64",
    ),
    (COREML, slices(True), slices(False), "input 1 is not constant"),
    (
        COREML,
        one("Tile", ("x", "r"), tensors={"r": np.array([1, 1, 1, 2])}),
        one("Tile", ("x", "r"), given=(("x", F, (1, 1, 1, 1, 1, 2)),), tensors={"r": np.ones(6, np.int64)}),
        "input 0 has 6 axes",
    ),
    (COREML, one("Gelu"), one("ReduceL2"), "not listed"),
    (XNNPACK, conv(4), conv(3), "input 0 has 3 axes"),
    (
        XNNPACK,
        one("Conv", ("x", "w", "b"), tensors={"w": ONES, "b": BIAS}),
        one("Conv", ("x", "w", "b"), given=MOVING),
        "input 1 is not constant",
    ),
    (XNNPACK, sized("Softmax", 1, 8, axis=1), sized("Softmax", 1, 8, 4, axis=1), "axis 1 is not the last"),
    (XNNPACK, resize("linear", 1, 4, 8, 8), resize("nearest", 1, 4, 8, 8), "mode nearest"),
    (XNNPACK, resize("linear", 8, 8), resize("linear", 4, 8, 8), "input 0 has 3 axes"),
    (
        XNNPACK,
        one("MatMul", ("x", "w"), given=FLAT),
        one("MatMul", ("x", "w"), given=(("x", F, (2, 3, 4)), ("w", F, (4, 5)))),
        "input 0 has 3 axes",
    ),
    (
        XNNPACK,
        sized("MaxPool", 1, 4, 8, 8, kernel_shape=[2, 2]),
        sized("MaxPool", 1, 4, 8, kernel_shape=[2]),
        "input 0 has 3 axes",
    ),
    (XNNPACK, one("Softmax"), one("Relu"), "not listed"),
]


def covered(write, provider, program, name, opset=20):
    nodes, inputs, tensors = program
    return coverage(read_graph(write(nodes, inputs, [("y", F, None)], tensors, opset=opset, name=name)), provider)


@pytest.mark.parametrize(("provider", "taken", "declined", "reason"), CONDITIONS)
def test_a_condition_from_both_sides(write, provider, taken, declined, reason):
    found = covered(write, provider, taken, "taken")
    assert (found.nodes, found.taken, found.partitions, found.declined) == (1, 1, 1, {})
    found = covered(write, provider, declined, "declined")
    op = declined[0][0].op_type
    assert (found.nodes, found.taken, found.partitions) == (1, 0, 0)
    assert found.declined == {f"{op}: {reason}": 1}


def test_before_opset_13_softmax_flattens(write):
    program = sized("Softmax", 1, 8, 4, axis=1)
    assert covered(write, XNNPACK, program, "old", opset=12).taken == 1
    assert covered(write, XNNPACK, program, "new", opset=13).taken == 0


def test_sources_are_named(written):
    record, _ = place(written("onnx", "fp32"))
    assert [found.provider for found in record.providers] == [provider.name for provider in PROVIDERS]
    for found in record.providers:
        assert found.source.startswith("microsoft/onnxruntime, ")
        assert found.nodes == record.providers[0].nodes
        assert found.taken + sum(found.declined.values()) == found.nodes
        assert found.partitions > 0


def graph_of(edges, size):
    """A graph whose node i reads what its predecessors made."""
    reads = {target: tuple(f"v{source}" for source, end in edges if end == target) for target in range(size)}
    nodes = tuple(Node(op="N", name=f"n{i}", inputs=reads[i], outputs=(f"v{i}",), attributes={}) for i in range(size))
    return Graph(opset=20, nodes=nodes, values={}, static={})


def least(edges, size, taken):
    """The least number of pieces over every order in which the nodes may run."""
    best = size
    for order in itertools.permutations(range(size)):
        place_of = {node: index for index, node in enumerate(order)}
        if all(place_of[source] < place_of[target] for source, target in edges):
            runs = [key for key, _ in itertools.groupby(order, key=lambda node: node in taken)]
            best = min(best, sum(runs))
    return best


def test_partitions_are_the_fewest():
    generator = random.Random(0)
    for _ in range(60):
        size = generator.randint(1, 6)
        edges = [pair for pair in itertools.combinations(range(size), 2) if generator.random() < 0.4]
        taken = frozenset(node for node in range(size) if generator.random() < 0.5)
        assert partitions(graph_of(edges, size), taken) == least(edges, size, taken)


def test_a_chain_and_a_detour():
    chain = [(0, 1), (1, 2), (2, 3)]
    assert partitions(graph_of(chain, 4), frozenset({0, 1, 2, 3})) == 1
    assert partitions(graph_of(chain, 4), frozenset({0, 2, 3})) == 2
    detour = [(0, 1), (0, 2), (1, 3), (2, 3)]
    assert partitions(graph_of(detour, 4), frozenset({0, 1, 3})) == 2
    assert partitions(graph_of([], 0), frozenset()) == 0
