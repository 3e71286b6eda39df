"""What a run checked of one job, one entry for each question, artifact and leg: what JUnit will show as cases."""

from __future__ import annotations

from collections.abc import Iterator

from swiftdeploy.config import Budgets
from swiftdeploy.matrix.budgets import check_budgets
from swiftdeploy.matrix.cache import Made
from swiftdeploy.matrix.jobs import Job
from swiftdeploy.report import Leg, ParityReport
from swiftdeploy.reporting.text import EXACT, figure
from swiftdeploy.runs import BundleSummary, Check, Failure

PARITY_CODE = 6


def checks_of_failure(job: Job, failure: Failure) -> tuple[Check, ...]:
    """The failed export, and every artifact that was asked for and could not be checked."""
    failed = Check(
        name="export",
        subject="",
        verdict="fail",
        message=f"{failure.fact} ({failure.hint})",
        exit_code=failure.exit_code,
    )
    missing = (
        Check(name="parity", subject=artifact, verdict="skip", message="there is no bundle")
        for artifact in job.artifacts
    )
    return (failed, *missing)


def checks_of_bundle(
    made: Made, files: int, summary: BundleSummary, baseline: BundleSummary | None, budgets: Budgets
) -> tuple[Check, ...]:
    """Bytes, every leg of parity, the golden answers, and the budgets."""
    return (
        Check(name="export", subject="", verdict="pass", message="the bundle was written"),
        Check(name="integrity", subject="", verdict="pass", message=f"{files} files are as the manifest records"),
        *_parity("", summary.fusion_parity),
        *(check for artifact in summary.artifacts for check in _parity(artifact.path, artifact.parity)),
        *(check for report in made.golden for check in _parity(report.subject, report)),
        *check_budgets(budgets, summary, baseline),
    )


def _parity(subject: str, report: ParityReport | None) -> Iterator[Check]:
    if report is None:
        yield Check(name="parity", subject=subject, verdict="skip", message="not checked: --no-verify")
        return
    for leg in report.legs:
        value = _worst(leg)
        yield Check(
            name=f"parity.{leg.name}",
            subject=subject,
            verdict=leg.verdict,
            message=_message(leg, value),
            value=value,
            limit=None if leg.weights is not None else report.gate_db,
            unit="tensors" if leg.weights is not None else "dB",
            exit_code=PARITY_CODE if leg.verdict == "fail" else 0,
        )


def _worst(leg: Leg) -> float | None:
    if leg.weights is not None:
        return leg.weights.equal
    known = [output.psnr_db for output in leg.outputs if output.psnr_db is not None]
    return min(known, default=None)


def _message(leg: Leg, value: float | None) -> str:
    if leg.weights is not None:
        return f"{leg.weights.equal} of {leg.weights.tensors} tensors are equal, rounded once"
    reason = next((output.reason for output in leg.outputs if output.reason), "")
    closeness = EXACT if value is None else figure(value, "dB")
    return "; ".join(part for part in (closeness, reason, leg.divergence) if part)
