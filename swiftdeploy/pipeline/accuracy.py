"""How often each artifact of a bundle is right on labelled images: one folder of images for each class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from swiftdeploy import console
from swiftdeploy.bundle import Bundle, read_bundle
from swiftdeploy.errors import UsageError
from swiftdeploy.parity.samples import to_input
from swiftdeploy.pipeline.images import SUFFIXES, read_image
from swiftdeploy.runs import Accuracy
from swiftdeploy.runtimes import open_artifact, run_samples

CHUNK = 32
RANKS = 5


def accuracy_of(path: Path, images: Path) -> tuple[Accuracy, ...]:
    """Top-1 and top-5 of every artifact of the bundle at `path`, as shares of all images.

    Folders count as classes in the order of their names, numbers by their value. Raises UsageError where they are not
    as many as the model has classes.
    """
    bundle = read_bundle(path)
    examples = _examples(images, _classes(bundle))
    found = []
    for record in bundle.manifest.artifacts:
        with console.step(f"asking {record.path} about {len(examples)} images"):
            ranks = _ranks(bundle, record.path, examples)
        found.append(
            Accuracy(
                artifact=record.path,
                images=len(examples),
                top1=float((ranks == 0).mean()),
                top5=float((ranks < RANKS).mean()) if _classes(bundle) > RANKS else None,
            )
        )
    return tuple(found)


def _classes(bundle: Bundle) -> int:
    shape = bundle.manifest.outputs[0].shape if bundle.manifest.outputs else ()
    if len(shape) != 2 or shape[1] < 2:
        raise UsageError(f"{bundle.manifest.model.name} is no classifier", hint="leave budgets.top1 out")
    return shape[1]


def _examples(images: Path, classes: int) -> list[tuple[Path, int]]:
    folders = sorted((p for p in images.iterdir() if p.is_dir()), key=_by_value)
    if len(folders) != classes:
        raise UsageError(
            f"{images} has {len(folders)} class folders, the model {classes} classes", hint="give one folder a class"
        )
    found = [
        (path, label)
        for label, folder in enumerate(folders)
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in SUFFIXES and path.is_file()
    ]
    if not found:
        raise UsageError(f"{images} holds no images", hint="give one folder of images a class")
    return found


def _by_value(folder: Path) -> tuple[int, str]:
    return (int(folder.name) if folder.name.isdecimal() else -1, folder.name)


def _ranks(bundle: Bundle, artifact: str, examples: list[tuple[Path, int]]) -> NDArray[np.int64]:
    """For each image how many classes are scored above the right one; NaN scores nothing right."""
    manifest = bundle.manifest
    runtime = open_artifact(bundle.file(artifact))
    shape = manifest.inputs[0].shape
    ranks = []
    for start in range(0, len(examples), CHUNK):
        chunk = examples[start : start + CHUNK]
        pixels = [read_image(path, (shape[2], shape[3]), manifest.preprocessing) for path, _ in chunk]
        answers = run_samples(runtime, to_input(pixels, manifest.preprocessing, manifest.input_kind))
        scores = next(value for value in answers.values() if value.ndim == 2)
        right = scores[np.arange(len(chunk)), [label for _, label in chunk]]
        ranks.append(np.sum(~(scores <= right[:, None]), axis=1))
    return np.concatenate(ranks)
