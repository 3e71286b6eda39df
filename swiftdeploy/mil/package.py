"""The folder of an .mlpackage: its manifest, the model file in it, and the way to its weight files.

Nothing in a package may point out of it, and no file is read that is larger than a model can be.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from swiftdeploy.errors import ArtifactError

# Weights lie in files of their own: the specification of the largest programs known takes a few megabytes.
MAX_MODEL_BYTES = 1 << 26
_MAX_MANIFEST_BYTES = 1 << 20
_MAX_PATH = 255
_MODEL_PATH = "@model_path/"
_HINT = "copy or export the package again"


@dataclass(frozen=True, kw_only=True, slots=True)
class Package:
    """Where the model specification of a package lies; weight files are found relative to it."""

    model: Path
    root: Path


def open_package(path: Path) -> Package:
    """The package in the folder `path`, or around a bare model file `path`.

    Raises ArtifactError where there is no package, or where its manifest is damaged or points out of the folder.
    """
    if path.is_file():
        return Package(model=path, root=path.parent)
    if not path.is_dir():
        raise ArtifactError(f"there is no package at {path}", hint="give the path of an .mlpackage folder")
    data = path / "Data"
    model = _inside(data, _root_item(path / "Manifest.json"))
    if not model.is_file():
        raise ArtifactError(f"the manifest of {path} names {model.name}, which is not there", hint=_HINT)
    return Package(model=model, root=data)


def read_model_bytes(package: Package) -> bytes:
    """The serialized specification. Raises ArtifactError where it cannot be read or is too large to be one."""
    try:
        size = package.model.stat().st_size
        if size > MAX_MODEL_BYTES:
            raise ArtifactError(f"{package.model} is {size} bytes, more than a specification takes", hint=_HINT)
        return package.model.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{package.model} cannot be read: {error.strerror}", hint=_HINT) from error


def weight_path(package: Package, name: str) -> Path:
    """The file that a program calls "@model_path/weights/weight.bin". Raises ArtifactError where it lies elsewhere."""
    if not name.startswith(_MODEL_PATH):
        raise ArtifactError(f"a constant lies in {name[:80]!r}, which is no path inside the package", hint=_HINT)
    return _inside(package.model.parent, name.removeprefix(_MODEL_PATH), root=package.root)


def _root_item(manifest: Path) -> str:
    try:
        if manifest.stat().st_size > _MAX_MANIFEST_BYTES:
            raise ArtifactError(f"{manifest} is larger than a manifest can be", hint=_HINT)
        plain: Any = json.loads(manifest.read_text(encoding="utf-8"))
        entries, root = plain["itemInfoEntries"], plain["rootModelIdentifier"]
        found = entries[root]["path"]
    except OSError as error:
        raise ArtifactError(f"{manifest} cannot be read: {error.strerror}", hint=_HINT) from error
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{manifest} is not JSON", hint=_HINT) from error
    except (KeyError, TypeError) as error:
        raise ArtifactError(f"{manifest} does not name its model", hint=_HINT) from error
    if not isinstance(found, str):
        raise ArtifactError(f"{manifest} does not name its model", hint=_HINT)
    return found


def _inside(folder: Path, name: str, *, root: Path | None = None) -> Path:
    if len(name) > _MAX_PATH:
        raise ArtifactError(f"the path {name[:40]!r}... has {len(name)} characters", hint=_HINT)
    parts = PurePosixPath(name.replace("\\", "/"))
    if not name or "\0" in name or parts.is_absolute() or ".." in parts.parts:
        raise ArtifactError(f"the path {name!r} leads out of the package", hint=_HINT)
    path = folder / parts
    # A symbolic link may lead out where the spelling does not.
    try:
        leads_out = not path.resolve().is_relative_to((root or folder).resolve())
    except (OSError, RuntimeError) as error:  # a loop of links is a RuntimeError before Python 3.13
        raise ArtifactError(f"the path {name!r} cannot be followed: {error}", hint=_HINT) from error
    if leads_out:
        raise ArtifactError(f"the path {name!r} leads out of the package", hint=_HINT)
    return path
