"""How much a checkpoint may hold, and the guard that reads files only within that."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from swiftdeploy.errors import CheckpointError

# The largest SwiftFormer with its optimizer state is under 0.5 GB; anything past these is no mobile model.
FILE_BYTES = 8 << 30
PICKLE_BYTES = 64 << 20
JSON_BYTES = 32 << 20
TENSORS = 100_000


def check_file(path: Path, *, most: int = FILE_BYTES) -> None:
    """Raise CheckpointError unless `path` is a readable, regular, non-empty file of at most `most` bytes."""
    try:
        if not path.is_file():
            raise CheckpointError(
                f"{path.name} is {'not a regular file' if path.exists() else 'not there'}",
                hint="give the path of a checkpoint file or folder",
            )
        size = path.stat().st_size
        # Permissions show only when a byte is read.
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise CheckpointError(
            f"{path.name} cannot be read: {error.strerror or error}", hint="check the path and its permissions"
        ) from error
    if size == 0:
        raise CheckpointError(f"{path.name} is empty", hint="copy or download it again")
    if size > most:
        raise CheckpointError(
            f"{path.name} has {size:,} bytes; at most {most:,} are read", hint="is this the checkpoint you mean?"
        )


def sha256_of(path: Path) -> str:
    """The file's sha256 in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in `path`. Raises CheckpointError for anything else."""
    check_file(path, most=JSON_BYTES)
    try:
        document = json.loads(path.read_bytes())
    # Deep nesting overflows the parser before it is invalid.
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path.name} is not JSON: {error}", hint="copy or download it again") from error
    if not isinstance(document, dict):
        raise CheckpointError(f"{path.name} holds no JSON object", hint="copy or download it again")
    return document
