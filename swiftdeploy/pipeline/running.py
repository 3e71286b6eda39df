"""`inspect --run`: what each op of a Core ML package computes, and what half precision would make of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swiftdeploy import console
from swiftdeploy.bundle import MANIFEST_NAME, read_bundle
from swiftdeploy.errors import UsageError
from swiftdeploy.mil.hazards import OpHazards, measure
from swiftdeploy.parity.samples import to_input
from swiftdeploy.pipeline.feeds import seeded_feeds
from swiftdeploy.pipeline.images import read_images
from swiftdeploy.pipeline.verify import running
from swiftdeploy.runtimes import check_there, coreml
from swiftdeploy.spec import Preprocessing, TensorSpec

SEEDS = range(4)
_SUFFIX = ".mlpackage"


@dataclass(frozen=True, kw_only=True, slots=True)
class RunReport:
    """One package, the inputs that it was run on, in words, and its ops in the order of execution."""

    artifact: str
    inputs: str
    samples: int
    ops: tuple[OpHazards, ...]


def run_report(path: Path, *, images: Path | None = None) -> tuple[RunReport, ...]:
    """The report of a package, or of every package of a bundle.

    A bundle's run on its golden inputs, a lone one on seeded inputs, both on the images of a folder where given. Raises
    UsageError for anything else, ArtifactError for a package that is missing, damaged or does not run.
    """
    if (path / MANIFEST_NAME).is_file():
        bundle = read_bundle(path)
        names = [a.path for a in bundle.manifest.artifacts if a.path.endswith(_SUFFIX)]
        if not names:
            raise UsageError(f"{path.name} holds no Core ML package", hint="--run is for .mlpackage")
        golden, _ = bundle.golden()
        rows = next(iter(golden.values()))
        return tuple(
            _report(bundle.file(name), rows, "golden inputs", bundle.manifest.preprocessing, images) for name in names
        )
    check_there(path)
    if path.suffix != _SUFFIX:
        raise UsageError(f"{path} is no Core ML package", hint="--run is for an .mlpackage, or a bundle that holds one")
    return (_report(path, None, "seeded inputs", None, images),)


def _report(
    path: Path, rows: NDArray[Any] | None, what: str, preprocessing: Preprocessing | None, images: Path | None
) -> RunReport:
    package = coreml.open_package(path)
    if images is not None:
        rows, what = _from_images(package.inputs, images, preprocessing), f"images of {images.name}"
    feeds = _feeds(package.inputs, rows)
    with console.step(f"running {path.name} on {len(feeds)} inputs"), running(path.name):
        ops = measure(package.model, (package.feeds(feed) for feed in feeds))
    return RunReport(artifact=path.name, inputs=what, samples=len(feeds), ops=ops)


def _feeds(inputs: tuple[TensorSpec, ...], rows: NDArray[Any] | None) -> list[Mapping[str, NDArray[Any]]]:
    if rows is None:
        return [seeded_feeds(inputs, seed=seed) for seed in SEEDS]
    spec = inputs[0]
    batch = spec.shape[0] or 1
    others = seeded_feeds(inputs[1:])
    return [{**others, spec.name: np.repeat(row[None], batch, axis=0).astype(np.float32)} for row in rows]


def _from_images(
    inputs: tuple[TensorSpec, ...], folder: Path, preprocessing: Preprocessing | None
) -> NDArray[np.float32]:
    spec = inputs[0]
    if len(spec.shape) != 4 or spec.shape[1] not in (1, 3):
        raise UsageError(f"the input {spec.name} {spec.shape} takes no images", hint="leave --images out")
    side = (spec.shape[2], spec.shape[3])
    known = preprocessing or _default(spec)
    samples = read_images(folder, side, known)
    return to_input([sample.image for sample in samples], known, "image" if spec.dtype == "uint8" else "tensor")


def _default(spec: TensorSpec) -> Preprocessing:
    """ImageNet's normalisation, which most models take; one channel gets its average."""
    side = min(spec.shape[2:])
    usual = Preprocessing(resize=side, crop=side)
    if spec.shape[1] == 3:
        return usual
    return Preprocessing(resize=side, crop=side, mean=(sum(usual.mean) / 3,), std=(sum(usual.std) / 3,))
