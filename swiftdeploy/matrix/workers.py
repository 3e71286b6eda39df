"""Jobs in processes of this machine: libraries load once for each, and the death of one is its own job's failure.

`concurrent.futures` would not do: there the death of one process fails every job that is waiting.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from swiftdeploy import console
from swiftdeploy.matrix.jobs import Job, Outcome, bug_of, died, failed
from swiftdeploy.runs import CacheOutcome

# Fork would share locks and thread pools of libraries that do not survive it.
_CONTEXT = multiprocessing.get_context("spawn")
BUILD = "swiftdeploy.matrix.build:build"
FAREWELL_SECONDS = 20.0  # what a worker gets to clear away after Ctrl-C, before it is killed


@dataclass(kw_only=True, slots=True)
class _Worker:
    """A process, the line to it, and the job that it has."""

    process: BaseProcess
    line: Connection
    job: Job | None = field(default=None)


def run_here(
    jobs: Sequence[Job],
    *,
    workers: int,
    memory: int | None = None,
    work: str = BUILD,
    started: Callable[[Job], None] = lambda _: None,
) -> Generator[Outcome, None, None]:
    """The outcome of every job, as they end. At most `workers` run at once, and within `memory` bytes by estimate.

    `work` is "module:function" of Job -> Outcome, resolved in the worker. Leaving early, by Ctrl-C or otherwise, ends
    all workers.
    """
    waiting, crew = list(jobs), list[_Worker]()
    try:
        while waiting or any(worker.job for worker in crew):
            while (job := _next(waiting, crew, workers, memory)) is not None:
                waiting.remove(job)
                started(job)
                _give(job, crew, work)
            yield from _answers(crew)
    finally:
        _dismiss(crew)


def _next(waiting: Sequence[Job], crew: Sequence[_Worker], workers: int, memory: int | None) -> Job | None:
    """The first waiting job that may start now; a job too large for the bound runs alone."""
    busy = [worker.job for worker in crew if worker.job is not None]
    if len(busy) >= workers:
        return None
    free = float("inf") if memory is None else memory - sum(job.memory for job in busy)
    return next((job for job in waiting if job.memory <= free or not busy), None)


def _give(job: Job, crew: list[_Worker], work: str) -> None:
    worker = next((w for w in crew if w.job is None), None)
    if worker is None:
        here, there = _CONTEXT.Pipe()
        process = _CONTEXT.Process(target=_serve, args=(there, work, console.verbosity()), daemon=True)
        process.start()
        there.close()
        worker = _Worker(process=process, line=here)
        crew.append(worker)
    worker.job = job
    with contextlib.suppress(OSError):  # it died since its last answer: the wait will find that
        worker.line.send(job)


def _answers(crew: list[_Worker]) -> Iterator[Outcome]:
    """Wait until a worker answers or dies, and answer for the dead."""
    busy = [(worker, worker.job) for worker in crew if worker.job is not None]
    ready = wait([worker.line for worker, _ in busy])
    for worker, job in busy:
        if worker.line not in ready:
            continue
        try:
            answer: Outcome = worker.line.recv()
            worker.job = None
            yield answer
        except (EOFError, OSError):
            worker.line.close()
            worker.process.join()
            crew.remove(worker)
            yield failed(job, died(job.name, _how(worker.process.exitcode)), _lost(job))


def _lost(job: Job) -> CacheOutcome:
    return CacheOutcome(state="miss" if job.cache else "off", reason="its worker died", key=job.key)


def _how(code: int | None) -> str:
    if code is not None and code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with code {code}"


def _dismiss(crew: list[_Worker]) -> None:
    """End every worker: idle ones see the line close, busy ones are interrupted, so that they clear away."""
    for worker in crew:
        worker.line.close()
        if worker.job is not None and worker.process.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.process.pid, signal.SIGINT)
    for worker in crew:
        worker.process.join(FAREWELL_SECONDS)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()


def _serve(line: Connection, work: str, verbosity: int) -> None:
    """A worker's life: take a job, answer, until nobody listens."""
    os.dup2(sys.stderr.fileno(), 1)  # stdout belongs to the one who asked
    console.configure(verbosity=verbosity if verbosity > 0 else -1, color=False)
    module, _, name = work.partition(":")
    with contextlib.suppress(KeyboardInterrupt, EOFError, OSError), console.interruptible(once=True):
        while True:
            job: Job = line.recv()
            line.send(_done(job, module, name))


def _done(job: Job, module: str, name: str) -> Outcome:
    try:
        with console.quiet():
            function = getattr(importlib.import_module(module), name)
        outcome: Outcome = function(job)
    except Exception as error:  # noqa: BLE001  as `build` does: it is this job's failure
        traceback.print_exc(file=sys.stderr)
        return failed(job, bug_of(error), _lost(job))
    if console.interrupted():
        raise KeyboardInterrupt
    return outcome
