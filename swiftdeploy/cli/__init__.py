"""The command line. One command a file; the only importer of typer."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Entry point of the `swiftdeploy` command."""
    try:
        from swiftdeploy import console

        console.guard()
        from swiftdeploy.cli.app import delivered, run

        code = run(sys.argv[1:])
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the work is done: unloading libraries takes a second
        code = delivered(code)
    except KeyboardInterrupt:
        code = 130  # before `run` could turn it into the line that says so
    sys.exit(code)
