"""Digests that the phone, the Mac and this machine compute alike."""

from __future__ import annotations

import hashlib
from pathlib import Path


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def tree_sha256(folder: Path) -> str:
    """The digest of a folder in hex: SHA-256 of the lines "<sha256>  <path>", sorted by path, of all its files.

    This is what `sha256sum` prints for the files, hashed once more. Paths are relative, POSIX and sorted by bytes.
    """
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    lines = [f"{file_sha256(files[name])}  {name}\n" for name in sorted(files, key=lambda name: name.encode())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
