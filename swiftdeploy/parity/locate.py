"""Where an artifact first parts from the graph that it was made of.

By value, not by name: converters rename, merge and reorder. The first value of the artifact that no value of the graph
equals, within the gate, is where it went wrong. What it should have been is told by the graph's next value.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swiftdeploy.parity import metrics

INPUT = "input"


@dataclass(frozen=True, kw_only=True, slots=True)
class Value:
    """One intermediate value: the op that made it, its type, the torch module it belongs to, and the array."""

    name: str
    op: str
    array: NDArray[Any]
    place: str = ""


def first_divergence(reference: Sequence[Value], artifact: Iterable[Value], *, gate_db: float) -> str:
    """A sentence that names the first diverging op; empty when every value finds its equal.

    Both sequences hold the values of the same input, in the order of computation. The input itself may stand first in
    the reference, as op INPUT: an artifact may cast it, and never gets it wrong.
    """
    by_size: dict[int, list[int]] = {}
    for index, value in enumerate(reference):
        by_size.setdefault(value.array.size, []).append(index)
    last = -1
    for value in artifact:
        candidates = by_size.get(value.array.size, []) if value.array.dtype.kind == "f" else []
        if value.array.size < 2 or not candidates:
            continue  # a shape that the graph never has is the converter's own detour
        match = next((i for i in candidates if _equal(reference[i].array, value.array, gate_db)), None)
        if match is not None:
            last = max(last, match)
            continue
        expected = next((v for v in reference[last + 1 :] if v.op != INPUT), reference[-1])
        where = f", in {expected.place}" if expected.place else ""
        return f"first at {value.op} {value.name} (around {expected.name}{where})"
    return ""


def _equal(reference: NDArray[Any], candidate: NDArray[Any], gate_db: float) -> bool:
    if not np.isfinite(candidate).all():
        return False
    return metrics.psnr_db(reference.ravel(), candidate.ravel().astype(np.float64)) >= gate_db
