"""`--precision auto`: the fewest ops kept in fp32 with which an fp16 package passes its gate.

Plain fp16 is tried first, as a real package. Where it fails, the fp32 package is run as if this or that op were in fp16
(`mil.mixed`), which takes no conversion a trial. The set that is found is converted, and judged by the written package;
where that is less accurate than the emulation promised, the search asks for more.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swiftdeploy import console
from swiftdeploy.bundle import artifact_digest
from swiftdeploy.errors import ArtifactError
from swiftdeploy.mil.hazards import OpHazards, measure
from swiftdeploy.mil.mixed import halved, may_halve, op_names
from swiftdeploy.mil.program import Operation, TensorType
from swiftdeploy.mil.risks import Risk
from swiftdeploy.parity import compare
from swiftdeploy.parity.search import smallest_set
from swiftdeploy.pipeline import parity
from swiftdeploy.pipeline.conversion import to_coreml
from swiftdeploy.pipeline.subject import Subject
from swiftdeploy.report import KeptOp, MixedPrecision, OutputParity, ParityReport, Verdict
from swiftdeploy.runtimes import coreml, run_samples
from swiftdeploy.spec import Precision

_MARGINS_DB = (0.0, 3.0, 6.0, 12.0)
_LOST = -999.0  # dB, for an answer that is NaN, Inf or of another class


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """The written package, its three legs, and what was kept in fp32."""

    path: Path
    report: ParityReport
    mixed: MixedPrecision


@dataclass(frozen=True, kw_only=True, slots=True)
class _Trial:
    """An fp32 package with its oracle's answers, and the PSNR in dB that it must keep with some ops in fp16."""

    package: coreml.CoreMLPackage
    truth: parity.Reference
    needs_db: float

    def quality_db(self, keep: Collection[str], *, half_interface: bool, rows: NDArray[np.intp]) -> float:
        """The worst PSNR over the outputs on some of the samples, all ops but `keep` in fp16."""
        model = halved(self.package.model, keep=keep, interface=half_interface)
        expected = parity.expected_outputs(self.truth.outputs, self.package.outputs)
        try:
            found = run_samples(replace(self.package, model=model), self.truth.inputs[rows])
        except ArtifactError:
            return _LOST
        judged = compare.outputs(
            {name: value[rows] for name, value in expected.items()},
            found,
            precision="fp16",
            samples=[self.truth.samples[row] for row in rows],
        )
        return min((_db(output) for output in judged), default=_LOST)


class _Search:
    """The trials of one search, counted. `worst` is the sample of each trial that plain fp16 gets worst."""

    def __init__(self, trials: tuple[_Trial, ...]) -> None:
        self.trials = trials
        self.names = op_names(trials[0].package.model.plan)
        self.half_interface = True
        self.count = 0
        self.worst: list[int] = [self._worst_row(trial) for trial in trials]
        if not self.holds(frozenset(self.names), margin_db=0.0):
            self.half_interface = False

    def holds(self, keep: Collection[str], *, margin_db: float) -> bool:
        """Whether every trial passes with these ops in fp32. The sample that tells most comes first."""
        self.count += 1
        for trial, row in zip(self.trials, self.worst, strict=True):
            everything = np.arange(len(trial.truth.samples))
            for rows in (np.array([row]), everything):
                if self._quality(trial, keep, rows) < trial.needs_db + margin_db:
                    return False
        return True

    def alone_db(self, name: str) -> float:
        """The worst PSNR with one op in fp16 and all others in fp32, on the samples that tell most."""
        others = frozenset(self.names) - {name}
        return min(
            self._quality(trial, others, np.array([row])) for trial, row in zip(self.trials, self.worst, strict=True)
        )

    def _quality(self, trial: _Trial, keep: Collection[str], rows: NDArray[np.intp]) -> float:
        return trial.quality_db(keep, half_interface=self.half_interface, rows=rows)

    def _worst_row(self, trial: _Trial) -> int:
        qualities = [self._quality(trial, (), np.array([row])) for row in range(len(trial.truth.samples))]
        return int(np.argmin(qualities))


def export_mixed(
    subject: Subject, real: parity.Reference, stress: parity.Reference, folder: Path, name: str, precision: Precision
) -> Found:
    """Write the package of the fewest fp32 ops into `folder` and verify it.

    The report fails only where keeping every op in fp32 would not be enough either.
    """
    plain = _written(subject, real, stress, folder, name, precision, keep=(), half_interface=True)
    fp16_bytes, _ = artifact_digest(plain.path)
    verdict, reason = _plain(plain.report)
    mixed = replace(plain.mixed, fp16_bytes=fp16_bytes, fp16_verdict=verdict, fp16_reason=reason)
    if verdict == "pass":
        return replace(plain, mixed=mixed)
    search = _Search(_trials(subject, real, stress, folder, name))
    with console.step(f"{reason}; ranking {len(search.names)} ops"):
        alone = {op: search.alone_db(op) for op in search.names}
    damage = {op: -quality for op, quality in alone.items()}
    found = plain
    for margin_db in _MARGINS_DB:
        kept = smallest_set(damage, lambda keep, m=margin_db: search.holds(keep, margin_db=m))  # type: ignore[misc]
        if kept is None:
            break
        found = _written(
            subject, real, stress, folder, name, precision, keep=kept, half_interface=search.half_interface
        )
        if _passes(found.report):
            break
    explained = _explained(found.mixed.kept, alone, search, real)
    outcome = replace(mixed, kept=explained, half_interface=search.half_interface, trials=search.count)
    return replace(found, mixed=outcome)


def _passes(report: ParityReport) -> bool:
    """On real weights the package must pass; the stress leg may warn, as it may for plain fp16."""
    legs = {leg.name: leg.verdict for leg in report.legs}
    return legs["outputs"] == "pass" and report.verdict != "fail"


