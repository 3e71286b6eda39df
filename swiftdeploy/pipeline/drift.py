"""What compression costs: a compressed artifact's answers against the original oracle's. A budget may judge it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swiftdeploy.errors import BudgetError
from swiftdeploy.parity import metrics
from swiftdeploy.report import Drift, OutputDrift
from swiftdeploy.spec import ExportOptions

Arrays = Mapping[str, NDArray[Any]]


def measure(oracle: Arrays, found: Arrays, *, own: int, options: ExportOptions) -> Drift:
    """The drift of outputs from the oracle's, sample axis first: the first `own` are ours, the rest the user's."""
    return Drift(
        samples=_outputs(oracle, found, slice(0, own)),
        images=_outputs(oracle, found, slice(own, None)),
        max_drift_db=options.max_drift_db,
        min_agreement=options.min_agreement,
    )


def refuse_drift(subject: str, drift: Drift) -> None:
    """Raise BudgetError where an output drifts farther than was allowed."""
    where = "the given images" if drift.images else "our own samples"
    hint = "nothing was written; store more bits in the layers that matter, or allow more (docs/compression.md)"
    for output in drift.judged:
        if drift.max_drift_db is not None and output.psnr_db is not None and output.psnr_db < drift.max_drift_db:
            raise BudgetError(
                f"{subject} drifts: {output.name} has {output.psnr_db:.1f} dB on {where}, the budget is "
                f"{drift.max_drift_db:g} dB",
                hint=hint,
            )
        share = None if output.top1 is None else 100.0 * output.top1
        if drift.min_agreement is not None and share is not None and share < drift.min_agreement:
            raise BudgetError(
                f"{subject} drifts: the best class is the oracle's on {share:.1f} % of {where}, the budget is "
                f"{drift.min_agreement:g} %",
                hint=hint,
            )


def _outputs(oracle: Arrays, found: Arrays, rows: slice) -> tuple[OutputDrift, ...]:
    pairs = [(name, oracle[name][rows], found[name][rows]) for name in oracle if name in found]
    return tuple(_one(name, expected, answer) for name, expected, answer in pairs if len(expected))


def _one(name: str, expected: NDArray[Any], answer: NDArray[Any]) -> OutputDrift:
    peak = float(np.abs(expected).max(initial=0.0))
    worst = min(metrics.psnr_db(e, a, peak=peak) for e, a in zip(expected, answer, strict=True))
    scores = expected.ndim == 2 and expected.shape[1] > 1
    return OutputDrift(
        name=name,
        psnr_db=_finite(metrics.psnr_db(expected, answer, peak=peak)),
        worst_psnr_db=_finite(worst),
        relative_l2=min(metrics.relative_l2(expected, answer), 999.0),
        cosine=metrics.cosine(expected, answer),
        samples=len(expected),
        top1=_share(expected, answer, 1) if scores else None,
        top5=_share(expected, answer, 5) if scores else None,
    )


def _share(expected: NDArray[Any], answer: NDArray[Any], best: int) -> float:
    """How often the oracle's best class is among the artifact's `best`. No margin excuses a flip here: it is a cost."""
    wanted = expected.argmax(1)
    ranked = np.argsort(-answer, axis=1, kind="stable")[:, :best]
    return float(np.mean((ranked == wanted[:, None]).any(axis=1)))


def _finite(value: float) -> float | None:
    """None for equal arrays; JSON has no infinity, and a ratio beyond any real one stands in for the other."""
    return None if value == math.inf else max(-999.0, value)
