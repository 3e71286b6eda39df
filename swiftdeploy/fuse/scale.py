"""A fixed factor or offset for each channel, beside a layer with weights, belongs in the weights.

s * (W x + b)  = (s W) x + (s b)      layer scales, scalar factors such as C**-0.5, the 1/2 of averaged heads
W (s * x) + b  = (W s) x + b          input scaling such as 1/std; zero padding stays zero, so any padding is fine
"""

from __future__ import annotations

import torch
from torch import Tensor, fx

from swiftdeploy.fuse.batch_norm import set_linear
from swiftdeploy.fuse.graph import (
    DIV,
    LINEAR,
    MUL,
    Conv,
    calls,
    constant,
    conv_of,
    is_call,
    linear_of,
    only_user,
    operands,
    place,
    replace,
    scalar,
    set_conv,
    shape,
)
from swiftdeploy.fuse.ledger import Outcome


def fold_into_previous(graph: fx.GraphModule, images: Tensor) -> Outcome:
    """Fold each constant factor into the convolution or linear whose result it scales."""
    del images
    fired: list[str] = []
    declined: dict[str, str] = {}
    for node in calls(graph, MUL, DIV):
        # A linear's channels stand last, whatever the rank; a convolution's stand second.
        found = _factor(graph, node, axis=-1 if any(is_call(a, LINEAR) for a in node.all_input_nodes) else 1)
        if found is None:
            continue
        source, factor = found
        conv, linear = conv_of(graph, source), linear_of(graph, source)
        if conv is None and linear is None:
            continue
        where = place(node)
        if only_user(source) is None:
            declined[where] = "the layer before it is read elsewhere too"
            continue
        if conv is not None:
            bias = None if conv.bias is None else conv.bias.double() * factor
            new = set_conv(graph, conv, weight=conv.weight.double() * factor.view(-1, 1, 1, 1), bias=bias)
        elif linear is not None:
            x, weight, old = linear
            offset = torch.zeros(weight.shape[0]) if old is None else old
            new = set_linear(
                graph, source, x=x, weight=weight.double() * factor[:, None], bias=offset.double() * factor
            )
        replace(graph, node, new)
        fired.append(where)
    return Outcome(fired=tuple(fired), declined=declined)


def fold_into_next(graph: fx.GraphModule, images: Tensor) -> Outcome:
    """Fold each constant factor on an input into every convolution that reads the product."""
    del images
    fired: list[str] = []
    declined: dict[str, str] = {}
    for node in calls(graph, MUL, DIV):
        found = _factor(graph, node, axis=1) if len(shape(node)) == 4 else None
        if found is None:
            continue
        source, factor = found
        convs = [conv_of(graph, user) for user in node.users]
        if not all(conv is not None and conv.x is node for conv in convs):
            declined[place(node)] = "something other than a convolution reads the product"
            continue
        where = place(node)
        for conv in convs:
            if conv is not None:
                set_conv(graph, conv, weight=_scale_inputs(conv, factor), bias=conv.bias, x=source)
        graph.graph.erase_node(node)
        fired.append(where)
    return Outcome(fired=tuple(fired), declined=declined)


def _scale_inputs(conv: Conv, factor: Tensor) -> Tensor:
    """W with each input channel multiplied by its factor; a grouped weight holds its group's channels only."""
    outputs, width = conv.weight.shape[:2]
    group = torch.arange(outputs) // (outputs // conv.groups)
    channel = group[:, None] * width + torch.arange(width)
    return conv.weight.double() * factor[channel][:, :, None, None]


def _factor(graph: fx.GraphModule, node: fx.Node, *, axis: int) -> tuple[fx.Node, Tensor] | None:
    """(x, s in float64 of shape (channels,)) for s*x, x*s or x/s with constant s; None for any other call.

    `axis` is where x has its channels.
    """
    pairs = operands(node) if is_call(node, MUL) else (operands(node)[0],)
    for source, other in pairs:
        if not isinstance(source, fx.Node) or constant(graph, source) is not None or len(shape(source)) < 2:
            continue
        channels = shape(source)[axis]
        value = _per_channel(graph, other, channels, rank=len(shape(source)), axis=axis)
        if value is not None and shape(source) == shape(node):
            return source, value if is_call(node, MUL) else 1.0 / value
    return None


def _per_channel(graph: fx.GraphModule, node: object, channels: int, *, rank: int, axis: int) -> Tensor | None:
    number = scalar(node)
    if number is not None:
        return torch.full((channels,), number, dtype=torch.float64)
    value = constant(graph, node)
    if value is None or not value.is_floating_point() or value.dim() > rank:
        return None
    if value.numel() == 1:
        return value.double().reshape(1).expand(channels)
    aligned = value.reshape((1,) * (rank - value.dim()) + tuple(value.shape))
    if aligned.numel() == channels == aligned.shape[axis]:
        return aligned.double().flatten()
    return None
