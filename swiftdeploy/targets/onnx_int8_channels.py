"""Channels of depthwise convolutions in multiples of 16: ONNX Runtime's integer kernel takes 16 at a time.

What is left over it takes one by one: 56 channels cost 2.4 times as much as 64 (28 x 28, AVX-512), 220 twice as much as
224. So channels of zeros are added, in the fp32 graph before it is quantised: zero filters make them, sums, products
and activations carry them along the residual stream, and zeros in the weights of all that read them let nothing of them
through. The answers stay the same, to the bit.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from swiftdeploy.targets.onnx_graph import GraphIndex, attribute

Array = NDArray[Any]
LANES = 16
_MOST = 4  # one channel may be added for so many that are there: the other layers take longer by as much
_BY_VALUE = ("Relu", "LeakyRelu", "Gelu", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Clip")
_OF_TWO = ("Add", "Mul")
_OVER_PIXELS = ("GlobalAveragePool", "ReduceMean")


def widened(model: onnx.ModelProto, keep: Collection[str] = ()) -> onnx.ModelProto:
    """The model with such channels in multiples of 16, in place.

    Left alone are streams that anything else reads or makes (a concatenation, an output of the model), that a node
    named in `keep` belongs to, or that would grow by more than a quarter.
    """
    graph = GraphIndex.of(model)
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    outputs = {value.name for value in model.graph.output}
    extra: dict[tuple[str, int], int] = {}
    seen: set[str] = set()
    for node in model.graph.node:
        if not _is_depthwise(node, graph) or node.input[0] in seen:
            continue
        stream = _stream(node.input[0], graph, readers)
        seen |= stream.values
        missing = -stream.channels % LANES
        usable = stream.whole and not stream.values & outputs and not stream.names & set(keep)
        if usable and 0 < missing <= stream.channels // _MOST:
            extra |= dict.fromkeys(stream.weights, missing)
            _set_groups(stream.nodes, stream.channels + missing)
    _grow(model.graph, extra)
    if extra:
        del model.graph.value_info[:]
    return model


def grown(value: Array, shape: Sequence[int]) -> Array | None:
    """The weight with zeros behind it up to `shape`; None where that is smaller, or larger than `widened` makes it."""
    if value.ndim != len(shape):
        return None
    more = [now - before for before, now in zip(value.shape, shape, strict=True)]
    if any(m and not 0 < m < LANES for m in more):
        return None
    return np.pad(value, [(0, m) for m in more])


@dataclass(kw_only=True, slots=True)
class _Stream:
    """Values that share their channels, the nodes between them, and the weights' axes that run over these channels."""

    channels: int
    whole: bool = True
    values: set[str] = field(default_factory=set)
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: set[tuple[str, int]] = field(default_factory=set)

    @property
    def names(self) -> set[str]:
        return {node.name for node in self.nodes}


def _stream(start: str, graph: GraphIndex, readers: Mapping[str, Sequence[onnx.NodeProto]]) -> _Stream:
    """All that shares channels with the value `start`; not `whole` where one of its nodes is of another kind."""
    stream = _Stream(channels=graph.sizes.get(start, (0, 0))[1])
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if name in stream.values:
            continue
        stream.values.add(name)
        maker = graph.made.get(name)
        around = [*([maker] if maker is not None else []), *readers.get(name, ())]
        stream.whole &= maker is not None and graph.sizes.get(name, ())[1:2] == (stream.channels,)
        for node in around:
            stream.nodes.append(node)
            ends = _ends(node, name, graph)
            stream.whole &= ends is not None
            if ends is not None:
                waiting += ends.values
                stream.weights |= ends.weights
                stream.whole &= all(graph.uses[weight] == 1 for weight, _ in ends.weights)
    return stream


@dataclass(frozen=True, kw_only=True, slots=True)
class _Ends:
    """What has the channels of one value at one node: other values of it, and axes of its weights."""

    values: tuple[str, ...] = ()
    weights: frozenset[tuple[str, int]] = frozenset()


def _ends(node: onnx.NodeProto, name: str, graph: GraphIndex) -> _Ends | None:
    """What shares channels with the value `name`, which the node reads or makes; None for a node of another kind."""
    result = node.output[0]
    if node.op_type in _BY_VALUE:
        return _Ends(values=(node.input[0], result))
    if node.op_type in _OF_TWO:
        same = all(graph.sizes.get(value, ())[1:2] == graph.sizes[name][1:2] for value in node.input)
        return _Ends(values=(*node.input, result)) if same and not set(node.input) & set(graph.stored) else None
    if node.op_type in _OVER_PIXELS:
        over = node.op_type == "GlobalAveragePool" or graph.reduces(node, (2, 3))
        return _Ends(values=(node.input[0], result)) if over else None
    if node.op_type == "Conv":
        return _ends_of_conv(node, name, graph)
    if node.op_type == "Gemm" and name == node.input[0] and not attribute(node, "transA", 0):
        axis = 1 if attribute(node, "transB", 0) else 0
        return _Ends(weights=frozenset({(node.input[1], axis)})) if node.input[1] in graph.stored else None
    return None


def _ends_of_conv(node: onnx.NodeProto, name: str, graph: GraphIndex) -> _Ends | None:
    if not set(node.input[1:]) <= set(graph.stored):
        return None
    makes = frozenset((weight, 0) for weight in node.input[1:])
    if _is_depthwise(node, graph):
        return _Ends(values=(node.input[0], node.output[0]), weights=makes)
    if attribute(node, "group", 1) != 1:
        return None
    reads = frozenset({(node.input[1], 1)})
    return _Ends(weights=makes if name == node.output[0] else reads)


def _is_depthwise(node: onnx.NodeProto, graph: GraphIndex) -> bool:
    weight = graph.stored.get(node.input[1]) if node.op_type == "Conv" else None
    return weight is not None and weight.shape[1] == 1 < weight.shape[0] == attribute(node, "group", 1)


def _set_groups(nodes: Sequence[onnx.NodeProto], channels: int) -> None:
    for node in nodes:
        for entry in node.attribute:
            if node.op_type == "Conv" and entry.name == "group" and entry.i != 1:
                entry.i = channels


def _grow(graph: onnx.GraphProto, extra: Mapping[tuple[str, int], int]) -> None:
    for tensor in graph.initializer:
        more = [extra.get((tensor.name, axis), 0) for axis in range(len(tensor.dims))]
        if any(more):
            value = np.pad(numpy_helper.to_array(tensor), [(0, m) for m in more])
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
