"""SHA256SUMS: one line a file, as `sha256sum` of the GNU coreutils writes and checks it."""

from __future__ import annotations

import os
from collections.abc import Iterable

from swiftdeploy.report import FileRecord

SUMS_NAME = "SHA256SUMS"
_ESCAPES = {b"\\": rb"\\", b"\n": rb"\n", b"\r": rb"\r"}


def encode_sums(files: Iterable[FileRecord]) -> bytes:
    """The lines "sha256  path", sorted by path. A name with a backslash or line break is escaped, as coreutils do."""
    return b"".join(_line(record) for record in sorted(files, key=lambda record: os.fsencode(record.path)))


def differing(files: Iterable[FileRecord], text: bytes) -> tuple[str, ...]:
    """The names on whose lines `text` and the files disagree, in either direction; none where `text` is theirs."""
    expected = set(encode_sums(files).splitlines(keepends=True))
    odd = expected ^ set(text.splitlines(keepends=True))
    names = {os.fsdecode(line.rstrip(b"\n").split(b"  ", 1)[-1]) for line in odd}
    return tuple(sorted(names))


def _line(record: FileRecord) -> bytes:
    name = os.fsencode(record.path)
    escaped = name
    for character, code in _ESCAPES.items():
        escaped = escaped.replace(character, code)
    mark = b"\\" if escaped != name else b""
    return mark + record.sha256.encode() + b"  " + escaped + b"\n"
