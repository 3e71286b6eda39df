"""What an fp32 program would compute with some of its ops in half precision.

In: the plan of an fp32 program and the names of the ops to keep. Out: a plan that rounds, around every other op, what a
converter would cast there: inputs, constants and outputs. It stands in for a conversion while a search tries many sets
of ops; what is written in the end is judged by its own numbers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor

from swiftdeploy.mil import numerics
from swiftdeploy.mil.model import LoadedProgram
from swiftdeploy.mil.plan import Argument, Call, Plan, Result

# Ops that a converter leaves as they are: they hold blocks, lists or states, or are the casts themselves.
NEVER_HALVED = frozenset({"cast", "classify", "cond", "while_loop", "read_state", "coreml_update_state"})
_LISTS = "list_"


def halved(loaded: LoadedProgram, *, keep: Collection[str], interface: bool = True) -> LoadedProgram:
    """`loaded` (an fp32 program) with every op in half precision but those that `keep` names.

    With `interface` the function's float inputs and outputs are half precision, too. Blocks stay in fp32.
    """
    kept = frozenset(keep)
    plan = loaded.plan
    calls = tuple(_half(call) if may_halve(call.op) and call.name not in kept else call for call in plan.body.calls)
    body = _at_border(plan, calls) if interface else calls
    return dataclasses.replace(loaded, plan=dataclasses.replace(plan, body=dataclasses.replace(plan.body, calls=body)))


def may_halve(op: str) -> bool:
    """Whether a converter may compute an op of this type in half precision."""
    return op not in NEVER_HALVED and not op.startswith(_LISTS) and op != "make_list"


def op_names(plan: Plan) -> tuple[str, ...]:
    """The names of the ops that may be halved and have a float among their outputs, in the order of execution."""
    return tuple(
        call.name
        for call in plan.body.calls
        if may_halve(call.op) and any(result.carrier == torch.float32 for result in call.results)
    )


def _half(call: Call) -> Call:
    return dataclasses.replace(
        call,
        constants={key: _rounded(value) for key, value in call.constants.items()},
        arguments=tuple(_half_argument(argument) for argument in call.arguments),
        results=tuple(_half_result(result) for result in call.results),
    )


def _half_argument(argument: Argument) -> Argument:
    return dataclasses.replace(argument, convert=_then_round(argument.convert))


def _then_round(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: _rounded(convert(value))


def _half_result(result: Result) -> Result:
    return dataclasses.replace(result, rounded=torch.float16) if result.carrier == torch.float32 else result


def _rounded(value: Any) -> Any:
    if isinstance(value, Tensor):
        return numerics.settle(value, torch.float16) if value.is_floating_point() else value
    if isinstance(value, float):
        return float(numerics.settle(torch.tensor(value), torch.float16))
    return tuple(_rounded(item) for item in value) if isinstance(value, tuple) else value


def _at_border(plan: Plan, calls: tuple[Call, ...]) -> tuple[Call, ...]:
    """The calls, with what is read from an input and what becomes an output rounded once."""
    inputs, outputs = set(plan.inputs.values()), set(plan.outputs.values())
    bordered = []
    for call in calls:
        arguments = tuple(
            _half_argument(argument) if inputs & set(argument.slots) else argument for argument in call.arguments
        )
        results = tuple(_half_result(result) if result.slot in outputs else result for result in call.results)
        bordered.append(dataclasses.replace(call, arguments=arguments, results=results))
    return tuple(bordered)
