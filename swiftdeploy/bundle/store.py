"""A folder that appears whole or not at all.

It is filled beside its destination and renamed into place. An old folder of that name is exchanged in one step where
the system can (Linux, macOS), so that a reader finds the old one or the new one, whenever the process dies.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import glob
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from swiftdeploy.aside import write_all
from swiftdeploy.errors import ArtifactError, UsageError

_ELSEWHERE = "choose another folder: -o DIR, or output in swiftdeploy.toml"  # an export's way, and a run's
_STAGING = ".staging"
_OLD = ".old"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_NOW = fcntl.LOCK_EX | fcntl.LOCK_NB
_AT_FDCWD = -100 if sys.platform.startswith("linux") else -2
_RENAME_EXCHANGE = 2  # both Linux's renameat2 and macOS's renameatx_np use this value for a swap


@contextlib.contextmanager
def staged(destination: Path, *, force: bool) -> Iterator[Path]:
    """A new, empty folder beside `destination`; leaving the block without an error puts it there.

    Raises UsageError when the destination exists and `force` is off, ArtifactError when the disk refuses.
    """

    def check() -> None:
        check_destination(destination, force=force)

    check()
    with placed(destination, replace=force, check=check) as folder:
        yield folder


@contextlib.contextmanager
def placed(destination: Path, *, replace: bool, check: Callable[[], None] = lambda: None) -> Iterator[Path]:
    """What `staged` does for any folder, a bundle or not.

    `check` raises where the destination must not be written. It runs once what dead runs left is cleared away, and
    again where the disk refuses: that may be because of what another process put there. Raises ArtifactError when the
    disk refuses for any other reason.
    """
    made = [parent for parent in destination.parents if not parent.exists()]
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        _sweep(destination)
        check()  # sweeping may have brought an old bundle back
        folder, lock = _claim(destination)
    except OSError as error:
        _remove_empty(made)
        raise _refused(destination, error) from error
    try:
        yield folder
        _flush(folder)
        _commit(folder, destination, force=replace)
    except OSError as error:
        check()  # what came meanwhile is refused as what was there from the start
        raise _refused(destination, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)
        _remove_empty(made)


def discard(folder: Path) -> None:
    """Remove a folder so that nobody sees half of it: out of sight in one step, then piece by piece."""
    aside = folder.with_name(f".{folder.name}.{secrets.token_hex(6)}{_STAGING}")
    with contextlib.suppress(OSError):
        folder.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)


def sweep(parent: Path) -> None:
    """Remove what killed runs left anywhere in `parent`, and bring back what one had put aside.

    Folders of running processes stay.
    """
    for kind in (_OLD, _STAGING):
        for path in parent.glob(f".*{kind}"):
            name = path.name.removesuffix(kind)[1:].rpartition(".")[0]
            if name:
                _sweep(parent / name)


def write_whole(path: Path, text: str) -> None:
    """Write a text file that a reader sees whole or not at all. Raises ArtifactError when the disk refuses."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_all({path: text.encode("utf-8")})
    except OSError as error:
        raise _refused(path, error) from error
    _sync(path.parent)


