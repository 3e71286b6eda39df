"""The whole matrix: plan, make what is not cached, verify, check budgets, report. One failure hides no other."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass

from swiftdeploy import bundle, console
from swiftdeploy.config import Config
from swiftdeploy.errors import SwiftdeployError, UsageError
from swiftdeploy.matrix import cache
from swiftdeploy.matrix.assembly import job_report, totals
from swiftdeploy.matrix.cache import Cache
from swiftdeploy.matrix.cluster import run_there
from swiftdeploy.matrix.jobs import Job, Outcome
from swiftdeploy.matrix.plan import Planned, plan
from swiftdeploy.matrix.publish import publish
from swiftdeploy.matrix.reports import check_reports, write_reports
from swiftdeploy.matrix.workers import BUILD, run_here
from swiftdeploy.pipeline.versions import versions
from swiftdeploy.runs import CacheOutcome, RunReport


@dataclass(frozen=True, kw_only=True, slots=True)
class RunOptions:
    """How a run is carried out; what it makes is the configuration's. `memory` bounds all workers, in bytes."""

    workers: int = 1
    memory: int | None = None
    cache: Cache | None = None
    scheduler: str | None = None
    fail_fast: bool = False
    only: tuple[str, ...] = ()
    work: str = BUILD

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise UsageError(f"--jobs {self.workers} is not positive", hint="use --jobs 1 or more")
        if self.memory is not None and self.memory < 1:
            raise UsageError("--memory leaves no memory", hint="for example --memory 8GB")


def run(config: Config, options: RunOptions) -> RunReport:
    """The report of a run, which is written as well.

    A job's failure is in the report. Raises only what concerns the run as a whole: DependencyError for a cluster that
    is not there, ArtifactError where reports cannot be written.
    """
    start = time.monotonic()
    check_reports(config)
    planned = plan(config, store=options.cache, only=options.only)
    found = dict[str, Outcome]()
    with contextlib.closing(_outcomes(planned, options)) as outcomes:
        for outcome in outcomes:
            found[outcome.name] = outcome
            _tell(outcome)
            if options.fail_fast and outcome.failure is not None:
                break
    jobs = tuple(job_report(item, found.get(item.job.name), config) for item in planned)
    report = RunReport(
        schema=1,
        tool=versions(),
        config=config.name,
        executor="dask" if options.scheduler else "local",
        baseline=config.baseline,
        jobs=jobs,
        totals=totals(jobs, time.monotonic() - start),
    )
    write_reports(report, config, os.environ)
    if options.cache is not None:
        cache.prune(options.cache)
    return report


def _outcomes(planned: Sequence[Planned], options: RunOptions) -> Generator[Outcome, None, None]:
    """What came of each job: first of those that need no work, then of the others as they end."""
    waiting = []
    for item in planned:
        outcome = _without_work(item)
        if outcome is None:
            waiting.append(item.job)
        else:
            yield outcome
    if not waiting:
        return

    def started(job: Job) -> None:
        console.note(f"{job.name}: {', '.join(job.artifacts)}", mark="begun")

    if options.scheduler is not None:
        executed = run_there(waiting, scheduler=options.scheduler, work=options.work, started=started)
    else:
        workers = min(options.workers, len(waiting))
        executed = run_here(waiting, workers=workers, memory=options.memory, work=options.work, started=started)
    with contextlib.closing(executed):
        yield from executed
    for job in waiting:  # what killed workers left beside their bundles
        bundle.sweep(job.request.destination.parent)


def _without_work(item: Planned) -> Outcome | None:
    """The outcome of a job that failed in planning or is cached; None where a worker is needed."""
    job, store = item.job, item.job.cache
    if item.failure is not None:
        return Outcome(name=job.name, cache=CacheOutcome(state="off", reason=item.reason), failure=item.failure)
    if item.entry is None or store is None:
        return None
    try:
        with cache.holding(store, job.key, shared=True):
            publish(cache.bundle_of(store, job.key), job.request.destination)
    except (SwiftdeployError, OSError):
        return None  # another run pruned it since, or the disk refuses, which the worker will then say
    hit = CacheOutcome(state="hit", reason="nothing changed", key=job.key)
    return Outcome(name=job.name, cache=hit, made=item.entry.made)


def _tell(outcome: Outcome) -> None:
    if outcome.failure is not None:
        console.note(f"{outcome.name}: {outcome.failure.fact}", mark="failed")
    else:
        how = "cached" if outcome.cache.state == "hit" else "made and verified"
        console.note(f"{outcome.name}: {how}", mark="done")
