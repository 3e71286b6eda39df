"""Where two artifacts differ: in their weights, in their program, and by how much."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swiftdeploy.parity.metrics import relative_l2
from swiftdeploy.runtimes import open_artifact

_PACKAGE = ".mlpackage"
_NO_WEIGHTS = ".ort"  # ONNX Runtime's own form, whose tensors cannot be read back


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightsDifference:
    """How far the stored tensors of one artifact are from another's, by name.

    `tensors` are those that both have with one shape, `changed` how many of them differ in any value. `worst` is the
    one that differs most by relative L2, |b - a| / |a|; `relative_l2` is None where a is all zeros, or a value is not
    finite. `only_a` and `only_b` are names that the other side lacks, or has with another shape.
    """

    tensors: int
    changed: int
    worst: str = ""
    relative_l2: float | None = 0.0
    only_a: tuple[str, ...] = ()
    only_b: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        """Whether both hold the same tensors with the same values."""
        return not (self.changed or self.only_a or self.only_b)


def weights_difference(a: Path, b: Path) -> WeightsDifference | None:
    """The difference of two artifacts' tensors, None where they cannot be read. Raises ArtifactError."""
    if _NO_WEIGHTS in (a.suffix, b.suffix):
        return None
    one, two = open_artifact(a).tensors(), open_artifact(b).tensors()
    shared = sorted(name for name in one.keys() & two.keys() if one[name].shape == two[name].shape)
    far = {name: _distance(one[name], two[name]) for name in shared if not _equal(one[name], two[name])}
    worst = max(far, key=lambda name: far[name], default="")
    return WeightsDifference(
        tensors=len(shared),
        changed=len(far),
        worst=worst,
        relative_l2=far.get(worst, 0.0) if math.isfinite(far.get(worst, 0.0)) else None,
        only_a=tuple(sorted(one.keys() - set(shared))),
        only_b=tuple(sorted(two.keys() - set(shared))),
    )


def parts(a: Path, b: Path, names: Iterable[str]) -> tuple[str, ...]:
    """The files `names` of two bundles `a` and `b` that differ, packages and ONNX files with the part that does."""
    grouped: dict[str, list[str]] = {}
    for name in names:
        head, mark, inner = name.partition(f"{_PACKAGE}/")
        whole = head + _PACKAGE if mark else name
        if not (a / name).is_file() or not (b / name).is_file():
            grouped.setdefault(whole, []).append(f"{inner} is missing" if mark else "missing")
        elif mark:
            grouped.setdefault(whole, []).append(_package_part(inner))
        else:
            grouped.setdefault(whole, []).extend(_onnx_parts(a / name, b / name) if name.endswith(".onnx") else ())
    return tuple(f"{whole} ({', '.join(found)})" if found else whole for whole, found in grouped.items())


def ops_difference(a: Mapping[str, int], b: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """The counts (a, b) of every op type whose counts differ."""
    return {op: (a.get(op, 0), b.get(op, 0)) for op in sorted({*a, *b}) if a.get(op, 0) != b.get(op, 0)}


def _package_part(inner: str) -> str:
    if "/weights/" in inner:
        return "weights"
    return "program" if inner.endswith(".mlmodel") else inner


def _onnx_parts(a: Path, b: Path) -> list[str]:
    """Both in one file: what is not the weights is the program."""
    found = weights_difference(a, b)
    if found is None or found.same:
        return ["program"]
    moved = ops_difference(open_artifact(a).op_counts(), open_artifact(b).op_counts())
    return ["weights", "program"] if moved or found.only_a or found.only_b else ["weights"]


def _equal(a: NDArray[Any], b: NDArray[Any]) -> bool:
    return a.dtype == b.dtype and a.tobytes() == b.tobytes()


def _distance(a: NDArray[Any], b: NDArray[Any]) -> float:
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return math.inf
    return relative_l2(a, b)
