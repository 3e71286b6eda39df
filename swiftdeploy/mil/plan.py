"""A function resolved for running, as frozen values: calls with their kernels, constants and slots.

The binder makes them once, at load; the interpreter runs them. A slot is a place in the list that holds a run's values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from swiftdeploy.mil.kernels.registry import Value


@dataclass(frozen=True, kw_only=True, slots=True)
class Argument:
    """An argument that is known only when the op runs: slots to read (several for a variadic one), then converted."""

    keyword: str
    convert: Callable[[Any], Any]
    slots: tuple[int, ...]
    variadic: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """Where an output goes and what it must be: its slot, carrier dtype, the dtype to round to, and its sizes.

    `carrier` and `shape` are None where the output is no tensor; `rounded` is None where the carrier needs no rounding.
    """

    name: str
    slot: int
    carrier: torch.dtype | None
    rounded: torch.dtype | None
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One op, bound. `free` lists the slots that no later op reads."""

    op: str
    name: str
    function: Callable[..., Any]
    constants: Mapping[str, Any]
    arguments: tuple[Argument, ...]
    results: tuple[Result, ...]
    bodies: tuple[Body, ...]
    free: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Body:
    """A block, bound: the slots that its inputs fill and its outputs are read from."""

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    calls: tuple[Call, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A function, bound. `initial` is the slots as a run finds them: constants that are read by slot, else None."""

    inputs: Mapping[str, int]
    outputs: Mapping[str, int]
    body: Body
    initial: tuple[Value | None, ...]
