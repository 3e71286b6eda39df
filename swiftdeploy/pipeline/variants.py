"""Compressed artifacts of one export: one verified fp16 package as their base, then each variant in turn."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from swiftdeploy.pipeline import compressed, parity, quantized
from swiftdeploy.pipeline.compressed import Base, Made, Variant
from swiftdeploy.pipeline.conversion import convert
from swiftdeploy.pipeline.drift import refuse_drift
from swiftdeploy.pipeline.program import Built
from swiftdeploy.pipeline.refusal import refuse
from swiftdeploy.pipeline.scratch import scratch
from swiftdeploy.pipeline.subject import GOLDEN_SAMPLES, Pair, Subject
from swiftdeploy.precision import parse
from swiftdeploy.recipe import Recipe
from swiftdeploy.report import ParityReport
from swiftdeploy.spec import Precision

_BASE, _TWIN = ".base", ".stress"
REFUSED = "nothing was written; another precision may hold: --precision int8 changes least"


@dataclass(frozen=True, kw_only=True, slots=True)
class Bases:
    """The fp16 package that every variant compresses, and its twin under stress weights (None without verification)."""

    real: Base
    stress: Base | None


def make_bases(subject: Subject, pair: Pair, folder: Path) -> Bases:
    """Convert to fp16 below the staging `folder`, and hold the package to all three legs.

    Raises ConversionError, or ParityError where it is no faithful base.
    """
    name = f"{subject.spec.name}-fp16"
    path = convert(subject, pair.real.built, _folder(folder / _BASE), name, "coreml", "fp16")[0]
    if pair.stress is None:
        return Bases(real=compressed.open_base(path), stress=None)
    twin = convert(subject, pair.stress.built, _folder(folder / _BASE / _TWIN), name, "coreml", "fp16")[0]
    report = parity.artifact_report(path, pair.real, twin, pair.stress, precision="fp16", subject=path.name)
    refuse(path.name, report, hint="nothing was written: compressing starts from fp16, which has to hold first")
    return Bases(real=compressed.open_base(path), stress=compressed.open_base(twin))


def drop_bases(folder: Path) -> None:
    """Remove the bases from the staging `folder`: they are no part of the bundle."""
    shutil.rmtree(folder / _BASE, ignore_errors=True)


def make_variant(subject: Subject, pair: Pair, bases: Bases, folder: Path, precision: Precision) -> tuple[Made, ...]:
    """Write one compressed artifact and its golden answers into the staging `folder`, verified.

    Raises UsageError for a recipe that fits nothing, DependencyError, ConversionError, ParityError or BudgetError.
    """
    recipe = subject.options.recipe(precision)
    if recipe is None:
        variant, twin, recipe = _quantized(subject, pair, bases, folder, precision), None, quantized.RECIPE
    else:
        variant, twin = _compressed(subject, pair, bases, folder, precision, recipe)
    report = None if pair.stress is None else _report(subject, pair, variant, twin, precision)
    shutil.rmtree(folder / _TWIN, ignore_errors=True)
    golden = f"golden/{parse(precision).slug}.safetensors"
    compressed.save_golden(variant, folder, golden, GOLDEN_SAMPLES)
    calibration = quantized.calibration_record(subject.calibration) if recipe is quantized.RECIPE else None
    record = compressed.record(variant, recipe, base=bases.real.path, golden=golden, calibration=calibration)
    return (Made(path=variant.path, compression=record, report=report),)


def _compressed(
    subject: Subject, pair: Pair, bases: Bases, folder: Path, precision: Precision, recipe: Recipe
) -> tuple[Variant, Variant | None]:
    name = f"{subject.spec.name}-{parse(precision).slug}{bases.real.path.suffix}"
    with scratch(folder):
        variant = compressed.weights_variant(bases.real, pair.real, recipe, folder / name)
        if pair.stress is None or bases.stress is None:
            return variant, None
        twin = compressed.weights_variant(bases.stress, pair.stress, recipe, _folder(folder / _TWIN) / name)
    return variant, twin


def _quantized(subject: Subject, pair: Pair, bases: Bases, folder: Path, precision: Precision) -> Variant:
    """No twin: random weights under 8-bit rounding agree with nothing, themselves included. The base has passed it."""
    name = f"{subject.spec.name}-{precision}"
    options = subject.options
    images = quantized.calibration_inputs(subject.calibration, subject.preprocessing, options.input_kind)

    def to_package(built: Built) -> Path:
        return convert(subject, built, folder, name, "coreml", "fp16")[0]

    return quantized.activations_variant(bases.real, pair.real, images, to_package, labelled=bool(subject.labels))


def _report(subject: Subject, pair: Pair, variant: Variant, twin: Variant | None, precision: Precision) -> ParityReport:
    own = len(subject.synthetic)
    options = subject.options
    report = compressed.report(variant, twin, pair.real.outputs, own=own, precision=precision, options=options)
    refuse(variant.path.name, report, hint=REFUSED)
    if report.drift is not None:
        refuse_drift(variant.path.name, report.drift)
    return report


def _folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path
