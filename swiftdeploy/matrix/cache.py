"""Bundles that were made before, by the digest of all that they depend on.

    <folder>/v1/entries/<key>/entry.json   what the bundle depends on and what its making found; sealed
    <folder>/v1/entries/<key>/bundle/      the bundle, byte for byte as it was written
    <folder>/v1/locks/<two digits>         held by whoever makes, reads or removes an entry with such a key

An entry is filled aside and renamed. It is believed only once every byte of it was hashed again.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from swiftdeploy import bundle
from swiftdeploy.errors import ArtifactError, SwiftdeployError
from swiftdeploy.matrix.fingerprint import difference
from swiftdeploy.report import ParityReport
from swiftdeploy.runs import Accuracy
from swiftdeploy.seal import sealed
from swiftdeploy.spec import from_plain, to_plain

VERSION = 1
ENTRY_NAME = "entry.json"
BUNDLE_NAME = "bundle"
_LIMIT = 1 << 26  # bytes of an entry.json
_KEY = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Cache:
    """Where entries lie, and how many bytes they may have together."""

    folder: Path
    max_bytes: int = 10**10

    @property
    def entries(self) -> Path:
        """The folder with one folder for each entry of this version."""
        return self.folder / f"v{VERSION}" / "entries"


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """What making a bundle found besides the bundle itself. Seconds and memory are for people."""

    seconds: Mapping[str, float]
    peak_memory_bytes: int | None = None
    golden: tuple[ParityReport, ...] = ()
    accuracy: tuple[Accuracy, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One entry. `name` is the job that made it, `manifest_seal` its bundle's; `seal` covers this text itself."""

    version: Literal[1]
    key: str
    name: str
    parts: Mapping[str, str]
    made: Made
    manifest_seal: str
    seal: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What `look` found: an entry whose every byte was checked, or why there is none."""

    entry: Entry | None
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """One entry for a list: last used in seconds since 1970, and the problem of a damaged one."""

    key: str
    name: str
    bytes: int
    used: float
    problem: str = field(default="")


def default_folder() -> Path:
    """The platform's folder for caches, in it ours; XDG_CACHE_HOME decides where it is set."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    if given.startswith("/"):
        return Path(given) / "swiftdeploy"
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "swiftdeploy"


def look(cache: Cache, key: str, parts: Mapping[str, str], *, name: str, drop: bool = True) -> Found:
    """The entry of a key, checked. A damaged one is dropped, unless `drop` is off."""
    if not _place(cache, key).exists():
        return Found(entry=None, reason=_missing(cache, parts, name))
    try:
        entry = check(cache, key)
    except SwiftdeployError as error:
        if drop:
            _drop(cache, key)
        return Found(entry=None, reason=f"the cached one is damaged: {error.fact}")
    if drop:
        with contextlib.suppress(OSError):
            os.utime(_place(cache, key) / ENTRY_NAME)  # the stamp by which the oldest go first
    return Found(entry=entry, reason="")


def check(cache: Cache, key: str) -> Entry:
    """The entry of a key. Raises ArtifactError where a byte of it or of its bundle is not what was written."""
    entry = _read(_place(cache, key))
    if entry.key != key:
        raise ArtifactError("its entry.json is another entry's", hint="it will be made anew")
    found = bundle.read_bundle(_place(cache, key) / BUNDLE_NAME)
    if found.manifest.seal != entry.manifest_seal:
        raise ArtifactError("its bundle is another one", hint="it will be made anew")
    return entry


@contextlib.contextmanager
def holding(cache: Cache, key: str, *, shared: bool = False, wait: bool = True) -> Iterator[bool]:
    """Hold the lock of a key: shared to read, alone to make or remove. False where it is taken and `wait` is off.

    Raises ArtifactError where the cache's folder cannot be written.
    """
    with contextlib.ExitStack() as stack:
        try:
            lock = cache.entries.with_name("locks") / key[:2]
            got = stack.enter_context(bundle.held(lock, shared=shared, wait=wait))
        except OSError as error:
            raise ArtifactError(
                f"the cache {cache.folder} cannot be written: {error.strerror or error}",
                hint="choose another with --cache DIR, or use --no-cache",
            ) from error
        yield got


@contextlib.contextmanager
def adding(cache: Cache, key: str) -> Iterator[Path]:
    """A folder for the bundle of a new entry. The caller holds the key's lock, and calls `describe` at the end."""
    with bundle.placed(_place(cache, key), replace=True) as folder:
        yield folder / BUNDLE_NAME


