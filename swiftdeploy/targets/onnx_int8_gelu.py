"""GELU in forms that quantise.

ONNX Runtime has no 8-bit kernel for Gelu, which therefore stands in float between two convolutions of integers and
takes up to a third of their time.

    tanh      0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x**3))), an attribute of Gelu; off by at most 4.8e-4
    sigmoid   x sigmoid(1.702 x), as 8-bit table and product; off by at most 0.0204, whatever x

Both approximations stand in the paper (Hendrycks and Gimpel, 2016). "exact" leaves Gelu as it is. "auto" takes the
sigmoid where its error is no more than a step of the 256 that the layer's output has, and leaves Gelu elsewhere.

A slope of 1.773 would bring the sigmoid's worst error down to 0.0139, but is further off where most values are: the
digits lose 0.7 dB by it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper

from swiftdeploy.targets.onnx_graph import set_nodes

SLOPE = np.float32(1.702)
ERROR = 0.0204  # of the sigmoid's form, at most: 0.02034 at x = 2.27 and -2.27
_STEPS = 255
_SLOPE_NAME = "gelu_slope"
_STEEP = "_steep"


def as_tanh(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with every Gelu in its tanh form, in place."""
    for node in model.graph.node:
        if node.op_type == "Gelu":
            del node.attribute[:]
            node.attribute.append(helper.make_attribute("approximate", "tanh"))
    return model


def as_sigmoid(model: onnx.ModelProto, names: Collection[str]) -> onnx.ModelProto:
    """The model with the Gelu nodes of these names as Mul(x, Sigmoid(Mul(x, 1.702))), in place, before quantising."""
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        if node.op_type != "Gelu" or node.name not in names:
            nodes.append(node)
            continue
        (value,), (result,) = node.input, node.output
        steep, gate = f"{result}{_STEEP}", f"{result}_gate"
        nodes += [
            helper.make_node("Mul", [value, _SLOPE_NAME], [steep], name=f"{node.name}{_STEEP}"),
            helper.make_node("Sigmoid", [steep], [gate], name=f"{node.name}_sigmoid"),
            helper.make_node("Mul", [value, gate], [result], name=f"{node.name}_product"),
        ]
    if len(nodes) > len(model.graph.node):
        model.graph.initializer.append(numpy_helper.from_array(SLOPE, _SLOPE_NAME))
        set_nodes(model.graph, nodes)
    return model


def coarse(model: onnx.ModelProto, ranges: Mapping[str, tuple[float, float]]) -> set[str]:
    """Names of the Gelu nodes whose output has steps of ERROR or more; `ranges` are (lowest, highest) by value."""
    return {
        node.name for node in model.graph.node if node.op_type == "Gelu" and _step(*ranges[node.output[0]]) >= ERROR
    }


def _step(lowest: float, highest: float) -> float:
    return (max(highest, 0.0) - min(lowest, 0.0)) / _STEPS


def is_slope(node: onnx.NodeProto) -> bool:
    """Whether this is a product by 1.702 that `as_sigmoid` wrote and `fold_slopes` takes away again."""
    return node.op_type == "Mul" and _SLOPE_NAME in node.input


def fold_slopes(model: onnx.ModelProto) -> onnx.ModelProto:
    """The quantised model without the products by 1.702, in place.

    The integers q of x stand for s (q - z). Read with the scale 1.702 s, the same integers stand for 1.702 x: a second
    DequantizeLinear replaces the product and the rounding after it.
    """
    graph = model.graph
    made = {name: node for node in graph.node for name in node.output}
    scales = {tensor.name: tensor for tensor in graph.initializer}
    gone: set[str] = set()
    nodes = list(graph.node)
    for place, node in enumerate(nodes):
        rounded = made.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        product = made.get(rounded.input[0]) if rounded is not None and rounded.op_type == "QuantizeLinear" else None
        if rounded is None or product is None or not is_slope(product):
            continue
        read = made[product.input[0]]
        scale = f"{node.output[0]}_scale"
        steeper = numpy_helper.to_array(scales[read.input[1]]) * SLOPE
        graph.initializer.append(numpy_helper.from_array(steeper, scale))
        inputs = [read.input[0], scale, *read.input[2:]]
        nodes[place] = helper.make_node("DequantizeLinear", inputs, list(node.output), name=node.name)
        gone |= {rounded.name, product.name}
    set_nodes(graph, [node for node in nodes if node.name not in gone])
    return model
