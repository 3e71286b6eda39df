"""What an export was asked for, as the manifest records it, and the same request again."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path

from swiftdeploy.bundle import Bundle, RequestRecord
from swiftdeploy.errors import ArtifactError, UsageError
from swiftdeploy.parity.samples import Sample
from swiftdeploy.pipeline.code import code_digest
from swiftdeploy.pipeline.request import ExportRequest
from swiftdeploy.pipeline.subject import Subject
from swiftdeploy.spec import ExportOptions, from_plain, to_plain


def request_record(subject: Subject) -> RequestRecord:
    """The record of the request that the subject was made from."""
    request = subject.request
    return RequestRecord(
        model=request.model,
        options=to_plain(dataclasses.replace(request.options, labels=())),
        attention=request.attention or "",
        arguments=dict(request.arguments),
        code=code_digest(subject.oracle, subject.spec.factory),
        images=images_digest(subject.images),
        calibration=images_digest(subject.calibration),
    )


def request_of(
    bundle: Bundle, destination: Path, *, checkpoint: str | None, images: Path | None, calibration: Path | None = None
) -> ExportRequest:
    """The request that made the bundle, for another destination.

    Raises UsageError where it was made with images and none are given, ArtifactError for options of another version.
    """
    recipe, provenance = bundle.manifest.recipe, bundle.manifest.provenance
    if recipe.images and images is None:
        raise UsageError(
            f"{bundle.path.name} was exported with --images, which parity was measured on",
            hint="give the same --images",
        )
    if recipe.calibration and calibration is None:
        raise UsageError(
            f"{bundle.path.name} was exported with --calibration, which ranges were measured on",
            hint="give the same --calibration",
        )
    try:
        options = from_plain(ExportOptions, to_plain(recipe.options))
    except ValueError as error:
        raise ArtifactError(
            f"{bundle.path.name} was exported with options that this version does not know: {error}",
            hint="use the swiftdeploy version that wrote the bundle",
        ) from error
    return ExportRequest(
        model=recipe.model,
        destination=destination,
        checkpoint=checkpoint,
        untrained=provenance.seed if provenance.weights == "untrained" else None,
        attention=recipe.attention or None,
        arguments=recipe.arguments,
        labels=str(bundle.file(bundle.manifest.labels)) if bundle.manifest.labels else "",
        images=images if recipe.images else None,
        calibration=calibration if recipe.calibration else None,
        options=options,
    )


def images_digest(images: Sequence[Sample]) -> str:
    """The tree digest of a person's own images as parity saw them: name, and sha256 of the pixels (H, W, C) uint8."""
    if not images:
        return ""
    lines = sorted(f"{hashlib.sha256(sample.image.tobytes()).hexdigest()}  {sample.name}\n" for sample in images)
    return hashlib.sha256("".join(lines).encode()).hexdigest()
