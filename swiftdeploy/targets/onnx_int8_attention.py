"""Efficient additive attention in a form that costs less between integer convolutions; the sums stay what they are.

    x / Clip(ReduceL2(x))                     LpNormalization of x with its channels last: one pass instead of three
    g * (k / Clip(n * ReduceL2(k)))           the same of k, times g / n, which is a few values
    ReduceL2(a) over the tokens               the same with its channels last, as convolutions have it
    ReduceSum(Mul(a, q)) over the tokens      one MatMul of a, a value a token, with q: two passes over q become one
    Conv(Concat(q, k))                        Conv(q) + Conv(k): a concatenation of integers rounds both to one scale

All are rewritten before quantising, in the fp32 graph that `onnx_int8` has read. LpNormalization knows no least norm:
it divides by every norm but 0, as PyTorch's F.normalize does down to 1e-12. Our fp32 graph, which has to fit fp16,
stops at 2**-14; a larger least norm is part of what the network computes, and stays.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from swiftdeploy.targets.onnx_graph import GraphIndex, attribute, drop_unread, set_nodes

Array = NDArray[Any]
_TO_LAST, _TO_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)
_PIXELS = (2, 3)
_GUARD = 2.0**-14  # the least norm that only keeps fp16 from dividing by what it has no number for
_TINY = 1e-12  # the least norm of F.normalize


def rewritten(model: onnx.ModelProto, keep: Collection[str] = ()) -> onnx.ModelProto:
    """The model with all of these rewritten, in place, but for what holds a node named in `keep`.

    Free batch sizes stay free.
    """
    graph = GraphIndex.of(model)
    instead: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for match in (_unit, _scaled_unit, _norm_of_map, _product, _sum):
            found = match(node, graph)
            if found and not {n.name for n in found.replaced} & set(keep):
                instead[node.output[0]] = found.nodes
                model.graph.initializer.extend(found.constants)
    nodes = [n for node in model.graph.node for n in instead.get(node.output[0], [node])]
    set_nodes(model.graph, _untransposed(nodes))
    drop_unread(model.graph)
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


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    """What takes the place of some nodes, the last of which makes the value that the last of `nodes` makes."""

    replaced: Sequence[onnx.NodeProto]
    nodes: list[onnx.NodeProto]
    constants: Sequence[onnx.TensorProto] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Norm:
    """A quotient x / Clip(ReduceL2(x) * scale) over the channels of (N, C, H, W); `scale` is "" for none."""

    x: str
    scale: str
    nodes: tuple[onnx.NodeProto, ...]


def _norm(node: onnx.NodeProto, graph: GraphIndex) -> _Norm | None:
    clip = graph.maker(node.input[1], "Clip") if node.op_type == "Div" else None
    least = graph.stored.get(clip.input[1]) if clip is not None and len(clip.input) > 1 else None
    if clip is None or least is None or not least <= _GUARD or any(clip.input[2:]):
        return None
    x, divisor, scale = node.input[0], clip.input[0], ""
    scaled = graph.maker(divisor, "Mul")
    if scaled is not None:
        # (N, 1, 1, 1) is the scale of whole maps
        scale = next((name for name in scaled.input if graph.sizes.get(name, ())[1:] == (1, 1, 1)), "")
        divisor = next((name for name in scaled.input if name != scale), "")
    reduced = graph.maker(divisor, "ReduceL2")
    if reduced is None or bool(scaled) != bool(scale) or reduced.input[0] != x:
        return None
    if not graph.reduces(reduced, (1,)) or attribute(reduced, "keepdims", 1) != 1:
        return None
    nodes = (reduced, *([scaled] if scaled is not None else []), clip, node)
    return _Norm(x=x, scale=scale, nodes=nodes)


def _unit(node: onnx.NodeProto, graph: GraphIndex) -> _Found | None:
    """A quotient by the norm over channels, as LpNormalization; None for another node."""
    norm = _norm(node, graph)
    if norm is None or norm.scale:
        return None
    nodes = [*_unit_rows(norm.x, node.name), _back(f"{node.name}_unit", node)]
    return _Found(replaced=norm.nodes, nodes=nodes)


def _scaled_unit(node: onnx.NodeProto, graph: GraphIndex) -> _Found | None:
    """A value a channel times a quotient by a scaled norm over channels; None for another node.

    The least norm is written as wide as the map: the runtime then multiplies whole rows of pixels at a time.
    """
    if node.op_type != "Mul":
        return None
    quotient = next((name for name in node.input if graph.maker(name, "Div")), "")
    values = next((name for name in node.input if name != quotient), "")
    norm = _norm(graph.made[quotient], graph) if quotient and graph.uses[quotient] == 1 else None
    if norm is None or not norm.scale or graph.sizes.get(values, ())[2:] != (1, 1):
        return None
    name = node.name
    width = max(1, graph.sizes[norm.x][3])
    least = numpy_helper.from_array(np.full((1, 1, width, 1), _TINY, np.float32), f"{name}_least")
    nodes = [
        *_unit_rows(norm.x, name),
        _node("Max", [norm.scale, least.name], f"{name}_scale"),
        _node("Transpose", [values], f"{name}_values", perm=_TO_LAST),
        _node("Div", [f"{name}_values", f"{name}_scale"], f"{name}_scaled"),
        _node("Mul", [f"{name}_scaled", f"{name}_unit"], f"{name}_product"),
        _back(f"{name}_product", node),
    ]
    return _Found(replaced=[*norm.nodes, node], nodes=nodes, constants=[least])


def _norm_of_map(node: onnx.NodeProto, graph: GraphIndex) -> _Found | None:
    """The norm over pixels of (N, 1, H, W) where its channels are last; None for another node."""
    if node.op_type != "ReduceL2" or not graph.reduces(node, _PIXELS) or attribute(node, "keepdims", 1) != 1:
        return None
    if graph.sizes[node.input[0]][1] != 1:
        return None
    name = node.name
    axes = numpy_helper.from_array(np.array([1, 2], np.int64), f"{name}_pixels")
    nodes = [
        _node("Transpose", [node.input[0]], f"{name}_last", perm=_TO_LAST),
        helper.make_node("ReduceL2", [f"{name}_last", axes.name], [node.output[0]], name=name, keepdims=1),
    ]
    return _Found(replaced=[node], nodes=nodes, constants=[axes])


def _unit_rows(x: str, name: str) -> list[onnx.NodeProto]:
    return [
        _node("Transpose", [x], f"{name}_last", perm=_TO_LAST),
        _node("LpNormalization", [f"{name}_last"], f"{name}_unit", axis=-1, p=2),
    ]


def _product(node: onnx.NodeProto, graph: GraphIndex) -> _Found | None:
    """Sum over tokens of (N, 1, H, W) times (N, C, H, W) as (N, 1, 1, HW) times (N, 1, HW, C); None for another."""
    source = graph.maker(node.input[0], "Mul") if node.op_type == "ReduceSum" else None
    if source is None or graph.uses[node.input[0]] != 1:
        return None
    shapes = [graph.sizes.get(name, ()) for name in source.input]
    if not graph.reduces(node, _PIXELS) or attribute(node, "keepdims", 1) != 1:
        return None
    if any(len(shape) != 4 for shape in shapes) or shapes[0][2:] != shapes[1][2:] or 1 not in (s[1] for s in shapes):
        return None
    one, many = (0, 1) if shapes[0][1] == 1 else (1, 0)
    channels = shapes[many][1]
    if channels < 1:
        return None
    name = node.name
    forms = {"rows": (0, 1, -1, channels), "row": (0, 1, 1, -1)}
    constants = [numpy_helper.from_array(np.array(form, np.int64), f"{name}_{to}_shape") for to, form in forms.items()]
    nodes = [
        # Integer convolutions work with channels last, so that these transpositions and the runtime's own cancel out.
        _node("Transpose", [source.input[many]], f"{name}_last", perm=_TO_LAST),
        _node("Transpose", [source.input[one]], f"{name}_one_last", perm=_TO_LAST),
        _node("Reshape", [f"{name}_last", f"{name}_rows_shape"], f"{name}_rows"),
        _node("Reshape", [f"{name}_one_last", f"{name}_row_shape"], f"{name}_row"),
        _node("MatMul", [f"{name}_row", f"{name}_rows"], f"{name}_product"),
        _back(f"{name}_product", node),
    ]
    return _Found(replaced=[source, node], nodes=nodes, constants=constants)


def _sum(node: onnx.NodeProto, graph: GraphIndex) -> _Found | None:
    """A convolution of joined channels as the sum of one for each; None for another node."""
    source = graph.maker(node.input[0], "Concat") if node.op_type == "Conv" else None
    if source is None or graph.uses[node.input[0]] != 1:
        return None
    weight = graph.stored.get(node.input[1])
    kind = (attribute(node, "group", 1), attribute(source, "axis", 0), len(source.input))
    widths = [graph.sizes.get(name, (0, 0))[1] for name in source.input]
    if weight is None or kind != (1, 1, 2) or min(widths) < 1 or sum(widths) != weight.shape[1]:
        return None
    nodes: list[onnx.NodeProto] = []
    constants = []
    for number, (name, end, width) in enumerate(zip(source.input, np.cumsum(widths), widths, strict=True)):
        part = np.ascontiguousarray(weight[:, end - width : end])
        constants.append(numpy_helper.from_array(part, _part(node.input[1], number)))
        bias = list(node.input[2:]) if number == 0 else []
        made = _node("Conv", [name, _part(node.input[1], number), *bias], f"{node.name}_{number}")
        made.attribute.extend(node.attribute)
        nodes.append(made)
    both = [made.output[0] for made in nodes]
    nodes.append(helper.make_node("Add", both, [node.output[0]], name=f"{node.name}_sum"))
    return _Found(replaced=[source, node], nodes=nodes, constants=constants)


def _part(name: str, number: int) -> str:
    return f"{name}_part{number}"


def _node(op: str, inputs: list[str], output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs, [output], name=output, **attributes)


def _back(value: str, node: onnx.NodeProto) -> onnx.NodeProto:
    """What makes the node's output of a value with channels last."""
    return helper.make_node("Transpose", [value], [node.output[0]], name=f"{node.name}_back", perm=_TO_FIRST)


def _untransposed(nodes: Sequence[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """The nodes, each of which reads what a transposition there and back would give it before both of them.

    What the runtime makes of such a pair between roundings is rounded twice.
    """
    made = {node.output[0]: node for node in nodes if node.op_type == "Transpose"}
    before: dict[str, str] = {}
    for node in made.values():
        source = made.get(node.input[0])
        if source is not None and {_perm(source), _perm(node)} == {_TO_LAST, _TO_FIRST}:
            before[node.output[0]] = source.input[0]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    for node in copies:
        for index, name in enumerate(node.input):
            node.input[index] = before.get(name, name)
    return copies


def _perm(node: onnx.NodeProto) -> tuple[int, ...]:
    return next((tuple(a.ints) for a in node.attribute if a.name == "perm"), ())
