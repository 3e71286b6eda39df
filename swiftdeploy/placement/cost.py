"""What each op of a Core ML program costs: multiply-accumulates, stored weights, and values read and written.

In: a scope. Out: one `OpCost` an op, and the total. An op in a loop's body counts once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from swiftdeploy.mil.program import Binding, Operation, TensorType
from swiftdeploy.mil.weights import stored_bytes
from swiftdeploy.placement.scope import Scope
from swiftdeploy.report import Cost, OpCost

# Float or not, these say how an op computes, or how a constexpr op unpacks: they are no weights.
_PARAMETERS = ("epsilon", "shape", "axis", "vector_axis")


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """A weight as it lies on disk: its bytes (of all parts where it is compressed), and the number of its values."""

    bytes: int
    values: int


def costs(scope: Scope) -> tuple[OpCost, ...]:
    """The cost of every op that a run executes, in program order."""
    return tuple(OpCost(op=op.name, type=op.type, cost=_cost(scope, op)) for op in scope.operations)


def total(parts: Iterable[OpCost], weight_bytes: int) -> Cost:
    """The sum of all ops. `weight_bytes` is given, since weights that several ops read lie on disk once."""
    found = [part.cost for part in parts]
    return make_cost(
        macs=sum(cost.macs for cost in found),
        weight_bytes=weight_bytes,
        activation_bytes=sum(cost.activation_bytes for cost in found),
        unsized=sum(cost.unsized for cost in found),
    )


def make_cost(*, macs: int, weight_bytes: int, activation_bytes: int, unsized: int = 0) -> Cost:
    """The cost with its intensity: MACs a byte, to four decimals so that it reads the same everywhere."""
    moved = weight_bytes + activation_bytes
    return Cost(
        macs=macs,
        weight_bytes=weight_bytes,
        activation_bytes=activation_bytes,
        intensity=round(macs / moved, 4) if moved else 0.0,
        unsized=unsized,
    )


def weights(scope: Scope) -> Mapping[str, Stored]:
    """Every weight that an op of the program reads, by the name of the value, once."""
    return {name: stored for op in scope.operations for name, stored in weights_of(scope, op).items()}


def weights_of(scope: Scope, operation: Operation) -> dict[str, Stored]:
    """The weights that an op reads: float constants, and whatever a constexpr op unpacks for it."""
    found = {}
    for key, given in operation.inputs.items():
        for bound in given if key not in _PARAMETERS else ():
            stored = _stored(scope, bound)
            if stored is not None:
                found[bound if isinstance(bound, str) else f"{operation.name}.{key}"] = stored
    return found


def _stored(scope: Scope, bound: Binding) -> Stored | None:
    kind = scope.type_of(bound)
    if kind is None or not scope.is_static(bound):
        return None
    made = scope.counter.operations.get(bound) if isinstance(bound, str) else None
    if made is not None and made.type.startswith("constexpr_"):
        return Stored(bytes=sum(_parts(scope, made).values()), values=math.prod(_known(kind)))
    # Strides, axes and flags are constants too, and whole numbers: what remains are weights.
    if not kind.dtype.startswith(("fp", "bf")):
        return None
    return Stored(bytes=stored_bytes(kind.dtype, _known(kind)), values=math.prod(_known(kind)))


def _parts(scope: Scope, constexpr: Operation) -> dict[str, int]:
    """The bytes of every constant from which a constexpr op, or a chain of them, unpacks its value."""
    found: dict[str, int] = {}
    for key, given in constexpr.inputs.items():
        for bound in given if key not in _PARAMETERS else ():
            made = scope.counter.operations.get(bound) if isinstance(bound, str) else None
            kind = scope.type_of(bound)
            if made is not None and made.type.startswith("constexpr_"):
                found.update(_parts(scope, made))
            elif kind is not None:
                name = bound if isinstance(bound, str) else f"{constexpr.name}.{key}"
                found[name] = stored_bytes(kind.dtype, _known(kind))
    return found


def _cost(scope: Scope, operation: Operation) -> Cost:
    weight_bytes = sum(stored.bytes for stored in weights_of(scope, operation).values())
    kinds = [kind for _, kind in scope.moving(operation)]
    if any(None in kind.shape or not kind.ranked for kind in kinds):
        return make_cost(macs=0, weight_bytes=weight_bytes, activation_bytes=0, unsized=1)
    return make_cost(
        macs=scope.counter.count(operation.outputs[0].name) if operation.outputs else 0,
        weight_bytes=weight_bytes,
        activation_bytes=sum(stored_bytes(kind.dtype, _known(kind)) for kind in kinds),
    )


def _known(kind: TensorType) -> tuple[int, ...]:
    return tuple(size or 0 for size in kind.shape)
