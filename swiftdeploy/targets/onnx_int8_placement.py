"""Which nodes of an fp32 graph compute in 8-bit integers: a rule by type and structure, with the reason for each no."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

import onnx

from swiftdeploy.targets import onnx_int8_gelu

# Op types with an 8-bit kernel in ONNX Runtime's CPU provider that gains something. The second row only moves values.
_COMPUTING = ("Conv", "ConvTranspose", "Gemm", "MatMul", "Add", "Mul", "Sigmoid", "Concat", "GlobalAveragePool")
_MOVING = ("Relu", "Clip", "MaxPool", "AveragePool", "Pad", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose")
TYPES = _COMPUTING + _MOVING
FEW_CHANNELS = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """Which nodes of the fp32 graph compute in integers, and why each other one does not, by node name."""

    integer: tuple[str, ...]
    floating: Mapping[str, str] = field(default_factory=dict)


def place(model: onnx.ModelProto, keep_float: Iterable[str] = ()) -> Placement:
    """Where each node of an fp32 graph computes: the rule, by op type and structure.

    Convolutions of the image's few channels cost more in integers than in float, and the most accuracy. A product is
    quantised where it applies a sigmoid's gate; other products, and sums with a constant, belong to normalisations and
    to spelt-out functions, which need float's range and which ONNX Runtime fuses only as long as they are whole.
    """
    made = {name: node for node in model.graph.node for name in node.output}
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    floating = dict.fromkeys(keep_float, "was asked for")
    floating |= {node.name: "gives an output beside others of its type that do not" for node in _mixed_last(model)}
    for node in model.graph.node:
        if node.name not in floating and (reason := _why_float(node, made, shapes, floating)):
            floating[node.name] = reason
    return Placement(
        integer=tuple(node.name for node in model.graph.node if node.name not in floating), floating=floating
    )


def _why_float(
    node: onnx.NodeProto,
    made: Mapping[str, onnx.NodeProto],
    shapes: Mapping[str, tuple[int, ...]],
    floating: Collection[str],
) -> str:
    if node.op_type not in TYPES:
        return f"ONNX Runtime has no 8-bit {node.op_type} that gains"
    if node.op_type == "Conv" and _reads_few_channels(node, shapes):
        return "reads the image's few channels"
    if node.op_type == "ConvTranspose" and any(a.name == "group" and a.i > 1 for a in node.attribute):
        return "ONNX Runtime's tool mistakes the channels of its groups"
    if onnx_int8_gelu.is_slope(node):
        return "becomes the scale of what it reads"
    if node.op_type == "Mul" and not any(name in made and made[name].op_type == "Sigmoid" for name in node.input):
        return "is no gate of a sigmoid"
    if node.op_type in ("Add", "Concat") and any(name in shapes for name in node.input):
        return "has a constant operand"
    if node.op_type == "MatMul" and not any(name in shapes for name in node.input):
        return "multiplies two activations"
    source = made.get(node.input[0])
    if node.op_type in _MOVING and (source is None or source.name in floating):
        return "moves values that are float"
    return ""


def last(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """The nodes that give the model's outputs, which stay float: 256 levels would make ties of a classifier's scores.

    ONNX Runtime's tool can leave the outputs of an op type unrounded, of all nodes of the type or of none.
    """
    outputs = {value.name for value in model.graph.output}
    return [node for node in model.graph.node if outputs & set(node.output)]


def _mixed_last(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    final = last(model)
    return [node for node in final if any(n.op_type == node.op_type and n not in final for n in model.graph.node)]


def _reads_few_channels(node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    groups = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
    weight = shapes.get(node.input[1], ())
    return groups == 1 and len(weight) > 1 and weight[1] <= FEW_CHANNELS
