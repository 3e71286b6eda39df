"""Read a bundle back with suspicion: every byte is what the manifest says, and nothing else lies there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from swiftdeploy.bundle.attestations import VOUCHING, check_attestations
from swiftdeploy.bundle.hashing import inside, records, tree_digest
from swiftdeploy.bundle.manifest import MANIFEST_NAME, ArtifactRecord, Manifest, read_manifest
from swiftdeploy.errors import ArtifactError


@dataclass(frozen=True, kw_only=True, slots=True)
class Bundle:
    """A bundle whose bytes were checked."""

    path: Path
    manifest: Manifest

    def file(self, name: str) -> Path:
        """The path of one of its files."""
        return inside(self.path, name)

    def golden_file(self, artifact: ArtifactRecord | None = None) -> Path:
        """The file of golden outputs: a compressed artifact has its own."""
        own = artifact.compression.golden if artifact is not None and artifact.compression is not None else ""
        return self.file(own or self.manifest.golden.outputs)

    def golden(self, artifact: ArtifactRecord | None = None) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
        """The oracle's inputs and outputs by name, sample axis first; with `artifact`, the outputs that it is held to.

        Raises ArtifactError where they do not load.
        """
        record = self.manifest.golden
        inputs, outputs = load_arrays(self.file(record.inputs)), load_arrays(self.golden_file(artifact))
        for name, value in (*inputs.items(), *outputs.items()):
            if value.ndim == 0 or len(value) != len(record.samples) or not record.samples:
                raise ArtifactError(
                    f"{self.path.name}: golden {name} has shape {value.shape} for {len(record.samples)} samples",
                    hint="restore the bundle, or export again",
                )
        return inputs, outputs


def read_bundle(path: Path) -> Bundle:
    """The bundle at `path`. Raises ArtifactError naming every changed, missing and foreign file."""
    if not path.is_dir():
        raise ArtifactError(f"{path} is no folder", hint="name a bundle's folder: it holds manifest.json")
    manifest = read_manifest(path)
    for name in (*(record.path for record in manifest.files), *_named(manifest)):
        inside(path, name)
    try:
        found = records(path)
    except OSError as error:
        raise ArtifactError(f"{path.name} cannot be read: {error}", hint="check its permissions") from error
    present = {record.path: record for record in found if record.path not in VOUCHING}
    expected = {record.path: record for record in manifest.files}
    missing = sorted(set(expected) - set(present))
    foreign = sorted(set(present) - set(expected))
    changed = sorted(name for name in set(expected) & set(present) if expected[name] != present[name])
    problems = [f"{what} {', '.join(names)}" for what, names in _listed(missing, foreign, changed) if names]
    if problems:
        raise ArtifactError(
            f"{path.name} is not what its manifest says: {'; '.join(problems)}",
            hint="restore the bundle, or export again",
        )
    lost = [name for name in _named(manifest) if name not in expected and not _is_folder(name, expected)]
    if lost:
        raise ArtifactError(
            f"{path.name}/{MANIFEST_NAME} describes {lost[0]} and lists no such file", hint="export again"
        )
    if tree_digest(manifest.files) != manifest.tree_sha256:
        raise ArtifactError(f"{path.name}: the tree digest does not match", hint="restore the bundle, or export again")
    check_attestations(path, found)
    return Bundle(path=path, manifest=manifest)


def _named(manifest: Manifest) -> tuple[str, ...]:
    """Every path that the manifest refers to beside its list of files."""
    golden = manifest.golden
    labels = (manifest.labels,) if manifest.labels else ()
    device = (record.path for record in manifest.device)
    placed = (record.artifact for record in manifest.placement)
    own = (artifact.compression.golden for artifact in manifest.artifacts if artifact.compression is not None)
    artifacts = (artifact.path for artifact in manifest.artifacts)
    return (*artifacts, golden.inputs, golden.outputs, *own, *labels, *device, *placed)


def _is_folder(name: str, files: Iterable[str]) -> bool:
    return any(file.startswith(f"{name}/") for file in files)


def _listed(missing: list[str], foreign: list[str], changed: list[str]) -> tuple[tuple[str, list[str]], ...]:
    return ("missing", missing), ("unexpected", foreign), ("changed", changed)


def load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a safetensors file. Raises ArtifactError where it is damaged."""
    try:
        return dict(load_file(str(path)))
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{path.name} is damaged: {error}", hint="restore the bundle, or export again") from error


def save_arrays(arrays: dict[str, NDArray[Any]], path: Path) -> None:
    """Write arrays as safetensors, which orders them by itself: the same arrays give the same bytes.

    Raises OSError where the disk refuses: the library's own writer reports that as an error of the format.
    """
    path.write_bytes(save({name: np.ascontiguousarray(value) for name, value in arrays.items()}))
