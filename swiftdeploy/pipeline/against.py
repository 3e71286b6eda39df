"""Check a bundle or a lone artifact against a checkpoint: outputs on images, and every weight.

A compressed artifact of a bundle is held to the checkpoint's module with the artifact's decompressed weights, and these
to the bounds of the recipe that the manifest records. Of one with quantised activations the weights alone are: what its
outputs should be depends on the calibration images, and its golden answers in the bundle stand for them.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from swiftdeploy import console
from swiftdeploy.bundle import read_bundle
from swiftdeploy.errors import UsageError
from swiftdeploy.parity import compare
from swiftdeploy.pipeline import parity
from swiftdeploy.pipeline.conversion import convert
from swiftdeploy.pipeline.program import PROBABILITIES
from swiftdeploy.pipeline.refusal import refuse
from swiftdeploy.pipeline.request import ExportRequest
from swiftdeploy.pipeline.subject import Subject, load_subject, truth_of
from swiftdeploy.pipeline.trust import vouched_model
from swiftdeploy.pipeline.verify import Verification, is_bundle, verify_bundle
from swiftdeploy.precision import parse
from swiftdeploy.report import CompressionRecord, Leg, ParityReport
from swiftdeploy.runtimes import Runtime, check_there, open_artifact
from swiftdeploy.spec import ExportOptions, Precision


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """One model, as it would be exported, and the artifacts that claim to hold it.

    `outputs` are the names of the model's outputs, in order.
    """

    request: ExportRequest
    outputs: tuple[str, ...]
    artifacts: tuple[Claimed, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Claimed:
    """One artifact: what it computes in, and how it says that its weights are compressed."""

    path: Path
    precision: Precision
    compression: CompressionRecord | None = None


def verify_against(
    path: Path, checkpoint: str, *, model: str | None, attention: str | None, images: Path | None
) -> Verification:
    """Compare every artifact at `path` with the model that the checkpoint gives.

    A bundle is first verified by itself and says which model it holds; a lone artifact needs `model`, and so does a
    bundle of a model outside the catalog, whose code would be run. Raises
    UsageError, CheckpointError, ArtifactError, or ParityError naming the leg that fails.
    """
    files = verify_bundle(path).files if is_bundle(path) else 0
    claim = claim_of(path, checkpoint, model=model, attention=attention, images=images)
    with console.step(f"loading {checkpoint} as {claim.request.model}"):
        subject = load_subject(claim.request)
        truth = truth_of(subject, subject.oracle, subject.samples)
    reports = tuple(
        _check(claimed.path, claimed.precision, truth)
        if claimed.compression is None
        else _check_compressed(claimed, claimed.compression, subject, truth)
        for claimed in claim.artifacts
    )
    for report in reports:
        refuse(report.subject, report, hint="the artifact was made from other weights, or by a converter that is wrong")
    return Verification(path=path, files=files, reports=reports)


def claim_of(path: Path, checkpoint: str, *, model: str | None, attention: str | None, images: Path | None) -> Claim:
    """What the bundle or the lone artifact at `path` claims to be. Raises UsageError or ArtifactError."""
    if is_bundle(path):
        return _bundle_claim(path, checkpoint, model=model, attention=attention, images=images)
    return _lone_claim(path, checkpoint, model=model, attention=attention, images=images)


def _check(path: Path, precision: Precision, truth: parity.Reference) -> ParityReport:
    with console.step(f"comparing {path.name} with the checkpoint"):
        runtime = open_artifact(path)
        legs = (
            parity.outputs_leg("outputs", runtime, truth, precision=precision),
            parity.weights_leg(runtime, truth.built, precision=precision),
        )
    return ParityReport(subject=path.name, precision=precision, gate_db=compare.gate(precision).passes, legs=legs)


def _check_compressed(
    claimed: Claimed, compression: CompressionRecord, subject: Subject, truth: parity.Reference
) -> ParityReport:
    if claimed.path.suffix == ".onnx":
        return _check_onnx(claimed, compression, subject, truth)
    with console.quiet():
        from swiftdeploy.pipeline import compressed, quantized
    outputs: tuple[Leg, ...]
    limits = compare.Gate(passes=compression.passes_db, fails=compression.fails_db)
    with (
        console.step(f"comparing {claimed.path.name} with the checkpoint"),
        tempfile.TemporaryDirectory(prefix="swiftdeploy-") as folder,
    ):
        base = compressed.open_base(convert(subject, truth.built, Path(folder), "base", "coreml", "fp16")[0])
        if parse(claimed.precision).kind == "activations":
            variant = quantized.opened_quantized(claimed.path, base, truth, limits)
            outputs = ()
        else:
            variant = compressed.planned_variant(claimed.path, truth, base, compression.recipe)
            runtime = open_artifact(claimed.path)
            outputs = (
                parity.outputs_leg("outputs", runtime, variant.truth, precision=claimed.precision, limits=limits),
            )
        legs = (*outputs, compressed.weights_leg(variant))
    return ParityReport(subject=claimed.path.name, precision=claimed.precision, gate_db=limits.passes, legs=legs)


def _check_onnx(
    claimed: Claimed, compression: CompressionRecord, subject: Subject, truth: parity.Reference
) -> ParityReport:
    """An 8-bit ONNX file against an fp32 one that is made of the checkpoint anew."""
    with console.quiet():
        from swiftdeploy.pipeline import onnx_variants
    with (
        console.step(f"comparing {claimed.path.name} with the checkpoint"),
        tempfile.TemporaryDirectory(prefix="swiftdeploy-") as folder,
    ):
        base = convert(subject, truth.built, Path(folder), "base", "onnx", "fp32")[0]
        legs = (
            onnx_variants.outputs_leg(
                claimed.path,
                onnx_variants.reference_of(claimed.path, base, truth, claimed.precision),
                claimed.precision,
            ),
            onnx_variants.weights_leg(base, claimed.path, compression.floating),
        )
    gate = compare.GATES["fp32"].passes
    return ParityReport(subject=claimed.path.name, precision=claimed.precision, gate_db=gate, legs=legs)


def _bundle_claim(
    path: Path, checkpoint: str, *, model: str | None, attention: str | None, images: Path | None
) -> Claim:
    bundle = read_bundle(path)
    manifest = bundle.manifest
    request = ExportRequest(
        model=vouched_model(path.name, manifest.recipe, model),
        destination=path,
        checkpoint=checkpoint,
        attention=attention or manifest.model.attention or None,
        labels=str(bundle.file(manifest.labels)) if manifest.labels else "",
        images=images,
        options=ExportOptions(
            batch=max(manifest.inputs[0].shape[0], 1),
            input_size=(manifest.inputs[0].shape[2], manifest.inputs[0].shape[3]),
            input_kind=manifest.input_kind,
            fuse=bool(manifest.fusion),
            verify=False,
            min_ios=max((int(a.options["min_ios"]) for a in manifest.artifacts if "min_ios" in a.options), default=16),
        ),
    )
    # An .ort file's weights cannot be read back; its .onnx twin is compared.
    readable = [artifact for artifact in manifest.artifacts if not artifact.path.endswith(".ort")]
    claimed = tuple(
        Claimed(path=bundle.file(a.path), precision=a.precision, compression=a.compression) for a in readable
    )
    return Claim(request=request, outputs=tuple(output.name for output in manifest.outputs), artifacts=claimed)


def _lone_claim(path: Path, checkpoint: str, *, model: str | None, attention: str | None, images: Path | None) -> Claim:
    check_there(path)
    if model is None:
        raise UsageError("a lone artifact does not say which model it is", hint="use --model NAME")
    runtime = open_artifact(path)
    spec = runtime.inputs[0]
    if len(spec.shape) != 4:
        raise UsageError(f"{path.name} takes no image: its input has shape {spec.shape}", hint="name an image model")
    options = ExportOptions(
        batch=spec.shape[0] or 1,
        input_size=(spec.shape[2], spec.shape[3]),
        input_kind="image" if spec.dtype == "uint8" else "tensor",
        verify=False,
    )
    request = ExportRequest(
        model=model, destination=path, checkpoint=checkpoint, attention=attention, images=images, options=options
    )
    # A classifier answers with probabilities in the place of the model's one output.
    outputs = ("logits",) if PROBABILITIES in runtime.outputs else runtime.outputs
    return Claim(request=request, outputs=outputs, artifacts=(Claimed(path=path, precision=_precision(runtime)),))


def _precision(runtime: Runtime) -> Precision:
    """fp16 where the weights are stored so. Raises UsageError for compressed ones: a file does not say how."""
    if any(op.startswith("constexpr_") or op == "DequantizeLinear" for op in runtime.op_counts()):
        raise UsageError(
            "the weights of this artifact are compressed, and by which recipe only its bundle knows",
            hint="verify the bundle's folder: swiftdeploy verify DIR --checkpoint FILE",
        )
    stored = {value.dtype.name for value in runtime.tensors().values() if value.size > 1}
    return "fp16" if "float16" in stored else "fp32"
