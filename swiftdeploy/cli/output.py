"""How results and errors look: one document on stdout, everything for people who watch on stderr."""

from __future__ import annotations

import sys
from typing import Any

from swiftdeploy import console
from swiftdeploy.errors import EXIT_CODES, SwiftdeployError
from swiftdeploy.seal import canonical
from swiftdeploy.spec import to_plain

printable = console.printable


def configure(*, quiet: bool, verbose: bool, no_color: bool) -> None:
    """Apply the options that every command shares."""
    console.configure(verbosity=-1 if quiet else 1 if verbose else 0, color=not no_color)


def document(value: Any) -> None:
    """Print one JSON document on stdout."""
    sys.stdout.write(text(value))


def text(value: Any) -> str:
    """A value as one JSON document."""
    return canonical(to_plain(value))


def bug(error: Exception) -> None:
    """With --json a bug is a document too; its traceback goes to stderr."""
    fact = f"{type(error).__name__}: {error}"
    document(_failure("Bug", 1, fact, "this is a bug: report it with the traceback on stderr"))


def fail(error: SwiftdeployError, *, json: bool, code: int | None = None) -> None:
    """One line of fact and one of hint on stderr; with --json the same as a document on stdout."""
    number = error.exit_code if code is None else code
    if json:
        kind = "Interrupted" if code is not None else type(error).__name__
        document(_failure(kind, number, error.fact, error.hint))
        return
    stream = console.stderr()
    stream.print(f"[bold red]error:[/bold red] {console.plain(error.fact)}")
    stream.print(f"[cyan]hint:[/cyan]  {console.plain(error.hint)}")


def failure(error: SwiftdeployError) -> dict[str, Any]:
    """The error as a document has it, for a command whose result comes with one."""
    return _failure(type(error).__name__, error.exit_code, error.fact, error.hint)


def _failure(kind: str, code: int, fact: str, hint: str) -> dict[str, Any]:
    return {"error": {"kind": kind, "exit_code": code, "meaning": EXIT_CODES[code], "fact": fact, "hint": hint}}
