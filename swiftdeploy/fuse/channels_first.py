"""Token islands become NCHW: attention with 1x1 convolutions and no transpose, reshape, tile or expand_dims.

A model leaves NCHW for tokens, (B, C, H, W) -> (B, N, C) with N = H*W, works there and returns. Every step that treats
tokens alike has an NCHW twin:

    linear over C            1x1 convolution                  W (out, in) -> W (out, in, 1, 1)
    norm, sum over C, N      the same over channel, over height and width
    elementwise              the same, broadcasting instead of expanding
    reshape, transpose       nothing: the twin never left NCHW

So a twin is built for every value of the island, from its entry on. Where the island returns to NCHW the model reads
the twin, and the token side, now unread, is dropped. A step without a twin ends the island: nothing changes, and the
ledger names the step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import Tensor, fx

from swiftdeploy.fuse.graph import (
    ADD,
    CLAMP_MIN,
    CONV,
    DIV,
    LINEAR,
    MATMUL,
    MEAN,
    MUL,
    NORM,
    SUB,
    SUM,
    add_constant,
    arg,
    aten,
    constant,
    emit,
    is_call,
    place,
    scalar,
    shape,
    weight_stem,
)
from swiftdeploy.fuse.graph import replace as replace_node
from swiftdeploy.fuse.ledger import Outcome

Layout = Literal["bchw", "bhwc", "bnc", "bcn", "bc"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Twin:
    """The NCHW form of a token value. `layout` is how the original lays its axes; `size` is (H, W) of the island."""

    node: fx.Node
    layout: Layout
    size: tuple[int, int]

    @property
    def full(self) -> bool:
        """Whether the twin holds every pixel, rather than one value that broadcasts over them."""
        return shape(self.node)[2:] == self.size


@dataclass(frozen=True, slots=True)
class _Island:
    """Twins found so far, with the graph they live in."""

    graph: fx.GraphModule
    twins: dict[fx.Node, Twin]

    def of(self, node: Any) -> Twin | None:
        return self.twins.get(node) if isinstance(node, fx.Node) else None

    def works_on(self, node: fx.Node) -> bool:
        """Whether `node` holds tokens; pixels that were flattened and no more, as before a mean, are none yet."""
        twin = self.twins.get(node)
        return twin is not None and (twin.layout != "bcn" or twin.node is not arg(node, 0))


def to_channels_first(graph: fx.GraphModule, images: Tensor) -> Outcome:
    """Give every island that returns to NCHW its NCHW form."""
    del images
    island = _Island(graph, {})
    fired: list[str] = []
    ends: list[fx.Node] = []
    for node in list(graph.graph.nodes):
        if node.op != "call_function" or not isinstance(node.meta.get("val"), Tensor | type(None)):
            continue
        twin = _follow(island, node) or _enter(node)  # in an island of one column, a reshape may look like an entry
        if twin is None:
            if any(island.works_on(source) for source in node.all_input_nodes):
                ends.append(node)
            continue
        if twin.layout == "bchw":
            fired.append(place(_leaves(node)))
            replace_node(graph, node, twin.node)
        else:
            island.twins[node] = twin
    graph.graph.eliminate_dead_code()
    # What died with the token side of an island that fired is nobody's loss.
    declined = {place(n): f"{n.target} has no channels-first form here" for n in ends if not n._erased}
    return Outcome(fired=tuple(fired), declined=declined)


def _leaves(node: fx.Node) -> fx.Node:
    source = arg(node, 0)
    return source if isinstance(source, fx.Node) else node


def _enter(node: fx.Node) -> Twin | None:
    """An island's first value: (B, C, H, W) permuted to (B, H, W, C) or flattened to (B, C, N)."""
    source = arg(node, 0)
    if not isinstance(source, fx.Node) or not isinstance(source.meta.get("val"), Tensor) or len(shape(source)) != 4:
        return None
    size = (shape(source)[2], shape(source)[3])
    if is_call(node, aten.permute.default) and list(arg(node, 1)) == [0, 2, 3, 1]:
        return Twin(node=source, layout="bhwc", size=size)
    flattens = is_call(node, aten.flatten.using_ints, aten.reshape.default, aten.view.default)
    if flattens and shape(node) == (*shape(source)[:2], math.prod(size)):
        return Twin(node=source, layout="bcn", size=size)
    return None


def _follow(island: _Island, node: fx.Node) -> Twin | None:
    """The twin of a call whose arguments have twins, None where the table has no rule for it."""
    rule = RULES.get(node.target)
    return rule(island, node) if rule else None


def _transpose(island: _Island, node: fx.Node) -> Twin | None:
    twin = island.of(arg(node, 0))
    if twin is None:
        return None
    rank = len(shape(node))
    if is_call(node, aten.permute.default):
        order = [axis % rank for axis in arg(node, 1)]
    else:
        order = list(range(rank))
        first, second = (arg(node, index) % rank for index in (1, 2))
        order[first], order[second] = second, first
    turned: dict[tuple[Layout, tuple[int, ...]], Layout] = {
        ("bhwc", (0, 3, 1, 2)): "bchw",
        ("bnc", (0, 2, 1)): "bcn",
        ("bcn", (0, 2, 1)): "bnc",
    }
    layout = turned.get((twin.layout, tuple(order)))
    return replace(twin, layout=layout) if layout else None


