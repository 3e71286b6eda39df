"""Rounded activations become float again: what is left are integer weights with their DequantizeLinear."""

from __future__ import annotations

import onnx


def unrounded(model: onnx.ModelProto) -> onnx.ModelProto:
    """The quantised model without a QuantizeLinear, and without the DequantizeLinear of what one made, in place."""
    graph = model.graph
    source = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "QuantizeLinear"}
    float_of = {
        node.output[0]: source[node.input[0]]
        for node in graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in source
    }
    kept = [
        onnx.NodeProto.FromString(node.SerializeToString())
        for node in graph.node
        if node.op_type != "QuantizeLinear" and node.output[0] not in float_of
    ]
    for node in kept:
        for index, name in enumerate(node.input):
            node.input[index] = float_of.get(name, name)
    del graph.node[:]
    graph.node.extend(kept)
    return model
