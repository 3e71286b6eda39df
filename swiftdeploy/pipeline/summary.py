"""What reports show of a bundle, from its manifest and its stored results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from swiftdeploy.bundle import MANIFEST_NAME, Manifest, read_manifest
from swiftdeploy.runs import Accuracy, ArtifactSummary, BundleSummary, Latency
from swiftdeploy.spec import to_plain


def summary_of(path: Path, *, accuracy: Sequence[Accuracy] = (), results: Path | None = None) -> BundleSummary:
    """The summary of the bundle at `path`, with device results stored in it or in the folder `results`.

    Raises ArtifactError for a damaged manifest or result.
    """
    manifest = read_manifest(path)
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
        bytes=sum(record.bytes for record in manifest.files) + (path / MANIFEST_NAME).stat().st_size,
        tree_sha256=manifest.tree_sha256,
        seal=manifest.seal,
        ops_before=manifest.ops_before,
        ops_after=manifest.ops_after,
        fusion=manifest.fusion,
        fusion_parity=manifest.fusion_parity,
        artifacts=tuple(
            ArtifactSummary(
                path=record.path,
                target=record.target,
                precision=record.precision,
                bytes=record.bytes,
                sha256=record.sha256,
                ops=record.ops,
                parity=record.parity,
            )
            for record in manifest.artifacts
        ),
        placement=tuple(to_plain(record) for record in manifest.placement),
        latency=_latency(path, manifest, results),
        accuracy=tuple(accuracy),
    )


def _latency(path: Path, manifest: Manifest, results: Path | None) -> tuple[Latency, ...]:
    """What devices measured of exactly these artifacts; results of other bytes say nothing about them."""
    if not manifest.device and results is None:
        return ()
    from swiftdeploy.pipeline.device import measurements  # with the harness, which few bundles need

    places = [*([path] if manifest.device else []), *([results] if results is not None else [])]
    artifacts = {record.sha256: record.path for record in manifest.artifacts}
    found = {}
    for run in (run for place in places for run in measurements(place)):
        for pair in run.pairs:
            if pair.sha256 in artifacts and pair.statistics is not None:
                latency = Latency(
                    artifact=artifacts[pair.sha256],
                    device=run.device.column,
                    unit=pair.unit,
                    median_ms=pair.statistics.estimate_ms,
                    p95_ms=pair.statistics.p95_ms,
                    launch_id=run.launch_id,
                )
                found[run.launch_id, latency.artifact, latency.unit] = latency
    return tuple(found[key] for key in sorted(found))
