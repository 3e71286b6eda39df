"""Files that a reader sees whole or not at all: written aside under a lock, and renamed once all are on the disk.

A process that dies leaves what it had aside; the next one that writes the same file removes it, and knows by the lock
that nobody is at it any more. Standard library only.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

_PART = ".part"
_NOW = fcntl.LOCK_EX | fcntl.LOCK_NB


def write_all(contents: Mapping[Path, bytes]) -> None:
    """Write the files, in folders that exist: each is whole, and none is renamed before all are on the disk.

    Raises OSError as the disk does; before the first rename nothing is changed then.
    """
    for path in contents:
        for left in path.parent.glob(f".{glob.escape(path.name)}.*{_PART}"):
            _remove_if_free(left)
    with contextlib.ExitStack() as stack:
        asides = [(stack.enter_context(_written(path, data)), path) for path, data in contents.items()]
        for aside, path in asides:
            aside.replace(path)


@contextlib.contextmanager
def _written(path: Path, data: bytes) -> Iterator[Path]:
    """A file beside `path` that holds the data and is locked inside the block; gone after it, unless it was renamed."""
    aside, stream = _claimed(path)
    try:
        with stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
            yield aside
    finally:
        aside.unlink(missing_ok=True)


def _claimed(path: Path) -> tuple[Path, BinaryIO]:
    """A new file beside `path`, locked: one that another process swept away before it was is tried again."""
    while True:
        aside = path.with_name(f".{path.name}.{secrets.token_hex(6)}{_PART}")
        stream = aside.open("wb")
        with contextlib.suppress(OSError):  # without locks nobody sweeps either
            fcntl.flock(stream, _NOW)
        if aside.exists():
            return aside, stream
        stream.close()


def _remove_if_free(path: Path) -> None:
    with contextlib.suppress(OSError), path.open("rb") as stream:
        fcntl.flock(stream, _NOW)
        path.unlink()
