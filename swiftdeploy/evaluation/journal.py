"""The file that an interrupted evaluation goes on from: a line that says what is evaluated, then one line an image.

Lines are appended as answers come in, and flushed; whatever ends the run, all of them but a torn last one count.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

from swiftdeploy.errors import UsageError
from swiftdeploy.evaluation.answers import Answer
from swiftdeploy.spec import from_plain, to_plain

SCHEMA = 1
_HINT = "name another file with --resume, or remove this one"


class Journal:
    """An open journal. `answers` are those of earlier runs, by image."""

    def __init__(self, stream: IO[bytes] | None, answers: Mapping[str, Answer]) -> None:
        self._stream = stream
        self.answers = answers

    def add(self, answers: Iterable[Answer]) -> None:
        """Append answers, in one write. Raises UsageError where the disk refuses."""
        if self._stream is None:
            return
        try:
            self._stream.write(b"".join(_line(to_plain(answer)) for answer in answers))
            self._stream.flush()
        except OSError as error:
            raise _refused(Path(self._stream.name), error) from error

    def close(self) -> None:
        """Close the file."""
        if self._stream is not None:
            self._stream.close()


def open_journal(path: Path | None, header: Mapping[str, str]) -> Journal:
    """The journal at `path`, made where there is none; without a path, one that keeps nothing.

    `header` says what is evaluated. Raises UsageError for a file that belongs to another evaluation, naming what
    differs, or that is no journal.
    """
    if path is None:
        return Journal(None, {})
    first = {"schema": SCHEMA, **header}
    try:
        lines, size = _whole_lines(path)
        answers = _read(path, lines, first) if lines else {}
        stream = path.open("ab")
    except OSError as error:
        raise _refused(path, error) from error
    if stream.tell() > size:  # a torn line: the image is evaluated again
        os.truncate(path, size)
    journal = Journal(stream, answers)
    if not lines:
        stream.write(_line(first))
        stream.flush()
    return journal


def _whole_lines(path: Path) -> tuple[list[bytes], int]:
    """(the lines that end, how many bytes these are)."""
    content = path.read_bytes() if path.exists() else b""
    whole = content[: content.rfind(b"\n") + 1]
    if content and not whole:
        # A header torn at its very first write is ours to mend; any other text without a line's end is not.
        if not content.startswith(b'{"'):
            raise UsageError(f"{path} is no journal of an evaluation", hint=_HINT)
        return [], 0
    return whole.splitlines(), len(whole)


def _read(path: Path, lines: list[bytes], expected: Mapping[str, Any]) -> dict[str, Answer]:
    try:
        header = json.loads(lines[0])
        if not isinstance(header, dict) or "schema" not in header:
            raise ValueError("its first line says nothing of an evaluation")
        differing = [key for key in expected if header.get(key) != expected[key]]
        if differing:
            raise UsageError(f"{path} belongs to another evaluation: it differs in {', '.join(differing)}", hint=_HINT)
        answers = [from_plain(Answer, json.loads(line)) for line in lines[1:]]
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is no journal of an evaluation: {error}", hint=_HINT) from error
    return {answer.name: answer for answer in answers}


def _line(plain: Any) -> bytes:
    return (json.dumps(plain, sort_keys=True, allow_nan=False) + "\n").encode()


def _refused(path: Path, error: OSError) -> UsageError:
    return UsageError(f"{path} cannot be used: {error.strerror or error}", hint="check space and permissions")
