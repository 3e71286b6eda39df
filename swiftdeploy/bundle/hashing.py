"""Sizes and digests of the files of a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from swiftdeploy.errors import ArtifactError
from swiftdeploy.report import FileRecord

_CHUNK = 1 << 20


def sha256_of(path: Path) -> str:
    """The sha256 of a file, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def records(folder: Path, *, leave_out: frozenset[str] = frozenset()) -> tuple[FileRecord, ...]:
    """Every file below a folder, sorted by path.

    Raises ArtifactError for a link, a pipe or a device: what these name may change unseen, or never end.
    """
    found = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            kind = "a link" if path.is_symlink() else "no plain file"
            raise ArtifactError(f"{folder.name}/{name} is {kind}", hint="a bundle holds plain files only")
        if path.is_file() and name not in leave_out:
            found.append(FileRecord(path=name, bytes=path.stat().st_size, sha256=sha256_of(path)))
    return tuple(sorted(found, key=lambda record: record.path))


def tree_digest(files: Iterable[FileRecord]) -> str:
    """One digest of a set of files: the sha256 of the lines "sha256  path", sorted by path (as sha256sum prints)."""
    lines = [f"{record.sha256}  {record.path}\n" for record in sorted(files, key=lambda record: record.path)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def artifact_digest(path: Path) -> tuple[int, str]:
    """(bytes, sha256) of an artifact: of a file itself, or of a package's tree."""
    if path.is_dir():
        files = records(path)
        return sum(record.bytes for record in files), tree_digest(files)
    return path.stat().st_size, sha256_of(path)


def inside(folder: Path, name: str) -> Path:
    """The path of a bundle's file. Raises ArtifactError for a name that leads out of the folder."""
    parts = PurePosixPath(name)
    if not name or parts.is_absolute() or ".." in parts.parts or "\\" in name or "\0" in name:
        raise ArtifactError(
            f"the manifest names {name!r}, which is outside the bundle", hint="do not trust this bundle"
        )
    return folder.joinpath(*parts.parts)
