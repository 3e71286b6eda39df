"""What every rewrite of an ONNX graph starts and ends with: what it says of its values, and other nodes in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import numpy_helper


@dataclass(frozen=True, kw_only=True, slots=True)
class GraphIndex:
    """What a graph says of its values: who makes each, how large it is (0 for a free size), how often it is read."""

    sizes: Mapping[str, tuple[int, ...]]
    stored: Mapping[str, NDArray[Any]]
    made: Mapping[str, onnx.NodeProto]
    uses: Mapping[str, int]

    @classmethod
    def of(cls, model: onnx.ModelProto) -> GraphIndex:
        """What the model's graph says. An output of the graph counts as read."""
        inferred = onnx.shape_inference.infer_shapes(model).graph
        values = (*inferred.value_info, *inferred.input, *inferred.output)
        graph = model.graph
        read = [name for node in graph.node for name in node.input] + [value.name for value in graph.output]
        return cls(
            sizes={v.name: tuple(dim.dim_value for dim in v.type.tensor_type.shape.dim) for v in values},
            stored={tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer},
            made={name: node for node in graph.node for name in node.output},
            uses=Counter(read),
        )

    def maker(self, name: str, op_type: str) -> onnx.NodeProto | None:
        """The node that makes the value, if it is of that type."""
        node = self.made.get(name)
        return node if node is not None and node.op_type == op_type else None

    def reduces(self, node: onnx.NodeProto, axes: Collection[int]) -> bool:
        """Whether the node reduces (N, C, H, W) over these axes and no others; they have to be a constant of it."""
        said = self.stored.get(node.input[1]) if len(node.input) > 1 else None
        rank = len(self.sizes.get(node.input[0], ()))
        return said is not None and rank == 4 and sorted(int(a) % rank for a in said.ravel()) == sorted(axes)


def attribute(node: onnx.NodeProto, name: str, otherwise: int) -> int:
    """An integer attribute of a node, or what holds where it is not said."""
    return next((a.i for a in node.attribute if a.name == name), otherwise)


def set_nodes(graph: onnx.GraphProto, nodes: Sequence[onnx.NodeProto]) -> None:
    """Let the graph consist of copies of these nodes, which may be its own."""
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def drop_unread(graph: onnx.GraphProto) -> None:
    """Take away nodes and initializers of which nothing is read."""
    wanted = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if wanted & set(node.output):
            kept.append(node)
            wanted |= set(node.input)
    set_nodes(graph, kept[::-1])
    weights = [tensor for tensor in graph.initializer if tensor.name in wanted]
    del graph.initializer[:]
    graph.initializer.extend(weights)
