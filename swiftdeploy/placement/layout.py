"""Rules on ops that only move values, and on broadcasts."""

from __future__ import annotations

from swiftdeploy.mil.program import Operation
from swiftdeploy.placement.rule import ANE_TRANSFORMERS, HOLLANCE, RF_DETR, Rule, each_op
from swiftdeploy.placement.scope import Scope

RESHAPES = ("reshape", "reshape_like", "flatten2d", "expand_dims", "squeeze")
SHUFFLES = ("depth_to_space", "space_to_depth", "pixel_shuffle", "pixel_unshuffle", "space_to_batch", "batch_to_space")
LAYOUT_OPS = frozenset((*RESHAPES, *SHUFFLES, "transpose", "tile"))


def reshape(scope: Scope, operation: Operation) -> str:
    """A reshape after which the last axis is another one."""
    before, after = _last_axes(scope, operation)
    changed = operation.type in RESHAPES and (before != after or before is None)
    return f"the last axis goes from {_size(before)} to {_size(after)}" if changed else ""


def transpose(scope: Scope, operation: Operation) -> str:
    """A permutation that ends in another axis than it began with."""
    order = tuple(int(axis) for axis in scope.numbers(operation, "perm"))
    moved = operation.type == "transpose" and bool(order) and order[-1] % len(order) != len(order) - 1
    return f"perm {order}" if moved else ""


def layout_copy(scope: Scope, operation: Operation) -> str:
    """Any other reshape or transpose."""
    if operation.type not in (*RESHAPES, *SHUFFLES, "transpose"):
        return ""
    return "" if reshape(scope, operation) or transpose(scope, operation) else f"it is {operation.type}"


def broadcast_copy(scope: Scope, operation: Operation) -> str:
    """A tensor that is repeated in memory."""
    times = tuple(int(number) for number in scope.numbers(operation, "reps"))
    return f"reps {times or 'unknown'}" if operation.type == "tile" else ""


def broadcast_multiply(scope: Scope, operation: Operation) -> str:
    """A map times one factor a channel."""
    if operation.type != "mul":
        return ""
    shapes = sorted((scope.shape(operation, key)[-3:] for key in ("x", "y")), key=str)
    for one, other in (shapes, shapes[::-1]):
        maps = len(one) == len(other) == 3 and one[0] == other[0] and (one[0] or 0) > 1
        if maps and one[1:] == (1, 1) and other[1:] != (1, 1):
            return f"{other} times {one}"
    return ""


def _last_axes(scope: Scope, operation: Operation) -> tuple[int | None, int | None]:
    """The size of the last axis before and after; None where it is open."""
    kind = scope.type_of(operation.outputs[0].name) if operation.outputs else None
    before, after = scope.shape(operation, "x"), () if kind is None else kind.shape
    return (before[-1] if before else None), (after[-1] if after else None)


def _size(size: int | None) -> str:
    return "?" if size is None else str(size)


RULES: tuple[Rule, ...] = (
    Rule(
        id="ane-reshape",
        severity="warning",
        says="a reshape that changes the last axis: memory is copied",
        origin="Apple",
        source=ANE_TRANSFORMERS,
        confidence="medium",
        remedy="keep (B, C, H, W) from end to end; split into heads along the channels",
        check=each_op(reshape),
    ),
    Rule(
        id="ane-transpose",
        severity="warning",
        says="a transpose that moves the last axis: memory is copied",
        origin="Apple",
        source=ANE_TRANSFORMERS,
        confidence="medium",
        remedy="keep the channels in one place; write products of matrices as einsum bchq,bkhc->bkhq",
        check=each_op(transpose),
    ),
    Rule(
        id="ane-layout-copy",
        severity="note",
        says="a reshape or transpose that leaves the last axis where it is",
        origin="Apple",
        source=ANE_TRANSFORMERS,
        confidence="medium",
        remedy="leave it out where the graph allows",
        check=each_op(layout_copy),
    ),
    Rule(
        id="ane-broadcast-copy",
        severity="warning",
        says="tile: a broadcast that is written to memory",
        origin="Apple",
        source=f"{ANE_TRANSFORMERS}; {RF_DETR}",
        confidence="medium",
        remedy="leave the broadcast to the op that reads it; in PyTorch, no expand or expand_as",
        check=each_op(broadcast_copy),
    ),
    Rule(
        id="ane-broadcast-multiply",
        severity="note",
        says="(C, H, W) times (C, 1, 1), which older systems did not take",
        origin="community",
        source=HOLLANCE,
        confidence="low",
        remedy="fold the factor into a neighbouring convolution where it is constant",
        check=each_op(broadcast_multiply),
    ),
)
