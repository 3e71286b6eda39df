"""Predictions for whatever a path names: an artifact, or every artifact of a bundle. Nothing is run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from swiftdeploy import console
from swiftdeploy.bundle import MANIFEST_NAME, read_bundle
from swiftdeploy.errors import UsageError
from swiftdeploy.placement import artifact
from swiftdeploy.report import OpCost, PlacementRecord
from swiftdeploy.runtimes import check_there

Prediction = tuple[PlacementRecord, tuple[OpCost, ...]]
JUDGED = (".mlpackage", ".onnx")  # an .ort file is the .onnx beside it, in a form that only its runtime reads


def predict(source: str) -> tuple[Prediction, ...]:
    """The prediction for an artifact, or for each artifact of a bundle in the manifest's order, with each op's cost.

    Raises ArtifactError for a missing or damaged file, UsageError for what holds no artifact.
    """
    path = Path(source)
    if (path / MANIFEST_NAME).is_file():
        return _place(path / record.path for record in read_bundle(path).manifest.artifacts)
    check_there(path)
    if path.suffix not in JUDGED:
        raise UsageError(
            f"{path.name or source} holds no program to judge",
            hint="name a bundle, an .mlpackage or an .onnx; a checkpoint becomes one by: swiftdeploy export",
        )
    return _place([path])


def records(paths: Iterable[Path]) -> tuple[PlacementRecord, ...]:
    """What the manifest keeps: the predictions alone."""
    return tuple(record for record, _ in _place(paths))


def _place(paths: Iterable[Path]) -> tuple[Prediction, ...]:
    with console.quiet():
        return tuple(artifact.place(path) for path in paths if path.suffix in JUDGED)
