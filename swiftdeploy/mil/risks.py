"""What in a program half precision cannot hold, apart from the values that its ops give: constants, epsilons, squares.

In: a parsed function. Out: for each op, by its first output, the risks that stand in the file; and which values are
squared and summed, so that whoever runs the program can say how large those sums become. Knows no kernels and no run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from swiftdeploy.mil.program import Binding, Constant, Function, Operation, TensorType, constants, walk

# Half precision: the largest number, the least that keeps all its bits, the least above zero.
FP16_MAX = 65504.0
FP16_MIN_NORMAL = 2.0**-14
FP16_MIN_SUBNORMAL = 2.0**-24

Kind = Literal["overflow", "vanish", "squares", "epsilon", "constant"]

# The ops that square their input x and sum over axes, and the parameter that names these ("" where the op has none).
_SQUARED = {
    "reduce_l2_norm": "axes",
    "reduce_sum_square": "axes",
    "layer_norm": "axes",
    "l2_norm": "",
    "instance_norm": "",
}
_LAST_THREE = (-3, -2, -1)
# Where the epsilon is not written, Apple's op reference says which one is meant.
_MEANT = {"batch_norm": 1e-5, "instance_norm": 1e-5, "layer_norm": 1e-5, "l2_norm": 1e-6}
# rsqrt, log and inverse come with a default below this where nobody asked for a guard.
_ASKED_FOR = 1e-11
_GUARDED = {"add": ("x", "y"), "maximum": ("x", "y"), "clip": ("alpha",)}
_UNCHECKED = frozenset({"cast", "const", "classify"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Risk:
    """One reason why an op may not survive half precision, with the number that makes it one.

    "overflow": an output reaches `value`, beyond 65504. "vanish": the share `value` of an output's elements is not zero
    and less than 2^-24. "squares": the op sums squares to `value`, beyond 65504. "epsilon": the epsilon `value` is less
    than the smallest normal number 2^-14. "constant": a constant of magnitude `value` is or becomes infinite.
    """

    kind: Kind
    value: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Squares:
    """An op (by its first output) that sums the squares of a value over some axes."""

    output: str
    axes: tuple[int, ...]


def in_file(function: Function) -> Mapping[str, tuple[Risk, ...]]:
    """The risks that stand in the program itself, by the first output of the op that has them."""
    held = constants(function)
    found: dict[str, tuple[Risk, ...]] = {}
    for operation in walk(function.block):
        risks = (*_epsilon(operation, held), *_infinite(operation, held))
        if risks and operation.outputs:
            found[operation.outputs[0].name] = risks
    return found


def lost_epsilon(operation: Operation, known: Mapping[str, Constant]) -> float | None:
    """A guard against a division by zero that half precision rounds or loses: less than 2^-14. None where none is.

    It is the op's epsilon, or a scalar that is added or that bounds from below. A norm's may have become 0 in the file.
    `known` are the function's constants.
    """
    keys = _GUARDED.get(operation.type, ("epsilon",))
    held = [value for key in keys if (value := _held(operation.inputs.get(key, ()), known)) is not None]
    found = [float(value.reshape(-1)[0]) for value in held if value.size == 1]
    if operation.type in _MEANT:
        found = found or [_MEANT[operation.type]]
    else:
        least = 0.0 if operation.type in _GUARDED else _ASKED_FOR
        found = [number for number in found if number > least]
    return next((number for number in found if number < FP16_MIN_NORMAL), None)


def squares(function: Function) -> Mapping[str, tuple[Squares, ...]]:
    """For each value by name, the ops that sum its squares."""
    held = constants(function)
    found: dict[str, tuple[Squares, ...]] = {}
    for operation in walk(function.block):
        if operation.type not in _SQUARED or not operation.outputs:
            continue
        for bound in operation.inputs.get("x", ())[:1]:
            if isinstance(bound, str):
                entry = Squares(output=operation.outputs[0].name, axes=_axes(operation, held))
                found[bound] = (*found.get(bound, ()), entry)
    return found


def _axes(operation: Operation, known: Mapping[str, Constant]) -> tuple[int, ...]:
    """The axes summed over; empty for all."""
    if operation.type == "l2_norm":
        return _LAST_THREE
    if operation.type == "instance_norm":
        kind = operation.outputs[0].type
        return tuple(range(2, len(kind.shape))) if isinstance(kind, TensorType) else ()
    held = _held(operation.inputs.get(_SQUARED[operation.type], ()), known)
    return () if held is None else tuple(int(axis) for axis in np.asarray(held).reshape(-1))


def _epsilon(operation: Operation, known: Mapping[str, Constant]) -> tuple[Risk, ...]:
    lost = lost_epsilon(operation, known)
    return () if lost is None else (Risk(kind="epsilon", value=lost),)


def _infinite(operation: Operation, known: Mapping[str, Constant]) -> tuple[Risk, ...]:
    if operation.type in _UNCHECKED:
        return ()
    worst = 0.0
    for bound in operation.inputs.values():
        held = _held(bound, known)
        if held is not None and held.dtype.kind == "f":
            worst = max(worst, float(np.max(np.abs(held), initial=0.0, where=~np.isnan(held))))
    return (Risk(kind="constant", value=worst),) if worst > FP16_MAX else ()


def _held(bound: tuple[Binding, ...], known: Mapping[str, Constant]) -> np.ndarray | None:
    """The float or integer array that an input is bound to, None where it is known only in a run, or no number."""
    if len(bound) != 1:
        return None
    constant = known.get(bound[0]) if isinstance(bound[0], str) else bound[0]
    value = constant.value if isinstance(constant, Constant) else None
    return value if isinstance(value, np.ndarray) and value.dtype.kind in "fi" else None
