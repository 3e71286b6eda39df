"""How far one array is from another: plain formulas on numpy arrays, in float64."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def psnr_db(reference: NDArray[np.floating], candidate: NDArray[np.floating], *, peak: float | None = None) -> float:
    """20*log10(peak / rmse) in dB; inf where the two are equal, -inf where the peak is 0.

    `peak` is max|ref| unless given: for one sample of several, that of all of them is the output's scale.
    """
    error = _rmse(reference, candidate)
    if peak is None:
        peak = float(np.max(np.abs(reference), initial=0.0))
    if error == 0.0:
        return math.inf
    return 20.0 * math.log10(peak / error) if peak > 0.0 else -math.inf


def relative_l2(reference: NDArray[np.floating], candidate: NDArray[np.floating]) -> float:
    """|cand - ref| / |ref|; inf for a difference from an all-zero reference."""
    difference = float(np.linalg.norm(candidate.astype(np.float64) - reference.astype(np.float64)))
    length = float(np.linalg.norm(reference.astype(np.float64)))
    if length == 0.0:
        return 0.0 if difference == 0.0 else math.inf
    return difference / length


def cosine(reference: NDArray[np.floating], candidate: NDArray[np.floating]) -> float:
    """The cosine of the angle between the two, 1 for two zero vectors, 0 for one of them."""
    a, b = reference.astype(np.float64).ravel(), candidate.astype(np.float64).ravel()
    lengths = float(np.linalg.norm(a)) * float(np.linalg.norm(b))
    if lengths == 0.0:
        return 1.0 if np.array_equal(a, b) else 0.0
    return float(np.clip(a @ b / lengths, -1.0, 1.0))


def max_abs(reference: NDArray[np.floating], candidate: NDArray[np.floating]) -> float:
    """The largest absolute difference."""
    return float(np.max(np.abs(candidate.astype(np.float64) - reference.astype(np.float64)), initial=0.0))


def top_k_agrees(reference: NDArray[np.floating], candidate: NDArray[np.floating], k: int) -> bool:
    """Whether two score vectors agree on their best k, as sets.

    A class that entered or left counts only if the reference sets it apart from the border by more than the largest
    error: two scores closer than the error may change places without anything being wrong.
    """
    k = min(k, reference.size)
    error = max_abs(reference, candidate)
    order = np.argsort(-reference, kind="stable")
    border_in = float(reference[order[k - 1]])
    border_out = float(reference[order[k]]) if k < reference.size else -math.inf
    theirs = set(np.argsort(-candidate, kind="stable")[:k].tolist())
    ours = set(order[:k].tolist())
    entered_wrongly = any(border_in - float(reference[c]) > error for c in theirs - ours)
    left_wrongly = any(float(reference[c]) - border_out > error for c in ours - theirs)
    return not (entered_wrongly or left_wrongly)


def _rmse(reference: NDArray[np.floating], candidate: NDArray[np.floating]) -> float:
    difference = candidate.astype(np.float64) - reference.astype(np.float64)
    return float(np.sqrt(np.mean(np.square(difference)))) if difference.size else 0.0
