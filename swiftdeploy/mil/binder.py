"""A function of a program, bound: every op to its kernel, every constant converted, every value to a slot.

In: a `Function` of `program`. Out: a `Plan` for the interpreter. This happens once, at load, so that an op that is not
known, an input that no kernel takes or a constant of the wrong kind is an error before anything runs.
"""

from __future__ import annotations

import dataclasses
from collections import ChainMap
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from swiftdeploy.errors import ArtifactError
from swiftdeploy.mil import interpreter, kernels, numerics
from swiftdeploy.mil.kernels.registry import Kernel, Parameter, Value
from swiftdeploy.mil.plan import Argument, Body, Call, Plan, Result
from swiftdeploy.mil.program import (
    Block,
    Constant,
    Function,
    Literals,
    NamedType,
    Operation,
    StateType,
    TensorType,
    walk,
)

_HINT = "the package is damaged; if Core ML runs it, report this op"


@dataclass(kw_only=True, slots=True)
class _Binding:
    """What one binding counts and keeps; it lives for one call of `bind`."""

    opset: str
    # Constants are told apart by identity: two equal weights may well be two blobs, and comparing them costs.
    initial: list[Value | None] = field(default_factory=list)
    carried: dict[int, Value] = field(default_factory=dict)
    constant_slots: dict[int, int] = field(default_factory=dict)

    def slot(self, value: Value | None = None) -> int:
        self.initial.append(value)
        return len(self.initial) - 1

    def constant_slot(self, value: Value) -> int:
        if id(value) not in self.constant_slots:
            self.constant_slots[id(value)] = self.slot(value)
        return self.constant_slots[id(value)]

    def carry(self, constant: Constant) -> Value:
        if id(constant) not in self.carried:
            self.carried[id(constant)] = carry(constant.value)
        return self.carried[id(constant)]


Scope = MutableMapping[str, "int | Constant | _Folded"]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Folded:
    """The value of a constexpr op, computed at load."""

    value: Value


def bind(function: Function) -> Plan:
    """The plan of `function`. Raises ArtifactError for the reasons that the module names."""
    # All of them at once: a user who learns of one op at a time converts as often as there are ops.
    unknown = unknown_ops(function)
    if unknown:
        raise ArtifactError(
            f"{len(unknown)} ops of function {function.name} are not known in {function.opset}: {', '.join(unknown)}",
            hint="the package needs a newer swiftdeploy, or is damaged",
        )
    binding = _Binding(opset=function.opset)
    scope: Scope = {}
    inputs = {value.name: _define(binding, scope, value) for value in function.inputs}
    body = _body(binding, function.block, scope, ())
    outputs = dict(zip(function.block.outputs, body.outputs, strict=True))
    return Plan(inputs=inputs, outputs=outputs, body=body, initial=tuple(binding.initial))


def unknown_ops(function: Function) -> tuple[str, ...]:
    """The names of all ops that no kernel of the function's opset answers to, sorted."""
    found = {op.type for op in walk(function.block) if op.type != "const"}
    return tuple(sorted(op for op in found if kernels.lookup(op, function.opset) is None))


def carry(value: Literals) -> Value:
    """A constant as it travels (see `numerics`): a tensor that shares memory with the array where the dtypes agree."""
    if not isinstance(value, np.ndarray):
        return value
    if value.dtype.kind == "f":
        # An fp32 weight stays a view of the mapped file: its pages are read when the op first runs.
        array = value.astype(np.float32, copy=False)
    elif value.dtype.kind == "b":
        array = value
    else:
        wide = value.dtype.itemsize == 8 or value.dtype == np.uint32
        array = value.astype(np.int64 if wide else np.int32, copy=False)
    # ascontiguousarray gives a scalar an axis, which reshape takes away again.
    return torch.from_numpy(np.ascontiguousarray(array).reshape(array.shape))


def _define(binding: _Binding, scope: Scope, value: NamedType) -> int:
    slot = binding.slot()
    scope[value.name] = slot
    return slot


def _body(binding: _Binding, block: Block, scope: Scope, inputs: tuple[int, ...]) -> Body:
    calls = []
    for operation in block.operations:
        call = _operation(binding, operation, scope)
        if call is not None:
            calls.append(call)
    outputs = []
    for name in block.outputs:
        found = scope[name]
        outputs.append(found if isinstance(found, int) else binding.constant_slot(_value(binding, found)))
    return Body(inputs=inputs, outputs=tuple(outputs), calls=_with_frees(calls, inputs, outputs))


def _operation(binding: _Binding, operation: Operation, scope: Scope) -> Call | None:
    if operation.type == "const":
        held = operation.inputs.get("val", ())
        if len(held) != 1 or not isinstance(held[0], Constant) or len(operation.outputs) != 1:
            raise ArtifactError(f"const {operation.name!r} holds no value", hint=_HINT)
        scope[operation.outputs[0].name] = held[0]
        return None
    kernel = kernels.lookup(operation.type, binding.opset)
    if kernel is None:
        raise ArtifactError(f"the op {operation.type} is not known in {binding.opset}", hint=_HINT)
    constants, arguments = _arguments(binding, operation, kernel, scope)
    declared = _declared(operation)
    if kernel.wants_dtype and declared is not None:
        constants["out_dtype"] = declared
    bodies = tuple(_nested(binding, block, scope) for block in operation.blocks) if kernel.wants_blocks else ()
    # What a block answers with was rounded by the op that made it.
    results = tuple(_result(binding, scope, output, exact=kernel.exact or bool(bodies)) for output in operation.outputs)
    call = Call(
        op=operation.type,
        name=operation.name,
        function=kernel.function,
        constants=constants,
        arguments=tuple(arguments),
        results=results,
        bodies=bodies,
        free=(),
    )
    # Compressed weights are expanded once, here: each run would otherwise pay for it again.
    if operation.type.startswith("constexpr_") and not arguments:
        _fold(call, scope)
        return None
    return call


