"""Checkpoint to bundle: the order of the stages, and nothing else.

Everything is verified in the staging folder; a bundle that fails is never renamed into place.
"""

from __future__ import annotations

import functools
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from swiftdeploy import bundle, console
from swiftdeploy.errors import SwiftdeployError
from swiftdeploy.pipeline import mixed, parity, placing, unfinished
from swiftdeploy.pipeline.conversion import convert
from swiftdeploy.pipeline.program import PROBABILITIES
from swiftdeploy.pipeline.recorded import request_record
from swiftdeploy.pipeline.refusal import refuse
from swiftdeploy.pipeline.request import ExportRequest, ExportResult
from swiftdeploy.pipeline.subject import GOLDEN_SAMPLES, Pair, Subject, load_subject, prepare
from swiftdeploy.pipeline.threads import one_thread
from swiftdeploy.pipeline.versions import versions
from swiftdeploy.precision import parse
from swiftdeploy.report import CompressionRecord, MixedPrecision, ParityReport
from swiftdeploy.runtimes import open_artifact
from swiftdeploy.spec import Precision, TargetName, to_plain

GOLDEN_INPUTS, GOLDEN_OUTPUTS = "golden/inputs.safetensors", "golden/outputs.safetensors"
LABELS_FILE = "labels.txt"
# By the precision that an artifact computes in.
REFUSED = {
    "fp16": "nothing was written; where fp16 is the cause, --precision fp32 passes",
    "fp32": "nothing was written; a module that branches on its data is traced as one branch, else report it as a bug",
}


