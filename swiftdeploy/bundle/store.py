"""A folder that appears whole or not at all.

It is filled beside its destination and renamed into place. An old folder of that name is exchanged in one step where
the system can (Linux, macOS), so that a reader finds the old one or the new one, whenever the process dies.
"""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from swiftdeploy.errors import ArtifactError, UsageError

_STAGING = ".staging"
_AT_FDCWD = -100 if sys.platform.startswith("linux") else -2
_RENAME_EXCHANGE = 2  # both Linux's renameat2 and macOS's renameatx_np use this value for a swap


@contextlib.contextmanager
def staged(destination: Path, *, force: bool) -> Iterator[Path]:
    """A new, empty folder beside `destination`; leaving the block without an error puts it there.

    Raises UsageError when the destination exists and `force` is off, ArtifactError when the disk refuses.
    """
    check_destination(destination, force=force)
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        _sweep(destination)
        folder = destination.parent / f".{destination.name}.{os.getpid()}{_STAGING}"
        folder.mkdir()
    except OSError as error:
        raise _refused(destination, error) from error
    try:
        yield folder
        _flush(folder)
        _commit(folder, destination)
    except OSError as error:
        raise _refused(destination, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check_destination(destination: Path, *, force: bool) -> None:
    """Raise UsageError where a bundle must not be written: something else lies there, or `force` is off."""
    if destination.is_symlink() or (destination.exists() and not destination.is_dir()):
        raise UsageError(f"{destination.name} exists and is no folder", hint="choose another -o DIR")
    if not destination.exists():
        return
    if not force:
        raise UsageError(f"{destination} exists already", hint="use --force to replace it, or choose another -o DIR")
    foreign = [p.name for p in destination.iterdir()] if not (destination / "manifest.json").is_file() else []
    if foreign:
        raise UsageError(
            f"{destination} is no bundle: it holds {foreign[0]}",
            hint="--force replaces bundles only; choose another -o DIR",
        )


def _commit(folder: Path, destination: Path) -> None:
    if not destination.exists():
        folder.rename(destination)
    elif not _exchange(folder, destination):
        aside = folder.with_name(folder.name.replace(_STAGING, ".old" + _STAGING))
        destination.rename(aside)
        folder.rename(destination)
        shutil.rmtree(aside, ignore_errors=True)
    _sync(destination.parent)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two folders in one step. False where the system or file system cannot."""
    library = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)
    swap = getattr(library, "renameat2", None) or getattr(library, "renameatx_np", None)
    if swap is None:
        return False
    answer = swap(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), ctypes.c_uint(_RENAME_EXCHANGE))
    return int(answer) == 0


def _flush(folder: Path) -> None:
    """Bring every file to the disk before the rename makes it visible."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as stream:
                os.fsync(stream.fileno())


def _sync(folder: Path) -> None:
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _sweep(destination: Path) -> None:
    """Remove what killed runs left beside the destination; folders of running processes stay."""
    for path in destination.parent.glob(f".{destination.name}.*{_STAGING}"):
        owner = path.name.removeprefix(f".{destination.name}.").split(".")[0]
        if owner.isdigit() and not _alive(int(owner)):
            shutil.rmtree(path, ignore_errors=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _refused(destination: Path, error: OSError) -> ArtifactError:
    reason = error.strerror or str(error)
    return ArtifactError(
        f"{destination} cannot be written: {reason}",
        hint="free space, or choose a folder that you may write to with -o DIR",
    )
