"""Jobs on an existing Dask cluster. Its workers see the same files: the checkpoint, the cache and the output."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Generator, Sequence

from swiftdeploy.matrix.jobs import Job, Outcome, bug_of, died, failed
from swiftdeploy.matrix.workers import BUILD
from swiftdeploy.runs import CacheOutcome
from swiftdeploy.scheduler import connect


def run_there(
    jobs: Sequence[Job],
    *,
    scheduler: str,
    work: str = BUILD,
    started: Callable[[Job], None] = lambda _: None,
) -> Generator[Outcome, None, None]:
    """The outcome of every job, as they end, from the workers of the scheduler at an address such as tcp://host:8786.

    Raises what `scheduler.connect` raises. Leaving early cancels what has not begun.
    """
    with connect(scheduler) as client:
        from distributed import as_completed

        # Not pure: Dask would otherwise answer an equal job from its own memory, whatever has changed on disk.
        waiting = {client.submit(_work, job, work, pure=False, retries=0): job for job in jobs}
        for job in jobs:
            started(job)
        try:
            for future in as_completed(list(waiting), loop=client.loop):
                yield _outcome(future, waiting.pop(future))
        finally:
            client.cancel(list(waiting), force=True)


def _work(job: Job, work: str) -> Outcome:
    """On the worker: resolve the function there, so that nothing but values travels."""
    module, _, name = work.partition(":")
    outcome: Outcome = getattr(importlib.import_module(module), name)(job)
    return outcome


def _outcome(future: object, job: Job) -> Outcome:
    lost = CacheOutcome(state="miss" if job.cache else "off", reason="its worker died", key=job.key)
    try:
        outcome: Outcome = future.result()  # type: ignore[attr-defined]
    except Exception as error:  # noqa: BLE001  whatever the cluster raises is this job's failure
        if type(error).__name__ in ("KilledWorker", "CancelledError", "FutureCancelledError"):
            return failed(job, died(job.name, "died, on every worker that tried"), lost)
        return failed(job, bug_of(error), lost)
    return outcome
