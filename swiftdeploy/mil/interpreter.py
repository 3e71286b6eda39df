"""A plan, run: one op after another, each output checked and rounded once, each value dropped after its last use.

In: a `Plan` and values by name. Out: values by name. Knows no protobuf and no files; kernels know nothing of it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from swiftdeploy.errors import ArtifactError
from swiftdeploy.mil import numerics
from swiftdeploy.mil.kernels.registry import Value
from swiftdeploy.mil.plan import Body, Call, Plan, Result

Observer = Callable[[str, str, Mapping[str, Any]], None]
"""observe(op name, op type, outputs by value name), called after each op, also of nested blocks."""

# Well above what a recurrent model of a phone unrolls, and minutes away from hanging.
MAX_BLOCK_RUNS = 200_000

# What torch and Python raise when a kernel is given what does not fit together.
FAULTS = (RuntimeError, ValueError, TypeError, IndexError, KeyError, ArithmeticError, MemoryError)
_FAULT_HINT = "the package is damaged, or an input holds values that this op cannot take"
_HINT = "the package is damaged; if Core ML runs it, report this op"


@dataclass(kw_only=True, slots=True)
class Run:
    """What one run holds: its values by slot, who watches, and how often nested blocks have run."""

    slots: list[Any] = field(default_factory=list)
    observe: Observer | None = None
    block_runs: int = 0


def run(plan: Plan, inputs: Mapping[str, Value], observe: Observer | None = None) -> dict[str, Value]:
    """The outputs of the function for `inputs`, both as carried values (see `numerics`).

    Raises ArtifactError where an op cannot run on what it is given, or answers with another shape than is declared.
    """
    state = Run(slots=list(plan.initial), observe=observe)
    for name, slot in plan.inputs.items():
        state.slots[slot] = inputs[name]
    with torch.inference_mode():
        _run_body(plan.body, state)
    return {name: state.slots[slot] for name, slot in plan.outputs.items()}


def run_call(call: Call, state: Run) -> tuple[Value, ...]:
    """The settled outputs of one call whose arguments stand in the run's slots."""
    slots = state.slots
    try:
        arguments = dict(call.constants)
        for argument in call.arguments:
            if argument.variadic:
                arguments[argument.keyword] = argument.convert(tuple(slots[slot] for slot in argument.slots))
            else:
                arguments[argument.keyword] = argument.convert(slots[argument.slots[0]])
        if call.bodies:
            arguments["blocks"] = tuple(functools.partial(_enter, body, state) for body in call.bodies)
        answer = call.function(**arguments)
    except FAULTS as error:
        # torch appends advice for its own users from the second line on.
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise ArtifactError(f"{call.op} {call.name!r} cannot run: {first}", hint=_FAULT_HINT) from error
    values = answer if isinstance(answer, tuple) else () if answer is None else (answer,)
    if len(values) != len(call.results):
        raise ArtifactError(
            f"{call.op} {call.name!r} gives {len(values)} values, the program takes {len(call.results)}", hint=_HINT
        )
    return tuple(_settled(call, result, value) for result, value in zip(call.results, values, strict=True))


def _run_body(body: Body, state: Run) -> None:
    slots, observe = state.slots, state.observe
    for call in body.calls:
        values = run_call(call, state)
        for result, value in zip(call.results, values, strict=True):
            slots[result.slot] = value
        if observe is not None:
            observe(call.name, call.op, {result.name: slots[result.slot] for result in call.results})
        # Dropping the reference is what frees a tensor, as long as no view of it lives on.
        for slot in call.free:
            slots[slot] = None


def _enter(body: Body, state: Run, *inputs: Value) -> tuple[Value, ...]:
    # A loop whose condition never turns false would otherwise hang on a damaged file.
    state.block_runs += 1
    if state.block_runs > MAX_BLOCK_RUNS:
        raise RuntimeError(f"nested blocks ran more than {MAX_BLOCK_RUNS} times")
    if len(inputs) != len(body.inputs):
        raise ValueError(f"a block of {len(body.inputs)} inputs is given {len(inputs)}")
    for slot, value in zip(body.inputs, inputs, strict=True):
        state.slots[slot] = value
    _run_body(body, state)
    return tuple(state.slots[slot] for slot in body.outputs)


def _settled(call: Call, result: Result, value: Value) -> Value:
    if result.carrier is None or not isinstance(value, Tensor):
        return value
    # Every later op was converted for the declared shape: going on would end in an error far from its cause.
    if result.shape is not None and not _fits(value.shape, result.shape):
        raise ArtifactError(
            f"{call.op} {call.name!r} gives the shape {tuple(value.shape)}, the program says {result.shape}", hint=_HINT
        )
    if result.rounded is not None:
        return numerics.settle(value, result.rounded)
    return value if value.dtype == result.carrier else value.to(result.carrier)


def _fits(shape: Sequence[int], declared: tuple[int | None, ...]) -> bool:
    return len(shape) == len(declared) and all(d is None or d == s for s, d in zip(shape, declared, strict=True))
