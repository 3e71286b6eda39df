"""What a bundle is made of, for inventories: a CycloneDX 1.6 bill of materials with a model card (an ML-BOM).

It repeats what the manifest records and measures nothing. The serial number follows from the content, and no time is
given: equal bundles have equal bills. Source: CycloneDX 1.6, JSON schema `bom-1.6.schema.json`.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from typing import Any

from swiftdeploy.bundle.manifest import ArtifactRecord, Manifest
from swiftdeploy.bundle.statement import package_url
from swiftdeploy.report import FileRecord, Leg
from swiftdeploy.seal import canonical
from swiftdeploy.spec import TensorSpec

BOM_NAME = "bom.cdx.json"
_SERIALS = uuid.UUID("5d0f8a3e-7c0b-5a51-9a3c-2f0b6d3f7e11")  # drawn once; the namespace of our serial numbers
_UNTRAINED = "The weights are random (untrained): for latency work, not for answers."
_TRAINED = "The weights come from a checkpoint; how it was trained and on what data is not known to this tool."
_HOST = "Parity was measured on a computer, with a reference runtime for Core ML; no phone took part in it."


def bill_of_materials(manifest: Manifest) -> dict[str, Any]:
    """The bill of the bundle that the manifest describes."""
    libraries = [_library(name, version) for name, version in sorted(manifest.tool.items()) if version]
    artifacts = [_artifact(artifact, manifest.files) for artifact in manifest.artifacts]
    shipped = {file["name"] for artifact in artifacts for file in (artifact, *artifact.get("components", ()))}
    others = [_file(record) for record in manifest.files if record.path not in shipped]
    bill = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "lifecycles": [{"phase": "build"}],
            "tools": {"components": [{**_library("swiftdeploy", manifest.tool["swiftdeploy"]), "bom-ref": "tool"}]},
            "component": _model(manifest),
        },
        "components": [*artifacts, *others, *libraries],
        "dependencies": [
            {"ref": "model", "dependsOn": [artifact["bom-ref"] for artifact in artifacts]},
            *(
                {"ref": artifact["bom-ref"], "dependsOn": [lib["bom-ref"] for lib in libraries]}
                for artifact in artifacts
            ),
        ],
    }
    return {**bill, "serialNumber": uuid.uuid5(_SERIALS, canonical(bill)).urn}


def _model(manifest: Manifest) -> dict[str, Any]:
    model, texts = manifest.model, manifest.metadata
    found: dict[str, Any] = {
        "type": "machine-learning-model",
        "bom-ref": "model",
        "name": model.name,
        "modelCard": _card(manifest),
        "pedigree": {"ancestors": [_weights(manifest)]},
        "properties": _properties(
            parameters=str(model.parameters), attention=model.attention, tree_sha256=manifest.tree_sha256
        ),
    }
    optional = {
        "version": texts.version,
        "description": texts.description,
        "authors": [{"name": texts.author}] if texts.author else [],
        "licenses": [{"license": {"name": texts.license}}] if texts.license else [],
    }
    return {**found, **{key: value for key, value in optional.items() if value}}


def _weights(manifest: Manifest) -> dict[str, Any]:
    """What the model is derived from: a checkpoint, or a seed."""
    provenance = manifest.provenance
    found: dict[str, Any] = {
        "type": "machine-learning-model",
        "bom-ref": "weights",
        "name": provenance.source,
        "properties": _properties(weights=provenance.weights, format=provenance.format, naming=provenance.naming),
    }
    if provenance.format.endswith("-sharded"):
        found["properties"] += _properties(shards_sha256=provenance.sha256)
    elif provenance.sha256:
        found["hashes"] = _hashes(provenance.sha256)
    return found


def _card(manifest: Manifest) -> dict[str, Any]:
    trained = manifest.provenance.weights == "trained"
    parameters: dict[str, Any] = {
        "architectureFamily": manifest.model.family,
        "modelArchitecture": manifest.model.name,
        "inputs": [{"format": _format(spec, manifest.input_kind)} for spec in manifest.inputs],
        "outputs": [{"format": _format(spec, "tensor")} for spec in manifest.outputs],
    }
    if manifest.labels:
        parameters["task"] = "image classification"
    metrics = [metric for artifact in manifest.artifacts for metric in _metrics(artifact)]
    card: dict[str, Any] = {
        "modelParameters": parameters,
        "considerations": {
            "technicalLimitations": [_TRAINED if trained else _UNTRAINED, _HOST],
            "performanceTradeoffs": [_parity_line(artifact) for artifact in manifest.artifacts],
        },
    }
    return {**card, "quantitativeAnalysis": {"performanceMetrics": metrics}} if metrics else card


def _format(spec: TensorSpec, kind: str) -> str:
    return f"{kind} {spec.name}: {spec.dtype} ({', '.join(map(str, spec.shape))})"


def _metrics(artifact: ArtifactRecord) -> Iterator[dict[str, str]]:
    """One PSNR against the oracle for each leg and output, "inf" where the two are equal to the bit."""
    for leg in artifact.parity.legs if artifact.parity else ():
        for output in leg.outputs:
            value = "inf" if output.psnr_db is None else f"{output.psnr_db:.2f}"
            yield {"type": "PSNR in dB", "value": value, "slice": f"{artifact.path}, {leg.name}, {output.name}"}


def _parity_line(artifact: ArtifactRecord) -> str:
    if artifact.parity is None:
        return f"{artifact.path}: parity was not checked (--no-verify)."
    legs = ", ".join(f"{leg.name} {_closeness(leg)} {leg.verdict}" for leg in artifact.parity.legs)
    return f"{artifact.path}: {artifact.precision}; parity with the oracle: {legs}."


def _closeness(leg: Leg) -> str:
    if leg.weights is not None:
        return f"{leg.weights.equal}/{leg.weights.tensors} tensors equal"
    known = [output.psnr_db for output in leg.outputs if output.psnr_db is not None]
    return f"{min(known):.1f} dB" if known else "equal"


def _artifact(artifact: ArtifactRecord, files: Iterable[FileRecord]) -> dict[str, Any]:
    """A file with its hash; a package as its files with theirs, since a folder has no sha256 of its own."""
    inside = [record for record in files if record.path.startswith(f"{artifact.path}/")]
    found: dict[str, Any] = {
        "type": "machine-learning-model",
        "bom-ref": artifact.path,
        "name": artifact.path,
        "properties": _properties(target=artifact.target, precision=artifact.precision, bytes=str(artifact.bytes)),
    }
    if inside:
        found["properties"] += _properties(tree_sha256=artifact.sha256)
        return {**found, "components": [_file(record) for record in inside]}
    return {**found, "hashes": _hashes(artifact.sha256)}


def _file(record: FileRecord) -> dict[str, Any]:
    return {"type": "file", "bom-ref": record.path, "name": record.path, "hashes": _hashes(record.sha256)}


def _library(name: str, version: str) -> dict[str, Any]:
    purl = package_url(name, version)
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def _hashes(sha256: str) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": sha256}]


def _properties(**values: str) -> list[dict[str, str]]:
    return [{"name": f"swiftdeploy:{name}", "value": value} for name, value in values.items() if value]
