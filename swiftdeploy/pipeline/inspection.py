"""What a path is and what it holds, as plain values for a table or JSON. Nothing is run."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

from swiftdeploy.bundle import MANIFEST_NAME, Manifest, artifact_digest, read_bundle
from swiftdeploy.report import CompressedTensor
from swiftdeploy.runtimes import open_artifact
from swiftdeploy.spec import TensorSpec


def look(source: str) -> dict[str, Any]:
    """The contents of a bundle, an artifact or a checkpoint.

    Raises ArtifactError for a damaged bundle and a missing or damaged artifact, CheckpointError for anything else that
    is no sound checkpoint.
    """
    path = Path(source)
    if (path / MANIFEST_NAME).is_file():
        return _bundle(path)
    if path.suffix in (".mlpackage", ".onnx", ".ort"):
        return _artifact(path)
    return _checkpoint(source)


def _bundle(path: Path) -> dict[str, Any]:
    manifest = read_bundle(path).manifest
    provenance = manifest.provenance
    return {
        "kind": "bundle",
        "model": manifest.model.name,
        "attention": manifest.model.attention or "-",
        "parameters": manifest.model.parameters,
        "weights": f"{provenance.weights}, {provenance.source}, sha256 {provenance.sha256[:16] or '-'}",
        "named as": provenance.naming or "-",
        "concluded": list(provenance.conclusions),
        "input": f"{manifest.input_kind} {_spec(manifest.inputs[0])}",
        "outputs": [_spec(output) for output in manifest.outputs],
        "fused": {record.name: len(record.fired) for record in manifest.fusion if record.fired},
        "declined": {
            record.name: "; ".join(f"{where}: {why}" for where, why in record.declined.items())
            for record in manifest.fusion
            if record.declined
        },
        **({"unfinished": list(manifest.unfinished)} if manifest.unfinished else {}),
        "artifacts": [
            f"{a.path}  {a.bytes:,} bytes  {sum(a.ops.values())} ops  {a.parity.verdict if a.parity else 'unverified'}"
            for a in manifest.artifacts
        ],
        **_compression(manifest),
        "made with": dict(manifest.tool),
        "tree sha256": manifest.tree_sha256,
    }


def _compression(manifest: Manifest) -> dict[str, Any]:
    """Bits a stored weight takes, tensor by tensor, for every compressed artifact; nothing where there is none."""
    found: dict[str, Any] = {}
    for artifact in manifest.artifacts:
        if artifact.compression is None or artifact.path.endswith(".ort"):
            continue
        packaged = artifact.target == "coreml"
        name = artifact.precision if packaged else f"onnx {artifact.precision}"
        record = artifact.compression
        count = sum(math.prod(tensor.shape) for tensor in record.tensors)
        bits = 8 * sum(tensor.bytes_after for tensor in record.tensors) / max(count, 1)
        reasons = Counter(kept.reason for kept in record.kept)
        others = f"{len(record.kept)} {'stay fp16' if packaged else 'are not compressed'}"
        found[name] = [
            f"{len(record.tensors)} weights with {count:,} values, {bits:.2f} bits each; {others}",
            *(_tensor(tensor) for tensor in record.tensors),
            *(f"{'fp16' if packaged else 'other'}: {names} weights, {reason}" for reason, names in reasons.items()),
        ]
    return found


def _tensor(tensor: CompressedTensor) -> str:
    bits = 8 * tensor.bytes_after / math.prod(tensor.shape)
    groups = f", groups of {tensor.group}" if tensor.group else ""
    quality = "equal" if tensor.psnr_db is None else f"{tensor.psnr_db:.1f} dB"
    return f"{tensor.name}  {tensor.scheme}{groups}  {bits:.2f} bits  {quality}"


def _artifact(path: Path) -> dict[str, Any]:
    runtime = open_artifact(path)
    size, digest = artifact_digest(path)
    tensors = runtime.tensors()
    return {
        "kind": "Core ML package" if path.suffix == ".mlpackage" else "ONNX model",
        "bytes": size,
        "sha256": digest,
        "inputs": [_spec(spec) for spec in runtime.inputs],
        "outputs": list(runtime.outputs),
        "ops": runtime.op_counts(),
        "weights": {
            "tensors": len(tensors),
            "values": sum(int(value.size) for value in tensors.values()),
        },
    }


def _checkpoint(source: str) -> dict[str, Any]:
    from swiftdeploy import checkpoint

    found = checkpoint.load(source)
    names = list(found.state)
    return {
        "kind": "checkpoint",
        "source": found.source,
        "format": found.format,
        "sha256": found.sha256,
        "tensors": len(names),
        "values": sum(tensor.numel() for tensor in found.state.values()),
        "dtypes": sorted({str(tensor.dtype).removeprefix("torch.") for tensor in found.state.values()}),
        "first keys": names[:5],
        "ignored": list(found.ignored),
        "notes": list(found.notes),
    }


def _spec(spec: TensorSpec) -> str:
    return f"{spec.name} ({', '.join(map(str, spec.shape))}) {spec.dtype}"
