"""Preprocessing parity: from an image file's pixels to scores, by the road of training and by the road of an app.

Training: the checkpoint's own preprocessing, then the oracle. The app: the preprocessing that the manifest states,
then the artifact by its input contract: a normalised tensor, or pixels 0 to 255. Numbers must agree at the gate of
the artifact's precision, and where they do not, the known mistakes are tried and the one that explains it is named.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from swiftdeploy import console
from swiftdeploy.errors import ParityError, UsageError
from swiftdeploy.evaluation.preprocess import fit
from swiftdeploy.parity import compare, metrics
from swiftdeploy.parity.samples import natural_image, to_input
from swiftdeploy.pipeline import parity
from swiftdeploy.pipeline.against import Claim, Claimed, claim_of
from swiftdeploy.pipeline.images import read_pictures
from swiftdeploy.pipeline.mistakes import mistakes
from swiftdeploy.pipeline.subject import Subject, load_subject
from swiftdeploy.pipeline.verify import Verification, hashed, is_bundle
from swiftdeploy.report import Leg, ParityReport
from swiftdeploy.runtimes import Runtime, open_artifact, run_samples
from swiftdeploy.spec import InputKind, Precision, Preprocessing

# (height, width) of our own pictures, as multiples of the input's: wide, tall, and square, so that a squash shows.
_SHAPES = ((1.25, 1.75), (1.6, 1.2), (1.4, 1.4))
_TRIED = 3  # pictures that mistakes are tried on
EXPLAINS_DB = 50.0  # as close as a faithful fp16 artifact comes: whatever gets there gives the artifact's own numbers
_HINT = "docs/evaluate.md says what each input expects"

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Roads:
    """The pictures of one check, how training and the app prepare them, and the oracle's answers to training's."""

    names: tuple[str, ...]
    pictures: tuple[Image.Image, ...]
    size: tuple[int, int]
    trained: Preprocessing
    deployed: Preprocessing
    kind: InputKind
    expected: Arrays


def verify_preprocessing(
    path: Path, checkpoint: str, *, model: str | None, attention: str | None, images: Path | None
) -> Verification:
    """Compare both roads for every artifact of a bundle, or for a lone one, which needs `model`.

    A lone artifact states no preprocessing: the checkpoint's is taken for both. Raises ParityError naming the mistake
    that explains the difference, else as `against.verify_against`.
    """
    files = 0
    deployed = None
    if is_bundle(path):
        manifest = hashed(path).manifest
        files, deployed = len(manifest.files), manifest.preprocessing
    claim = claim_of(path, checkpoint, model=model, attention=attention, images=None)
    with console.step(f"loading {checkpoint} as {claim.request.model}"):
        subject = load_subject(claim.request)
        roads = _roads(subject, claim, deployed or subject.preprocessing, images)
    reports = tuple(_check(claimed.path, claimed.precision, subject, roads) for claimed in _comparable(claim))
    return Verification(path=path, files=files, reports=reports)


def _roads(subject: Subject, claim: Claim, deployed: Preprocessing, images: Path | None) -> Roads:
    size = (int(subject.example.shape[2]), int(subject.example.shape[3]))
    trained = subject.preprocessing
    pictures = _synthetic(size, len(trained.mean))
    if images is not None:
        pictures = (*pictures, *read_pictures(images, channels=len(trained.mean)))
    inputs = to_input([fit(picture, size, trained) for _, picture in pictures], trained, "tensor")
    return Roads(
        names=tuple(name for name, _ in pictures),
        pictures=tuple(picture for _, picture in pictures),
        size=size,
        trained=trained,
        deployed=deployed,
        kind=claim.request.options.input_kind,
        expected=_oracle(subject, inputs, claim.outputs),
    )


def _synthetic(size: tuple[int, int], channels: int) -> tuple[tuple[str, Image.Image], ...]:
    generator = np.random.Generator(np.random.PCG64(0))
    made = []
    for high, wide in _SHAPES:
        shape = (round(size[0] * high), round(size[1] * wide), channels)
        pixels = natural_image(shape, generator)
        made.append((f"natural {shape[0]}x{shape[1]}", Image.fromarray(pixels.squeeze())))
    return tuple(made)


def _oracle(subject: Subject, inputs: NDArray[np.floating], names: Sequence[str]) -> Arrays:
    return parity.run_oracle(subject.oracle, torch.from_numpy(inputs), names, batch=subject.options.batch)


def _comparable(claim: Claim) -> list[Claimed]:
    """The artifacts that must answer as the checkpoint does. Compressed ones need not: their drift has a budget."""
    whole = [claimed for claimed in claim.artifacts if claimed.compression is None]
    for claimed in claim.artifacts:
        if claimed.compression is not None:
            console.note(
                f"{claimed.path.name} is compressed: its preprocessing is that of the fp16 package it was made of"
            )
    if not whole:
        raise UsageError(
            "every artifact is compressed, and answers otherwise than the checkpoint", hint="add --precision fp16"
        )
    return whole


def _check(path: Path, precision: Precision, subject: Subject, roads: Roads) -> ParityReport:
    with console.step(f"comparing preprocessing through {path.name}"):
        runtime = open_artifact(path)
        images = [fit(picture, roads.size, roads.deployed) for picture in roads.pictures]
        found = run_samples(runtime, to_input(images, roads.deployed, roads.kind))
        expected = parity.expected_outputs(roads.expected, runtime.outputs)
        outputs = compare.outputs(expected, found, precision=precision, samples=roads.names)
    verdict = compare.worst([output.verdict for output in outputs])
    if verdict == "fail":
        failed = next(output for output in outputs if output.verdict == "fail")
        with console.step("trying the known mistakes"):
            reason = _explanation(subject, roads, runtime, expected, found)
        raise ParityError(f"{path.name}: {reason} ({failed.name}: {failed.reason})", hint=_HINT)
    leg = Leg(name="preprocessing", verdict=verdict, outputs=outputs)
    gate = compare.gate(precision).passes
    return ParityReport(subject=path.name, precision=precision, gate_db=gate, legs=(leg,))


def _explanation(subject: Subject, roads: Roads, runtime: Runtime, expected: Arrays, found: Arrays) -> str:
    """The mistake that gives the artifact's numbers, in a sentence; or that there is none."""
    if any(name not in found or found[name].shape != value.shape for name, value in expected.items()):
        return "its outputs are not the model's"
    if not all(np.isfinite(found[name]).all() for name in expected):
        return "it answers with NaN or Inf, as unscaled pixels can make it in half precision"
    tried = min(_TRIED, len(roads.pictures))
    part = {name: found[name][:tried] for name in expected}
    best: tuple[float, tuple[str, ...]] = (-math.inf, ())
    for mistake in mistakes(roads.pictures[:tried], roads.size, roads.trained):
        # A pair is worth a thought only where no single mistake will do.
        if len(mistake.facts) > 1 and len(best[1]) == 1 and best[0] >= EXPLAINS_DB:
            break
        answers = parity.expected_outputs(_oracle(subject, mistake.inputs(), tuple(roads.expected)), runtime.outputs)
        closeness = min(metrics.psnr_db(part[name], answers[name]) for name in part)
        if closeness > best[0]:  # never for NaN
            best = (closeness, mistake.facts)
    if best[0] < EXPLAINS_DB:
        return "training's preprocessing and the app's give different scores, and no known mistake explains it"
    return "; ".join(best[1])
