"""One worker of an evaluation: opens a bundle's models once, then answers chunk after chunk.

It runs in this process, in one of several, or on another machine that sees the same files, and gives the same numbers
everywhere: one thread, and batches that depend on the chunk alone.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from swiftdeploy.bundle import artifact_digest, read_manifest
from swiftdeploy.errors import ArtifactError, ModelError
from swiftdeploy.evaluation.answers import Answer, given
from swiftdeploy.evaluation.dataset import SKIP_HINT, Example
from swiftdeploy.evaluation.decode import Exif, UnreadableImage, read_pixels
from swiftdeploy.evaluation.preprocess import fit
from swiftdeploy.evaluation.report import ORACLE
from swiftdeploy.parity.samples import to_input
from swiftdeploy.pipeline.oracle import load_oracle
from swiftdeploy.pipeline.program import PROBABILITIES
from swiftdeploy.pipeline.threads import one_thread
from swiftdeploy.pipeline.verify import running
from swiftdeploy.runtimes import Runtime, open_artifact, run_samples
from swiftdeploy.spec import InputKind, Preprocessing

Scores = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Setup:
    """What a worker needs to know, small enough to travel with every chunk.

    `artifacts` are (path in the bundle, sha256); `reference` is one of them or the oracle. `size` is (height, width).
    """

    bundle: Path
    artifacts: tuple[tuple[str, str], ...]
    checkpoint: str | None
    model: str | None
    reference: str
    input_kind: InputKind
    size: tuple[int, int]
    preprocessing: Preprocessing
    exif: Exif
    skip_unreadable: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Opened:
    """The models of a setup."""

    oracle: nn.Module | None
    runtimes: Mapping[str, Runtime]


_opened: dict[Setup, Opened] = {}
_opening = threading.Lock()  # a Dask worker may run several chunks at once


def answer(setup: Setup, chunk: Sequence[Example]) -> list[Answer]:
    """What every subject answers to the images of a chunk, in their order.

    Raises UnreadableImage unless these are skipped, ArtifactError for a bundle that is not the one meant here or does
    not run, ModelError for a model that gives no scores.
    """
    with one_thread():
        opened = _models(setup)
        read = [_read(setup, example) for example in chunk]
        images = [pixels for pixels in read if not isinstance(pixels, str)]
        scores = _scores(setup, opened, images) if images else {}
    rows = iter(range(len(images)))
    answers = []
    for example, pixels in zip(chunk, read, strict=True):
        if isinstance(pixels, str):
            answers.append(Answer(name=example.name, label=example.label, unreadable=pixels))
            continue
        row = next(rows)
        found = {name: given(mine[row], wanted[row]) for name, (mine, wanted) in scores.items()}
        answers.append(Answer(name=example.name, label=example.label, given=found))
    return answers


def _models(setup: Setup) -> Opened:
    with _opening:
        if setup not in _opened:
            _opened.clear()
            _opened[setup] = open_models(setup)
        return _opened[setup]


def forget() -> None:
    """Let go of the models of this process."""
    with _opening:
        _opened.clear()


def open_models(setup: Setup) -> Opened:
    """The oracle, where a checkpoint is given, and every artifact. Raises what loading them raises."""
    manifest = read_manifest(setup.bundle)
    runtimes = {}
    for name, sha256 in setup.artifacts:
        path = setup.bundle / name
        # This may be another machine, or an hour later.
        if not path.exists() or artifact_digest(path)[1] != sha256:
            raise ArtifactError(f"{path} is not the artifact that is evaluated", hint="every worker needs this bundle")
        runtimes[name] = open_artifact(path, threads=1)
    oracle = load_oracle(manifest, setup.checkpoint, model=setup.model).module if setup.checkpoint is not None else None
    return Opened(oracle=oracle, runtimes=runtimes)


def _read(setup: Setup, example: Example) -> NDArray[np.uint8] | str:
    """The pixels of an image, or where it is skipped the reason."""
    try:
        image = read_pixels(example.path, channels=len(setup.preprocessing.mean), exif=setup.exif)
    except UnreadableImage as error:
        if setup.skip_unreadable:
            return error.reason
        raise UnreadableImage(example.path, error.reason, hint=SKIP_HINT) from error
    return fit(image, setup.size, setup.preprocessing)


def _scores(setup: Setup, opened: Opened, images: Sequence[NDArray[np.uint8]]) -> dict[str, tuple[Scores, Scores]]:
    """By subject: its scores (N, classes), and the reference's as that subject would state them."""
    found: dict[str, Scores] = {}
    probable = {name: _gives_probabilities(runtime) for name, runtime in opened.runtimes.items()}
    inputs = to_input(images, setup.preprocessing, setup.input_kind)
    if opened.oracle is not None:
        tensors = torch.from_numpy(to_input(images, setup.preprocessing, "tensor"))
        with torch.no_grad():
            found[ORACLE] = _vector(opened.oracle(tensors), ORACLE)
    for name, runtime in opened.runtimes.items():
        with running(name):
            answers = run_samples(runtime, inputs)
        found[name] = _vector(answers.get(PROBABILITIES, next(iter(answers.values()))), name)
    wanted = found[setup.reference]
    paired = {}
    for name, scores in found.items():
        # Where one of the two answers with probabilities, both are compared as such.
        mine, theirs = probable.get(name, False), probable.get(setup.reference, False)
        paired[name] = (
            _softmax(scores) if theirs and not mine else scores,
            _softmax(wanted) if mine and not theirs else wanted,
        )
    return paired


def _gives_probabilities(runtime: Runtime) -> bool:
    """Whether an artifact answers with probabilities instead of scores."""
    return PROBABILITIES in runtime.outputs


def _softmax(scores: Scores) -> Scores:
    """Probabilities (N, classes) of scores (N, classes), in fp32."""
    probabilities: Scores = torch.softmax(torch.from_numpy(scores), dim=-1).numpy()
    return probabilities


def _vector(output: Any, name: str) -> Scores:
    values = output if not isinstance(output, (tuple, list)) else output[0]
    array = np.asarray(values, np.float32)
    if array.ndim != 2 or array.shape[1] < 2:
        raise ModelError(
            f"{name} gives an output of shape {array.shape}, no scores of classes", hint="evaluate is for classifiers"
        )
    return array
