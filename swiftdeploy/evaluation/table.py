"""Rows of a CSV file with the columns file and label."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from swiftdeploy.errors import UsageError

COLUMNS = ("file", "label")
_HINT = "the first row must name the columns file and label; further columns are passed over"


def rows(path: Path) -> Iterator[tuple[int, str, str]]:
    """(row number as editors count, file, label) of each row. Raises UsageError where the file is not such a table."""
    try:
        text = path.read_text(encoding="utf-8-sig")  # spreadsheets write a byte order mark
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise UsageError(f"{path} cannot be read: {reason}", hint="give a CSV file with columns file,label") from error
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise UsageError(f"{path.name} lacks the column {missing[0]!r}", hint=_HINT)
        twice = [name for name in COLUMNS if list(reader.fieldnames or ()).count(name) > 1]
        if twice:
            raise UsageError(
                f"{path.name} has several columns {twice[0]!r}", hint="rename or remove all but the one that counts"
            )
        for row in reader:
            file, label = ((row[name] or "").strip() for name in COLUMNS)
            if not file or not label:
                lost = "label" if file else "file"
                raise UsageError(f"{path.name}, row {reader.line_num} has no {lost}", hint="give each row both")
            yield reader.line_num, file, label
    except csv.Error as error:
        raise UsageError(f"{path.name}, row {reader.line_num}: {error}", hint=_HINT) from error
