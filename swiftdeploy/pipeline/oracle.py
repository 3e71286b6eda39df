"""The oracle that a bundle was made from, loaded again: the very checkpoint, the same model."""

from __future__ import annotations

from swiftdeploy import catalog, checkpoint
from swiftdeploy.bundle import Manifest
from swiftdeploy.checkpoint import Loaded
from swiftdeploy.errors import CheckpointError


def load_oracle(manifest: Manifest, source: str) -> Loaded:
    """The eager fp32 module. Raises CheckpointError where the checkpoint is not the one that the manifest names."""
    recorded = manifest.provenance
    if recorded.weights != "trained":
        raise CheckpointError(
            f"the bundle was made of untrained weights ({recorded.source}), not of {source}", hint="leave it out"
        )
    weights = checkpoint.load(source)
    if weights.sha256 != recorded.sha256:
        raise CheckpointError(
            f"{weights.source} is not the bundle's checkpoint: its sha256 is {weights.sha256[:16]}…, the manifest says"
            f" {recorded.sha256[:16]}… ({recorded.source})",
            hint="give the checkpoint that was exported, or export this one",
        )
    model = manifest.model
    spec = catalog.find(model.factory if model.family == "custom" else model.name)
    # What a reader concludes it concludes again; only a module without one needs to be told its arguments.
    arguments = {} if spec.reader else dict(model.arguments)
    return checkpoint.build(weights, spec, attention=model.attention or None, arguments=arguments)