def _plain(report: ParityReport) -> tuple[Verdict, str]:
    """The verdict on the plain fp16 package as this precision judges it, and why it is not enough."""
    if _passes(report):
        return "pass", ""
    for leg in report.legs:
        for output in leg.outputs:
            if output.reason:
                return leg.verdict, f"plain fp16 on leg {leg.name!r}: {output.reason}"
    return "fail", "plain fp16 does not hold the weights"


def _written(
    subject: Subject,
    real: parity.Reference,
    stress: parity.Reference,
    folder: Path,
    name: str,
    precision: Precision,
    *,
    keep: Collection[str],
    half_interface: bool,
) -> Found:
    """Convert both programs with these ops in fp32 and verify the real one; an earlier package makes way."""
    twin_folder = folder / ".stress"
    twin_folder.mkdir()
    try:
        twin = to_coreml(subject, stress.built, twin_folder, name, precision, keep=keep, half_interface=half_interface)
        for earlier in folder.glob(f"{name}{twin.suffix}"):
            shutil.rmtree(earlier)
        path = to_coreml(subject, real.built, folder, name, precision, keep=keep, half_interface=half_interface)
        report = parity.artifact_report(path, real, twin, stress, precision=precision, subject=path.name)
    finally:
        shutil.rmtree(twin_folder, ignore_errors=True)
    kept = tuple(
        KeptOp(name=op.name, op=op.type, place=real.built.program.origins.get(op.name, ""), reason="", alone_db=None)
        for op in _in_fp32(coreml.open_package(path))
    )
    mixed = MixedPrecision(
        kept=kept, half_interface=half_interface, fp16_bytes=0, fp16_verdict="fail", fp16_reason="", trials=0
    )
    return Found(path=path, report=report, mixed=mixed)


def _in_fp32(package: coreml.CoreMLPackage) -> list[Operation]:
    """The ops of a written package that give fp32, casts aside: what was asked for, and what coremltools added."""
    return [
        operation
        for operation in package.function.block.operations
        if may_halve(operation.type) and operation.type != "const" and any(_is_fp32(o.type) for o in operation.outputs)
    ]


def _is_fp32(kind: Any) -> bool:
    return isinstance(kind, TensorType) and kind.dtype == "fp32"


def _trials(
    subject: Subject, real: parity.Reference, stress: parity.Reference, folder: Path, name: str
) -> tuple[_Trial, ...]:
    """Both programs as fp32 packages, read into memory."""
    gate = compare.gate("fp16")
    trials = []
    for truth, needs_db in ((real, gate.passes), (stress, gate.fails)):
        work = folder / ".fp32"
        work.mkdir()
        try:
            package = coreml.open_package(to_coreml(subject, truth.built, work, name, "fp32"))
        finally:
            shutil.rmtree(work)
        trials.append(_Trial(package=package, truth=truth, needs_db=needs_db))
    return tuple(trials)


def _explained(
    kept: tuple[KeptOp, ...], alone: Mapping[str, float], search: _Search, real: parity.Reference
) -> tuple[KeptOp, ...]:
    """The kept ops with what the fp32 program shows at each, on the sample that plain fp16 gets worst."""
    package = search.trials[0].package
    spec = package.inputs[0]
    row = search.worst[0]
    batch = spec.shape[0] or 1
    feeds = package.feeds({spec.name: np.repeat(real.inputs[row : row + 1], batch, axis=0)})
    hazards = {entry.output: entry for entry in measure(package.model, [feeds])}
    reads = {op.name: op for op in package.function.block.operations}
    return tuple(
        replace(
            op, reason=_reason(reads.get(op.name), hazards, alone.get(op.name)), alone_db=_finite(alone.get(op.name))
        )
        for op in kept
    )


def _reason(op: Operation | None, hazards: Mapping[str, OpHazards], alone_db: float | None) -> str:
    """What stands against an op in fp16: what it gives, else what it reads, and what it costs."""
    parts: list[str] = []
    if op is not None:
        parts = [sentence(risk) for output in op.outputs for risk in _risks(hazards, output.name)]
        given = [name for bound in op.inputs.values() for name in bound if isinstance(name, str)]
        parts = parts or [
            f"reads {name}, which {sentence(risk)}"
            for name in given
            for risk in _risks(hazards, name)
            if risk.kind in ("overflow", "vanish")
        ]
    if alone_db is None:
        return "; ".join(parts) or "coremltools leaves it in fp32"
    cost = "alone in fp16 it breaks the output" if alone_db == _LOST else f"alone in fp16 it leaves {alone_db:.1f} dB"
    return "; ".join([*parts, cost])


def _risks(hazards: Mapping[str, OpHazards], output: str) -> tuple[Risk, ...]:
    return hazards[output].risks if output in hazards else ()


def sentence(risk: Risk) -> str:
    """A risk in words."""
    return {
        "overflow": f"reaches {risk.value:.3g}, beyond 65504",
        "vanish": f"{risk.value:.0%} of its values vanish",
        "squares": f"sums squares to {risk.value:.3g}, beyond 65504",
        "epsilon": f"epsilon {risk.value:.0e} is lost",
        "constant": f"a constant of {risk.value:.3g} becomes infinite",
    }[risk.kind]


def _db(output: OutputParity) -> float:
    # Beyond the gate a flipped class or a lost shape is no matter of dB.
    if output.verdict == "fail" and (output.psnr_db is None or output.psnr_db >= compare.gate("fp16").fails):
        return _LOST
    return math.inf if output.psnr_db is None else output.psnr_db


def _finite(value: float | None) -> float | None:
    return None if value is None or value == _LOST or math.isinf(value) else round(value, 2)
