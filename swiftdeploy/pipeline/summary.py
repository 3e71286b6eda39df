"""A bundle as reports and comparisons see it: its manifest's facts, and the figures that devices brought back."""

from __future__ import annotations

from collections.abc import Iterator

from swiftdeploy.bundle import Bundle
from swiftdeploy.harness.results import read_result
from swiftdeploy.runs import ArtifactSummary, BundleSummary, Latency
from swiftdeploy.spec import to_plain


def summary_of(bundle: Bundle) -> BundleSummary:
    """The summary of a bundle that was read. Raises ArtifactError where a stored result does not check out."""
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
        latency=tuple(_latency(bundle)),
    )


def _latency(bundle: Bundle) -> Iterator[Latency]:
    """Every stored figure of every artifact that a device measured, found by the artifact's digest."""
    paths = {artifact.sha256: artifact.path for artifact in bundle.manifest.artifacts}
    for record in bundle.manifest.device:
        run = read_result(bundle.file(record.path), allow=record.allowed)
        for pair in run.pairs:
            if pair.statistics is not None and pair.sha256 in paths:
                yield Latency(
                    artifact=paths[pair.sha256],
                    device=record.device,
                    unit=pair.unit,
                    median_ms=pair.statistics.estimate_ms,
                    p95_ms=pair.statistics.p95_ms,
                    launch_id=record.launch_id,
                )
