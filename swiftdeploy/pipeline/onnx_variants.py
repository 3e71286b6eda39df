"""8-bit ONNX artifacts of one export: one verified fp32 file as their base, then each variant in turn.

Of 8-bit weights alone the reference is the fused module with the decompressed weights, at the fp32 gate. A graph that
rounds activations is held to itself as it is written, operator by operator (`parity.quantized` says why), and what all
of it costs is drift from the oracle: reported, and judged only where a budget was given.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swiftdeploy import bundle, console
from swiftdeploy.parity import compare
from swiftdeploy.parity import quantized as integers
from swiftdeploy.pipeline import parity
from swiftdeploy.pipeline.compressed import Made, with_weights
from swiftdeploy.pipeline.conversion import convert
from swiftdeploy.pipeline.drift import measure, refuse_drift
from swiftdeploy.pipeline.quantized import calibration_inputs, calibration_record, limits_of
from swiftdeploy.pipeline.refusal import refuse
from swiftdeploy.pipeline.scratch import scratch
from swiftdeploy.pipeline.subject import GOLDEN_SAMPLES, Pair, Subject
from swiftdeploy.precision import parse
from swiftdeploy.quantization import Int8Options
from swiftdeploy.recipe import Recipe
from swiftdeploy.report import CompressionRecord, Leg, ParityReport, Verdict
from swiftdeploy.runtimes import open_artifact, run_samples
from swiftdeploy.spec import Precision
from swiftdeploy.targets import onnx, onnx_int8
from swiftdeploy.targets.onnx_int8_placement import Placement
from swiftdeploy.targets.onnx_int8_record import dense_tensors, kept_tensors, tensor_records

Arrays = Mapping[str, NDArray[Any]]
_BASE, _TWIN = ".base-onnx", ".stress"
REFUSED = "nothing was written; --int8 keep_float=NODE keeps a node in float, --precision fp16 all of them"


@dataclass(frozen=True, kw_only=True, slots=True)
class Bases:
    """The fp32 file that every variant quantises, and its twin under stress weights (None without verification)."""

    real: Path
    stress: Path | None


def make_bases(subject: Subject, pair: Pair, folder: Path) -> Bases:
    """Convert to fp32 below the staging `folder`, and hold the file to all three legs.

    Raises ConversionError, or ParityError where it is no faithful base.
    """
    name = f"{subject.spec.name}-fp32"
    plain = dataclasses.replace(subject, options=dataclasses.replace(subject.options, ort=False))
    path = convert(plain, pair.real.built, _folder(folder / _BASE), name, "onnx", "fp32")[0]
    if pair.stress is None:
        return Bases(real=path, stress=None)
    twin = convert(plain, pair.stress.built, _folder(folder / _BASE / _TWIN), name, "onnx", "fp32")[0]
    report = parity.artifact_report(path, pair.real, twin, pair.stress, precision="fp32", subject=path.name)
    refuse(path.name, report, hint="nothing was written: quantising starts from fp32, which has to hold first")
    return Bases(real=path, stress=twin)


def drop_bases(folder: Path) -> None:
    """Remove the bases from the staging `folder`: they are no part of the bundle."""
    shutil.rmtree(folder / _BASE, ignore_errors=True)


def make_variant(subject: Subject, pair: Pair, bases: Bases, folder: Path, precision: Precision) -> tuple[Made, ...]:
    """Write one 8-bit file and its golden answers into the staging `folder`, verified; with .ort wanted, two files.

    Raises UsageError or ModelError for images that do not calibrate, ConversionError, ParityError or BudgetError.
    """
    path = folder / f"{subject.spec.name}-{precision}{onnx.SUFFIX}"
    with scratch(folder):
        placed = _quantise(subject, bases.real, path, precision, subject.options.int8)
    truth, report = reference_of(path, bases.real, pair.real, precision), None
    if pair.stress is not None and bases.stress is not None:
        twin = _folder(folder / _TWIN) / path.name
        # The twin shows what the quantiser and the runtime do; how wide its ranges are shows nothing more.
        options = dataclasses.replace(subject.options.int8, method="minmax", percentile=Int8Options().percentile)
        twin_placed = _quantise(subject, bases.stress, twin, precision, options)
        legs = (
            outputs_leg(path, truth, precision),
            dataclasses.replace(
                outputs_leg(twin, reference_of(twin, bases.stress, pair.stress, precision), precision), name="stress"
            ),
            weights_leg(bases.real, path, placed.floating, twin=(bases.stress, twin, twin_placed.floating)),
        )
        report = _report(subject, pair, path, precision, legs)
        shutil.rmtree(folder / _TWIN)
    record = _record(subject, truth, bases, path, precision, placed)
    made = Made(path=path, compression=record, report=report)
    if not subject.options.ort:
        return (made,)
    with scratch(folder):
        return made, dataclasses.replace(made, path=onnx.to_ort(path))


def reference_of(path: Path, base: Path, truth: parity.Reference, precision: Precision) -> parity.Reference:
    """What the 8-bit file at `path` is held to; `base` is the fp32 file of the module of `truth`, which it was made of.

    Of weights alone that is the module with the weights that the file decompresses to; of rounded activations no module
    is, and `truth` has the inputs.
    """
    return _decompressed(path, base, truth) if precision == "w8" else truth


def outputs_leg(path: Path, truth: parity.Reference, precision: Precision) -> Leg:
    """Leg 1 of an 8-bit file against what `reference_of` gives."""
    if precision == "w8":
        return parity.outputs_leg("outputs", open_artifact(path), truth, precision=precision)
    return integers.execution(path, truth.inputs, samples=truth.samples)


def weights_leg(
    base: Path, path: Path, floating: Mapping[str, str], *, twin: tuple[Path, Path, Mapping[str, str]] | None = None
) -> Leg:
    """Leg 3: every stored integer is the nearest one to its fp32 weight. `twin` is checked, too, where given."""
    found = integers.weights(base, path, floating=floating)
    problems = found.problems
    if twin is not None:
        stressed = integers.weights(twin[0], twin[1], floating=twin[2])
        problems += tuple(f"under stress weights: {problem}" for problem in stressed.problems)
    verdict: Verdict = "fail" if problems or not found.tensors else "pass"
    return Leg(name="weights", verdict=verdict, weights=dataclasses.replace(found, problems=problems))


def _quantise(subject: Subject, base: Path, path: Path, precision: Precision, options: Int8Options) -> Placement:
    if precision == "w8":
        return onnx_int8.weight_only(base, path)
    images = calibration_inputs(subject.calibration, subject.preprocessing, subject.options.input_kind)
    return onnx_int8.static(base, path, images.numpy(), options)


def _decompressed(path: Path, base: Path, truth: parity.Reference) -> parity.Reference:
    """The reference of the module with the weights that the file at `path` decompresses to."""
    before, changed = open_artifact(base).tensors(), dense_tensors(path)
    built = dataclasses.replace(truth.built, module=with_weights(truth.built, before, changed))
    return dataclasses.replace(truth, outputs=parity.graph_answers(built, truth.inputs), built=built)


def _report(subject: Subject, pair: Pair, path: Path, precision: Precision, legs: tuple[Leg, ...]) -> ParityReport:
    found = run_samples(open_artifact(path), pair.real.inputs)
    drift = measure(pair.real.outputs, found, own=len(subject.synthetic), options=subject.options)
    gate = compare.GATES["fp32"].passes
    report = ParityReport(subject=path.name, precision=precision, gate_db=gate, legs=legs, drift=drift)
    refuse(path.name, report, hint=REFUSED)
    refuse_drift(path.name, drift)
    return report


def _record(
    subject: Subject, truth: parity.Reference, bases: Bases, path: Path, precision: Precision, placed: Placement
) -> CompressionRecord:
    """The manifest's record, and the golden answers that it names, written beside the file."""
    rows = [truth.samples.index(sample) for sample in GOLDEN_SAMPLES]
    with console.quiet():
        if precision == "w8":
            limits = compare.GATES["fp32"]
            answers: Arrays = truth.outputs
        else:
            limits = limits_of(integers.conditioning_db(path, truth.inputs))
            answers = integers.as_written(path, truth.inputs)
    golden = f"golden/onnx-{parse(precision).slug}.safetensors"
    (path.parent / golden).parent.mkdir(exist_ok=True)
    bundle.save_arrays({name: np.asarray(value)[rows] for name, value in answers.items()}, path.parent / golden)
    return CompressionRecord(
        recipe=Recipe(name=precision, default="int8", smallest=0),
        base_bytes=bases.real.stat().st_size,
        tensors=tensor_records(bases.real, path),
        kept=kept_tensors(bases.real, path, placed.floating),
        golden=golden,
        passes_db=limits.passes,
        fails_db=limits.fails,
        calibration=calibration_record(subject.calibration) if precision == "int8" else None,
        floating=placed.floating,
    )


def _folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path
