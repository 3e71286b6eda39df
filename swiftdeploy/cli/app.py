"""The typer application, and the one place where an error becomes an exit code."""

from __future__ import annotations

from collections.abc import Sequence


def run(arguments: Sequence[str]) -> int:
    """Run the command line and answer with the exit code."""
    del arguments
    return 0
