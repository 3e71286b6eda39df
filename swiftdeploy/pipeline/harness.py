"""Bundles to one Xcode project: every Core ML artifact with its golden data, measured side by side in one run."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from swiftdeploy import console
from swiftdeploy.bundle import MANIFEST_NAME, ArtifactRecord, Bundle, Manifest, read_bundle, read_manifest
from swiftdeploy.errors import ArtifactError, ModelError, UsageError
from swiftdeploy.harness.model import HarnessModel
from swiftdeploy.harness.package import describe
from swiftdeploy.harness.plan import Plan
from swiftdeploy.harness.project import NAME
from swiftdeploy.harness.render import render
from swiftdeploy.pipeline.gates import artifact_gate
from swiftdeploy.precision import parse
from swiftdeploy.spec import from_plain

PLAN_FILE = "Resources/plan.json"


def write_harness(
    bundles: Sequence[Path], destination: Path, *, team: str = "", plan: Plan | None = None, force: bool = False
) -> Path:
    """Write the project that measures every Core ML artifact of `bundles`; answers with its folder.

    `force` replaces an older project and nothing else. Raises ModelError for a bundle without golden data or without a
    Core ML artifact, ArtifactError for one that was changed, UsageError for a destination that must not be written.
    """
    check_project(destination, force=force)
    models = models_of(bundles)
    with console.step(f"writing {destination}"):
        if not destination.exists():
            return render(models, destination, team=team, plan=plan)
        return _replace(models, destination, team=team, plan=plan)


def check_project(destination: Path, *, force: bool) -> None:
    """Raise UsageError where no project may be written: something else lies there, or `force` is off."""
    if not destination.exists() and not destination.is_symlink():
        return
    if destination.is_symlink() or not (destination / f"{NAME}.xcodeproj").is_dir():
        raise UsageError(
            f"{destination} exists and is no harness project",
            hint="--force replaces harness projects only; choose another -o DIR",
        )
    if not force:
        raise UsageError(f"{destination} exists already", hint="use --force to replace it, or choose another -o DIR")


def planned(
    bundles: Sequence[Path], destination: Path, *, team: str = "", plan: Plan | None = None, force: bool = False
) -> Plan:
    """The plan that `write_harness` would put at `destination`, which stays as it is. Raises as it does."""
    check_project(destination, force=force)
    # Rendered for real, so that a dry run refuses whatever the run itself would.
    with tempfile.TemporaryDirectory() as aside:
        return read_plan(render(models_of(bundles), Path(aside) / NAME, team=team, plan=plan) / PLAN_FILE)


def read_plan(path: Path) -> Plan:
    """The plan in a project's plan.json. Raises UsageError where it does not read."""
    try:
        plan = from_plain(Plan, json.loads(path.read_bytes()))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} holds no plan: {error}", hint=f"name the project's {PLAN_FILE}") from error
    if not plan.models:  # every field of a plan has a default, so that {} would pass for one
        raise UsageError(f"{path} holds no plan: it names no model", hint=f"name the project's {PLAN_FILE}")
    return plan


def models_of(bundles: Sequence[Path]) -> tuple[HarnessModel, ...]:
    """What the harness measures of each bundle, in the order given. Raises as `write_harness` does."""
    found = [open_measurable(path) for path in bundles]
    names = [bundle.manifest.model.name for bundle in found]
    return tuple(
        model
        for bundle in found
        # Two exports of one architecture can only be told apart by their folders.
        for model in harness_models(bundle, by_folder=names.count(bundle.manifest.model.name) > 1)
    )


def open_measurable(path: Path) -> Bundle:
    """The bundle at `path`, checked to hold what a phone needs. Raises ModelError where it does not."""
    manifest = read_manifest(path) if (path / MANIFEST_NAME).is_file() else None
    # Before the bytes are compared: there the same lack would read as damage, which has another remedy.
    if manifest is not None and not _has_golden(path, manifest):
        raise ModelError(
            f"{path.name} holds no golden data, so the phone cannot check its numbers",
            hint="export the model again with this version: golden/ is written with every bundle",
        )
    with console.step(f"hashing {path}"):
        bundle = read_bundle(path)
    if not _coreml(bundle.manifest):
        raise ModelError(
            f"{path.name} holds no Core ML artifact, and a phone measures nothing else",
            hint="export again with --target coreml",
        )
    return bundle


def harness_models(bundle: Bundle, *, by_folder: bool = False) -> tuple[HarnessModel, ...]:
    """One model for each Core ML artifact, named after the artifact, or after the bundle's folder."""
    manifest = bundle.manifest
    labels: tuple[str, ...] = ()
    if manifest.labels:
        labels = tuple(bundle.file(manifest.labels).read_text(encoding="utf-8").splitlines())
    made = []
    for record in _coreml(manifest):
        package = bundle.file(record.path)
        facts = describe(package, labels=labels)
        made.append(
            HarnessModel(
                name=bundle.path.resolve().name if by_folder else artifact_name(record),
                precision=parse(record.precision).slug,
                package=package,
                sha256=record.sha256,
                inputs=facts.inputs,
                outputs=facts.outputs,
                golden_inputs=bundle.file(manifest.golden.inputs),
                golden_outputs=bundle.golden_file(record),
                min_ios=facts.min_ios,
                gate_db=artifact_gate(record).passes,
                labels=labels if any(output.kind == "probabilities" for output in facts.outputs) else (),
            )
        )
    return tuple(made)


def artifact_name(record: ArtifactRecord) -> str:
    """An artifact's file name without its precision and suffix."""
    return Path(record.path).stem.removesuffix(f"-{parse(record.precision).slug}")


def _coreml(manifest: Manifest) -> tuple[ArtifactRecord, ...]:
    return tuple(record for record in manifest.artifacts if record.target == "coreml")


def _has_golden(path: Path, manifest: Manifest) -> bool:
    golden = manifest.golden
    names = (golden.inputs, golden.outputs)
    return bool(golden.samples) and all(name and (path / name).is_file() for name in names)


def _replace(models: Sequence[HarnessModel], destination: Path, *, team: str, plan: Plan | None) -> Path:
    """Render beside the old project, then swap: a refusal while rendering leaves the old one as it was."""
    try:
        with tempfile.TemporaryDirectory(prefix=f".{destination.name}.", dir=destination.parent) as aside:
            fresh = render(models, Path(aside) / "new", team=team, plan=plan)
            destination.rename(Path(aside) / "old")
            fresh.rename(destination)
    except OSError as error:
        raise ArtifactError(
            f"{destination} cannot be written: {error.strerror or error}", hint="check space and permissions"
        ) from error
    return destination
