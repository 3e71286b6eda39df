"""The gate that one artifact of a bundle is held to: its precision's, or its own where compression gave it one."""

from __future__ import annotations

from swiftdeploy.bundle import ArtifactRecord
from swiftdeploy.parity.compare import Gate, gate


def artifact_gate(record: ArtifactRecord) -> Gate:
    """PSNR in dB from which the artifact's outputs pass, and below which they fail, against its golden answers."""
    found = record.compression
    return gate(record.precision) if found is None else Gate(passes=found.passes_db, fails=found.fails_db)
