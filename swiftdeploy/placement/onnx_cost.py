"""What each node of an ONNX model costs, by the same measures as an op of a Core ML program."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from swiftdeploy.mil.macs import Shape, convolution, product
from swiftdeploy.mil.weights import stored_bytes
from swiftdeploy.placement.cost import make_cost
from swiftdeploy.placement.onnx_graph import Graph, Node, Value
from swiftdeploy.report import Cost, OpCost

# Shapes, axes and flags are int64 and bool, whatever the model computes in: what remains are weights.
_PARAMETERS = ("int64", "bool", "string")


def costs(graph: Graph) -> tuple[OpCost, ...]:
    """The cost of every node that a run computes, in the file's order. Subgraphs of loops and branches are left out."""
    return tuple(OpCost(op=node.name, type=node.op, cost=_cost(graph, node)) for node in graph.nodes)


def weights(graph: Graph) -> Mapping[str, int]:
    """The bytes of every stored weight that a node reads, by name, once."""
    return {name: size for node in graph.nodes for name, size in _weights_of(graph, node).items()}


def _weights_of(graph: Graph, node: Node) -> dict[str, int]:
    parts = (part for name in node.inputs if name in graph.static for part in graph.static[name])
    return {part: _bytes(graph.values[part]) for part in parts if graph.values[part].dtype not in _PARAMETERS}


def _cost(graph: Graph, node: Node) -> Cost:
    weight_bytes = sum(_weights_of(graph, node).values())
    moving = [name for name in dict.fromkeys((*node.inputs, *node.outputs)) if name and name not in graph.static]
    values = [graph.values.get(name) for name in moving]
    known = [value for value in values if value is not None and value.shape is not None and None not in value.shape]
    if len(known) < len(values):
        return make_cost(macs=0, weight_bytes=weight_bytes, activation_bytes=0, unsized=1)
    return make_cost(macs=_macs(graph, node), weight_bytes=weight_bytes, activation_bytes=sum(map(_bytes, known)))


def _bytes(value: Value) -> int:
    return stored_bytes(value.dtype, tuple(size or 0 for size in value.shape or ()))


def _macs(graph: Graph, node: Node) -> int:
    count = _COUNTS.get(node.op)
    if count is None:
        return 0
    known = [graph.values.get(name) for name in (node.outputs[0], *node.inputs)]
    out, *shapes = [tuple(size or 0 for size in (value.shape if value else None) or ()) for value in known]
    return count(node, out, shapes)


def _conv(weight: int) -> Callable[[Node, Shape, list[Shape]], int]:
    return lambda _, out, shapes: convolution(out, shapes[weight])


def _conv_transpose(_: Node, __: Shape, shapes: list[Shape]) -> int:
    return convolution(shapes[0], shapes[1])


def _gemm(node: Node, out: Shape, shapes: list[Shape]) -> int:
    return product(out, shapes[0][0 if node.attributes.get("transA") else 1])


def _matmul(_: Node, out: Shape, shapes: list[Shape]) -> int:
    return product(out, shapes[0][-1])


def _einsum(node: Node, _: Shape, shapes: list[Shape]) -> int:
    """The product of all sizes that the equation names. One operand is moved or summed, and multiplies nothing."""
    terms = node.attributes["equation"].decode().replace(" ", "").split("->")[0].split(",")
    if len(shapes) != 2 or any("." in term for term in terms):
        return 0
    return math.prod(dict(zip("".join(terms), (*shapes[0], *shapes[1]), strict=True)).values())


_COUNTS: Mapping[str, Callable[[Node, Shape, list[Shape]], int]] = {
    "Conv": _conv(1),
    "ConvInteger": _conv(1),
    "QLinearConv": _conv(3),
    "com.microsoft:FusedConv": _conv(1),
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
    "QLinearMatMul": _matmul,
    "Einsum": _einsum,
}
