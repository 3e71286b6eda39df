"""A function of a package as rules and costs look at it: types, constants, and which values a run changes.

In: the parsed program and the sizes of its files. Knows no rule.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from swiftdeploy.mil import reader
from swiftdeploy.mil.macs import MacCounter
from swiftdeploy.mil.program import Binding, Constant, Function, Interface, NamedType, Operation, TensorType, walk

# `classify` only names the classes for the app: it is how a package declares a classifier, not part of the network.
_UNJUDGED = ("const", "classify")


@dataclass(frozen=True, kw_only=True, slots=True)
class Scope:
    """One function of a package.

    `operations` are all ops that a run executes, nested ones among them; `judged` those that a compute unit is chosen
    for. `static` names the values that are known before a run: constants, and what constexpr ops unpack.
    `boundary_casts` names the casts between the app's dtype and the program's. `package_bytes` and `weight_bytes` are
    the sizes of the package's files, and of its weight files.
    """

    interface: Interface
    function: Function
    counter: MacCounter
    operations: tuple[Operation, ...]
    judged: tuple[Operation, ...]
    static: frozenset[str]
    boundary_casts: frozenset[str]
    package_bytes: int
    weight_bytes: int

    def moving(self, operation: Operation) -> Iterator[tuple[str, TensorType]]:
        """(name, type) of every tensor that an op reads or writes and that a run changes; once, if it is read twice."""
        for bound in dict.fromkeys(bound for bound in _bindings(operation) if isinstance(bound, str)):
            if bound not in self.static and bound in self.counter.types:
                yield bound, self.counter.types[bound]
        for output in operation.outputs:
            if output.name in self.counter.types:
                yield output.name, self.counter.types[output.name]

    def type_of(self, bound: Binding) -> TensorType | None:
        """The type of what is bound to an input; None where it is no tensor."""
        if isinstance(bound, str):
            return self.counter.types.get(bound)
        return bound.type if isinstance(bound.type, TensorType) else None

    def is_static(self, bound: Binding) -> bool:
        """Whether a binding is known before the run."""
        return not isinstance(bound, str) or bound in self.static

    def bound(self, operation: Operation, key: str) -> Binding | None:
        """The first thing that is bound to an input, if any."""
        given = operation.inputs.get(key, ())
        return given[0] if given else None

    def shape(self, operation: Operation, key: str) -> tuple[int | None, ...]:
        """The shape of an input; empty where it is not given or not ranked."""
        bound = self.bound(operation, key)
        kind = None if bound is None else self.type_of(bound)
        return () if kind is None else kind.shape

    def constant(self, bound: Binding | None) -> np.ndarray | None:
        """The array of a constant; None for everything else."""
        held = self.counter.constants.get(bound) if isinstance(bound, str) else bound
        return held.value if isinstance(held, Constant) and isinstance(held.value, np.ndarray) else None

    def numbers(self, operation: Operation, key: str) -> tuple[float, ...]:
        """The numbers of a constant input, flat; empty where it is not given or not constant."""
        value = self.constant(self.bound(operation, key))
        return () if value is None else tuple(value.reshape(-1).tolist())

    def packed_by(self, operation: Operation, key: str) -> Operation | None:
        """The constexpr op that unpacks an input, if one does."""
        bound = self.bound(operation, key)
        made = self.counter.operations.get(bound) if isinstance(bound, str) else None
        return made if made is not None and made.type.startswith("constexpr_") else None


def read_scope(path: Path) -> Scope:
    """The default function of the .mlpackage at `path`. Raises ArtifactError for a damaged package."""
    program = reader.read_program(path)
    function = program.functions[program.default_function]
    everything = tuple(walk(function.block))
    running = tuple(op for op in everything if op.type != "const" and not op.type.startswith("constexpr_"))
    constant = (op for op in everything if op.type == "const" or op.type.startswith("constexpr_"))
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    return Scope(
        interface=program.interfaces[program.default_function],
        function=function,
        counter=MacCounter.of(function),
        operations=running,
        judged=tuple(op for op in running if op.type not in _UNJUDGED),
        static=frozenset(output.name for op in constant for output in op.outputs),
        boundary_casts=frozenset(_boundary_casts(function, running)),
        package_bytes=sum(file.stat().st_size for file in files),
        weight_bytes=sum(file.stat().st_size for file in files if file.suffix == ".bin"),
    )


def _boundary_casts(function: Function, operations: tuple[Operation, ...]) -> Iterator[str]:
    """The names of casts between the app's dtype and the program's: they stand at an input, or lead only out."""
    inputs = {value.name for value in function.inputs}
    inside = {bound for op in operations if op.type not in _UNJUDGED for bound in _bindings(op)}
    # A nested block's answer goes on inside the program.
    inside.update(name for op in operations for block in op.blocks for name in block.outputs)
    for op in operations:
        reads = {bound for bound in _bindings(op) if isinstance(bound, str)}
        if op.type == "cast" and (reads & inputs or not _names(op.outputs) & inside):
            yield op.name


def _names(values: tuple[NamedType, ...]) -> set[str]:
    return {value.name for value in values}


def _bindings(operation: Operation) -> Iterator[Binding]:
    for given in operation.inputs.values():
        yield from given
