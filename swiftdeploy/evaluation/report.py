"""What an evaluation found, as the JSON document that `swiftdeploy evaluate` prints. Schema 1.

It holds no time and no path of this machine: the same bundle, images and options give the same bytes, however the work
was spread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from swiftdeploy.evaluation.dataset import Skipped
from swiftdeploy.evaluation.decode import Exif
from swiftdeploy.evaluation.recommend import Recommendation
from swiftdeploy.evaluation.statistics import Difference, Figures
from swiftdeploy.spec import Preprocessing

ORACLE = "oracle"


@dataclass(frozen=True, kw_only=True, slots=True)
class Subset:
    """Which part of the images was asked for."""

    limit: int
    seed: int
    of: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One subject's figures, with the artifact's precision and bytes; the oracle is fp32, and no file."""

    precision: str
    bytes: int
    figures: Figures


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """A bound that the caller set, in percent or points, and what each artifact reached."""

    name: Literal["min_top1", "max_top1_drop"]
    limit: float
    broken: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationReport:
    """One bundle on one labelled set of images.

    `reference` is "oracle", or the artifact that the others are compared with where no checkpoint was given.
    `class_names` are empty where only indexes are known; `dataset_sha256` covers names, labels and contents.
    """

    schema: Literal[1]
    bundle: str
    tree_sha256: str
    weights: str
    checkpoint_sha256: str
    reference: str
    images: int
    classes: int
    class_names: tuple[str, ...]
    dataset_sha256: str
    subset: Subset | None
    exif: Exif
    preprocessing: Preprocessing
    input_size: tuple[int, int]
    skipped: tuple[Skipped, ...]
    rows: tuple[Row, ...]
    differences: tuple[Difference, ...]
    budgets: tuple[Budget, ...]
    recommendation: Recommendation
