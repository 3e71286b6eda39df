"""How results and errors look: one document on stdout, everything for people who watch on stderr."""

from __future__ import annotations

import json as json_codec
import sys
from typing import Any

from rich.markup import escape

from swiftdeploy import console
from swiftdeploy.errors import EXIT_CODES, SwiftdeployError
from swiftdeploy.spec import to_plain


def configure(*, quiet: bool, verbose: bool, no_color: bool) -> None:
    """Apply the options that every command shares."""
    console.configure(verbosity=-1 if quiet else 1 if verbose else 0, color=not no_color)


def document(value: Any) -> None:
    """Print one JSON document on stdout."""
    text = json_codec.dumps(to_plain(value), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    sys.stdout.write(text + "\n")


def fail(error: SwiftdeployError, *, json: bool, code: int | None = None) -> None:
    """One line of fact and one of hint on stderr; with --json the same as a document on stdout."""
    number = error.exit_code if code is None else code
    if json:
        kind = "Interrupted" if code is not None else type(error).__name__
        document(
            {
                "error": {
                    "kind": kind,
                    "exit_code": number,
                    "meaning": EXIT_CODES[number],
                    "fact": error.fact,
                    "hint": error.hint,
                }
            }
        )
        return
    stream = console.stderr()
    stream.print(f"[bold red]error:[/bold red] {escape(error.fact)}")
    stream.print(f"[cyan]hint:[/cyan]  {escape(error.hint)}")
