"""Loading images and running artifacts without the code under test."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from swiftdeploy import bundle, catalog
from swiftdeploy.checkpoint import build, load
from swiftdeploy.pipeline.export import export
from swiftdeploy.pipeline.request import ExportRequest
from swiftdeploy.spec import ExportOptions


@pytest.fixture(scope="session")
def held_out(digits):
    """All held-out digits: pixels (360, 3, 32, 32) float32 from 0 to 255, and their classes."""
    files = sorted((digits / "images").glob("*/*.png"))
    pixels = np.stack([np.asarray(Image.open(file).convert("RGB"), dtype=np.float32) for file in files])
    return pixels.transpose(0, 3, 1, 2), np.array([int(file.parent.name) for file in files])


@pytest.fixture(scope="session")
def oracle(digits):
    """The digits model as loaded: eager, unfused, fp32."""
    weights = load(str(digits / "swiftformer_digits.pth"))
    return build(weights, catalog.find("swiftformer_digits"), attention="token_l2").module


@pytest.fixture(scope="session")
def scores(oracle, held_out):
    """The oracle's logits (360, 10) on the held-out digits."""
    with torch.no_grad():
        return oracle(torch.from_numpy((held_out[0] / 255 - 0.5) / 0.5)).numpy()


@pytest.fixture
def export_to(tmp_path, digits):
    """export_to(request changes..., **options) exports the digits model, or another, below tmp_path."""

    def run(*, request=None, **options):
        plain = {
            "model": "swiftformer_digits",
            "checkpoint": str(digits / "swiftformer_digits.pth"),
            "attention": "token_l2",
            "destination": tmp_path / "dist" / "bundle",
            **(request or {}),
        }
        if plain.get("untrained") is not None:
            plain["checkpoint"] = None
        return export(ExportRequest(**plain, options=ExportOptions(**options)))

    return run


@pytest.fixture(scope="session")
def refit():
    """refit(bundle, ...) makes what is recorded fit whatever lies there now, as an attacker would."""

    def rewrite(folder, **changes):
        manifest = bundle.read_manifest(folder)
        artifacts = tuple(
            dataclasses.replace(
                a, **dict(zip(("bytes", "sha256"), bundle.artifact_digest(folder / a.path), strict=True))
            )
            for a in manifest.artifacts
            if (folder / a.path).exists()
        )
        placement = tuple(record for record in manifest.placement if (folder / record.artifact).exists())
        files = bundle.payload_records(folder)
        there = {"artifacts": artifacts, "placement": placement}
        fitting = {**there, "files": files, "tree_sha256": bundle.tree_digest(files), **changes}
        bundle.attest(folder, dataclasses.replace(manifest, **fitting))
        return folder

    return rewrite
