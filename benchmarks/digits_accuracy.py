"""Top-1 of the oracle and of every artifact of a digits bundle on the held-out images that ship."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from swiftdeploy import catalog, checkpoint
from swiftdeploy.bundle import read_bundle
from swiftdeploy.parity.samples import to_input
from swiftdeploy.pipeline.images import read_image
from swiftdeploy.runtimes import open_artifact, run_samples

EXAMPLE = Path(__file__).parent.parent / "examples" / "digits"


def main(folder: str) -> None:
    """Print one line a runtime: share of right answers, and of answers equal to the oracle's."""
    bundle = read_bundle(Path(folder))
    manifest = bundle.manifest
    side = (manifest.inputs[0].shape[2], manifest.inputs[0].shape[3])
    paths = sorted((EXAMPLE / "images").rglob("*.png"))
    truth = np.array([int(path.parent.name) for path in paths])
    images = [read_image(path, side, manifest.preprocessing) for path in paths]

    weights = checkpoint.load(str(EXAMPLE / "swiftformer_digits.pth"))
    oracle = checkpoint.build(weights, catalog.find(manifest.model.name), attention=manifest.model.attention).module
    with torch.no_grad():
        logits = oracle(torch.from_numpy(to_input(images, manifest.preprocessing, "tensor"))).numpy()
    expected = logits.argmax(axis=1)
    print(f"{len(paths)} held-out images, top-1")
    print(f"  {'oracle (PyTorch, eager, fp32)':44s} {(expected == truth).mean():7.2%}")
    inputs = to_input(images, manifest.preprocessing, manifest.input_kind)
    for artifact in manifest.artifacts:
        scores = next(iter(run_samples(open_artifact(bundle.file(artifact.path)), inputs).values()))
        answers = scores.argmax(axis=1)
        same = (answers == expected).mean()
        print(f"  {artifact.path:44s} {(answers == truth).mean():7.2%}   as the oracle: {same:7.2%}")


if __name__ == "__main__":
    main(sys.argv[1])
