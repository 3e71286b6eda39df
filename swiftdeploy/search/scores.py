"""A package on an album of images: how often it is right, and how far its scores are from the oracle's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from swiftdeploy.parity.metrics import psnr_db
from swiftdeploy.parity.samples import to_input
from swiftdeploy.pipeline.album import Album
from swiftdeploy.pipeline.verify import running
from swiftdeploy.runtimes import open_artifact, run_samples
from swiftdeploy.spec import InputKind, Preprocessing

CHUNK = 32  # images that are turned into floats at a time


@dataclass(frozen=True, kw_only=True, slots=True)
class Judge:
    """Images with the oracle's scores (N, classes), and what counts as right: their labels, or its own best classes."""

    album: Album
    preprocessing: Preprocessing
    kind: InputKind
    scores: NDArray[np.float32]
    wanted: NDArray[np.int64]

    @property
    def oracle_right(self) -> int:
        """On how many images the oracle is right; without labels on all."""
        return int((self.scores.argmax(1) == self.wanted).sum())

    def inputs(self, rows: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        """Some of the images (N, C, H, W) as the artifact takes them."""
        return to_input(list(self.album.pixels[rows]), self.preprocessing, self.kind)

    def measure(self, package: Path) -> tuple[int, float]:
        """(images that the package is right on, PSNR of its scores in dB, inf where equal). NaN is wrong.

        Raises ArtifactError for a package that does not run.
        """
        runtime = open_artifact(package, threads=1)
        parts = []
        with running(package.name):
            for start in range(0, len(self.album.names), CHUNK):
                parts.append(next(iter(run_samples(runtime, self.inputs(slice(start, start + CHUNK))).values())))
        found = np.concatenate(parts)
        finite = np.isfinite(found).all(axis=1)
        right = int(((found.argmax(1) == self.wanted) & finite).sum())
        return right, psnr_db(self.scores, found) if finite.all() else -np.inf


def judge(oracle: nn.Module, album: Album, *, preprocessing: Preprocessing, kind: InputKind) -> Judge:
    """The eager oracle's answers to the images beside them."""
    parts = []
    with torch.no_grad():
        for start in range(0, len(album.names), CHUNK):
            pixels = list(album.pixels[start : start + CHUNK])
            output = oracle(torch.from_numpy(to_input(pixels, preprocessing, "tensor")))
            parts.append((output if isinstance(output, torch.Tensor) else output[0]).numpy())
    scores = np.concatenate(parts)
    wanted = scores.argmax(1) if album.labels is None else album.labels
    return Judge(album=album, preprocessing=preprocessing, kind=kind, scores=scores, wanted=wanted)
