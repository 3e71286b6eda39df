"""A parsed ML Program as frozen values: functions, blocks, operations, types and constants.

The reader makes them from the file, the interpreter and every report read them. No protobuf, no torch: a constant is a
numpy array (a view of the memory-mapped weight file where the storage allows it), a string or a tuple of strings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

# Four gigabytes of float32: more than any app on a phone may hold, less than a workstation fails on.
MAX_ELEMENTS = 1 << 30

FeatureKind = Literal["array", "image", "state", "string", "int64", "double", "dictionary", "sequence"]
Color = Literal["", "RGB", "BGR", "GRAYSCALE", "GRAYSCALE_FLOAT16"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorType:
    """A tensor: dtype by MIL's name ("fp16", "int32", ...) and shape, where None is a size not known before a run.

    Where not even the number of axes is known (`fill` of a shape that is an input), `ranked` is False, `shape` empty.
    """

    dtype: str
    shape: tuple[int | None, ...] = ()
    ranked: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class ListType:
    """A list of tensors of one type; None is a length not known before a run."""

    item: TensorType
    length: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class DictionaryType:
    """A dictionary, which only `classify` makes and only attributes hold."""

    key: TensorType
    value: TensorType


@dataclass(frozen=True, kw_only=True, slots=True)
class StateType:
    """A state: a tensor that keeps its value from one prediction to the next."""

    tensor: TensorType


ValueType = TensorType | ListType | DictionaryType | StateType
Literals = np.ndarray | str | tuple[str, ...]


# Arrays have no truth value of their own, so that constants compare by identity.
@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Constant:
    """A value that stands in the file: an array of the type's shape (widened where numpy lacks the dtype), or text."""

    type: ValueType
    value: Literals


Binding = str | Constant
"""What is given to an op's input: the name of another value, or a value written in place."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedType:
    """The declaration of one value."""

    name: str
    type: ValueType


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """One op. A "const" op and a constexpr op carry their attributes as inputs that are constants."""

    type: str
    name: str
    inputs: Mapping[str, tuple[Binding, ...]]
    outputs: tuple[NamedType, ...]
    blocks: tuple[Block, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """Operations in the order in which they run; `outputs` are names of values made inside or around the block."""

    inputs: tuple[NamedType, ...]
    outputs: tuple[str, ...]
    operations: tuple[Operation, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Function:
    """One entry point, in the op versions of `opset` ("CoreML5" and up)."""

    name: str
    opset: str
    inputs: tuple[NamedType, ...]
    block: Block


@dataclass(frozen=True, kw_only=True, slots=True)
class Feature:
    """One input, output or state as an app sees it.

    `shape` and `dtype` (numpy's name) are an array's; `color`, `width` and `height` (pixels) an image's. `shapes` lists
    the enumerated shapes, `ranges` the least and greatest size of each axis (-1: no limit); both are empty where the
    shape is fixed. For an image they hold (height, width).
    """

    name: str
    kind: FeatureKind
    shape: tuple[int, ...] = ()
    dtype: str = ""
    color: Color = ""
    width: int = 0
    height: int = 0
    optional: bool = False
    default: float | None = None
    shapes: tuple[tuple[int, ...], ...] = ()
    ranges: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Interface:
    """What an app gives to one function and gets from it."""

    inputs: tuple[Feature, ...]
    outputs: tuple[Feature, ...]
    states: tuple[Feature, ...] = ()
    label: str = ""
    probabilities: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """Everything that the package says, without the protobuf it says it in."""

    specification_version: int
    functions: Mapping[str, Function]
    interfaces: Mapping[str, Interface]
    default_function: str
    metadata: Mapping[str, str] = field(default_factory=dict)


def walk(block: Block) -> Iterable[Operation]:
    """Every operation of a block and of the blocks nested in it."""
    for operation in block.operations:
        yield operation
        for nested in operation.blocks:
            yield from walk(nested)


def constants(function: Function) -> dict[str, Constant]:
    """What the const ops of a function hold, by the name of their output."""
    found = {}
    for operation in walk(function.block):
        held = operation.inputs.get("val", ()) if operation.type == "const" else ()
        if held and isinstance(held[0], Constant) and operation.outputs:
            found[operation.outputs[0].name] = held[0]
    return found
