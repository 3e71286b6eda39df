"""A bundle that grows after its export: copied aside, changed there, and put back in one rename."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from swiftdeploy.bundle.read import Bundle, read_bundle
from swiftdeploy.bundle.store import staged
from swiftdeploy.errors import ArtifactError


@contextlib.contextmanager
def rewritten(bundle: Bundle) -> Iterator[Path]:
    """A copy of the bundle to change; leaving the block without an error puts it in the bundle's place.

    Raises ArtifactError where the bundle is no longer the one that was read, or the disk refuses.
    """
    destination = bundle.path.resolve()
    with staged(destination, force=True) as folder:
        shutil.copytree(destination, folder, dirs_exist_ok=True)
        # Read again where nobody else writes: what is changed, or signed, is what was checked.
        if read_bundle(folder).manifest != bundle.manifest:
            raise ArtifactError(f"{bundle.path.name} changed while it was read", hint="do it again")
        yield folder