@contextlib.contextmanager
def held(path: Path, *, shared: bool = False, wait: bool = True) -> Iterator[bool]:
    """Hold the lock file at `path`; False where another process holds it and `wait` is off.

    The lock ends with the process, however that ends. On a file system without locks nobody waits.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        got = True
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            got = False
        except OSError:
            pass
        yield got
    finally:
        os.close(descriptor)


def unfinished_path(destination: Path) -> Path:
    """Where an interrupted export leaves the artifacts that it had finished: a bundle beside the destination."""
    # No dot: the sweep of another bundle's leftovers goes by what follows one.
    return destination.with_name(f"{destination.name}-unfinished")


def check_destination(destination: Path, *, force: bool) -> None:
    """Raise UsageError where a bundle must not be written: something else is in the way, or `force` is off.

    Raises ArtifactError where the place cannot even be looked at, or its folder may not be written to.
    """
    try:
        _check_parent(destination)
        if destination.is_symlink() or (destination.exists() and not destination.is_dir()):
            raise UsageError(f"{destination.name} exists and is no folder", hint=_ELSEWHERE)
        if not destination.exists():
            return
        names = sorted(path.name for path in destination.iterdir())
    except OSError as error:
        raise _refused(destination, error) from error
    if names and "manifest.json" not in names:
        raise UsageError(
            f"{destination} is no bundle: it holds {names[0]}",
            hint=f"only bundles are replaced; {_ELSEWHERE}",
        )
    if not force:
        raise UsageError(f"{destination} exists already", hint=f"use --force to replace it, or {_ELSEWHERE}")


def _check_parent(destination: Path) -> None:
    """The nearest folder that is there must take the bundle's, which is filled beside its destination."""
    there = next(parent for parent in destination.absolute().parents if parent.is_symlink() or parent.exists())
    if not there.is_dir():
        raise UsageError(f"{destination} cannot be written: {there.name} is no folder", hint=_ELSEWHERE)
    if not os.access(there, os.W_OK | os.X_OK):
        raise ArtifactError(
            f"{destination} cannot be written: {there} is read-only",
            hint="see to it that you may write to that folder, or put the bundle into another",
        )


def _claim(destination: Path) -> tuple[Path, int]:
    """A new folder beside the destination and a lock on it, which ends with this process, however that ends.

    Process ids would not do: containers that share a volume all count from 1.
    """
    while True:
        folder = destination.with_name(f".{destination.name}.{secrets.token_hex(6)}{_STAGING}")
        folder.mkdir()
        with contextlib.suppress(BlockingIOError, FileNotFoundError):  # another run is sweeping it away: try again
            lock = os.open(folder, _FOLDER)
            with _closed_on_error(lock):
                try:
                    fcntl.flock(lock, _NOW)
                except BlockingIOError:
                    raise
                except OSError:
                    return folder, lock  # a file system without locks: there nothing is swept, and nothing refused
                folder.stat()
            return folder, lock


@contextlib.contextmanager
def _closed_on_error(descriptor: int) -> Iterator[None]:
    try:
        yield
    except OSError:
        os.close(descriptor)
        raise


def _commit(folder: Path, destination: Path, *, force: bool) -> None:
    if not force or not destination.exists():  # without force, a bundle that came meanwhile makes the rename fail
        folder.rename(destination)
    elif not _exchange(folder, destination):
        aside = folder.with_name(folder.name.removesuffix(_STAGING) + _OLD)
        destination.rename(aside)
        try:
            folder.rename(destination)
        except OSError:
            aside.rename(destination)
            raise
        shutil.rmtree(aside, ignore_errors=True)
    _sync(destination.parent)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two folders in one step. False where the system or file system cannot."""
    library = ctypes.CDLL(None, use_errno=True)
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
    prefix = f".{glob.escape(destination.name)}.*"
    for path in destination.parent.glob(prefix + _OLD):
        # The only sound copy, where a run without the exchange died between its two renames.
        if destination.exists():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.rename(destination)
    for path in destination.parent.glob(prefix + _STAGING):
        with contextlib.suppress(OSError):
            lock = os.open(path, _FOLDER)
            with _closed_on_error(lock):
                fcntl.flock(lock, _NOW)
            shutil.rmtree(path, ignore_errors=True)
            os.close(lock)


def _remove_empty(folders: list[Path]) -> None:
    """Take back the parent folders that were made for a bundle which did not come."""
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()


def _refused(destination: Path, error: OSError) -> ArtifactError:
    return ArtifactError(
        f"{destination} cannot be written: {_reason(error)}",
        hint="free space, or see to it that you may write to that folder",
    )


def _reason(error: OSError) -> str:
    if isinstance(error, shutil.Error) and error.args and isinstance(error.args[0], list) and error.args[0]:
        # Copying a tree collects (from, to, "[Errno n] reason: 'path'") of every file; the first says it all.
        return str(error.args[0][0][-1]).split("] ", 1)[-1].split(": '")[0]
    return error.strerror or str(error)
