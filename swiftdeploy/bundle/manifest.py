"""What a bundle says of itself: `manifest.json`, schema 1, as a frozen value, and its JSON Schema."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import jsonschema

from swiftdeploy import schema
from swiftdeploy.errors import ArtifactError, UsageError
from swiftdeploy.precision import parse
from swiftdeploy.report import (
    CompressionRecord,
    FileRecord,
    MixedPrecision,
    ParityReport,
    PlacementRecord,
    Provenance,
    RewriteRecord,
)
from swiftdeploy.seal import sealed
from swiftdeploy.spec import InputKind, Metadata, Precision, Preprocessing, TargetName, TensorSpec, from_plain, to_plain

SCHEMA_VERSION = 1
MANIFEST_NAME = "manifest.json"
SIZE_LIMIT = 1 << 26  # bytes; a real one has some 100 kB, and a parser takes many times what it reads


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelRecord:
    """Which model the bundle holds and how it was built."""

    name: str
    factory: str
    family: str
    parameters: int
    attention: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestRecord:
    """What the export was asked for: with the same weights, images and versions, enough to make the same bytes again.

    `model` and `attention` are as given, before anything was concluded; `options` are the plain `ExportOptions`, whose
    labels are in the bundle's own file. `code`, `images` and `calibration` are tree digests, empty where there is
    nothing to hash.
    """

    model: str
    options: Mapping[str, Any]
    attention: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    code: str = ""
    images: str = ""
    calibration: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ArtifactRecord:
    """One artifact: where it lies, how it was made, what it holds and how close it came.

    `mixed` is given for the precision "auto" alone.
    """

    path: str
    target: TargetName
    precision: Precision
    bytes: int
    sha256: str
    options: Mapping[str, Any]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[str, ...]
    ops: Mapping[str, int]
    parity: ParityReport | None
    mixed: MixedPrecision | None = None
    compression: CompressionRecord | None = None

    def __post_init__(self) -> None:
        parse(self.precision)


@dataclass(frozen=True, kw_only=True, slots=True)
class GoldenRecord:
    """The oracle's answers that travel with the bundle: samples by name, in the order of the tensors' first axis."""

    inputs: str
    outputs: str
    samples: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceRecord:
    """One result of a device that was imported after the export, and which phone it comes from.

    `models` are the labels that it measured, `allowed` the spoiling facts that whoever imported it let pass.
    """

    path: str
    launch_id: str
    created_at: str
    device: str
    models: tuple[str, ...]
    allowed: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """Everything that a bundle records. `files` and `tree_sha256` cover the payload, `seal` the manifest itself.

    The seal is the sha256 of the canonical text with an empty seal. `encode` sets it: a value made in code has none.
    `unfinished` names the artifacts that an interrupted export had not made yet; other bundles have none.
    """

    schema: Literal[1]
    tool: Mapping[str, str]
    model: ModelRecord
    recipe: RequestRecord
    provenance: Provenance
    input_kind: InputKind
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    preprocessing: Preprocessing
    metadata: Metadata
    labels: str
    fusion: tuple[RewriteRecord, ...]
    fusion_parity: ParityReport | None
    ops_before: Mapping[str, int]
    ops_after: Mapping[str, int]
    artifacts: tuple[ArtifactRecord, ...]
    golden: GoldenRecord
    placement: tuple[PlacementRecord, ...]
    files: tuple[FileRecord, ...]
    tree_sha256: str
    device: tuple[DeviceRecord, ...] = ()
    unfinished: tuple[str, ...] = ()
    seal: str = ""


def encode(manifest: Manifest) -> str:
    """The manifest's canonical, sealed text."""
    return sealed(to_plain(manifest))


def read_manifest(bundle: Path) -> Manifest:
    """The manifest of a bundle's folder.

    Raises ArtifactError where it is missing, damaged, of another schema, or not the text that `encode` wrote.
    """
    try:
        text = _text(bundle)
        plain = json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise ArtifactError(
            f"{bundle.name}/{MANIFEST_NAME} cannot be read: {error}", hint="name a bundle's folder, or export it again"
        ) from error
    version = plain.get("schema") if isinstance(plain, dict) else None
    if version != SCHEMA_VERSION:
        raise ArtifactError(
            f"{bundle.name}/{MANIFEST_NAME} has schema {version!r}, this version reads {SCHEMA_VERSION}",
            hint="use the swiftdeploy version that wrote the bundle, or export it again",
        )
    try:
        if sealed(plain) != text:
            raise _invalid(bundle, "it was changed after it was written")
        _validator().validate(plain)
        return from_plain(Manifest, plain)
    except jsonschema.ValidationError as error:
        place = "/".join(str(part) for part in error.absolute_path) or "the top"
        raise _invalid(bundle, f"{place}: {error.message[:160]}") from error
    except (ValueError, UsageError, RecursionError) as error:
        raise _invalid(bundle, str(error)) from error


def is_foreign(bundle: Path) -> bool:
    """Whether the manifest is as it was written, by a version of swiftdeploy whose manifests this one does not read."""
    try:
        text = _text(bundle)
        plain = json.loads(text)
        if not isinstance(plain, dict):
            return False
        if plain.get("schema") != SCHEMA_VERSION:
            return True
        whole = sealed(plain) == text
    except (OSError, ValueError, RecursionError):
        return False
    try:
        read_manifest(bundle)
    except ArtifactError:
        return whole
    return False


def _text(bundle: Path) -> str:
    path = bundle / MANIFEST_NAME
    if not path.is_file() or path.is_symlink():
        raise OSError("it is no plain file" if path.exists() else "it is missing")
    if path.stat().st_size > SIZE_LIMIT:
        raise OSError(f"{path.stat().st_size} bytes are more than a manifest has")
    return path.read_text(encoding="utf-8")


def _invalid(bundle: Path, reason: str) -> ArtifactError:
    return ArtifactError(f"{bundle.name}/{MANIFEST_NAME} is invalid: {reason}", hint="restore it, or export again")


@functools.cache
def _validator() -> Any:
    # jsonschema.validate would check the schema itself each time, which takes longer than the manifest; a test does it.
    return jsonschema.Draft202012Validator(schema.load_schema("bundle/manifest"))


def make_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of `Manifest`, worked out from its fields."""
    return schema.make_schema(Manifest, "swiftdeploy bundle manifest")
