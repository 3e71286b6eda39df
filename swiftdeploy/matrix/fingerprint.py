"""What a bundle depends on, part by part, as digests: equal fingerprints, equal bytes.

Imports no torch: a run that finds everything in its cache should not wait for it.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path

from swiftdeploy import catalog
from swiftdeploy.bundle import sha256_of, tree_digest
from swiftdeploy.errors import CheckpointError, UsageError
from swiftdeploy.pipeline.labels import SETS
from swiftdeploy.pipeline.request import ExportRequest
from swiftdeploy.pipeline.source import model_digest, package_digest
from swiftdeploy.pipeline.versions import versions
from swiftdeploy.report import FileRecord
from swiftdeploy.spec import to_plain

HUB = "hf-hub:"
TIMM = "timm:"


def fingerprint(request: ExportRequest, *, folder: Path, judged_on: Path | None = None) -> dict[str, str]:
    """The parts by name, each a digest or a short text. `judged_on` are the images that accuracy is measured on.

    Raises CheckpointError, ModelError or UsageError where something that the request names is not there.
    """
    spec = catalog.find(request.model)
    return {
        "model": f"{request.model} {request.attention or ''} {_canonical(dict(request.arguments))}".strip(),
        "checkpoint": _checkpoint(request),
        "model code": _model_code(spec.factory, folder),
        "swiftdeploy": own_code(),
        "versions": _canonical({**versions(), "timm": _timm(spec.factory)}),
        "platform": f"{sys.platform} {platform.machine()}",
        "options": _canonical(to_plain(request.options)),
        "labels": _labels(request.labels),
        "images": tree_of(request.images, "images"),
        "calibration": tree_of(request.calibration, "images"),
        "accuracy images": tree_of(judged_on, "images"),
    }


def key_of(parts: Mapping[str, str]) -> str:
    """One name for all parts: 64 hex digits."""
    return hashlib.sha256(_canonical(dict(parts)).encode()).hexdigest()


def difference(now: Mapping[str, str], before: Mapping[str, str]) -> tuple[str, ...]:
    """The names of the parts that differ; for the versions which library, and from what to what."""
    changed = [name for name in now if now[name] != before.get(name)]
    return tuple(_versions(now[name], before.get(name, "{}")) if name == "versions" else name for name in changed)


def weights_digest(source: str) -> str:
    """The sha256 of a weights file, or one of every file of a folder. Raises CheckpointError where it does not read."""
    path = Path(source)
    try:
        if path.is_dir():
            return _tree(path)
        if not path.is_file():
            raise CheckpointError(
                f"{path.name or source} is {'not a regular file' if path.exists() else 'not there'}",
                hint="give the path of a checkpoint file or folder",
            )
        return sha256_of(path)
    except OSError as error:
        raise CheckpointError(
            f"{path.name} cannot be read: {error.strerror or error}", hint="check the path and its permissions"
        ) from error


def pinnable_digest(source: str) -> str:
    """The sha256 that a bundle's provenance states of these weights: a file's own, or one over all shards.

    Raises CheckpointError where the weights are not there.
    """
    path = Path(source)
    if path.is_file() and not path.name.endswith(".index.json"):
        return weights_digest(source)
    from swiftdeploy.checkpoint.hub import fetch  # with torch, which only folders and hub ids pay for here
    from swiftdeploy.checkpoint.load import digest_of
    from swiftdeploy.checkpoint.locate import locate

    return digest_of(locate(fetch(source, cache_dir=None) if source.startswith(HUB) else path).weights)


def tree_of(folder: Path | None, what: str) -> str:
    """One digest of every file below a folder, "" for None. Raises UsageError where it does not read."""
    if folder is None:
        return ""
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder", hint=f"name a folder with {what}")
    try:
        return _tree(folder)
    except OSError as error:
        raise UsageError(f"{folder} cannot be read: {error.strerror or error}", hint="check its permissions") from error


def _checkpoint(request: ExportRequest) -> str:
    if request.checkpoint is None:
        return f"untrained, seed {request.untrained}"
    if not request.checkpoint.startswith(HUB):
        return weights_digest(request.checkpoint)
    from swiftdeploy.checkpoint.hub import fetch  # with torch, which only hub ids pay for here

    return weights_digest(str(fetch(request.checkpoint, cache_dir=None)))


def _tree(folder: Path) -> str:
    # Links are followed: a hub's cache is made of them.
    names = [Path(base, name) for base, _, files in os.walk(folder, followlinks=True) for name in files]
    files = [path for path in names if path.is_file()]
    return tree_digest(
        FileRecord(path=path.relative_to(folder).as_posix(), bytes=0, sha256=sha256_of(path)) for path in files
    )


def _labels(source: str) -> str:
    if not source or (source in SETS and not Path(source).is_file()):
        return source
    try:
        return sha256_of(Path(source))
    except OSError as error:
        raise UsageError(
            f"labels {source!r} cannot be read: {error.strerror or error}",
            hint=f"give a text file, or one of {', '.join(SETS)}",
        ) from error


def _model_code(factory: str, folder: Path) -> str:
    return "" if factory.startswith(TIMM) else model_digest(factory, folder)


def _timm(factory: str) -> str:
    try:
        return importlib.metadata.version("timm") if factory.startswith(TIMM) else ""
    except importlib.metadata.PackageNotFoundError:
        return ""


@functools.cache
def own_code() -> str:
    """The digest of this package and of every catalog's, as it is on disk when a process first asks."""
    # The catalog's readers decide what a checkpoint means, whichever model is named.
    return f"{package_digest('swiftdeploy')} {_catalogs()}"


def _catalogs() -> str:
    points = importlib.metadata.entry_points(group=catalog.ENTRY_POINT_GROUP)
    packages = sorted({point.module.partition(".")[0] for point in points})
    return " ".join(package_digest(name) for name in packages)


def _canonical(plain: object) -> str:
    return json.dumps(plain, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)


def _versions(now: str, before: str) -> str:
    new, old = json.loads(now), json.loads(before)
    return "versions: " + ", ".join(
        f"{name} {old.get(name) or 'none'} → {new[name] or 'none'}" for name in new if new[name] != old.get(name)
    )
