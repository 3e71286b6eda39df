"""Budgets: what may not be exceeded, as absolute limits or relative to a baseline.

A field's metadata holds JSON Schema keywords: `decode` checks by them, and the schema that ships states them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, Literal

# `$` alone would let a newline stand at the end in Python, and not in an editor.
SIZE_PATTERN = r"^(\d+|\d+\.\d+) ?(B|kB|MB|GB|KiB|MiB|GiB)$(?!\n)"
_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def said(description: str, **keywords: Any) -> Mapping[str, Any]:
    """A field's metadata: what an editor shows of it, and what else its value must fulfil."""
    return MappingProxyType({"schema": {"description": description, **keywords}})


def bytes_of(size: str) -> int:
    """The number of bytes in a text such as "4 MB" (10**6) or "4 MiB" (2**20). Raises ValueError for another form."""
    match = re.search(SIZE_PATTERN, size, re.ASCII)
    if match is None:
        raise ValueError(f"{size!r} is no size such as '4 MB', '512 kB' or '3.5 MiB'")
    # Split at the point, so that "0.1 MB" is 100000 and not what a float makes of it.
    whole, _, part = match[1].partition(".")
    unit = _UNITS[match[2]]
    return int(whole) * unit + int(part or 0) * unit // 10 ** len(part)


@dataclass(frozen=True, kw_only=True, slots=True)
class SizeBudget:
    """Bytes on disk."""

    SCHEMA: ClassVar[Mapping[str, Any]] = MappingProxyType({"minProperties": 1})

    max: str | None = field(default=None, metadata=said('At most so much: "4 MB".', pattern=SIZE_PATTERN))
    max_ratio: float | None = field(
        default=None, metadata=said("At most the baseline's size times this.", exclusiveMinimum=0)
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class DecibelBudget:
    """Closeness to the oracle: the worst output's PSNR in dB."""

    SCHEMA: ClassVar[Mapping[str, Any]] = MappingProxyType({"minProperties": 1})

    min: float | None = field(default=None, metadata=said("At least so many dB.", minimum=0))
    max_drop: float | None = field(default=None, metadata=said("At most so many dB below the baseline's.", minimum=0))


@dataclass(frozen=True, kw_only=True, slots=True)
class AccuracyBudget:
    """Share of right answers on a folder with one folder of images for each class."""

    SCHEMA: ClassVar[Mapping[str, Any]] = MappingProxyType({"minProperties": 2})

    images: str = field(metadata=said("Folder of labelled images: one folder a class.", minLength=1))
    min: float | None = field(default=None, metadata=said("At least this share, 0 to 1.", minimum=0, maximum=1))
    max_drop: float | None = field(
        default=None, metadata=said("At most this share below the baseline's.", minimum=0, maximum=1)
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class PlacementBudget:
    """How many placement findings of each severity a bundle may have."""

    SCHEMA: ClassVar[Mapping[str, Any]] = MappingProxyType({"minProperties": 1})

    error: int | None = field(default=None, metadata=said("At most so many errors.", minimum=0))
    warning: int | None = field(default=None, metadata=said("At most so many warnings.", minimum=0))
    note: int | None = field(default=None, metadata=said("At most so many notes.", minimum=0))


@dataclass(frozen=True, kw_only=True, slots=True)
class LatencyBudget:
    """Latency that a device measured, from results that are stored in the bundle or in a folder."""

    SCHEMA: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {"anyOf": [{"required": ["max_ms"]}, {"required": ["max_ratio"]}]}
    )

    max_ms: float | None = field(
        default=None, metadata=said("At most so many milliseconds (median).", exclusiveMinimum=0)
    )
    max_ratio: float | None = field(
        default=None, metadata=said("At most the baseline's median times this.", exclusiveMinimum=0)
    )
    results: str | None = field(default=None, metadata=said("Folder with results of the harness.", minLength=1))
    device: str | None = field(default=None, metadata=said('Only results of this hardware: "iPhone14,7".', minLength=1))
    unit: str | None = field(default=None, metadata=said("Only results on this compute unit.", minLength=1))
    missing: Literal["fail", "skip"] = field(
        default="fail", metadata=said("What an artifact counts as that no result measures.")
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Budgets:
    """All budgets of one model; None where there is no such limit."""

    size: SizeBudget | None = field(default=None, metadata=said("Each artifact's bytes."))
    bundle_size: SizeBudget | None = field(default=None, metadata=said("The whole bundle's bytes."))
    parity: DecibelBudget | None = field(
        default=None, metadata=said("Closeness to the oracle, on the real and on stress weights.")
    )
    drift: DecibelBudget | None = field(
        default=None, metadata=said("Closeness of a compressed artifact to the original weights' answers.")
    )
    top1: AccuracyBudget | None = field(default=None, metadata=said("Accuracy on labelled images."))
    placement: PlacementBudget | None = field(default=None, metadata=said("Findings about compute units."))
    latency: LatencyBudget | None = field(default=None, metadata=said("Latency from a device's stored results."))

    @property
    def relative(self) -> tuple[str, ...]:
        """The keys that need a baseline, such as "size.max_ratio"."""
        found = [f"{key}.max_ratio" for key in ("size", "bundle_size", "latency") if _has(self, key, "max_ratio")]
        return (*found, *(f"{key}.max_drop" for key in ("parity", "drift", "top1") if _has(self, key, "max_drop")))


def _has(budgets: Budgets, key: str, limit: str) -> bool:
    return getattr(getattr(budgets, key), limit, None) is not None