def _reshape(island: _Island, node: fx.Node) -> Twin | None:
    twin = island.of(arg(node, 0))
    if twin is None or not twin.full:
        return None
    batch, channels, height, width = shape(twin.node)
    steps: tuple[tuple[tuple[Layout, ...], tuple[int, ...], Layout], ...] = (
        (("bhwc", "bnc"), (batch, height * width, channels), "bnc"),
        (("bnc",), (batch, height, width, channels), "bhwc"),
        (("bcn",), (batch, channels, height, width), "bchw"),
    )
    # The layout decides first: with as many channels as rows and columns, the shapes alone are one.
    results = (result for layouts, form, result in steps if twin.layout in layouts and shape(node) == form)
    layout = next(results, None)
    return replace(twin, layout=layout) if layout else None


def _linear(island: _Island, node: fx.Node) -> Twin | None:
    twin = island.of(arg(node, 0))
    matmul = is_call(node, MATMUL)
    weight = constant(island.graph, arg(node, 1))
    if twin is None or twin.layout not in ("bnc", "bhwc") or weight is None or weight.dim() != 2:
        return None
    stem = weight_stem(node) if not matmul else str(arg(node, 1).target)
    kernel = (weight.t() if matmul else weight)[:, :, None, None]
    kernel_node = add_constant(island.graph, f"{stem}.weight" if not matmul else stem, kernel, node)
    bias = arg(node, 2)
    conv = emit(island.graph, CONV, (twin.node, kernel_node, bias), before=node, like=node)
    return replace(twin, node=conv)


def _reduce(island: _Island, node: fx.Node) -> Twin | None:
    twin = island.of(arg(node, 0))
    axes_at, keep_at = (2, 3) if is_call(node, NORM) else (1, 2)
    if twin is None or twin.layout not in ("bnc", "bhwc") or not twin.full:
        return None
    axes = arg(node, axes_at)
    kept = bool(arg(node, keep_at, False))
    if not isinstance(axes, (list, tuple)):
        return None
    rank = len(shape(arg(node, 0)))
    places = sorted(axis % rank for axis in axes)
    over_channels = places == [rank - 1]
    over_pixels = places == list(range(1, rank - 1))
    if not (over_channels or over_pixels) or (over_channels and not kept):
        return None
    arguments: list[Any] = list(node.args[:axes_at])
    arguments[0] = twin.node
    new_axes = [1] if over_channels else [2, 3]
    new = emit(island.graph, node.target, (*arguments, new_axes, True), before=node, like=node, options=node.kwargs)
    return replace(twin, node=new, layout=twin.layout if kept else "bc")


def _broadcast(island: _Island, node: fx.Node) -> Twin | None:
    """An expansion over tokens, or an axis of length 1 put back in their place: the twin broadcasts by itself."""
    twin = island.of(arg(node, 0))
    if twin is None:
        return None
    if is_call(node, aten.unsqueeze.default):
        return replace(twin, layout="bnc") if twin.layout == "bc" and arg(node, 1) in (1, -2) else None
    wanted, channels = shape(node), shape(twin.node)[1]
    fits = len(wanted) == 3 and wanted[1] == math.prod(twin.size) and wanted[2] in (channels, 1)
    widened = channels == 1 and len(wanted) == 3 and wanted[1] == math.prod(twin.size)
    return twin if twin.layout == "bnc" and (fits or widened) else None


def _elementwise(island: _Island, node: fx.Node) -> Twin | None:
    operands: list[Any] = list(node.args[:2])
    twins = [island.of(argument) for argument in operands]
    known = [twin for twin in twins if twin is not None]
    if len({(twin.layout, twin.size) for twin in known}) != 1:
        return None
    layout, size = known[0].layout, known[0].size
    arguments: list[Any] = []
    for argument, twin in zip(operands, twins, strict=True):
        if twin is not None:
            arguments.append(twin.node)
        elif scalar(argument) is not None:
            arguments.append(argument)
        else:
            value = constant(island.graph, argument)
            # Tokens end in channels, so a constant that has that axis alone lies along them.
            if value is None or math.prod(value.shape[:-1]) != 1 or layout not in ("bnc", "bhwc"):
                return None
            name = str(argument.target)
            arguments.append(add_constant(island.graph, name, value.reshape(1, -1, 1, 1), node))
    rest = node.args[2:]
    new = emit(island.graph, node.target, (*arguments, *rest), before=node, like=node, options=node.kwargs)
    return Twin(node=new, layout=layout, size=size)


RULES: dict[Any, Callable[[_Island, fx.Node], Twin | None]] = {
    aten.permute.default: _transpose,
    aten.transpose.int: _transpose,
    aten.reshape.default: _reshape,
    aten.view.default: _reshape,
    LINEAR: _linear,
    MATMUL: _linear,
    NORM: _reduce,
    SUM: _reduce,
    MEAN: _reduce,
    aten.unsqueeze.default: _broadcast,
    aten.expand.default: _broadcast,
    aten.expand_as.default: _broadcast,
    aten.repeat.default: _broadcast,
    **dict.fromkeys((ADD, SUB, MUL, DIV, CLAMP_MIN), _elementwise),
    **dict.fromkeys(
        (aten.gelu.default, aten.relu.default, aten.silu.default, aten.sigmoid.default, aten.tanh.default), _elementwise
    ),
}
