"""Artifacts whose bytes depend on their content alone.

coremltools writes random UUIDs into Manifest.json, today's date into the metadata, and protobuf maps in an order that
changes with the process. All three become functions of the content. The protobuf library's deterministic order is
promised for one version of it only, which the manifest of the bundle therefore records.
"""

from __future__ import annotations

import json
import tempfile
import uuid
from pathlib import Path
from typing import Any

from coremltools.proto import Model_pb2

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "swiftdeploy:mlpackage")
_DATE_KEYS = ("com.github.apple.coremltools.conversion_date",)


def save_package(model: Any, destination: Path) -> None:
    """Save a coremltools model as `destination`, through a folder of its own: what is half-written must not be seen."""
    with tempfile.TemporaryDirectory(dir=destination.parent, prefix=".coreml-") as folder:
        staged = Path(folder) / destination.name
        model.save(str(staged))
        staged.rename(destination)


def canonicalise_package(package: Path) -> None:
    """Rewrite Manifest.json and model.mlmodel of an .mlpackage in place."""
    manifest_path = package / "Manifest.json"
    manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
    root = manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]["path"]
    _canonicalise_model(package / "Data" / root)
    manifest_path.write_text(
        json.dumps(canonical_manifest(manifest), indent=4, sort_keys=True) + "\n", encoding="utf-8"
    )


def canonical_manifest(manifest: dict[str, Any]) -> dict[str, Any]:
    """The same manifest with identifiers made from the items' paths."""
    names = {key: _identifier(entry["path"]) for key, entry in manifest["itemInfoEntries"].items()}
    entries = {names[key]: entry for key, entry in manifest["itemInfoEntries"].items()}
    return {
        **manifest,
        "itemInfoEntries": entries,
        "rootModelIdentifier": names[manifest["rootModelIdentifier"]],
    }


def _identifier(path: str) -> str:
    return str(uuid.uuid5(NAMESPACE, path)).upper()


def _canonicalise_model(path: Path) -> None:
    model = Model_pb2.Model()
    model.ParseFromString(path.read_bytes())
    for key in _DATE_KEYS:
        model.description.metadata.userDefined.pop(key, None)
    path.write_bytes(model.SerializeToString(deterministic=True))