def describe(made_at: Path, entry: Entry) -> None:
    """Write the entry of the bundle that was made at the path which `adding` gave."""
    made_at.with_name(ENTRY_NAME).write_text(sealed(to_plain(entry)), encoding="utf-8")


def bundle_of(cache: Cache, key: str) -> Path:
    """Where an entry's bundle lies."""
    return _place(cache, key) / BUNDLE_NAME


def listed(cache: Cache, *, verify: bool = False) -> tuple[Listed, ...]:
    """All entries, the longest unused first; with `verify` every byte is hashed."""
    found = [_listed(cache, path, verify=verify) for path in _folders(cache)]
    return tuple(sorted(found, key=lambda entry: (entry.used, entry.key)))


def prune(cache: Cache, *, max_bytes: int | None = None, verify: bool = False, dry: bool = False) -> tuple[Listed, ...]:
    """Remove damaged entries, what dead runs and older versions left, and the longest unused over the limit.

    Answers with the entries that went, or with `dry` would go. Entries that are being read or made stay.
    """
    if not dry:
        _clear(cache)
    entries = listed(cache, verify=verify)
    excess = sum(entry.bytes for entry in entries) - (cache.max_bytes if max_bytes is None else max_bytes)
    removed = []
    for entry in entries:
        if (excess > 0 or entry.problem) and (dry or _drop(cache, entry.key)):
            removed.append(entry)
            excess -= entry.bytes
    return tuple(removed)


def _clear(cache: Cache) -> None:
    for path in sorted(cache.folder.glob("v*")):
        if path.name[1:].isdigit() and int(path.name[1:]) < VERSION and not path.is_symlink():
            bundle.discard(path)
    bundle.sweep(cache.folder)
    bundle.sweep(cache.entries)


def peaks(cache: Cache) -> dict[str, int]:
    """The peak memory in bytes of earlier jobs by name, the largest of each."""
    found: dict[str, int] = {}
    for path in _folders(cache):
        with contextlib.suppress(SwiftdeployError):
            entry = _read(path)
            found[entry.name] = max(found.get(entry.name, 0), entry.made.peak_memory_bytes or 0)
    return found


def _drop(cache: Cache, key: str) -> bool:
    """Whether an entry could be removed; one that is being read or made stays."""
    with holding(cache, key, wait=False) as free:
        if free:
            bundle.discard(_place(cache, key))
    return free


def _place(cache: Cache, key: str) -> Path:
    return cache.entries / key


def _folders(cache: Cache) -> list[Path]:
    if not cache.entries.is_dir():
        return []
    return sorted(path for path in cache.entries.iterdir() if _KEY.fullmatch(path.name) and not path.is_symlink())


def _missing(cache: Cache, parts: Mapping[str, str], name: str) -> str:
    """Why there is no such entry: what differs from the most similar one of that name."""
    nearest: tuple[str, ...] | None = None
    for path in _folders(cache):
        with contextlib.suppress(SwiftdeployError):
            entry = _read(path)
            changed = difference(parts, entry.parts)
            if entry.name == name and (nearest is None or len(changed) < len(nearest)):
                nearest = changed
    return f"changed: {', '.join(nearest)}" if nearest else "not made before, or pruned"


def _read(place: Path) -> Entry:
    path = place / ENTRY_NAME
    try:
        if path.is_symlink() or path.stat().st_size > _LIMIT:
            raise ValueError("it is no entry")
        text = path.read_text(encoding="utf-8")
        plain = json.loads(text)
        if not isinstance(plain, dict) or sealed(plain) != text:
            raise ValueError("it was changed")
        return from_plain(Entry, plain)
    except (OSError, ValueError, RecursionError) as error:
        reason = (error.strerror if isinstance(error, OSError) else "") or str(error)
        raise ArtifactError(f"{ENTRY_NAME}: {reason}", hint="it will be made anew") from error


def _listed(cache: Cache, place: Path, *, verify: bool) -> Listed:
    problem, name, used, size = "", "", 0.0, 0
    for path in place.rglob("*"):
        with contextlib.suppress(OSError):  # another run may remove it just now
            size += path.lstat().st_size if path.is_file() else 0
    try:
        entry = check(cache, place.name) if verify else _read(place)
        name, used = entry.name, (place / ENTRY_NAME).stat().st_mtime
    except SwiftdeployError as error:
        problem = error.fact
    return Listed(key=place.name, name=name, bytes=size, used=used, problem=problem)
