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
LARGEST_GUARD = 1e-6  # what keeps 0/0 away, as F.normalize's 1e-12 does; a larger bound is a part of the function
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

    @property
    def parts(self) -> tuple[Normalised, ...]:
        """What is normalised: query, key and, except for `sum`, the weights of the tokens."""
        return (self.query, self.key) if self.alpha is None else (self.query, self.key, self.alpha)


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
    norms = [part.norm for core in cores for part in core.parts]
    reach = dict(zip(norms, largest(graph, norms, images), strict=True))
    fired: list[str] = []
    for core in cores:
        if not all(0.0 < reach[part.norm] < math.inf for part in core.parts):
            declined[core.final.name] = "a norm is 0, Inf or NaN on the calibration images, so no scale can be chosen"
            continue
        fired.append(core.final.name.removesuffix(".final"))
        _rewrite(graph, core, reach)
    graph.graph.eliminate_dead_code()
    return Outcome(fired=tuple(fired), declined=declined)


def match(graph: fx.GraphModule, node: fx.Node) -> Core | tuple[str, str] | None:
    """The attention that ends in this convolution; (place, reason) for a near miss; None for anything else.

    Anything of the form Wf (Wp (sum over pixels * .) + .) is near enough to deserve a reason.
    """
    final = conv_of(graph, node)
    if final is None or not _plain(final) or not is_call(final.x, ADD):
        return None
    for product, residual in operands(final.x):
        projection = conv_of(graph, product)
        if projection is None or not _plain(projection) or not is_call(projection.x, MUL):
            continue
        for context, keyed in operands(projection.x):
            if not is_call(context, SUM) or list(arg(context, 1)) != list(PIXELS):
                continue
            if final.x.kwargs:
                return final.name, "the sum before it weighs its second term"
            found = _inside(graph, final, projection, residual, keyed, context)
            return found if isinstance(found, Core) else (final.name, found)
    return None


def _inside(
    graph: fx.GraphModule, final: Conv, projection: Conv, residual: fx.Node, keyed: fx.Node, context: fx.Node
) -> Core | str:
    """The attention with everything that it normalises, or why it is none."""
    query, key = normalised(graph, residual, CHANNELS), normalised(graph, keyed, CHANNELS)
    if isinstance(query, str) or isinstance(key, str):
        return f"the query {query}" if isinstance(query, str) else f"the key {key}"
    if query.norm is key.norm:
        return "query and key are one value, which two scales would pull apart"
    core = Core(
        final=final, projection=projection, query=query, key=key, alpha=None, context=projection.x, total=context
    )
    summed: Any = arg(context, 0)
    if summed is query.quotient:
        return core
    for weighting, weighted in operands(summed) if is_call(summed, MUL) else ():
        if weighted is not query.quotient:
            continue
        alpha = normalised(graph, weighting, PIXELS)
        if isinstance(alpha, str):
            return f"the weight of the tokens {alpha}"
        if alpha.conv.x is query.quotient:
            return replace(core, alpha=alpha)
    return "the summed value is not the query, nor the query weighted by its own norm"


def normalised(graph: fx.GraphModule, node: Any, axes: tuple[int, ...]) -> Normalised | str:
    """The parts of conv(x) / max(|conv(x)|_2 over `axes`, eps), where nothing else reads conv(x); or why not."""
    if not is_call(node, DIV) or not is_call(arg(node, 1), CLAMP_MIN):
        return "is not divided by a guarded norm"
    value, norm, bound = arg(node, 0), arg(arg(node, 1), 0), scalar(arg(arg(node, 1), 1))
    if bound is None or bound > LARGEST_GUARD:
        return f"has a norm bounded by {bound}, which is more than a guard against 0"
    conv = conv_of(graph, value)
    if conv is None or not is_call(norm, NORM) or arg(norm, 0) is not value:
        return "is not a convolution over its own norm"
    if set(value.users) != {node, norm}:
        return "is read before its norm too"
    order, over, kept = (*norm.args[1:], False, False)[:3] if len(norm.args) > 3 else (2.0, (), False)
    if scalar(order) != 2.0 or tuple(over) != axes or not kept:
        return f"has a norm of order {order} over axes {list(over)}, not of order 2 over {list(axes)}"
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
    # Looked up anew: what it reads may be the end of an attention that was rewritten since it was matched.
    conv = conv_of(graph, arg(part.quotient, 0))
    if conv is None:
        raise AssertionError("a matched convolution is gone")
    bias = None if conv.bias is None else conv.bias * factor
    set_conv(graph, conv, weight=conv.weight * factor, bias=bias)


def power_of_two(largest_norm: float) -> float:
    """The power of two that brings a norm, finite and above 0, into [8, 16)."""
    return 2.0 ** math.floor(math.log2(NORM_CEILING / largest_norm) - 1e-12)
