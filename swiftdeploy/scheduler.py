"""A client of an existing Dask cluster, for whoever has work to spread."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from swiftdeploy.errors import DependencyError, UsageError, importing

CONNECT_SECONDS = 10


def connect(scheduler: str) -> Any:
    """The `distributed.Client` of the scheduler at an address such as tcp://host:8786.

    Raises UsageError where that is no address, and DependencyError without dask.distributed or without an answer.
    """
    what = "--scheduler needs dask.distributed, which does not import"
    with importing(what, hint='install the extra: pip install "swiftdeploy-toolchain[dask]"'):
        from distributed import Client
    logging.getLogger("distributed").setLevel(logging.ERROR)
    if "://" not in scheduler:  # Dask takes an empty one for a wish to start a cluster of its own
        raise UsageError(f"{scheduler!r} is no address of a scheduler", hint="for example tcp://host:8786")
    _knock(scheduler)
    return Client(scheduler, timeout=CONNECT_SECONDS, set_as_default=False)


def _knock(scheduler: str) -> None:
    """Whether someone answers, before a Client is made.

    A Client that could not connect is garbage that closes itself whenever it is collected. Where that happens while the
    next one starts, both want dask's one lock in one thread: a deadlock.
    """
    from distributed.comm import connect as open_connection

    async def answer() -> None:
        there = await open_connection(scheduler, timeout=CONNECT_SECONDS)
        await there.close()

    try:
        asyncio.run(answer())
    except (OSError, TimeoutError) as error:
        raise DependencyError(f"no scheduler answers at {scheduler}", hint="start one: dask scheduler") from error
    except (ValueError, TypeError) as error:
        raise UsageError(f"{scheduler!r} is no address of a scheduler", hint="for example tcp://host:8786") from error
