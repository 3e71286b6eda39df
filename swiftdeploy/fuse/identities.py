"""Calls that do nothing in inference, and two spellings that other rewrites should not have to know.

dropout(x), clone(x), x.to(same dtype), reshape(x, same shape)    = x
f(constants)                                                      = constant
expand(x) read only by calls that broadcast                       = x
softmax(x) over an axis of length 1                               = 1, so softmax(x) * y = y
mean(flatten(x, 2), -1)                                           = mean(x, (2, 3))
"""

from __future__ import annotations

import torch
from torch import Tensor, fx

from swiftdeploy.fuse.graph import (
    ADD,
    DIV,
    MEAN,
    MUL,
    SUB,
    add_constant,
    arg,
    aten,
    calls,
    constant,
    emit,
    is_call,
    only_user,
    operands,
    overwrites,
    place,
    replace,
    shape,
)
from swiftdeploy.fuse.ledger import Outcome

COPIES = (
    aten.clone.default,
    aten.contiguous.default,
    aten.detach.default,
    aten.detach_.default,
    aten.alias.default,
    aten.dropout.default,
    aten.dropout_.default,
    aten.feature_dropout.default,
)
SHAPERS = (
    aten.reshape.default,
    aten.view.default,
    aten.expand.default,
    aten.expand_as.default,
    aten.flatten.using_ints,
    aten.squeeze.dim,
    aten.repeat.default,
    aten._unsafe_view.default,
)
CASTS = (aten.to.dtype, aten._to_copy.default, aten.to.dtype_layout)
FRESH = (aten.clone.default, aten.contiguous.default, *CASTS)  # these alone may answer with memory of their own
VIEWS = (*SHAPERS, aten.transpose.int, aten.permute.default, aten.select.int, aten.slice.Tensor, aten.unsqueeze.default)
# Calls whose value follows from their arguments' shapes alone: masks and grids that forward makes anew each time.
FACTORIES = (
    aten.arange.default,
    aten.arange.start,
    aten.arange.start_step,
    aten.eye.default,
    aten.eye.m,
    aten.full.default,
    aten.linspace.default,
    aten.ones.default,
    aten.scalar_tensor.default,
    aten.zeros.default,
)
LIKES = (
    aten.full_like.default,
    aten.new_full.default,
    aten.new_ones.default,
    aten.new_zeros.default,
    aten.ones_like.default,
    aten.zeros_like.default,
)
CHECKS = (aten._assert_tensor_metadata.default,)  # torch.export leaves one before each cast; nothing reads it
BROADCASTING = (ADD, SUB, MUL, DIV, aten.maximum.default, aten.minimum.default)
SOFTMAX = (aten.softmax.int, aten._softmax.default)


def remove_identities(graph: fx.GraphModule, images: Tensor) -> Outcome:
    """Drop copies, casts and reshapes that change nothing. Quiet: these are no decisions, so no ledger entry."""
    del images
    for node in calls(graph, *CHECKS):
        graph.graph.erase_node(node)
    for node in calls(graph, *COPIES):
        if _parts(node):
            continue
        if "dropout" not in str(node.target) or arg(node, 1) == 0 or arg(node, 2) is False:
            replace(graph, node, arg(node, 0))
    for node in calls(graph, *SHAPERS, *CASTS):
        source = arg(node, 0)
        if _parts(node):
            continue
        same = node.meta["val"].shape == source.meta["val"].shape and node.meta["val"].dtype == source.meta["val"].dtype
        broadcast = node.target in (aten.expand.default, aten.expand_as.default) and _broadcast_by_users(node)
        if same or broadcast:
            replace(graph, node, source)
    return Outcome()


