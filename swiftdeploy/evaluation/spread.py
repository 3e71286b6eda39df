"""Work on chunks, here, over processes, or over an existing Dask cluster. What the work is, this module does not know.

Results come in any order, each with its chunk's number. Every worker computes on one thread: how many threads share a
sum decides its last bit, and results must not depend on where they were made.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from swiftdeploy.errors import DependencyError
from swiftdeploy.scheduler import connect

WORKER_SECONDS = 5
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")

C = TypeVar("C")
R = TypeVar("R")


def here(work: Callable[[C], R], chunks: Sequence[C]) -> Iterator[tuple[int, R]]:
    """One chunk after the other, in this process."""
    for number, chunk in enumerate(chunks):
        yield number, work(chunk)


def over_processes(work: Callable[[C], R], chunks: Sequence[C], jobs: int) -> Iterator[tuple[int, R]]:
    """Chunks over `jobs` fresh processes, which end with the iteration, however it ends.

    Raises what `work` raises, and DependencyError where a process dies, as for want of memory.
    """
    before = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        try:
            with _one_thread_each(), _deaf_to_interrupts():  # submitting is what starts the processes
                numbers = {pool.submit(work, chunk): number for number, chunk in enumerate(chunks)}
            for future in as_completed(numbers):
                yield numbers[future], future.result()
        except BrokenProcessPool as error:
            raise DependencyError(
                "a worker process died", hint="it may have run out of memory: every job loads all models; use fewer"
            ) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for child in set(multiprocessing.active_children()) - before:
                child.terminate()
            raise


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Processes that start in the block ignore Ctrl-C, from their first moment: whoever started them ends them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _one_thread_each() -> Iterator[None]:
    """Child processes of the block find one thread in their environment, which libraries read when they load."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def over_dask(work: Callable[[C], R], chunks: Sequence[C], scheduler: str) -> Iterator[tuple[int, R]]:
    """Chunks over the workers of a Dask scheduler; what has not begun is dropped where the iteration ends early.

    Raises what `work` and `scheduler.connect` raise, and DependencyError without workers, or swiftdeploy there.
    """
    client = _client_with_workers(scheduler)
    from distributed import KilledWorker
    from distributed import as_completed as finished
    from distributed.comm.core import CommClosedError

    try:
        futures = {client.submit(work, chunk, pure=False): number for number, chunk in enumerate(chunks)}
        for future in finished(futures, loop=client.loop):
            yield futures[future], future.result()
    except (CancelledError, asyncio.CancelledError, CommClosedError, KilledWorker) as error:
        raise DependencyError(
            f"the Dask cluster at {scheduler} was lost: {error}", hint="with --resume the next run goes on from here"
        ) from error
    except ImportError as error:
        raise DependencyError(
            f"the workers of {scheduler} lack a module: {error}", hint="install the same versions there"
        ) from error
    finally:
        client.close()  # what no client waits for any more, the scheduler drops


def _client_with_workers(scheduler: str) -> Any:
    client = connect(scheduler)
    try:
        client.wait_for_workers(1, timeout=WORKER_SECONDS)
    except TimeoutError as error:
        client.close()
        raise DependencyError(f"{scheduler} has no workers", hint=f"start some: dask worker {scheduler}") from error
    return client
