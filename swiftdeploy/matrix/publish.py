"""A bundle of the cache becomes the one that ships: copied aside, compared byte by byte, renamed."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

from swiftdeploy import bundle
from swiftdeploy.errors import ArtifactError, SwiftdeployError


def check_published(destination: Path) -> None:
    """Raise ArtifactError where the bundle that lies at `destination` is not what was written there.

    A run would put the right one in its place, and with that nobody would learn of it.
    """
    try:
        _check_settled(destination)
    except ArtifactError as error:
        if bundle.is_foreign(destination):
            return
        raise ArtifactError(
            f"the bundle in the output was changed after it was written: {error.fact}",
            hint=f"look for what changed it, then remove {destination.name}: the next run makes it anew",
        ) from error


def _check_settled(destination: Path) -> None:
    """Read the bundle, if there is one; once more where another run put its own there meanwhile."""
    while (folder := _inode(destination)) is not None:
        try:
            bundle.read_bundle(destination)
        except ArtifactError:
            if _inode(destination) == folder:
                raise
        else:
            return


def _inode(destination: Path) -> int | None:
    """Which folder it is; None where it holds no bundle."""
    try:
        return destination.stat().st_ino if (destination / bundle.MANIFEST_NAME).exists() else None
    except OSError:
        return None


def publish(source: Path, destination: Path) -> None:
    """Put a copy of a checked bundle at `destination`; one that is there already stays, with its device results.

    Raises ArtifactError where the disk refuses or a byte of the copy differs, UsageError where something else is there.
    """
    manifest = bundle.read_manifest(source)
    if _same(manifest, destination):
        return
    with bundle.staged(destination, force=True) as folder:
        shutil.copytree(source, folder, dirs_exist_ok=True, copy_function=shutil.copyfile)
        if bundle.read_bundle(folder).manifest != manifest:
            raise ArtifactError(f"{destination.name} was damaged while it was copied", hint="check the disk, run again")


def _same(manifest: bundle.Manifest, destination: Path) -> bool:
    try:
        there = bundle.read_bundle(destination).manifest
    except SwiftdeployError:
        return False
    results = {record.path for record in there.device}
    files = tuple(record for record in there.files if record.path not in results)
    tree = bundle.tree_digest(files)
    return dataclasses.replace(there, device=(), files=files, tree_sha256=tree, seal=manifest.seal) == manifest
