"""Which artifact of a fresh bundle to ship, by how often each answers as the oracle on the images of the export."""

from __future__ import annotations

from swiftdeploy.bundle import ArtifactRecord, Manifest
from swiftdeploy.evaluation.recommend import Contender, Recommendation, recommend


def recommended(manifest: Manifest) -> Recommendation | None:
    """The recommendation for a bundle with compressed artifacts that was exported with --images; else None."""
    drifts = [a.parity.drift for a in manifest.artifacts if a.parity and a.parity.drift]
    images = next((o.samples for drift in drifts for o in drift.images if o.top1 is not None), 0)
    if not images:
        return None
    contenders = [
        Contender(name=artifact.path, bytes=artifact.bytes, right=right)
        for artifact in manifest.artifacts
        if (right := _right(artifact, images)) is not None
    ]
    return recommend(contenders, reference="the oracle", right=images, images=images, what="answers")


def _right(artifact: ArtifactRecord, images: int) -> int | None:
    """On how many of the images the artifact's best class is the oracle's; None where nobody looked."""
    if artifact.parity is None:
        return None
    if artifact.parity.drift is not None:
        shares = [output.top1 for output in artifact.parity.drift.images if output.top1 is not None]
        return round(min(shares) * images) if shares else None
    # What is not compressed was compared on our samples and the images together: any miss may have been an image.
    outputs = [output for leg in artifact.parity.legs if leg.name == "outputs" for output in leg.outputs]
    missed = [round((1.0 - output.top1) * output.samples) for output in outputs if output.top1 is not None]
    return images - max(missed) if missed else None
