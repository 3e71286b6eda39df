"""Multiply-accumulates of one op, from the sizes of its inputs and outputs.

In: a function, then sizes as a run shows them. Out: a number for each convolution, matrix product and attention; every
other op only moves values or maps them one by one, and counts as 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from swiftdeploy.mil.program import (
    Binding,
    Block,
    Constant,
    Function,
    ListType,
    NamedType,
    Operation,
    StateType,
    TensorType,
    ValueType,
    constants,
    walk,
)

Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class MacCounter:
    """The ops of a function by their first output, and what is known of its values: types, constants, sizes so far."""

    operations: Mapping[str, Operation]
    types: Mapping[str, TensorType]
    constants: Mapping[str, Constant]
    shapes: dict[str, Shape]

    @classmethod
    def of(cls, function: Function) -> MacCounter:
        """The counter of a function; sizes that do not depend on the input are known from the start."""
        operations = list(walk(function.block))
        named = [*function.inputs, *_values(function.block)]
        types = {value.name: kind for value in named if (kind := _tensor_type(value.type)) is not None}
        shapes = {}
        for name, kind in types.items():
            sizes = tuple(size for size in kind.shape if size is not None)
            # Where a size is open the run will show it; a constant is never observed, so that it must be known here.
            if kind.ranked and len(sizes) == len(kind.shape):
                shapes[name] = sizes
        return cls(
            operations={operation.outputs[0].name: operation for operation in operations if operation.outputs},
            types=types,
            constants=constants(function),
            shapes=shapes,
        )

    def see(self, shapes: Mapping[str, Shape]) -> None:
        """Note the sizes that values have in this run."""
        self.shapes.update(shapes)

    def dtype(self, output: str) -> str:
        """The declared dtype of a value, by MIL's name; empty where it is no tensor."""
        kind = self.types.get(output)
        return "" if kind is None else kind.dtype

    def count(self, output: str) -> int:
        """The multiply-accumulates of one run of the op whose first output is `output`; 0 where sizes are missing."""
        operation = self.operations.get(output)
        if operation is None or operation.type not in _COUNTS or output not in self.shapes:
            return 0
        sizes = {key: self._sizes(bindings[0]) for key, bindings in operation.inputs.items() if bindings}
        known = {key: shape for key, shape in sizes.items() if shape is not None}
        # A size that nobody knows (an input of a loop's body that never ran) is no reason to fail a report.
        try:
            return _COUNTS[operation.type](self, operation, known, self.shapes[output])
        except (KeyError, IndexError):
            return 0

    def _sizes(self, bound: Binding) -> Shape | None:
        if isinstance(bound, str):
            return self.shapes.get(bound)
        return tuple(getattr(bound.value, "shape", ()))

    def is_true(self, operation: Operation, key: str) -> bool:
        """Whether a constant bool input is given and true."""
        bound = operation.inputs.get(key, ())
        held = self.constants.get(bound[0]) if bound and isinstance(bound[0], str) else bound[0] if bound else None
        return isinstance(held, Constant) and bool(held.value)


Sizes = Mapping[str, Shape]


def convolution(elements: Shape, weight: Shape) -> int:
    """Multiply-accumulates of a convolution: each element of `elements` meets every axis of `weight` but the first.

    `elements` is the output's shape; the input's for a transposed convolution, which spreads what it reads.
    """
    return math.prod(elements) * math.prod(weight[1:])


def product(out: Shape, inner: int) -> int:
    """Multiply-accumulates of a matrix product: each element of the output is a sum over `inner` products."""
    return math.prod(out) * inner


def _conv(_: MacCounter, __: Operation, sizes: Sizes, out: Shape) -> int:
    return convolution(out, sizes["weight"])


def _conv_transpose(_: MacCounter, __: Operation, sizes: Sizes, ___: Shape) -> int:
    return convolution(sizes["x"], sizes["weight"])


def _linear(_: MacCounter, __: Operation, sizes: Sizes, out: Shape) -> int:
    return product(out, sizes["weight"][-1])


def _matmul(counter: MacCounter, operation: Operation, sizes: Sizes, out: Shape) -> int:
    # The axis that is summed over is x's last one, or its second last if x is turned.
    transposed = counter.is_true(operation, "transpose_x") and len(sizes["x"]) > 1
    return product(out, sizes["x"][-2 if transposed else -1])


def _einsum(_: MacCounter, __: Operation, sizes: Sizes, out: Shape) -> int:
    return product(out, sizes["values"][-1])


def _attention(_: MacCounter, __: Operation, sizes: Sizes, out: Shape) -> int:
    # Each query meets each key twice: in the scores, and in the weighted sum of the values.
    return math.prod(out[:-1]) * sizes["key"][-2] * (sizes["query"][-1] + out[-1])


_COUNTS: Mapping[str, Callable[[MacCounter, Operation, Sizes, Shape], int]] = {
    "conv": _conv,
    "conv_transpose": _conv_transpose,
    "linear": _linear,
    "matmul": _matmul,
    "einsum": _einsum,
    "scaled_dot_product_attention": _attention,
}


def _values(block: Block) -> Iterable[NamedType]:
    yield from block.inputs
    for operation in block.operations:
        yield from operation.outputs
        for nested in operation.blocks:
            yield from _values(nested)


def _tensor_type(kind: ValueType) -> TensorType | None:
    if isinstance(kind, TensorType):
        return kind
    if isinstance(kind, StateType):
        return kind.tensor
    return kind.item if isinstance(kind, ListType) else None
