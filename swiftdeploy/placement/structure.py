"""Rules on what kind of op stands in the program."""

from __future__ import annotations

from swiftdeploy.mil.program import Operation
from swiftdeploy.placement.rule import ANE_TRANSFORMERS, HOLLANCE, NE_RULES, RF_DETR, OpCheck, Rule, each_op
from swiftdeploy.placement.scope import Scope

RECURRENT = ("lstm", "gru", "rnn")
CONTROL_FLOW = ("while_loop", "cond")
LISTS = ("make_list", "list_length", "list_read", "list_write", "list_gather", "list_scatter")
GATHERS = ("gather", "gather_along_axis", "gather_nd", "scatter", "scatter_along_axis", "scatter_nd")
SELECTIONS = ("topk", "argsort", "non_zero", "cumsum", "non_maximum_suppression")
CHANNEL_AXIS = 1


def one_of(*types: str) -> OpCheck:
    """The check for ops of the types named."""

    def judge(_: Scope, operation: Operation) -> str:
        return f"it is {operation.type}" if operation.type in types else ""

    return judge


def linear(scope: Scope, operation: Operation) -> str:
    """A matrix product with weights."""
    key = {"linear": "weight", "matmul": "y"}.get(operation.type, "")
    for each in (key, "x") if operation.type == "matmul" else (key,):
        bound = scope.bound(operation, each)
        if bound is not None and scope.is_static(bound):
            return f"{each} is a constant of shape {scope.shape(operation, each)}"
    return ""


def softmax_axis(scope: Scope, operation: Operation) -> str:
    """A softmax over a spatial axis. A matrix has only rows and channels, so that its last axis is right."""
    if operation.type != "softmax":
        return ""
    size = len(scope.shape(operation, "x"))
    axis = int((scope.numbers(operation, "axis") or (-1,))[0])
    return f"axis {axis} of {size}" if axis % max(size, 1) != CHANNEL_AXIS and size > 1 else ""


RULES: tuple[Rule, ...] = (
    Rule(
        id="ane-recurrent",
        severity="error",
        says="lstm, gru or rnn",
        origin="community",
        source=HOLLANCE,
        confidence="medium",
        remedy="unroll it, or replace it by convolutions or attention",
        check=each_op(one_of(*RECURRENT)),
    ),
    Rule(
        id="ane-control-flow",
        severity="error",
        says="a loop or a branch",
        origin="Apple",
        source=f"{NE_RULES}: shapes and graph must be static",
        confidence="medium",
        remedy="unroll the loop, or run it in the app around the model",
        check=each_op(one_of(*CONTROL_FLOW)),
    ),
    Rule(
        id="ane-list",
        severity="error",
        says="an op on a list of tensors",
        origin="Apple",
        source=f"{NE_RULES}: shapes and graph must be static",
        confidence="medium",
        remedy="concatenate tensors along an axis",
        check=each_op(one_of(*LISTS)),
    ),
    Rule(
        id="ane-custom-layer",
        severity="error",
        says="a custom layer, which only the app's own code can run",
        origin="community",
        source=HOLLANCE,
        confidence="high",
        remedy="express it in Core ML's own ops",
        check=each_op(one_of("custom_layer")),
    ),
    Rule(
        id="ane-linear",
        severity="warning",
        says="linear, or matmul with a constant: the engine is made for convolutions",
        origin="Apple",
        source=f"{ANE_TRANSFORMERS}; {NE_RULES}",
        confidence="high",
        remedy="write it as a 1x1 convolution on (B, C, 1, S); one at the end of a classifier costs little",
        check=each_op(linear),
    ),
    Rule(
        id="ane-gather",
        severity="warning",
        says="gather or scatter",
        origin="community",
        source=f"{HOLLANCE}; {RF_DETR}",
        confidence="medium",
        remedy="slice, split or multiply by a one-hot matrix; or do it in the app",
        check=each_op(one_of(*GATHERS)),
    ),
    Rule(
        id="ane-selection",
        severity="warning",
        says="sorting, choosing or counting: topk, argsort, non_zero, cumsum, non-maximum suppression",
        origin="community",
        source=RF_DETR,
        confidence="medium",
        remedy="end the model before it, and do it in the app",
        check=each_op(one_of(*SELECTIONS)),
    ),
    Rule(
        id="ane-softmax-axis",
        severity="warning",
        says="a softmax over another axis than the channels, which limits how it can be split",
        origin="Apple",
        source=f"{NE_RULES}; {ANE_TRANSFORMERS}",
        confidence="medium",
        remedy="lay scores out as (B, keys, heads, queries), softmax over axis 1",
        check=each_op(softmax_axis),
    ),
    Rule(
        id="ane-fused-attention",
        severity="warning",
        says="scaled_dot_product_attention as one op",
        origin="Apple",
        source=NE_RULES,
        confidence="medium",
        remedy="split it into heads: two einsums and a softmax over axis 1 each; or export for iOS 17",
        check=each_op(one_of("scaled_dot_product_attention")),
    ),
)
