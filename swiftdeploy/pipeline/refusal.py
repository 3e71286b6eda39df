"""A failed parity report as the error that stops the run."""

from __future__ import annotations

from swiftdeploy.errors import ParityError
from swiftdeploy.report import ParityReport


def refuse(subject: str, report: ParityReport, *, hint: str) -> None:
    """Raise ParityError where a report fails, with the leg, the reason and the first op that diverges."""
    for leg in report.legs:
        if leg.verdict != "fail":
            continue
        output = next((o for o in leg.outputs if o.verdict == "fail"), None)
        reason = f"{output.name}: {output.reason}" if output is not None else "nothing was compared"
        if leg.weights is not None:
            reason = "; ".join(leg.weights.problems[:3]) or "it holds no weights"
        where = f"; {leg.divergence}" if leg.divergence else ""
        raise ParityError(f"{subject} fails leg {leg.name!r}: {reason}{where}", hint=hint)
