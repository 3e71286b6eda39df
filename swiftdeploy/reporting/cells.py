"""The matrix of a run: one cell for each model and artifact, written or not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from swiftdeploy.errors import SwiftdeployError
from swiftdeploy.report import Leg, ParityReport
from swiftdeploy.runs import Accuracy, ArtifactSummary, BundleSummary, CheckVerdict, JobReport, RunReport
from swiftdeploy.spec import ExportOptions, from_plain

_WORST: tuple[CheckVerdict, ...] = ("fail", "warn", "pass", "skip")


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One artifact of one job. `artifact` and `before` are None where it was not written, or the baseline lacks it.

    `column` names the target and precision, such as "coreml fp16". `verdict` is the worst of the artifact's checks.
    """

    job: str
    name: str
    column: str
    verdict: CheckVerdict
    artifact: ArtifactSummary | None
    before: ArtifactSummary | None
    accuracy: Accuracy | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Closeness:
    """The worst PSNR of some outputs in dB: None where they are equal to the bit, and `compared` says if any were."""

    compared: bool
    psnr_db: float | None


def cells(report: RunReport) -> tuple[Cell, ...]:
    """Every cell, in the order of the jobs and of their artifacts."""
    return tuple(cell for job in report.jobs for cell in job_cells(job))


def job_cells(job: JobReport) -> tuple[Cell, ...]:
    """The cells of one job: what was written, or what was asked for where nothing was."""
    if job.summary is None:
        verdict: CheckVerdict = "fail" if job.status == "failed" else "skip"
        return tuple(
            Cell(job=job.name, name=name, column=column, verdict=verdict, artifact=None, before=None, accuracy=None)
            for name, column in zip(job.artifacts, _columns(job), strict=True)
        )
    return tuple(
        Cell(
            job=job.name,
            name=artifact.path,
            column=f"{artifact.target} {artifact.precision}",
            verdict=_verdict(job, artifact),
            artifact=artifact,
            before=find_artifact(job.baseline, artifact.path),
            accuracy=find_accuracy(job.summary, artifact.path),
        )
        for artifact in job.summary.artifacts
    )


def worst(verdicts: Iterable[CheckVerdict]) -> CheckVerdict:
    """The worst of several verdicts; "skip" where there is none."""
    return min(verdicts, key=_WORST.index, default="skip")


def closeness(parity: ParityReport | None, *legs: str) -> Closeness:
    """How close the outputs of the named legs are, at worst; of all legs where none is named."""
    chosen = () if parity is None else [leg for leg in parity.legs if not legs or leg.name in legs]
    return leg_closeness(*chosen)


def leg_closeness(*legs: Leg) -> Closeness:
    """How close the outputs of these legs are, at worst."""
    found = [output.psnr_db for leg in legs for output in leg.outputs]
    known = [value for value in found if value is not None]
    return Closeness(compared=bool(found), psnr_db=min(known, default=None))


def find_artifact(summary: BundleSummary | None, path: str) -> ArtifactSummary | None:
    """The artifact of that file name, None where there is none."""
    return next((artifact for artifact in summary.artifacts if artifact.path == path), None) if summary else None


def find_accuracy(summary: BundleSummary | None, path: str) -> Accuracy | None:
    """What the artifact of that name (the oracle's is empty) got right, None where it was not evaluated."""
    return next((found for found in summary.accuracy if found.artifact == path), None) if summary else None


def _verdict(job: JobReport, artifact: ArtifactSummary) -> CheckVerdict:
    checked = [check.verdict for check in job.checks if check.subject == artifact.path]
    return worst([*checked, artifact.parity.verdict] if artifact.parity is not None else checked)


def _columns(job: JobReport) -> tuple[str, ...]:
    """Target and precision of each artifact that was asked for; its own name where the options do not say."""
    try:
        matrix = from_plain(ExportOptions, dict(job.options)).matrix
    except (SwiftdeployError, ValueError):
        return job.artifacts
    return tuple(f"{target} {name}" for target, name in matrix) if len(matrix) == len(job.artifacts) else job.artifacts
