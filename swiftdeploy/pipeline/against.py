"""Check a bundle or a lone artifact against a checkpoint: outputs on images, and every weight."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from swiftdeploy import console
from swiftdeploy.bundle import read_bundle
from swiftdeploy.errors import UsageError
from swiftdeploy.parity import compare
from swiftdeploy.pipeline import parity
from swiftdeploy.pipeline.refusal import refuse
from swiftdeploy.pipeline.request import ExportRequest
from swiftdeploy.pipeline.subject import Subject, load_subject, truth_of
from swiftdeploy.pipeline.verify import Verification, verify_bundle
from swiftdeploy.report import ParityReport
from swiftdeploy.runtimes import Runtime, open_artifact
from swiftdeploy.spec import ExportOptions, Precision


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """One artifact and what it claims to be."""

    path: Path
    precision: Precision
    request: ExportRequest


def verify_against(
    path: Path, checkpoint: str, *, model: str | None, attention: str | None, images: Path | None
) -> Verification:
    """Compare every artifact at `path` with the model that the checkpoint gives.

    A bundle is first verified by itself and says which model it holds; a lone artifact needs `model`. Raises
    UsageError, CheckpointError, ArtifactError, or ParityError naming the leg that fails.
    """
    if path.is_dir() and path.suffix != ".mlpackage":
        files = verify_bundle(path).files
        claims = _bundle_claims(path, checkpoint, attention=attention, images=images)
    else:
        files = 0
        claims = [_lone_claim(path, checkpoint, model=model, attention=attention, images=images)]
    with console.step(f"loading {checkpoint} as {claims[0].request.model}"):
        subject = load_subject(claims[0].request)
        truth = truth_of(subject, subject.oracle, subject.samples)
    reports = tuple(_check(claim, truth) for claim in claims)
    for report in reports:
        refuse(report.subject, report, hint="the artifact was made from other weights, or by a converter that is wrong")
    return Verification(path=path, files=files, reports=reports)


def _check(claim: Claim, truth: parity.Reference) -> ParityReport:
    with console.step(f"comparing {claim.path.name} with {claim.request.checkpoint}"):
        runtime = open_artifact(claim.path)
        legs = (
            parity.outputs_leg("outputs", runtime, truth, precision=claim.precision),
            parity.weights_leg(runtime, truth.built, precision=claim.precision),
        )
    gate = compare.GATES[claim.precision].passes
    return ParityReport(subject=claim.path.name, precision=claim.precision, gate_db=gate, legs=legs)


def _bundle_claims(path: Path, checkpoint: str, *, attention: str | None, images: Path | None) -> list[Claim]:
    bundle = read_bundle(path)
    manifest = bundle.manifest
    name = manifest.model.factory if manifest.model.family == "custom" else manifest.model.name
    claims = []
    for artifact in manifest.artifacts:
        if artifact.path.endswith(".ort"):
            continue  # an .ort file's weights cannot be read back; its .onnx twin is compared
        options = ExportOptions(
            batch=max(manifest.inputs[0].shape[0], 1),
            input_size=(manifest.inputs[0].shape[2], manifest.inputs[0].shape[3]),
            input_kind=manifest.input_kind,
            fuse=bool(manifest.fusion),
            verify=False,
        )
        request = ExportRequest(
            model=name,
            destination=path,
            checkpoint=checkpoint,
            attention=attention or manifest.model.attention or None,
            labels=str(bundle.file(manifest.labels)) if manifest.labels else "",
            images=images,
            options=options,
        )
        claims.append(Claim(path=bundle.file(artifact.path), precision=artifact.precision, request=request))
    return claims


def _lone_claim(path: Path, checkpoint: str, *, model: str | None, attention: str | None, images: Path | None) -> Claim:
    if not path.exists():
        raise UsageError(f"{path} does not exist", hint="name a bundle, an .mlpackage or an .onnx file")
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
    return Claim(path=path, precision=_precision(runtime), request=request)


def _precision(runtime: Runtime) -> Precision:
    """fp16 where the weights are stored so."""
    stored = {value.dtype.name for value in runtime.tensors().values() if value.size > 1}
    return "fp16" if "float16" in stored else "fp32"
