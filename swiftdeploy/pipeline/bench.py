"""A bundle's latency on this host: every artifact in its runtime, interleaved, by the plan and statistics of the phone.

Each artifact runs under two names. What tells the two apart is this machine's noise, and nothing smaller is a finding.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from swiftdeploy import console
from swiftdeploy.bundle import ArtifactRecord, Bundle, artifact_digest, read_bundle
from swiftdeploy.errors import ArtifactError, UsageError
from swiftdeploy.harness.compare import Comparison, Row, compare, compare_units
from swiftdeploy.harness.host import HostRunner, measure_here
from swiftdeploy.harness.measurement import DeviceParity, Measurement, SampleParity, Verdict
from swiftdeploy.harness.plan import ModelPlan, Plan, TensorPlan, ThermalPlan, WarmUpPlan
from swiftdeploy.harness.recompute import parity_verdict, worst_psnr_db
from swiftdeploy.harness.results import sealed
from swiftdeploy.pipeline.gates import artifact_gate
from swiftdeploy.pipeline.harness import artifact_name
from swiftdeploy.runtimes import Runtime, open_artifact, run_samples

UNITS = ("host", "host again")
# The reference runtime takes a second where a phone takes a millisecond: fewer predictions, and no rest against heat.
DEFAULT = Plan(
    rounds=10,
    predictions_per_round=10,
    compute_units=UNITS,
    warm_up=WarmUpPlan(minimum=4, maximum=40, window=2, tolerance_permille=100),
    thermal=ThermalPlan(pause_milliseconds=10),
)
_RUNTIMES = {".mlpackage": "reference runtime", ".onnx": "ONNX Runtime", ".ort": "ONNX Runtime"}
_EXPORT_AGAIN = "export again: the golden data is written with the bundle"


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchResult:
    """A measurement on this host. `artifacts` and `runtimes` are by label, as is `noise`: second name against first.

    `comparisons` hold every further artifact against the first.
    """

    measurement: Measurement
    artifacts: Mapping[str, str]
    runtimes: Mapping[str, str]
    noise: Mapping[str, Row]
    comparisons: tuple[Comparison, ...]


def bench(path: Path, *, plan: Plan = DEFAULT, threads: int = 0) -> BenchResult:
    """Measure every artifact of the bundle at `path`. `threads` are ONNX Runtime's, 0 for all cores.

    Raises ArtifactError for a changed bundle, one without artifacts, or golden data that does not fit.
    """
    bundle = read_bundle(path)
    records = bundle.manifest.artifacts
    if not records:
        raise ArtifactError(f"{path.name} holds no artifact", hint="export again")
    runners: dict[tuple[str, str], HostRunner] = {}
    models = []
    for record in records:
        with console.step(f"loading {record.path}"):
            model, runner = _prepare(bundle, record, threads)
        models.append(model)
        runners.update({(model.label, unit): runner for unit in plan.compute_units})
    with console.step(f"measuring {len(records)} artifacts, {plan.rounds} rounds each"):
        found = measure_here(dataclasses.replace(plan, models=tuple(models)), runners)
    labels = [model.label for model in models]
    return BenchResult(
        measurement=found,
        artifacts={label: record.path for label, record in zip(labels, records, strict=True)},
        runtimes={label: _RUNTIMES[Path(r.path).suffix] for label, r in zip(labels, records, strict=True)},
        noise={label: compare_units([found], label, *plan.compute_units[:2]) for label in labels},
        comparisons=tuple(
            comparison
            for label in labels[1:]
            for comparison in compare([found], [found], model_a=labels[0], model_b=label)
        ),
    )


def check_result(path: Path) -> None:
    """Refuse a path that no result file can have: better before the first round than after the last.

    Raises UsageError where its folder is missing or it is one itself, ArtifactError where it may not be written.
    """
    folder = path.absolute().parent
    if path.is_dir() or not folder.is_dir():
        raise UsageError(
            f"{path} cannot be written: {'it is a folder' if path.is_dir() else f'{path.parent} is no folder'}",
            hint="name a file in a folder that exists with -o FILE",
        )
    there = path if path.exists() else folder
    if not os.access(there, os.W_OK):
        raise ArtifactError(f"{path} cannot be written: {there} is read-only", hint="choose another -o FILE")


def write_result(measurement: Measurement, path: Path) -> None:
    """Write a sealed result file, which `swiftdeploy harness compare` reads. Raises ArtifactError for a full disk."""
    try:
        path.write_bytes(sealed(measurement))
    except OSError as error:
        raise ArtifactError(
            f"{path} cannot be written: {error.strerror or error}", hint="check space and permissions"
        ) from error


def _prepare(bundle: Bundle, record: ArtifactRecord, threads: int) -> tuple[ModelPlan, HostRunner]:
    path = bundle.file(record.path)
    if artifact_digest(path) != (record.bytes, record.sha256):
        raise ArtifactError(f"{record.path} is not the artifact that the manifest describes", hint="export again")
    begin = time.perf_counter_ns()
    runtime = open_artifact(path, threads=threads)
    load_ns = time.perf_counter_ns() - begin
    inputs, outputs = bundle.golden(record)
    spec = runtime.inputs[0]
    missing = [name for name in runtime.outputs if name not in outputs]
    if missing or spec.name not in inputs:
        raise ArtifactError(f"the golden data lacks {', '.join(missing) or spec.name}", hint=_EXPORT_AGAIN)
    samples = inputs[spec.name].astype(np.float32)
    parity = _parity(runtime, samples, outputs, artifact_gate(record).passes)
    # A free batch is measured at one image, which is what an app predicts.
    batch = np.repeat(samples[:1], spec.shape[0] or 1, axis=0)
    runner = HostRunner(
        predict=functools.partial(runtime.run, {spec.name: batch}), parity=parity, load_ns=max(load_ns, 1)
    )
    return _model(record, runtime, batch.shape, outputs), runner


def _model(
    record: ArtifactRecord, runtime: Runtime, shape: tuple[int, ...], outputs: Mapping[str, NDArray[Any]]
) -> ModelPlan:
    # The suffix tells the two formats of one precision apart.
    name = f"{artifact_name(record)}{Path(record.path).suffix}"
    resource = "".join(c if c.isalnum() and c.isascii() else "_" for c in record.path)
    spec = runtime.inputs[0]
    return ModelPlan(
        name=name,
        precision=record.precision,
        resource=resource,
        sha256=record.sha256,
        weights_sha256="",
        gate_db=artifact_gate(record).passes,
        inputs=(TensorPlan(name=spec.name, shape=shape, dtype=spec.dtype),),
        outputs=tuple(
            TensorPlan(name=o, shape=(shape[0], *outputs[o].shape[1:]), dtype="float32") for o in runtime.outputs
        ),
        golden_inputs=f"{resource}.inputs.safetensors",
        golden_outputs=f"{resource}.outputs.safetensors",
    )


def _parity(
    runtime: Runtime, samples: NDArray[np.float32], expected: Mapping[str, NDArray[Any]], gate_db: float
) -> tuple[DeviceParity, ...]:
    found = run_samples(runtime, samples)
    made = []
    for name in runtime.outputs:
        if found[name].shape != expected[name].shape:
            raise ArtifactError(
                f"{name} has shape {found[name].shape}, the golden data {expected[name].shape}", hint=_EXPORT_AGAIN
            )
        rows = tuple(_sample(a, r) for a, r in zip(found[name], expected[name], strict=True))
        parity = DeviceParity(output=name, count=int(expected[name][0].size), verdict="fail", samples=rows)
        verdict = cast("Verdict", parity_verdict(parity, gate_db))
        made.append(dataclasses.replace(parity, psnr_db=worst_psnr_db(parity), verdict=verdict))
    return tuple(made)


def _sample(answer: NDArray[Any], reference: NDArray[Any]) -> SampleParity:
    """One sample of one output; ranks count where it is a vector, and not where the margin is within the error."""
    a, r = answer.astype(np.float64).ravel(), reference.astype(np.float64).ravel()
    finite = np.isfinite(a)
    error = np.abs(a - r)[finite]
    top1 = top5 = None
    if answer.ndim == 1 and r.size > 1 and finite.all():
        wanted, got = np.argsort(-r, kind="stable"), np.argsort(-a, kind="stable")
        top1 = bool(got[0] == wanted[0] or r[wanted[0]] - r[wanted[1]] <= error.max())
        top5 = bool(wanted[0] in got[:5])
    return SampleParity(
        max_abs_reference=float(np.abs(r).max(initial=0.0)),
        squared_error=float(np.square(error).sum()),
        max_abs=float(error.max(initial=0.0)),
        non_finite=int((~finite).sum()),
        top1=top1,
        top5=top5,
    )
