"""Efficient additive attention with fewer ops, and with norms that survive fp16.

As captured and brought to NCHW, with 1x1 convolutions Wq, Wk, Wp, Wf and w_g, and n(v) = v / max(|v|, 1e-12):

    q = n(Wq x)   k = n(Wk x)   a = n_tokens(w_g q)   g = sum_tokens(a q)   y = Wf (Wp (g k) + q)

    (The generation `sum` has no a: g = sum_tokens(q).)

Three exact steps:

1. Scale. n(s v) = n(v) for any s > 0, so a power of two goes into Wq, Wk and w_g, chosen on calibration images such
   that the largest norm lies in [8, 16): squares and their sums then stay 2**8 below fp16's limit, and no bit of a
   weight changes. The guard becomes max(|v|, 2**-14), a normal fp16 number; 1e-12 would round to 6e-8 or to 0. It is
   exact for every vector longer than 2**-14, which is 2**-18 of the longest one.
2. One division fewer. Both norms divide the same product: g k = sum(a' q) * (k' / (|a'| |k'|)), with a', k' before
   normalisation. |a'| and |k'| are each below 16 on the calibration images, so neither the product nor the quotient
   leaves fp16, whatever order a compiler picks.
3. Two convolutions in a row are one: Wf (Wp z + bp + q) + bf = [Wf Wp, Wf] (z, q) + (Wf bp + bf), composed in float64.
   The multiply-adds stay what they were: C*C + C*C against C*2C.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx

from swiftdeploy.fuse.graph import (
    ADD,
    CAT,
    CLAMP_MIN,
    CONV,
    DIV,
    MUL,
    NORM,
    SUM,
    Conv,
    arg,
    calls,
    conv_of,
    emit,
    is_call,
    operands,
    scalar,
    set_conv,
)
from swiftdeploy.fuse.ledger import Outcome
from swiftdeploy.fuse.ranges import largest

GUARD = 2.0**-14
NORM_CEILING = 16.0
CHANNELS, PIXELS = (1,), (2, 3)


@dataclass(frozen=True, kw_only=True, slots=True)
class Normalised:
    """v / max(|v|, eps) in the graph: the quotient, the norm, and the convolution that makes v."""

    quotient: fx.Node
    norm: fx.Node
    conv: Conv


@dataclass(frozen=True, kw_only=True, slots=True)
class Core:
    """One attention as matched. `alpha` is None for the generation `sum`; `context` is the product g k."""

    final: Conv
    projection: Conv
    query: Normalised
    key: Normalised
    alpha: Normalised | None
    context: fx.Node
    total: fx.Node


def rewrite_attention(graph: fx.GraphModule, images: Tensor) -> Outcome:
    """Rewrite each efficient additive attention that stands in NCHW, images (N, C, H, W) being the calibration set."""
    cores: list[Core] = []
    declined: dict[str, str] = {}
    for node in calls(graph, CONV):
        found = match(graph, node)
        if isinstance(found, Core):
            cores.append(found)
        elif found:
            declined[found[0]] = found[1]
    norms = [part.norm for core in cores for part in (core.query, core.key, core.alpha) if part is not None]
    reach = dict(zip(norms, largest(graph, norms, images), strict=True))
    fired: list[str] = []
    for core in cores:
        fired.append(core.final.name.removesuffix(".final"))
        _rewrite(graph, core, reach)
    graph.graph.eliminate_dead_code()
    return Outcome(fired=tuple(fired), declined=declined)


def match(graph: fx.GraphModule, node: fx.Node) -> Core | tuple[str, str] | None:
    """The attention that ends in this convolution; (place, reason) for a near miss; None for anything else."""
    final = conv_of(graph, node)
    if final is None or not _plain(final) or not is_call(final.x, ADD):
        return None
    for product, residual in operands(final.x):
        projection, query = conv_of(graph, product), normalised(graph, residual, CHANNELS)
        if projection is None or query is None or not is_call(projection.x, MUL):
            continue
        for context, keyed in operands(projection.x):
            key = normalised(graph, keyed, CHANNELS)
            if key is None or not is_call(context, SUM) or list(arg(context, 1)) != list(PIXELS):
                continue
            found = _inside(graph, final, projection, query, key, context)
            return found or (final.name, "the summed value is not the query, nor the query weighted by its own norm")
    return None


def _inside(
    graph: fx.GraphModule, final: Conv, projection: Conv, query: Normalised, key: Normalised, context: fx.Node
) -> Core | None:
    summed: Any = arg(context, 0)
    core = Core(
        final=final, projection=projection, query=query, key=key, alpha=None, context=projection.x, total=context
    )
    if summed is query.quotient:
        return core
    if not is_call(summed, MUL):
        return None
    for weighting, weighted in operands(summed):
        alpha = normalised(graph, weighting, PIXELS)
        if alpha is not None and weighted is query.quotient and alpha.conv.x is query.quotient:
            return replace(core, alpha=alpha)
    return None


def normalised(graph: fx.GraphModule, node: Any, axes: tuple[int, ...]) -> Normalised | None:
    """The parts of conv(x) / max(|conv(x)|_2 over `axes`, eps), where nothing else reads conv(x)."""
    if not is_call(node, DIV) or not is_call(arg(node, 1), CLAMP_MIN):
        return None
    value, norm = arg(node, 0), arg(arg(node, 1), 0)
    conv = conv_of(graph, value)
    if conv is None or not is_call(norm, NORM) or arg(norm, 0) is not value or set(value.users) != {node, norm}:
        return None
    order, over, kept = (*norm.args[1:], False, False)[:3] if len(norm.args) > 3 else (2.0, (), False)
    if scalar(order) != 2.0 or tuple(over) != axes or not kept:
        return None
    return Normalised(quotient=node, norm=norm, conv=conv)


def _plain(conv: Conv) -> bool:
    return conv.pointwise and conv.groups == 1 and conv.stride == (1, 1)


def _rewrite(graph: fx.GraphModule, core: Core, reach: Mapping[fx.Node, float]) -> None:
    end = core.final.node
    _scale(graph, core.query, reach)
    _scale(graph, core.key, reach)
    k, k_norm = arg(core.key.quotient, 0), core.key.norm
    context, divisor = core.total, k_norm
    if core.alpha is not None:
        _scale(graph, core.alpha, reach)
        a, weighted = arg(core.alpha.quotient, 0), arg(core.total, 0)
        at = core.total
        product = emit(graph, MUL, (a, core.query.quotient), before=at, like=weighted)
        context = emit(graph, SUM, (product, list(PIXELS), True), before=at, like=at)
        divisor = emit(graph, MUL, (core.alpha.norm, k_norm), before=end, like=core.key.quotient)
    guarded = emit(graph, CLAMP_MIN, (divisor, GUARD), before=end, like=core.key.quotient)
    key = emit(graph, DIV, (k, guarded), before=end, like=core.key.quotient)
    attended = emit(graph, MUL, (context, key), before=end, like=core.context)
    both = emit(graph, CAT, ([attended, core.query.quotient], 1), before=end, like=end)
    weight, bias = composed(core.projection, core.final)
    set_conv(graph, core.final, weight=weight, bias=bias, x=both)
    arg(core.query.quotient, 1).update_arg(1, GUARD)


def composed(projection: Conv, final: Conv) -> tuple[Tensor, Tensor]:
    """([Wf Wp, Wf], Wf bp + bf) in float64: one 1x1 convolution over (z, q) for Wf (Wp z + bp + q) + bf."""
    outer, inner = final.weight.double().flatten(1), projection.weight.double().flatten(1)
    bias = torch.zeros(outer.shape[0], dtype=torch.float64) if final.bias is None else final.bias.double()
    if projection.bias is not None:
        bias = bias + outer @ projection.bias.double()
    return torch.cat([outer @ inner, outer], dim=1)[:, :, None, None], bias


def _scale(graph: fx.GraphModule, part: Normalised, reach: Mapping[fx.Node, float]) -> None:
    factor = power_of_two(reach[part.norm])
    bias = None if part.conv.bias is None else part.conv.bias * factor
    set_conv(graph, part.conv, weight=part.conv.weight * factor, bias=bias)


def power_of_two(largest_norm: float) -> float:
    """The power of two that brings a norm into [8, 16); 1 where there is nothing to go by."""
    if not math.isfinite(largest_norm) or largest_norm <= 0.0:
        return 1.0
    return 2.0 ** math.floor(math.log2(NORM_CEILING / largest_norm) - 1e-12)
