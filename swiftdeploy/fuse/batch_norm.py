"""Batch norm in inference is a fixed scale and shift of each channel, so it belongs in a neighbour's weights.

BN(y) = s*y + t        with s = gamma / sqrt(var + eps), t = beta - s*mean
after a convolution:   BN(W*x + b)  = (s W)*x + (s b + t)
before one:            W*BN(x) + b  = (W s)*x + (b + W t)      if the convolution pads nothing: padding would add
                                                               0 where BN(x) has t at the border
before a linear:       the same, also through a mean over pixels, since mean(s*x + t) = s*mean(x) + t
"""

from __future__ import annotations

import torch
from torch import Tensor, fx

from swiftdeploy.fuse.graph import (
    BATCH_NORM,
    MEAN,
    add_constant,
    arg,
    calls,
    constant,
    conv_of,
    emit,
    is_call,
    linear_of,
    only_user,
    place,
    replace,
    set_conv,
    shape,
    weight_stem,
)
from swiftdeploy.fuse.ledger import Outcome


def fold_into_previous(graph: fx.GraphModule, images: Tensor) -> Outcome:
    """Fold each batch norm that follows a convolution into it."""
    del images
    fired: list[str] = []
    for node in calls(graph, BATCH_NORM):
        affine = scale_and_shift(graph, node)
        conv = conv_of(graph, arg(node, 0))
        if affine is None or conv is None or only_user(conv.node) is None:
            continue
        scale, shift = affine
        weight = conv.weight.double() * scale.view(-1, 1, 1, 1)
        bias = shift if conv.bias is None else conv.bias.double() * scale + shift
        where = place(node)
        replace(graph, node, set_conv(graph, conv, weight=weight, bias=bias))
        fired.append(where)
    return Outcome(fired=tuple(fired))


def fold_into_next(graph: fx.GraphModule, images: Tensor) -> Outcome:
    """Fold each remaining batch norm into every convolution or linear that reads it, if all of them allow it."""
    del images
    fired: list[str] = []
    declined: dict[str, str] = {}
    for node in calls(graph, BATCH_NORM):
        affine = scale_and_shift(graph, node)
        reason = "its statistics are not constants" if affine is None else _refusal(graph, node)
        if affine is None or reason:
            declined[place(node)] = reason
            continue
        where = place(node)
        for reader, _ in _readers(node):
            _absorb(graph, reader, *affine)
        replace(graph, node, arg(node, 0))
        fired.append(where)
    return Outcome(fired=tuple(fired), declined=declined)


def scale_and_shift(graph: fx.GraphModule, node: fx.Node) -> tuple[Tensor, Tensor] | None:
    """(s, t) of an inference batch norm in float64, each of shape (C,); None where a statistic is no constant."""
    gamma_node, beta_node, mean_node, var_node, training = node.args[1:6]
    mean, var = constant(graph, mean_node), constant(graph, var_node)
    if mean is None or var is None or training:
        return None
    gamma, beta = constant(graph, gamma_node), constant(graph, beta_node)
    scale = torch.rsqrt(var.double() + float(arg(node, 7)))
    if gamma is not None:
        scale = scale * gamma.double()
    shift = -mean.double() * scale
    if beta is not None:
        shift = shift + beta.double()
    return scale, shift


def _readers(node: fx.Node) -> list[tuple[fx.Node, fx.Node | None]]:
    """Every reader of a batch norm, looking through means over pixels: (reader, the mean between or None)."""
    found: list[tuple[fx.Node, fx.Node | None]] = []
    for user in node.users:
        if is_call(user, MEAN) and list(arg(user, 1)) == [2, 3]:
            found.extend((reader, user) for reader in user.users)
        else:
            found.append((user, None))
    return found


def _refusal(graph: fx.GraphModule, node: fx.Node) -> str:
    """Why the readers of a batch norm cannot absorb it; empty when they can."""
    for reader, mean in _readers(node):
        conv = conv_of(graph, reader)
        if conv is not None and conv.x is node:
            if not conv.pointwise:
                return f"{conv.name} pads its input with zeros, or looks at neighbours"
            if conv.groups != 1:
                return f"{conv.name} is grouped"
        elif linear_of(graph, reader) is None or len(shape(node if mean is None else mean)) != 2:
            return f"{place(reader)} reads it and has no weights to take it"
    return "" if _readers(node) else "its value is an output"


def _absorb(graph: fx.GraphModule, reader: fx.Node, scale: Tensor, shift: Tensor) -> None:
    conv = conv_of(graph, reader)
    if conv is not None:
        weight, bias = absorbed(conv.weight.flatten(1), conv.bias, scale, shift)
        set_conv(graph, conv, weight=weight.view_as(conv.weight), bias=bias)
        return
    linear = linear_of(graph, reader)
    if linear is None:
        raise AssertionError("a refused reader reached the rewrite")
    x, old_weight, old_bias = linear
    weight, bias = absorbed(old_weight, old_bias, scale, shift)
    set_linear(graph, reader, x=x, weight=weight, bias=bias)


def absorbed(weight: Tensor, bias: Tensor | None, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """(W s, b + W t) in float64, for a weight of shape (out, in)."""
    wide = weight.double()
    offset = wide @ shift
    return wide * scale, offset if bias is None else offset + bias.double()


def set_linear(graph: fx.GraphModule, node: fx.Node, *, x: fx.Node, weight: Tensor, bias: Tensor) -> fx.Node:
    """Replace a linear by one with other weights, keeping its place and name."""
    dtype = node.meta["val"].dtype
    stem = weight_stem(node)
    weight_node = add_constant(graph, f"{stem}.weight", weight.to(dtype), node)
    bias_node = add_constant(graph, f"{stem}.bias", bias.to(dtype), node)
    new = emit(graph, node.target, (x, weight_node, bias_node), before=node, like=node)
    replace(graph, node, new)
    return new
