"""An outcome becomes a job's part of the report: what was made is read back from the folder that ships."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from swiftdeploy.bundle import read_bundle
from swiftdeploy.config import Config
from swiftdeploy.errors import SwiftdeployError, worst_code
from swiftdeploy.matrix.cache import Made
from swiftdeploy.matrix.checks import checks_of_bundle, checks_of_failure
from swiftdeploy.matrix.jobs import Outcome, failure_of
from swiftdeploy.matrix.plan import Planned
from swiftdeploy.matrix.summary import summary_of
from swiftdeploy.runs import BundleSummary, CacheOutcome, Check, Failure, JobReport, JobStatus, Totals, count
from swiftdeploy.spec import to_plain

STOPPED = CacheOutcome(state="off", reason="the run was stopped")


def job_report(item: Planned, outcome: Outcome | None, config: Config) -> JobReport:
    """The report of one job; without an outcome it was skipped."""
    if outcome is None:
        return _bare(item, "skipped", STOPPED)
    if outcome.made is None:
        return _failed(item, outcome.cache, outcome.failure)
    try:
        summary, checks = _judged(item, outcome.made, config)
    except SwiftdeployError as error:
        return _failed(item, outcome.cache, failure_of(error, "report"))
    cached = outcome.cache.state == "hit"
    code = worst_code(check.exit_code for check in checks)
    status: JobStatus = "failed" if code else "cached" if cached else "passed"
    return _bare(
        item,
        status,
        outcome.cache,
        exit_code=code,
        bundle=os.path.relpath(item.job.request.destination, config.folder).replace(os.sep, "/"),
        summary=summary,
        baseline=item.before,
        checks=checks,
        made=None if cached else outcome.made,
    )


def totals(jobs: Sequence[JobReport], seconds: float) -> Totals:
    """Sums over all jobs of a run that took so many seconds."""
    statuses = [job.status for job in jobs]
    peaks = [job.peak_memory_bytes for job in jobs if job.peak_memory_bytes is not None]
    return Totals(
        jobs=len(jobs),
        passed=statuses.count("passed"),
        cached=statuses.count("cached"),
        failed=statuses.count("failed"),
        skipped=statuses.count("skipped"),
        checks=count(check.verdict for job in jobs for check in job.checks),
        seconds=round(seconds, 3),
        peak_memory_bytes=max(peaks, default=None),
        exit_code=worst_code(job.exit_code for job in jobs),
    )


def _judged(item: Planned, made: Made, config: Config) -> tuple[BundleSummary, tuple[Check, ...]]:
    latency = item.model.budgets.latency
    results = config.path(latency.results) if latency is not None else None
    shipped = read_bundle(item.job.request.destination)
    summary = summary_of(shipped, accuracy=made.accuracy, results=None if results is None else Path(results))
    return summary, checks_of_bundle(made, len(shipped.manifest.files), summary, item.before, item.model.budgets)


def _failed(item: Planned, cache: CacheOutcome, failure: Failure | None) -> JobReport:
    if failure is None:
        raise ValueError(f"the outcome of {item.job.name} holds neither a bundle nor a failure")
    return _bare(
        item,
        "failed",
        cache,
        exit_code=failure.exit_code,
        failure=failure,
        checks=checks_of_failure(item.job, failure),
    )


def _bare(
    item: Planned,
    status: JobStatus,
    cache: CacheOutcome,
    *,
    exit_code: int = 0,
    bundle: str = "",
    summary: BundleSummary | None = None,
    baseline: BundleSummary | None = None,
    checks: tuple[Check, ...] = (),
    failure: Failure | None = None,
    made: Made | None = None,
) -> JobReport:
    job = item.job
    return JobReport(
        name=job.name,
        model=job.request.model,
        checkpoint=job.checkpoint,
        options=to_plain(job.request.options),
        artifacts=job.artifacts,
        status=status,
        exit_code=exit_code,
        cache=cache,
        bundle=bundle,
        summary=summary,
        baseline=baseline,
        checks=checks,
        failure=failure,
        seconds=made.seconds if made is not None else {},
        peak_memory_bytes=made.peak_memory_bytes if made is not None else None,
    )