def fold_constants(graph: fx.GraphModule, images: Tensor) -> Outcome:
    """Compute what depends on constants and static shapes alone, once, now."""
    del images
    for node in list(graph.graph.nodes):
        if node.op != "call_function" or not isinstance(node.meta.get("val"), torch.Tensor):
            continue
        value = _constant_value(graph, node)
        if value is not None:
            stem = str(node.all_input_nodes[0].target) if node.all_input_nodes else node.name
            replace(graph, node, add_constant(graph, node.name if is_call(node, *LIKES) else stem, value, node))
    return Outcome()


def _constant_value(graph: fx.GraphModule, node: fx.Node) -> Tensor | None:
    """The value of a call that is the same for every input; None for any other call."""
    # A call that writes into its argument would write into the oracle's own buffer, and one that is written into
    # is no constant.
    if overwrites(node) or _written(node):
        return None
    if is_call(node, *LIKES):
        source = arg(node, 0).meta["val"]
        like = torch.empty(source.shape, dtype=source.dtype)
        return node.target(like, *node.args[1:], **node.kwargs)  # type: ignore[operator]
    known = node.all_input_nodes or is_call(node, *FACTORIES)
    if not known or any(constant(graph, source) is None for source in node.all_input_nodes):
        return None
    return node.target(*fx.map_arg(node.args, lambda n: constant(graph, n)), **node.kwargs)  # type: ignore[operator]


def remove_singleton_softmax(graph: fx.GraphModule, images: Tensor) -> Outcome:
    """Softmax over one element is 1: the branch that feeds it is dead, and so is the product with it."""
    del images
    fired: list[str] = []
    declined: dict[str, str] = {}
    for node in calls(graph, *SOFTMAX):
        axis = int(arg(node, 1))
        if shape(node)[axis] != 1:
            declined[place(node)] = f"the axis has {shape(node)[axis]} elements, not 1"
            continue
        for user in list(node.users):
            other = next((b for a, b in operands(user) if a is node), None) if is_call(user, MUL) else None
            if isinstance(other, fx.Node) and shape(other) == shape(user):
                replace(graph, user, other)
        if not node.users:
            fired.append(place(node))
            graph.graph.eliminate_dead_code()
        else:
            declined[place(node)] = "its value is read by something other than a product of full shape"
    return Outcome(fired=tuple(fired), declined=declined)


def merge_spatial_mean(graph: fx.GraphModule, images: Tensor) -> Outcome:
    """Mean over flattened pixels becomes mean over height and width, which needs no reshape."""
    del images
    fired = []
    for node in calls(graph, MEAN):
        flat = arg(node, 0)
        axes = [axis % len(shape(flat)) for axis in arg(node, 1) or range(len(shape(flat)))]
        if (
            not is_call(flat, aten.flatten.using_ints, aten.reshape.default, aten.view.default)
            or only_user(flat) is None
        ):
            continue
        source = arg(flat, 0)
        if len(shape(source)) != 4 or shape(flat)[:2] != shape(source)[:2] or len(shape(flat)) != 3 or axes != [2]:
            continue
        keep = bool(arg(node, 2, False))
        if not keep:
            new = emit(graph, MEAN, (source, [2, 3], False), before=node, like=node)
            replace(graph, node, new)
            fired.append(place(node))
    return Outcome(fired=tuple(fired))


def _parts(node: fx.Node) -> bool:
    """Whether a copy keeps two values apart, one of which a later call overwrites."""
    return node.target in FRESH and (_written(node) or _written(arg(node, 0)))


def _written(node: fx.Node) -> bool:
    """Whether a call writes into this value, or into a view of it."""
    return any(
        (overwrites(user) and arg(user, 0) is node) or (is_call(user, *VIEWS) and _written(user)) for user in node.users
    )


def _broadcast_by_users(node: fx.Node) -> bool:
    """Whether every reader is an elementwise call whose result keeps its shape without the expansion."""
    return all(
        is_call(user, *BROADCASTING)
        and any(
            isinstance(other, fx.Node) and shape(other) == shape(user) for mine, other in operands(user) if mine is node
        )
        for user in node.users
    )
