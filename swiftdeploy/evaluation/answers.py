"""What every subject answered to one image: the line of a journal, and the row that statistics are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

RANKS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """One subject's answer to an image: its best classes, best first (none for NaN or Inf), and its drift.

    `squared_error` is the sum over all scores of the squared difference from the reference's, `peak` the reference's
    largest absolute score, `scores` how many there are: with these, PSNR can be had for any set of images.
    """

    best: tuple[int, ...]
    squared_error: float
    peak: float
    scores: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What the subjects, by name, answered to one image. `unreadable` says why there is no answer."""

    name: str
    label: int
    given: Mapping[str, Given] = field(default_factory=dict)
    unreadable: str = ""


def given(scores: NDArray[np.float32], reference: NDArray[np.float32]) -> Given:
    """The answer in a vector of scores, beside the reference's vector for the same image."""
    wanted = reference.astype(np.float64)
    peak = float(np.abs(wanted).max(initial=0.0)) if np.isfinite(wanted).all() else 0.0
    if not np.isfinite(scores).all():
        return Given(best=(), squared_error=0.0, peak=peak, scores=scores.size)
    order = np.argsort(-scores, kind="stable")[:RANKS]
    error = float(np.square(scores.astype(np.float64) - wanted).sum()) if peak > 0.0 else 0.0
    return Given(best=tuple(order.tolist()), squared_error=error, peak=peak, scores=scores.size)
