"""Efficient additive attention in a form that costs less between integer convolutions; the sums stay what they are.

    ReduceSum(Mul(a, q)) over the tokens      one MatMul of a, a value a token, with q: two passes over q become one
    Conv(Concat(q, k))                        Conv(q) + Conv(k): a concatenation of integers rounds both to one scale

Both are rewritten before quantising, in the fp32 graph that `onnx_int8` has read.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Array = NDArray[Any]


def rewritten(model: onnx.ModelProto, keep: Collection[str] = ()) -> onnx.ModelProto:
    """The model with every such sum and concatenation rewritten, in place, but for the nodes named in `keep`.

    Free batch sizes stay free.
    """
    graph = model.graph
    sizes = _sizes(model)
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    made = {name: node for node in graph.node for name in node.output}
    uses = [name for node in graph.node for name in node.input] + [value.name for value in graph.output]
    instead: dict[str, list[onnx.NodeProto]] = {}
    dropped: set[str] = set()
    for node in graph.node:
        source = made.get(node.input[0]) if node.input else None
        if source is None or uses.count(source.output[0]) != 1 or {node.name, source.name} & set(keep):
            continue
        found: list[onnx.NodeProto] = []
        if node.op_type == "ReduceSum" and source.op_type == "Mul":
            found = _product(node, source, sizes, stored, graph)
        elif node.op_type == "Conv" and source.op_type == "Concat":
            found = _sum(node, source, sizes, stored, graph)
        if found:
            instead[node.output[0]] = found
            dropped.add(source.output[0])
    nodes = [n for node in graph.node if node.output[0] not in dropped for n in instead.get(node.output[0], [node])]
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    read = {name for node in kept for name in node.input}
    weights = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(kept)
    graph.initializer.extend(weights)
    return model


def parts_of(name: str, value: Array, stored: Mapping[str, Array]) -> dict[str, Array]:
    """The weight `name` as `stored` integers have it: whole, or in parts along its input channels where it was split.

    Parts that do not make up the whole are none: whoever asks then misses the weight.
    """
    parts: dict[str, Array] = {}
    start = 0
    while (integers := stored.get(f"{_part(name, len(parts))}_quantized")) is not None and integers.ndim > 1:
        parts[_part(name, len(parts))] = value[:, start : start + integers.shape[1]]
        start += integers.shape[1]
    return parts if parts and start == value.shape[1] else {name: value}


def _product(
    node: onnx.NodeProto,
    source: onnx.NodeProto,
    sizes: Mapping[str, tuple[int, ...]],
    stored: Mapping[str, Array],
    graph: onnx.GraphProto,
) -> list[onnx.NodeProto]:
    """Sum over tokens of (N, 1, H, W) times (N, C, H, W) as (N, 1, HW) times (N, HW, C); empty for another sum."""
    shapes = [sizes.get(name, ()) for name in source.input]
    axes = stored.get(node.input[1]) if len(node.input) > 1 else None
    keeps = next((a.i for a in node.attribute if a.name == "keepdims"), 1)
    if axes is None or sorted(int(a) % 4 for a in axes.ravel()) != [2, 3] or not keeps:
        return []
    if any(len(shape) != 4 for shape in shapes) or shapes[0][2:] != shapes[1][2:] or 1 not in (s[1] for s in shapes):
        return []
    one, many = (0, 1) if shapes[0][1] == 1 else (1, 0)
    channels = shapes[many][1]
    if channels < 1:
        return []
    name = node.name
    for suffix, target in (("rows", (0, -1, channels)), ("row", (0, 1, -1)), ("wide", (0, 1, 1, channels))):
        graph.initializer.append(numpy_helper.from_array(np.array(target, np.int64), f"{name}_{suffix}_shape"))
    return [
        # Integer convolutions work with channels last, so that these transpositions and the runtime's own cancel out.
        _node("Transpose", [source.input[many]], f"{name}_last", perm=[0, 2, 3, 1]),
        _node("Transpose", [source.input[one]], f"{name}_one_last", perm=[0, 2, 3, 1]),
        _node("Reshape", [f"{name}_last", f"{name}_rows_shape"], f"{name}_rows"),
        _node("Reshape", [f"{name}_one_last", f"{name}_row_shape"], f"{name}_row"),
        _node("MatMul", [f"{name}_row", f"{name}_rows"], f"{name}_product"),
        _node("Reshape", [f"{name}_product", f"{name}_wide_shape"], f"{name}_wide"),
        helper.make_node("Transpose", [f"{name}_wide"], [node.output[0]], name=f"{name}_back", perm=[0, 3, 1, 2]),
    ]


def _sum(
    node: onnx.NodeProto,
    source: onnx.NodeProto,
    sizes: Mapping[str, tuple[int, ...]],
    stored: Mapping[str, Array],
    graph: onnx.GraphProto,
) -> list[onnx.NodeProto]:
    """A convolution of joined channels as the sum of one for each; empty where it is another."""
    weight = stored.get(node.input[1])
    group = next((a.i for a in node.attribute if a.name == "group"), 1)
    axis = next((a.i for a in source.attribute if a.name == "axis"), 0)
    widths = [sizes.get(name, (0, 0))[1] for name in source.input]
    if weight is None or (group, axis, len(widths)) != (1, 1, 2) or min(widths) < 1 or sum(widths) != weight.shape[1]:
        return []
    nodes: list[onnx.NodeProto] = []
    ends = np.cumsum(widths)
    for number, (name, end, width) in enumerate(zip(source.input, ends, widths, strict=True)):
        part = np.ascontiguousarray(weight[:, end - width : end])
        graph.initializer.append(numpy_helper.from_array(part, _part(node.input[1], number)))
        bias = list(node.input[2:]) if number == 0 else []
        made = _node("Conv", [name, _part(node.input[1], number), *bias], f"{node.name}_{number}")
        made.attribute.extend(node.attribute)
        nodes.append(made)
    both = [made.output[0] for made in nodes]
    return [*nodes, helper.make_node("Add", both, [node.output[0]], name=f"{node.name}_sum")]


def _part(name: str, number: int) -> str:
    return f"{name}_part{number}"


def _node(op: str, inputs: list[str], output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs, [output], name=output, **attributes)


def _sizes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """The shape of every value that has one, 0 for a free size."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    values = (*graph.value_info, *graph.input, *graph.output)
    return {v.name: tuple(dim.dim_value for dim in v.type.tensor_type.shape.dim) for v in values}
