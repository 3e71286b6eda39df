"""A bundle as reports and comparisons see it: its manifest's facts, and the figures that devices brought back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from swiftdeploy.bundle import Bundle
from swiftdeploy.runs import Accuracy, ArtifactSummary, BundleSummary, Latency
from swiftdeploy.spec import to_plain


def summary_of(bundle: Bundle, *, accuracy: Sequence[Accuracy] = (), results: Path | None = None) -> BundleSummary:
    """The summary of a bundle that was read, with device results stored in it or in the folder `results`.

    Raises ArtifactError where a result does not check out, UsageError for a folder without results.
    """
    manifest = bundle.manifest
    return BundleSummary(
        tool=manifest.tool,
        model=manifest.model.name,
        family=manifest.model.family,
        attention=manifest.model.attention,
        parameters=manifest.model.parameters,
        provenance=manifest.provenance,
        input_kind=manifest.input_kind,
        inputs=manifest.inputs,
        outputs=manifest.outputs,
        bytes=sum(record.bytes for record in manifest.files),
        tree_sha256=manifest.tree_sha256,
        seal=manifest.seal,
        ops_before=manifest.ops_before,
        ops_after=manifest.ops_after,
        fusion=manifest.fusion,
        fusion_parity=manifest.fusion_parity,
        artifacts=tuple(
            ArtifactSummary(
                path=artifact.path,
                target=artifact.target,
                precision=artifact.precision,
                bytes=artifact.bytes,
                sha256=artifact.sha256,
                ops=artifact.ops,
                parity=artifact.parity,
            )
            for artifact in manifest.artifacts
        ),
        placement=tuple(to_plain(record) for record in manifest.placement),
        latency=_latency(bundle, results),
        accuracy=tuple(accuracy),
    )


def _latency(bundle: Bundle, results: Path | None) -> tuple[Latency, ...]:
    """Every figure of every artifact that a device measured; results of other bytes say nothing about it."""
    if not bundle.manifest.device and results is None:
        return ()
    from swiftdeploy.pipeline.device import measurements  # with the harness, which few bundles need

    places = [*([bundle.path] if bundle.manifest.device else []), *([results] if results is not None else [])]
    paths = {artifact.sha256: artifact.path for artifact in bundle.manifest.artifacts}
    runs = [run for place in places for run in measurements(place)]
    return _once(
        Latency(
            artifact=paths[pair.sha256],
            device=run.device.column,
            unit=pair.unit,
            median_ms=pair.statistics.estimate_ms,
            p95_ms=pair.statistics.p95_ms,
            launch_id=run.launch_id,
        )
        for run in runs
        for pair in run.pairs
        if pair.statistics is not None and pair.sha256 in paths
    )


def _once(figures: Iterable[Latency]) -> tuple[Latency, ...]:
    """The figures without those that lie in two places."""
    return tuple({(row.launch_id, row.artifact, row.unit): row for row in figures}.values())
