"""How a plain function becomes a kernel: what it answers to, since which opset, and what each parameter wants.

In: kernel functions. Out: frozen `Kernel` values that the interpreter binds once, at load. Knows no graph and no
protobuf; a kernel is found by its op's name and the opset of the function that calls it.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

OPSETS = ("CoreML5", "CoreML6", "CoreML7", "CoreML8", "CoreML9")


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorList:
    """A value of MIL's list type. Immutable: a write makes a new list. An item not yet written is None."""

    items: tuple[Tensor | None, ...]


@dataclass(kw_only=True, slots=True)
class Cell:
    """One state of a stateful program: the only value that changes in place."""

    value: Tensor


Value = Tensor | TensorList | Cell | str | tuple[str, ...] | Mapping[Any, Any] | int
"""Whatever may flow along an edge of the graph; a parameter with this annotation takes it as it comes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameter:
    """One input of an op as its kernel wants it.

    `convert` turns an edge's value into what the annotation asks for; with `variadic` it gets the tuple of all values
    that are bound to the input.
    """

    keyword: str
    convert: Callable[[Any], Any]
    required: bool
    variadic: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Kernel:
    """A kernel function, ready to be bound.

    `parameters` maps the op's input names. `exact` says that the outputs hold values of the inputs only, so rounding
    them again would be wasted work.
    """

    op: str
    since: int
    function: Callable[..., Any]
    parameters: Mapping[str, Parameter]
    wants_dtype: bool
    wants_blocks: bool
    exact: bool


def kernel(
    function: Callable[..., Any], *, op: str | None = None, since: str = "CoreML5", exact: bool = False
) -> Kernel:
    """The `Kernel` of a function whose keywords are the op's inputs and whose annotations say what it wants.

    `op` defaults to the function's name. A keyword `out_dtype` receives the declared dtype of the first output, a
    keyword `blocks` the op's nested blocks, each a callable from its inputs' values to the tuple of its outputs. A
    trailing underscore of a keyword is dropped. `exact` says that the outputs hold values of the inputs only. An
    annotation that no value can be converted to raises TypeError.
    """
    hints = typing.get_type_hints(function)
    parameters = {}
    for keyword, parameter in inspect.signature(function).parameters.items():
        if keyword not in ("out_dtype", "blocks"):
            wanted = hints[keyword]
            required = parameter.default is inspect.Parameter.empty
            parameters[keyword.rstrip("_")] = _parameter(keyword, wanted, required=required)
    return Kernel(
        op=op or function.__name__,
        since=OPSETS.index(since),
        function=function,
        parameters=types.MappingProxyType(parameters),
        wants_dtype="out_dtype" in hints,
        wants_blocks="blocks" in hints,
        exact=exact,
    )


def index(tables: Iterable[Iterable[Kernel]]) -> Mapping[str, tuple[Kernel, ...]]:
    """All kernels by op, oldest version first. Two that claim one op in one opset raise TypeError."""
    found: dict[str, list[Kernel]] = {}
    for table in tables:
        for entry in table:
            found.setdefault(entry.op, []).append(entry)
    for op, versions in found.items():
        versions.sort(key=lambda entry: entry.since)
        if len({entry.since for entry in versions}) != len(versions):
            raise TypeError(f"{op} has two kernels for one opset")
    return types.MappingProxyType({op: tuple(versions) for op, versions in sorted(found.items())})


def newest(versions: Iterable[Kernel], opset: str) -> Kernel | None:
    """The newest of `versions` (oldest first) that `opset` already knows."""
    known = OPSETS.index(opset) if opset in OPSETS else -1
    return next((entry for entry in reversed(tuple(versions)) if entry.since <= known), None)


def _parameter(keyword: str, wanted: Any, *, required: bool) -> Parameter:
    variants = [kind for kind in typing.get_args(wanted) if kind is not type(None)]
    optional = typing.get_origin(wanted) in (types.UnionType, typing.Union) and len(variants) == 1
    kind = variants[0] if optional else wanted
    if kind not in _CONVERTERS:
        raise TypeError(f"no value can be converted to {keyword}: {wanted}")
    convert = _CONVERTERS[kind]
    variadic = kind in _VARIADIC
    return Parameter(keyword=keyword, convert=convert, required=required, variadic=variadic)


def _as_it_is(value: Any) -> Any:
    return value


def _tensor(value: Any) -> Tensor:
    if not isinstance(value, Tensor):
        raise TypeError(f"expected a tensor, found {type(value).__name__}")
    return value


def _scalar(value: Any) -> Any:
    if isinstance(value, Tensor):
        if value.numel() != 1:
            raise TypeError(f"expected one number, found a tensor of shape {tuple(value.shape)}")
        return value.item()
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a string, found {type(value).__name__}")
    return value


def _numbers(kind: type[int] | type[float] | type[bool]) -> Callable[[Any], tuple[Any, ...]]:
    def convert(value: Any) -> tuple[Any, ...]:
        return tuple(kind(item) for item in _tensor(value).reshape(-1).tolist())

    return convert


def _texts(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(_text(item) for item in value)


def _tensors(values: tuple[Any, ...]) -> tuple[Tensor, ...]:
    return tuple(_tensor(value) for value in values)


_CONVERTERS: dict[Any, Callable[[Any], Any]] = {
    Tensor: _tensor,
    TensorList: _as_it_is,
    Cell: _as_it_is,
    Value: _as_it_is,
    Any: _as_it_is,
    str: _text,
    int: lambda value: int(_scalar(value)),
    float: lambda value: float(_scalar(value)),
    bool: lambda value: bool(_scalar(value)),
    tuple[int, ...]: _numbers(int),
    tuple[float, ...]: _numbers(float),
    tuple[bool, ...]: _numbers(bool),
    tuple[str, ...]: _texts,
    tuple[Tensor, ...]: _tensors,
    tuple[Value, ...]: tuple,
    tuple[Any, ...]: tuple,
}
_VARIADIC = (tuple[Tensor, ...], tuple[Value, ...], tuple[Any, ...])
