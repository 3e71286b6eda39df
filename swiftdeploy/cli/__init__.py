"""The command line. One command a file; the only importer of typer."""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    """Entry point of the `swiftdeploy` command."""
    for stream in (sys.stdout, sys.stderr):
        # A file's name need not be text, and a terminal need not speak UTF-8: neither is a reason to fail.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        from swiftdeploy.cli.app import run

        code = run(sys.argv[1:])
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the work is done: unloading libraries takes a second
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = 130  # before `run` could turn it into the line that says so
    except BrokenPipeError:
        # Whoever read our output has seen enough, as `head` does; Python's own last flush must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)
