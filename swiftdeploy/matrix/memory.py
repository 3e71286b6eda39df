"""How much memory a job takes: measured while it runs, guessed before it first ran."""

from __future__ import annotations

import contextlib
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

# From what was measured on Linux (docs/run.md), with a margin: what the libraries take once they are loaded, and what a
# model adds for each byte of its weights, both targets and precisions being made and verified.
LIBRARIES = 640 << 20
PER_WEIGHT_BYTE = 20
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Peak:
    """The highest resident memory of this process in bytes, once `watched` has ended."""

    bytes: int | None = None


@contextlib.contextmanager
def watched() -> Iterator[Peak]:
    """Measure the block. On Linux the mark is reset before it; elsewhere it is the highest since the process began."""
    peak = Peak()
    with contextlib.suppress(OSError):
        _RESET.write_text("5")
    try:
        yield peak
    finally:
        peak.bytes = _highest()


def guess(weight_bytes: int) -> int:
    """Bytes that a job may take whose weights have so many."""
    return LIBRARIES + PER_WEIGHT_BYTE * weight_bytes


def _highest() -> int | None:
    with contextlib.suppress(OSError, ValueError, IndexError):
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) << 10
    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return highest if sys.platform == "darwin" else highest << 10
