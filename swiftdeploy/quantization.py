"""How an ONNX file is quantised to 8-bit integers: frozen options, and their spelling on the command line.

In: `--int8 NAME=VALUE` and the table `int8` of swiftdeploy.toml. Out: `Int8Options`; `targets.onnx_int8` does it.
Standard library only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from swiftdeploy.errors import UsageError

Method = Literal["minmax", "percentile", "entropy"]
Gelu = Literal["auto", "exact", "tanh", "sigmoid"]
METHODS: tuple[Method, ...] = get_args(Method)
GELUS: tuple[Gelu, ...] = get_args(Gelu)


def _said(description: str, **keywords: Any) -> dict[str, Any]:
    """Metadata for the schema of swiftdeploy.toml: see `schema.make_schema`."""
    return {"schema": {"description": description, **keywords}}


@dataclass(frozen=True, kw_only=True, slots=True)
class Int8Options:
    """How to quantise.

    `method` sets the activations' ranges: the extremes, a share of the values in percent (`percentile`), or the least
    loss of information ("entropy"). `weight_bits` 7 keeps the sum of two products inside 16 bits, which x86 without
    VNNI needs to compute what the file says; 8 is for Arm and for x86 with VNNI. `activations` "int8" suits Arm's
    kernels; on x86 it is slower than "uint8". `gelu`: see `targets.onnx_int8_gelu`. `keep_float` names nodes that stay
    as they are. Raises UsageError for a value that means nothing.
    """

    method: Method = field(default="minmax", metadata=_said("What the ranges of activations are measured by."))
    percentile: float = field(
        default=99.999,
        metadata=_said("Share of values in a range, for the method of that name.", exclusiveMinimum=50, maximum=100),
    )
    weight_bits: Literal[7, 8] = field(default=7, metadata=_said("7 for x86 without VNNI, 8 for Arm and VNNI alone."))
    activations: Literal["uint8", "int8"] = field(default="uint8", metadata=_said("Type of the activations."))
    gelu: Gelu = field(
        default="auto",
        metadata=_said("Form of GELU: exact in float, an approximation, or the one that fits the layer."),
    )
    keep_float: tuple[str, ...] = field(default=(), metadata=_said("Nodes that compute in float, by name."))

    @property
    def least_opset(self) -> int:
        """The oldest opset in which GELU is one node, where its form is said; 0 where any will do."""
        return 20 if self.gelu in ("tanh", "sigmoid") else 0

    def __post_init__(self) -> None:
        _one_of("calibration method", self.method, METHODS)
        _one_of("GELU form", self.gelu, GELUS)
        _one_of("number of weight bits", self.weight_bits, (7, 8))
        _one_of("activation type", self.activations, ("uint8", "int8"))
        if not 50.0 < self.percentile <= 100.0:
            raise UsageError(f"percentile {self.percentile} makes no range", hint="choose one from 99 to 100")
        if self.percentile != 99.999 and self.method != "percentile":
            raise UsageError(
                f"a percentile means nothing to the method {self.method!r}", hint="add method=percentile beside it"
            )


def read_int8(given: Sequence[str]) -> Int8Options:
    """The options of repeated `NAME=VALUE`; `keep_float` may be said several times. Raises UsageError."""
    values: dict[str, Any] = {}
    known = [option.name for option in fields(Int8Options)]
    for text in given:
        name, equals, value = text.partition("=")
        if name not in known or not equals or not value:
            raise UsageError(f"--int8 {text!r} sets nothing", hint=f"NAME=VALUE with one of {', '.join(known)}")
        if name == "keep_float":
            values[name] = (*values.get(name, ()), value)
        elif name in values:
            raise UsageError(f"--int8 {name} is said twice", hint="say it once")
        else:
            values[name] = _number(text, value) if name in ("percentile", "weight_bits") else value
    return Int8Options(**values)


def _number(text: str, value: str) -> float:
    try:
        return int(value) if value.isdigit() else float(value)
    except ValueError as error:
        raise UsageError(f"--int8 {text!r} is no number", hint="for example --int8 percentile=99.99") from error


def _one_of(what: str, value: object, known: Sequence[object]) -> None:
    if value not in known:
        raise UsageError(f"{what} {value!r} is not known", hint=f"choose from {', '.join(map(str, known))}")
