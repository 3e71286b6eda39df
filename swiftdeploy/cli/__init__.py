"""The command line. One command a file; the only importer of typer."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of the `swiftdeploy` command."""
    from swiftdeploy.cli.app import run

    sys.exit(run(sys.argv[1:]))
