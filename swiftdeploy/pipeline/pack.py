"""A bundle as one zip file for a release page, with the same bytes every time.

Entries are sorted, dated 1980, readable by all, and stored as they are: what a compressor makes of them differs from
one version of zlib to the next, and weights hardly shrink.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import stat
import zipfile
from dataclasses import dataclass
from pathlib import Path

from swiftdeploy import console
from swiftdeploy.bundle import Bundle, read_bundle, records, sha256_of
from swiftdeploy.errors import ArtifactError, UsageError
from swiftdeploy.pipeline.verify import verify_bundle
from swiftdeploy.report import FileRecord

SUFFIX = ".zip"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first date that a zip file can say
_MODE = (stat.S_IFREG | 0o644) << 16
_UNIX = 3
_CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Packed:
    """A zip file: how many files it holds, its size in bytes and its sha256 (0 and empty for a dry run)."""

    path: str
    files: int
    bytes: int = 0
    sha256: str = ""


def pack(path: Path, destination: Path, *, force: bool = False, dry_run: bool = False) -> Packed:
    """Write the bundle at `path` to a zip file, below one folder of the bundle's name.

    The bundle is verified first; `dry_run` ends there. Raises what `verify_bundle` raises, UsageError where the file
    exists and `force` is off, ArtifactError where the disk refuses; the destination is then as it was.
    """
    _check_file(destination, force=force)
    verify_bundle(path)
    bundle = read_bundle(path)
    found = records(path)
    if dry_run:
        return Packed(path=str(destination), files=len(found))
    partial = destination.with_name(f".{destination.name}.{secrets.token_hex(6)}.partial")
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        with console.step(f"packing {path}"):
            _write(bundle, found, partial)
            partial.replace(destination)
    except OSError as error:
        raise ArtifactError(
            f"{destination} cannot be written: {error.strerror or error}",
            hint="free space, or choose another place with -o FILE",
        ) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()
    size, digest = destination.stat().st_size, sha256_of(destination)
    return Packed(path=str(destination), files=len(found), bytes=size, sha256=digest)


def _check_file(destination: Path, *, force: bool) -> None:
    """Raise UsageError where a zip file must not be written."""
    if destination.suffix != SUFFIX:
        raise UsageError(f"{destination.name} is no {SUFFIX} file", hint=f"use -o NAME{SUFFIX}")
    if destination.is_dir():
        raise UsageError(f"{destination} is a folder", hint="choose another -o FILE")
    if destination.exists() and not force:
        raise UsageError(f"{destination} exists already", hint="use --force to replace it")


def _write(bundle: Bundle, found: tuple[FileRecord, ...], path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for record in found:
            entry = zipfile.ZipInfo(f"{bundle.path.resolve().name}/{record.path}", _EPOCH)
            entry.external_attr, entry.create_system, entry.file_size = _MODE, _UNIX, record.bytes
            digest = hashlib.sha256()
            with bundle.file(record.path).open("rb") as source, archive.open(entry, "w") as target:
                while chunk := source.read(_CHUNK):
                    digest.update(chunk)
                    target.write(chunk)
            if digest.hexdigest() != record.sha256:
                raise ArtifactError(f"{bundle.path.name}/{record.path} changed while it was read", hint="pack again")
