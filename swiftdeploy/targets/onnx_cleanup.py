"""Exporter clutter leaves an ONNX graph: identities, constants as nodes, unread initializers, generated names."""

from __future__ import annotations

import onnx
from onnx import numpy_helper

from swiftdeploy.targets.onnx_graph import drop_unread, set_nodes


def clean(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model without clutter. Changes `model` in place and answers it."""
    graph = model.graph
    _constants_to_initializers(graph)
    _drop_identities(graph)
    drop_unread(graph)
    for index, node in enumerate(graph.node):
        node.name = f"{node.op_type}_{index}"
        node.ClearField("doc_string")
    del graph.value_info[:]
    return model


def op_counts(model: onnx.ModelProto) -> dict[str, int]:
    """How many nodes of each op type the main graph holds, by name."""
    counts: dict[str, int] = {}
    for node in model.graph.node:
        counts[node.op_type] = counts.get(node.op_type, 0) + 1
    return dict(sorted(counts.items()))


def _constants_to_initializers(graph: onnx.GraphProto) -> None:
    kept = []
    for node in graph.node:
        value = next((a.t for a in node.attribute if a.name == "value"), None)
        if node.op_type == "Constant" and value is not None:
            graph.initializer.append(numpy_helper.from_array(numpy_helper.to_array(value), node.output[0]))
        else:
            kept.append(node)
    set_nodes(graph, kept)


def _drop_identities(graph: onnx.GraphProto) -> None:
    """Let readers of an identity read its source; one that makes a graph output from an input or weight stays."""
    outputs = {value.name for value in graph.output}
    source = {n.output[0]: n.input[0] for n in graph.node if n.op_type == "Identity" and n.output[0] not in outputs}

    def root(name: str) -> str:
        while name in source:
            name = source[name]
        return name

    kept = [n for n in graph.node if not (n.op_type == "Identity" and n.output[0] in source)]
    for node in kept:
        for index, name in enumerate(node.input):
            node.input[index] = root(name)
    set_nodes(graph, kept)
