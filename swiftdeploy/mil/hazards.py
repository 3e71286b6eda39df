"""What half precision would do, or did, to each op of a program on given inputs; and how much each op multiplies.

In: a loaded program and inputs. Out: one frozen `OpHazards` for each output of each op, in the order of execution. On
an fp32 program the shares say what an fp16 program would lose; on an fp16 program what it has already lost (an
overflow is an infinity there, a vanished value a zero). Values only: how they look is for the command line to say.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from swiftdeploy.mil import macs, risks
from swiftdeploy.mil.model import LoadedProgram
from swiftdeploy.mil.program import Function, StateType
from swiftdeploy.mil.risks import FP16_MAX, FP16_MIN_NORMAL, FP16_MIN_SUBNORMAL, Risk, Squares

_SHARES = ("overflow", "vanish", "subnormal", "nan", "inf")


@dataclass(frozen=True, kw_only=True, slots=True)
class OpHazards:
    """One output of one op, over all samples and over all turns of a loop.

    `least` is the smallest magnitude above zero and `greatest` the largest, both among finite values (0 where there is
    none). The shares are of all its elements: `overflow` beyond ±65504 (infinities among them), `vanish` non-zero below
    the smallest half-precision number 2^-24, `subnormal` non-zero below the smallest normal one 2^-14 (those that
    vanish among them). They are 0 for an output that holds no floats. `macs` are multiply-accumulates of one sample,
    counted on the op's first output, on which the `risks` of the op stand, too: what half precision may not hold.
    """

    name: str
    op: str
    output: str
    dtype: str
    shape: tuple[int, ...]
    runs: int
    least: float
    greatest: float
    overflow: float
    vanish: float
    subnormal: float
    nan: float
    inf: float
    macs: int
    risks: tuple[Risk, ...] = ()


@dataclass(kw_only=True, slots=True)
class _Tally:
    """The running counts behind one `OpHazards`."""

    name: str
    op: str
    output: str
    dtype: str
    shape: tuple[int, ...] = ()
    runs: int = 0
    elements: int = 0
    # Infinite until a value above zero is seen.
    least: float = math.inf
    greatest: float = 0.0
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_SHARES, 0))
    macs: int = 0


class _Squares:
    """How large the sums of squares become that the program's ops make of their inputs."""

    def __init__(self, function: Function) -> None:
        self._wanted: Mapping[str, tuple[Squares, ...]] = risks.squares(function)
        self.largest: dict[str, float] = {}

    def see(self, name: str, value: Tensor) -> None:
        """Note the sums of one value, where any op squares it."""
        for entry in self._wanted.get(name, ()):
            total = value.double().square().sum(dim=entry.axes or None).max()
            self.largest[entry.output] = max(self.largest.get(entry.output, 0.0), float(total))


def measure(loaded: LoadedProgram, samples: Iterable[Mapping[str, Any]]) -> tuple[OpHazards, ...]:
    """The hazards of every op on `samples`, each a dict of inputs as `predict` takes it.

    A stateful program gets a fresh state for each sample. Raises what `predict` raises.
    """
    counter = macs.MacCounter.of(loaded.function)
    sums = _Squares(loaded.function)
    in_file = risks.in_file(loaded.function)
    tallies: dict[str, _Tally] = {}
    count = 0

    def observe(name: str, op: str, outputs: Mapping[str, Any]) -> None:
        # Lists and states have no range of their own; what is read from them has.
        tensors = {key: value for key, value in outputs.items() if isinstance(value, Tensor)}
        counter.see({key: tuple(value.shape) for key, value in tensors.items()})
        for index, (key, value) in enumerate(tensors.items()):
            tally = tallies.setdefault(key, _Tally(name=name, op=op, output=key, dtype=counter.dtype(key)))
            _count(tally, value)
            sums.see(key, value)
            # An op of several outputs does its work once.
            tally.macs += counter.count(key) if index == 0 else 0

    stateful = any(isinstance(value.type, StateType) for value in loaded.function.inputs)
    for sample in samples:
        for name, value in sample.items():
            if isinstance(value, np.ndarray) and value.dtype.kind == "f":
                sums.see(name, torch.from_numpy(value))
        loaded.predict(sample, loaded.make_state() if stateful else None, observe)
        count += 1
    return tuple(
        _finished(tally, count, (*in_file.get(key, ()), *_measured(tally, sums.largest.get(key, 0.0))))
        for key, tally in tallies.items()
    )


def _measured(tally: _Tally, largest_sum: float) -> Iterable[Risk]:
    """The risks that only a run shows."""
    if largest_sum > FP16_MAX:
        yield Risk(kind="squares", value=largest_sum)
    if tally.counts["overflow"]:
        yield Risk(kind="overflow", value=tally.greatest)
    if tally.counts["vanish"]:
        yield Risk(kind="vanish", value=tally.counts["vanish"] / tally.elements)


def _count(tally: _Tally, value: Tensor) -> None:
    tally.shape = tuple(value.shape)
    tally.runs += 1
    tally.elements += value.numel()
    if not value.numel() or value.dtype == torch.bool:
        return
    magnitude = value.abs()
    if value.is_floating_point():
        nan, inf = magnitude.isnan(), magnitude.isinf()
        above_zero = magnitude > 0
        masks = {
            "overflow": magnitude > FP16_MAX,
            "vanish": above_zero & (magnitude < FP16_MIN_SUBNORMAL),
            "subnormal": above_zero & (magnitude < FP16_MIN_NORMAL),
            "nan": nan,
            "inf": inf,
        }
        for key, mask in masks.items():
            tally.counts[key] += int(mask.sum())
        # A range with an infinity in it would say nothing about the rest.
        magnitude = magnitude[~(nan | inf)]
    above = magnitude[magnitude > 0]
    if above.numel():
        tally.least = min(tally.least, float(above.min()))
        tally.greatest = max(tally.greatest, float(above.max()))


def _finished(tally: _Tally, samples: int, found: tuple[Risk, ...]) -> OpHazards:
    shares = {key: number / tally.elements if tally.elements else 0.0 for key, number in tally.counts.items()}
    return OpHazards(
        name=tally.name,
        op=tally.op,
        output=tally.output,
        dtype=tally.dtype,
        shape=tally.shape,
        runs=tally.runs,
        least=0.0 if math.isinf(tally.least) else tally.least,
        greatest=tally.greatest,
        macs=tally.macs // max(1, samples),
        risks=found,
        **shares,
    )
