"""The weights of a package: what each is called, what it holds, and how the layer that uses it lays out its channels.

Read from the file by the parser of the reference runtime; none of its kernels takes part.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swiftdeploy.mil import reader
from swiftdeploy.mil.program import Block, Constant, Operation

SUFFIXES = ("_to_fp16", "_cast_fp16")
# An op that multiplies by a weight, and which of its inputs that is.
_WEIGHT_INPUTS = {"conv": "weight", "conv_transpose": "weight", "linear": "weight", "matmul": "y", "gather": "x"}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Weight:
    """One weight tensor. `constant` is its name in the package, `name` the one that the module knows it by.

    `output_axis` and `input_axis` count its channels; None where the ops that use it disagree. `depthwise` weights have
    one input channel, `nested` ones lie in the body of a loop or a branch.
    """

    name: str
    constant: str
    value: NDArray[Any]
    output_axis: int | None
    input_axis: int | None
    nested: bool = False

    @property
    def depthwise(self) -> bool:
        """Whether each output channel sees a single input channel."""
        return self.input_axis is not None and self.value.ndim == 4 and self.value.shape[self.input_axis] == 1


def read_weights(package: Path) -> tuple[Weight, ...]:
    """Every float weight of an uncompressed package that a layer multiplies by, in the program's order.

    Biases, and constants that are added or scaled by, are no weights. Raises ArtifactError for a damaged package.
    """
    program = reader.read_program(package)
    operations = tuple(walk(program.functions[program.default_function].block))
    constants = {o.outputs[0].name: o for o in operations if o.type == "const"}
    axes: dict[str, set[tuple[int, int]]] = {}
    for operation in operations:
        key = _WEIGHT_INPUTS.get(operation.type, "")
        for binding in operation.inputs.get(key, ()):
            if isinstance(binding, str) and binding in constants:
                axes.setdefault(binding, set()).add(_axes(operation))
    outer = set(map(id, program.functions[program.default_function].block.operations))
    return tuple(
        _weight(constants[name], found, nested=id(constants[name]) not in outer)
        for name, found in axes.items()
        if _is_weight(array_of(constants[name].inputs["val"][0]))
    )


def walk(block: Block) -> Iterator[Operation]:
    """Every operation of a block and of the blocks inside it."""
    for operation in block.operations:
        for nested in operation.blocks:
            yield from walk(nested)
        yield operation


def array_of(binding: Any) -> NDArray[Any] | None:
    """The array that a binding holds; None for a name or a text."""
    return binding.value if isinstance(binding, Constant) and isinstance(binding.value, np.ndarray) else None


def stem(constant: str) -> str:
    """The module's name of a constant: coremltools appends what it did to it."""
    for suffix in SUFFIXES:
        constant = constant.removesuffix(suffix)
    return constant


def _is_weight(value: NDArray[Any] | None) -> bool:
    return value is not None and value.dtype.kind == "f" and value.ndim >= 2


def _weight(constant: Operation, axes: set[tuple[int, int]], *, nested: bool) -> Weight:
    value = array_of(constant.inputs["val"][0])
    if value is None:
        raise AssertionError(f"{constant.name} is no tensor")
    name = constant.outputs[0].name
    # As many axes as ops that disagree on them: then no scale a channel is right for all.
    output_axis, input_axis = next(iter(axes)) if len(axes) == 1 else (None, None)
    rank = value.ndim
    return Weight(
        name=stem(name),
        constant=name,
        value=value,
        output_axis=None if output_axis is None else output_axis % rank,
        input_axis=None if input_axis is None else input_axis % rank,
        nested=nested,
    )


def _axes(operation: Operation) -> tuple[int, int]:
    """(output axis, input axis) of a weight, as Apple's op reference defines the op."""
    if operation.type == "conv_transpose":
        return 1, 0
    if operation.type == "matmul":
        return (-2, -1) if _flag(operation.inputs, "transpose_y") else (-1, -2)
    return 0, 1


def _flag(inputs: Mapping[str, tuple[Any, ...]], name: str) -> bool:
    values = [array_of(binding) for binding in inputs.get(name, ())]
    return any(value is not None and bool(value) for value in values)
