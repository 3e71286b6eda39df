"""An ONNX file as costs and providers look at it: nodes, and the dtype and shape of every value.

In: a path. Out: frozen values, named as `swiftdeploy.mil` names dtypes. Knows protobuf; weights are not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper, shape_inference

from swiftdeploy.errors import ArtifactError

_DTYPES = {
    "FLOAT": "fp32",
    "FLOAT16": "fp16",
    "BFLOAT16": "bf16",
    "DOUBLE": "fp64",
    "FLOAT8E4M3FN": "fp8e4m3fn",
    "FLOAT8E5M2": "fp8e5m2",
}
_OWN_DOMAINS = ("", "ai.onnx")


@dataclass(frozen=True, kw_only=True, slots=True)
class Value:
    """The dtype of a value, and its shape, where None is a size not known before a run; no shape at all is None too."""

    dtype: str
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """One node. `op` carries its domain where that is not ONNX's own; an input that is left out is ""."""

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Graph:
    """The main graph of a model.

    `static` maps every value known before a run to the stored tensors that it is made of: such a tensor to itself, a
    dequantized weight to its integers, scales and zero points. `nodes` are those that a run has to compute.
    """

    opset: int
    nodes: tuple[Node, ...]
    values: Mapping[str, Value]
    static: Mapping[str, tuple[str, ...]]

    def shape(self, node: Node, index: int) -> tuple[int | None, ...] | None:
        """The shape of an input; None where it is left out or not known."""
        value = self.values.get(node.inputs[index]) if index < len(node.inputs) else None
        return None if value is None else value.shape

    def is_static(self, node: Node, index: int) -> bool:
        """Whether an input is known before a run, or left out."""
        return index >= len(node.inputs) or not node.inputs[index] or node.inputs[index] in self.static


def read_graph(path: Path) -> Graph:
    """The main graph of the .onnx at `path`, for one sample where the batch is free.

    Raises ArtifactError where the file is damaged.
    """
    try:
        model = onnx.load_model(path, load_external_data=False)
        _one_sample(model)
        model = shape_inference.infer_shapes(model, data_prop=True)
        return _graph(model)
    except Exception as error:
        raise ArtifactError(
            f"{path.name} is no readable ONNX file: {str(error)[:200]}", hint="export again, or restore the file"
        ) from error


def _one_sample(model: Any) -> None:
    """Set a free first axis of the inputs to 1, and whatever is named after it."""
    free = set()
    for value in model.graph.input:
        sizes = value.type.tensor_type.shape.dim
        if sizes and not sizes[0].HasField("dim_value"):
            free.add(sizes[0].dim_param)
            sizes[0].dim_value = 1
    for value in (*model.graph.value_info, *model.graph.output):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param and size.dim_param in free:
                size.dim_value = 1


def _graph(model: Any) -> Graph:
    values = {value.name: _declared(value) for value in _value_infos(model.graph)}
    for tensor in model.graph.initializer:
        values[tensor.name] = Value(dtype=_dtype(tensor.data_type), shape=tuple(tensor.dims))
    static: dict[str, tuple[str, ...]] = {tensor.name: (tensor.name,) for tensor in model.graph.initializer}
    nodes = []
    for message in model.graph.node:
        node = _node(message)
        if node.op == "Constant":
            values[node.outputs[0]] = _constant(node)
            static[node.outputs[0]] = (node.outputs[0],)
        elif node.inputs and all(not name or name in static for name in node.inputs):
            parts = dict.fromkeys(part for name in node.inputs if name for part in static[name])
            static.update(dict.fromkeys(node.outputs, tuple(parts)))
        else:
            nodes.append(node)
    opsets = {entry.domain: int(entry.version) for entry in model.opset_import}
    return Graph(
        opset=max((opsets.get(domain, 0) for domain in _OWN_DOMAINS), default=0),
        nodes=tuple(nodes),
        values=values,
        static=static,
    )


def _value_infos(graph: Any) -> Iterator[Any]:
    yield from graph.input
    yield from graph.value_info
    yield from graph.output


def _node(message: Any) -> Node:
    prefix = "" if message.domain in _OWN_DOMAINS else f"{message.domain}:"
    return Node(
        op=f"{prefix}{message.op_type}",
        name=message.name or (message.output[0] if message.output else message.op_type),
        inputs=tuple(message.input),
        outputs=tuple(message.output),
        attributes={attribute.name: helper.get_attribute_value(attribute) for attribute in message.attribute},
    )


def _constant(node: Node) -> Value:
    tensor = node.attributes.get("value")
    if isinstance(tensor, TensorProto):
        return Value(dtype=_dtype(tensor.data_type), shape=tuple(tensor.dims))
    # The short forms hold a number or a list of them, which is a parameter and no weight.
    return Value(dtype="int64", shape=())


def _declared(message: Any) -> Value:
    kind = message.type.tensor_type
    sizes = tuple(int(d.dim_value) if d.HasField("dim_value") else None for d in kind.shape.dim)
    return Value(dtype=_dtype(kind.elem_type), shape=sizes if kind.HasField("shape") else None)


def _dtype(code: int) -> str:
    name = TensorProto.DataType.Name(code)
    return _DTYPES.get(name, name.lower())