def _arguments(
    binding: _Binding, operation: Operation, kernel: Kernel, scope: Scope
) -> tuple[dict[str, Any], list[Argument]]:
    constants: dict[str, Any] = {}
    arguments: list[Argument] = []
    # An input without any binding counts as not given; whether that is allowed its parameter says.
    given = {key: bound for key, bound in operation.inputs.items() if bound}
    surplus = sorted(set(given) - set(kernel.parameters))
    if surplus:
        raise ArtifactError(f"{operation.type} {operation.name!r} takes no input {', '.join(surplus)}", hint=_HINT)
    for key, parameter in kernel.parameters.items():
        where = f"{operation.type} {operation.name!r}, input {key}"
        if key not in given:
            if parameter.required:
                raise ArtifactError(f"{where} is missing", hint=_HINT)
            continue
        found = [scope[bound] if isinstance(bound, str) else bound for bound in given[key]]
        if len(found) != 1 and not parameter.variadic:
            raise ArtifactError(f"{where} takes one value and is given {len(found)}", hint=_HINT)
        # One value known only in a run makes the whole input wait; its constants then travel through slots too.
        if any(isinstance(item, int) for item in found):
            slots = [i if isinstance(i, int) else binding.constant_slot(_value(binding, i)) for i in found]
            arguments.append(_argument(parameter, tuple(slots)))
        else:
            held = tuple(_value(binding, item) for item in found if not isinstance(item, int))
            constants[parameter.keyword] = _converted(parameter, held, where)
    return constants, arguments


def _argument(parameter: Parameter, slots: tuple[int, ...]) -> Argument:
    return Argument(keyword=parameter.keyword, convert=parameter.convert, slots=slots, variadic=parameter.variadic)


def _converted(parameter: Parameter, values: tuple[Value, ...], where: str) -> Any:
    try:
        return parameter.convert(values if parameter.variadic else values[0])
    except interpreter.FAULTS as error:
        raise ArtifactError(f"{where} does not fit: {error}", hint=_HINT) from error


def _value(binding: _Binding, found: Constant | _Folded) -> Value:
    return found.value if isinstance(found, _Folded) else binding.carry(found)


def _declared(operation: Operation) -> torch.dtype | None:
    kind = operation.outputs[0].type if operation.outputs else None
    return numerics.TORCH_DTYPES.get(kind.dtype) if isinstance(kind, TensorType) else None


def _nested(binding: _Binding, block: Block, scope: Scope) -> Body:
    # Names of the block hide those around it and end with it.
    inner: Scope = ChainMap({}, scope)
    inputs = tuple(_define(binding, inner, value) for value in block.inputs)
    return _body(binding, block, inner, inputs)


def _result(binding: _Binding, scope: Scope, output: NamedType, *, exact: bool) -> Result:
    slot = _define(binding, scope, output)
    kind = output.type.tensor if isinstance(output.type, StateType) else output.type
    dtype = numerics.TORCH_DTYPES.get(kind.dtype) if isinstance(kind, TensorType) else None
    if dtype is None or not isinstance(kind, TensorType):
        return Result(name=output.name, slot=slot, carrier=None, rounded=None, shape=None)
    rounded = dtype if numerics.needs_settling(dtype) and not exact else None
    shape = kind.shape if kind.ranked else None
    return Result(name=output.name, slot=slot, carrier=numerics.carrier(dtype), rounded=rounded, shape=shape)


def _fold(call: Call, scope: Scope) -> None:
    for result, value in zip(call.results, interpreter.run_call(call, interpreter.Run()), strict=True):
        scope[result.name] = _Folded(value=value)


def _with_frees(calls: list[Call], inputs: Iterable[int], outputs: Iterable[int]) -> tuple[Call, ...]:
    """The calls, each with the slots of this block that it is the last to read (or to write, where none reads)."""
    own = {*inputs, *(result.slot for call in calls for result in call.results)}
    last: dict[int, int] = {}
    for index, call in enumerate(calls):
        for slot in _touched(call):
            last[slot] = index
    freed: dict[int, list[int]] = {}
    # Slots of the blocks around stay alive: a loop reads them again in its next turn.
    for slot in sorted((own & set(last)) - set(outputs)):
        freed.setdefault(last[slot], []).append(slot)
    return tuple(
        dataclasses.replace(call, free=tuple(freed[index])) if index in freed else call
        for index, call in enumerate(calls)
    )


def _touched(call: Call) -> Iterable[int]:
    for argument in call.arguments:
        yield from argument.slots
    for result in call.results:
        yield result.slot
    for body in call.bodies:
        yield from body.outputs
        for inner in body.calls:
            yield from _touched(inner)
