"""Rules on what half precision does to an op's numbers, as far as the program alone can tell."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from swiftdeploy.mil.program import Binding, Operation
from swiftdeploy.mil.risks import FP16_MAX, lost_epsilon
from swiftdeploy.placement.rule import ANE_TRANSFORMERS, NE_RULES, Rule, each_op
from swiftdeploy.placement.scope import Scope

WIDE_NORM = 1800  # channels at which the difference was seen
SQUARES = ("square", "reduce_sum_square", "reduce_l2_norm", "l2_norm")
EXPONENTIALS = ("exp", "exp2", "softplus", "softplus_parametric", "reduce_log_sum_exp")


def negative_infinity(scope: Scope, operation: Operation) -> str:
    """A constant that holds minus infinity, or will once it is rounded to half precision."""
    for key, bound in _given(operation):
        value = scope.constant(bound)
        if value is not None and value.dtype.kind == "f" and bool((value < -FP16_MAX).any()):
            return f"{key} holds {float(np.nanmin(value)):g}"
    return ""


def epsilon(scope: Scope, operation: Operation) -> str:
    """A guard against a division by zero that is too small to be one."""
    lost = lost_epsilon(operation, scope.counter.constants)
    return "" if lost is None or not _is_half(scope, operation) else f"epsilon {lost:.3g}"


def square(scope: Scope, operation: Operation) -> str:
    """A square, by whichever name."""
    if not _is_half(scope, operation):
        return ""
    if operation.type in SQUARES:
        return f"it is {operation.type}"
    if operation.type == "pow" and set(scope.numbers(operation, "y")) == {2.0}:
        return "it is pow by 2"
    itself = isinstance(scope.bound(operation, "x"), str) and operation.inputs.get("x") == operation.inputs.get("y")
    return "it multiplies a value by itself" if operation.type == "mul" and itself else ""


def exponential(scope: Scope, operation: Operation) -> str:
    """An exponential of whatever comes in."""
    return f"it is {operation.type}" if operation.type in EXPONENTIALS and _is_half(scope, operation) else ""


def layer_norm_width(scope: Scope, operation: Operation) -> str:
    """How many elements a layer_norm sums over."""
    if operation.type != "layer_norm" or not _is_half(scope, operation):
        return ""
    shape = scope.shape(operation, "x")
    axes = [int(axis) for axis in scope.numbers(operation, "axes")] or range(len(shape))
    count = int(np.prod([shape[axis] or 1 for axis in axes]))
    return f"over {count} elements" if count >= WIDE_NORM else ""


def activation_lowering(scope: Scope, operation: Operation) -> str:
    """An activation that another compiler was seen to widen."""
    return f"it is {operation.type}" if operation.type in ("silu", "tanh") and _is_half(scope, operation) else ""


def _is_half(scope: Scope, operation: Operation) -> bool:
    return any(kind.dtype == "fp16" for _, kind in scope.moving(operation))


def _given(operation: Operation) -> Iterator[tuple[str, Binding]]:
    for key, bindings in operation.inputs.items():
        for bound in bindings:
            yield key, bound


RULES: tuple[Rule, ...] = (
    Rule(
        id="ane-negative-infinity",
        severity="warning",
        says="a constant of minus infinity: a softmax over it goes wrong",
        origin="Apple",
        source=NE_RULES,
        confidence="high",
        remedy="mask with -1e4 or -4e4",
        check=each_op(negative_infinity),
    ),
    Rule(
        id="ane-fp16-epsilon",
        severity="warning",
        says="an epsilon under 6.1e-5, the least that half precision holds with all its bits",
        origin="Apple",
        source=f"{ANE_TRANSFORMERS}; fp16's range",
        confidence="medium",
        remedy="use 1e-4 where the values allow, or scale by the largest magnitude before the norm",
        check=each_op(epsilon),
    ),
    Rule(
        id="ane-fp16-square",
        severity="warning",
        says="squares in fp16: over 65504 from a magnitude of 256 on, and their sums sooner",
        origin="reported",
        source="coremltools, rms_norm of its PyTorch frontend; coremltools#2821",
        confidence="medium",
        remedy="divide by the largest magnitude first; compare PSNR on your own images",
        check=each_op(square),
    ),
    Rule(
        id="ane-fp16-exponential",
        severity="warning",
        says="an exponential in fp16 without a shift: over 65504 from 11.1 on",
        origin="reported",
        source="coremltools#2690, #2729",
        confidence="medium",
        remedy="subtract the largest value first, as softmax does",
        check=each_op(exponential),
    ),
    Rule(
        id="ane-layer-norm-width",
        severity="warning",
        says="layer_norm over 1800 elements or more: its sums are in fp16 on the engine, in fp32 on the CPU",
        origin="community",
        source="smpanaro, repro_channel_layer_norm.py",
        confidence="medium",
        remedy="scale the input down; compare the phone's numbers with the harness",
        check=each_op(layer_norm_width),
    ),
    Rule(
        id="ane-activation-lowering",
        severity="note",
        says="silu or tanh, which may be lowered with float32 casts",
        origin="Apple",
        source="coreai-models, common_issues.md (the Core AI compiler)",
        confidence="low",
        remedy="write x * sigmoid(x), or 2 * sigmoid(2x) - 1, where the harness shows that it matters",
        check=each_op(activation_lowering),
    ),
)