class _Clock:
    """Seconds a stage, by name, for people; no decision depends on them."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str, what: str) -> Iterator[None]:
        """Show that a stage runs, and add up its time."""
        start = time.perf_counter()
        try:
            with console.step(what):
                yield
        except SwiftdeployError as error:
            error.stage = error.stage or name
            raise
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def export(request: ExportRequest) -> ExportResult:
    """Write the verified bundle of one model. Raises what the first failing stage raises, and writes nothing then."""
    bundle.check_destination(request.destination, force=request.force)
    _check_libraries(request)
    with one_thread():
        return _export(request, _Clock())


def _check_libraries(request: ExportRequest) -> None:
    """Refuse at once what would be refused after minutes: a recipe whose library is missing."""
    recipes = [request.options.recipe(name) for target, name in request.options.matrix if target == "coreml"]
    wanted = [recipe for recipe in recipes if recipe is not None]
    if wanted:
        with console.quiet():
            from swiftdeploy import compress
        for recipe in wanted:
            compress.check_libraries(recipe)


def _export(request: ExportRequest, clock: _Clock) -> ExportResult:
    with clock.stage("load", f"loading {request.checkpoint or 'untrained weights'} as {request.model}"):
        subject = load_subject(request)
    with clock.stage("fuse", "capturing and fusing the graph"):
        pair = prepare(subject)
        fusion = parity.fusion_report(pair.real)
    refuse("the fused graph", fusion, hint="report this with the model; --no-fuse exports it as it is")
    with bundle.staged(request.destination, force=request.force) as folder:
        artifacts: list[bundle.ArtifactRecord] = []
        try:
            _artifacts(subject, pair, folder, clock, artifacts)
        except KeyboardInterrupt:
            write = functools.partial(_finish, subject, pair, fusion)
            unfinished.keep(request.destination, folder, artifacts, subject.options, write)
            raise
        with clock.stage("bundle", "writing the bundle"):
            manifest = _finish(subject, pair, fusion, artifacts, folder)
    unfinished.drop(request.destination)
    return ExportResult(bundle=request.destination, manifest=manifest, seconds=clock.seconds)


def _artifacts(
    subject: Subject, pair: Pair, folder: Path, clock: _Clock, finished: list[bundle.ArtifactRecord]
) -> None:
    """Make every artifact of the matrix and append its record to `finished`, which is whole whenever this ends."""
    bases: dict[TargetName, Any] = {}
    for target, precision in subject.options.matrix:
        if not parse(precision).compressed:
            finished.extend(_artifact(subject, pair, folder, target, precision, clock))
            continue
        maker = _maker(target)
        if target not in bases:
            with clock.stage("convert", f"converting and verifying what is compressed for {target}"):
                bases[target] = maker.make_bases(subject, pair, folder)
        with clock.stage("compress", f"compressing to {target} {precision}, and verifying it"):
            made = maker.make_variant(subject, pair, bases[target], folder, precision)
        finished.extend(
            _record(
                one.path, subject, target=target, precision=precision, report=one.report, compressed=one.compression
            )
            for one in made
        )
    for target in bases:
        _maker(target).drop_bases(folder)


def _maker(target: TargetName) -> Any:
    """The module that compresses for a target, imported with the libraries it needs only where one is asked for."""
    with console.quiet():
        if target == "coreml":
            from swiftdeploy.pipeline import variants

            return variants
        from swiftdeploy.pipeline import onnx_variants

        return onnx_variants


def _artifact(
    subject: Subject, pair: Pair, folder: Path, target: TargetName, precision: Precision, clock: _Clock
) -> list[bundle.ArtifactRecord]:
    name = f"{subject.spec.name}-{parse(precision).slug}"
    if pair.stress is not None and parse(precision).kind == "auto":
        with clock.stage("search", f"searching the fewest ops to keep in fp32 for {target} {precision}"):
            found = mixed.export_mixed(subject, pair.real, pair.stress, folder, name, precision)
        refuse(found.path.name, found.report, hint="nothing was written; --precision fp32 passes")
        return [_record(found.path, subject, target=target, precision=precision, report=found.report, kept=found.mixed)]
    with clock.stage("convert", f"converting to {target} {precision}"):
        paths = convert(subject, pair.real.built, folder, name, target, precision)
    report: ParityReport | None = None
    if pair.stress is not None:
        with clock.stage("verify", f"verifying {target} {precision}"):
            twin_folder = folder / ".stress"
            twin_folder.mkdir()
            twin = convert(subject, pair.stress.built, twin_folder, name, target, precision)[0]
            report = parity.artifact_report(
                paths[0], pair.real, twin, pair.stress, precision=precision, subject=paths[0].name
            )
            shutil.rmtree(twin_folder)
        refuse(paths[0].name, report, hint=REFUSED[parse(precision).compute])
    return [_record(path, subject, target=target, precision=precision, report=report) for path in paths]


def _record(
    path: Path,
    subject: Subject,
    *,
    target: TargetName,
    precision: Precision,
    report: ParityReport | None,
    kept: MixedPrecision | None = None,
    compressed: CompressionRecord | None = None,
) -> bundle.ArtifactRecord:
    runtime = open_artifact(path)
    size, digest = bundle.artifact_digest(path)
    options = subject.options
    chosen: Mapping[str, Any] = (
        {"min_ios": options.min_ios, "input": options.input_kind, "classifier": bool(subject.labels)}
        if target == "coreml"
        else {
            "opset": options.opset,
            "dynamic_batch": options.dynamic_batch,
            **({"int8": to_plain(options.int8)} if precision == "int8" else {}),
        }
    )
    return bundle.ArtifactRecord(
        path=path.name,
        target=target,
        precision=precision,
        bytes=size,
        sha256=digest,
        options=chosen,
        inputs=runtime.inputs,
        outputs=runtime.outputs,
        ops=runtime.op_counts(),
        parity=report,
        mixed=kept,
        compression=compressed,
    )


def _finish(
    subject: Subject,
    pair: Pair,
    fusion: ParityReport,
    artifacts: Sequence[bundle.ArtifactRecord],
    folder: Path,
    missing: Sequence[str] = (),
) -> bundle.Manifest:
    """Write labels, golden data, the manifest and what vouches for them into the staging folder."""
    if subject.labels:
        (folder / LABELS_FILE).write_text("\n".join(subject.labels) + "\n", encoding="utf-8")
    golden = _golden(subject, pair.real, folder)
    files = bundle.records(folder)
    spec, loaded, built = subject.spec, subject.loaded, pair.real.built
    manifest = bundle.Manifest(
        schema=1,
        tool=versions(),
        model=bundle.ModelRecord(
            name=spec.name,
            factory=spec.factory,
            family=spec.family,
            parameters=sum(parameter.numel() for parameter in loaded.module.parameters()),
            attention=str(loaded.arguments.get("attention", "")),
            arguments=dict(loaded.arguments),
        ),
        recipe=request_record(subject),
        provenance=loaded.provenance,
        input_kind=subject.options.input_kind,
        inputs=built.program.inputs,
        outputs=built.program.outputs,
        preprocessing=subject.preprocessing,
        metadata=subject.options.metadata,
        labels=LABELS_FILE if subject.labels else "",
        fusion=built.ledger,
        fusion_parity=fusion,
        ops_before=built.ops_before,
        ops_after=built.ops_after,
        artifacts=tuple(artifacts),
        golden=golden,
        placement=placing.records(folder / artifact.path for artifact in artifacts),
        files=files,
        tree_sha256=bundle.tree_digest(files),
        unfinished=tuple(missing),
    )
    bundle.attest(folder, manifest)
    return manifest


def _golden(subject: Subject, truth: parity.Reference, folder: Path) -> bundle.GoldenRecord:
    """A few samples with the oracle's answers. Pixels are stored as uint8, an eighth of the size of a float64."""
    rows = [truth.samples.index(name) for name in GOLDEN_SAMPLES]
    inputs = truth.inputs[rows]
    outputs = {name: value[rows] for name, value in truth.outputs.items()}
    if subject.labels:
        outputs.update(parity.expected_outputs(outputs, (PROBABILITIES,)))
    stored = inputs.astype(np.uint8) if subject.options.input_kind == "image" else inputs
    (folder / "golden").mkdir(exist_ok=True)
    bundle.save_arrays({truth.built.program.inputs[0].name: stored}, folder / GOLDEN_INPUTS)
    bundle.save_arrays(outputs, folder / GOLDEN_OUTPUTS)
    return bundle.GoldenRecord(inputs=GOLDEN_INPUTS, outputs=GOLDEN_OUTPUTS, samples=GOLDEN_SAMPLES)
