"""The oracle that a bundle was made from, loaded again: the very checkpoint, the same model."""

from __future__ import annotations

from swiftdeploy import catalog, checkpoint
from swiftdeploy.bundle import Manifest
from swiftdeploy.checkpoint import Loaded
from swiftdeploy.errors import CheckpointError
from swiftdeploy.pipeline.trust import vouched_model


def load_oracle(manifest: Manifest, source: str, *, model: str | None = None) -> Loaded:
    """The eager fp32 module.

    Raises CheckpointError where the checkpoint is not the one that the manifest names, UsageError where the model is
    code outside the catalog and is not given as `model`.
    """
    name = vouched_model("the bundle", manifest.recipe, model)
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
    spec = catalog.find(name)
    # What a reader concludes it concludes again; only a module without one needs to be told its arguments.
    arguments = {} if spec.reader else dict(manifest.model.arguments)
    return checkpoint.build(weights, spec, attention=manifest.model.attention or None, arguments=arguments)
