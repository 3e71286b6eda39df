"""Jobs on an existing Dask cluster. Its workers see the same files: the checkpoint, the cache and the output."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Generator, Sequence

from swiftdeploy.errors import DependencyError, UsageError
from swiftdeploy.pipeline.jobs import Job, Outcome, bug_of, died, failed
from swiftdeploy.pipeline.workers import BUILD
from swiftdeploy.runs import CacheOutcome

CONNECT_SECONDS = 20


def run_there(
    jobs: Sequence[Job],
    *,
    scheduler: str,
    work: str = BUILD,
    started: Callable[[Job], None] = lambda _: None,
) -> Generator[Outcome, None, None]:
    """The outcome of every job, as they end, from the workers of the scheduler at an address such as tcp://host:8786.

    Raises DependencyError without dask.distributed or without an answer from the scheduler. Leaving early cancels what
    has not begun.
    """
    try:
        from distributed import Client, as_completed
    except ImportError as error:
        raise DependencyError(
            f"--executor dask needs dask.distributed, which does not import: {error}",
            hint='install the extra: pip install "swiftdeploy-toolchain[dask]"',
        ) from error
    logging.getLogger("distributed").setLevel(logging.ERROR)
    if "://" not in scheduler:  # Dask takes an empty one for a wish to start a cluster of its own
        raise UsageError(f"{scheduler!r} is no address of a scheduler", hint="for example tcp://host:8786")
    try:
        client = Client(scheduler, timeout=CONNECT_SECONDS)
    except (OSError, TimeoutError) as error:
        raise DependencyError(f"no scheduler answers at {scheduler}", hint="start one: dask scheduler") from error
    except (ValueError, TypeError) as error:
        raise UsageError(f"{scheduler!r} is no address of a scheduler", hint="for example tcp://host:8786") from error
    with client:
        # Not pure: Dask would otherwise answer an equal job from its own memory, whatever has changed on disk.
        waiting = {client.submit(_work, job, work, pure=False, retries=0): job for job in jobs}
        for job in jobs:
            started(job)
        try:
            for future in as_completed(list(waiting)):
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
