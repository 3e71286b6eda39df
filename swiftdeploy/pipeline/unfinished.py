"""What Ctrl-C leaves: the artifacts that were finished, as a bundle of their own beside the destination.

The destination stays as it was, since whoever reads it expects all of what was asked for.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from swiftdeploy import bundle, console
from swiftdeploy.errors import SwiftdeployError
from swiftdeploy.spec import ExportOptions

Write = Callable[[Sequence[bundle.ArtifactRecord], Path, Sequence[str]], object]


def keep(
    destination: Path, folder: Path, artifacts: Sequence[bundle.ArtifactRecord], options: ExportOptions, write: Write
) -> None:
    """Move the finished artifacts out of the staging `folder`, and let `write` make a bundle of them.

    `write` is given the artifacts, their new folder and the names of those that are missing. Nothing is kept where
    nothing was finished. What stands in the way, other than an earlier interrupted export, stays.
    """
    done = {(artifact.target, artifact.precision) for artifact in artifacts}
    missing = [f"{target} {name}" for target, name in options.matrix if (target, name) not in done]
    aside = bundle.unfinished_path(destination)
    if not artifacts or not missing or (aside.exists() and not _interrupted(aside)):
        return
    with bundle.staged(aside, force=True) as other:
        own = [artifact.compression.golden for artifact in artifacts if artifact.compression is not None]
        # An .ort file shares its golden answers with the .onnx file beside it.
        for name in dict.fromkeys([*(artifact.path for artifact in artifacts), *own]):
            (other / name).parent.mkdir(exist_ok=True)
            (folder / name).rename(other / name)
        write(artifacts, other, missing)
    console.note(f"interrupted: {len(artifacts)} artifacts are finished, in {aside}; not made: {', '.join(missing)}")


def drop(destination: Path) -> None:
    """Remove what an interrupted export of the same bundle left: now there is all of it."""
    aside = bundle.unfinished_path(destination)
    if _interrupted(aside):
        shutil.rmtree(aside, ignore_errors=True)


def _interrupted(folder: Path) -> bool:
    """Whether a folder is what an interrupted export left."""
    try:
        return bool(bundle.read_manifest(folder).unfinished)
    except SwiftdeployError:
        return False
