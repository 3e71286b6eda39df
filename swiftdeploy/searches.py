"""What a search for a mixed-bit recipe found: `sensitivity.json`, schema 1, as a frozen value. Standard library only.

It holds no time and no path of the machine: the same checkpoint, images and options give the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from swiftdeploy.errors import ArtifactError
from swiftdeploy.recipe import Recipe
from swiftdeploy.seal import canonical
from swiftdeploy.spec import from_plain, to_plain

SCHEMA_VERSION = 1
REPORT_NAME = "sensitivity.json"

PointKind = Literal["base", "uniform", "mixed"]
Measure = Literal["top1", "agreement"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Damage:
    """One weight stored in one scheme, all others as they were: bytes in the file, and the output's PSNR in dB.

    `psnr_db` is of the fused module against itself, over all images; None where no output changed.
    """

    scheme: str
    bytes: int
    psnr_db: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Sensitivity:
    """How much each scheme of one weight damages the output. `bytes` are those in fp16."""

    weight: str
    shape: tuple[int, ...]
    bytes: int
    damages: tuple[Damage, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """One package that was written and run: its bytes on disk, and on how many images it is right.

    `predicted_bytes` is what a mix was expected to have (None for others), `low` and `high` Wilson's 95 % interval of
    the share in percent; `drift_db` the PSNR of its scores against the oracle's, None where they are equal.
    """

    name: str
    kind: PointKind
    bytes: int
    sha256: str
    right: int
    percent: float
    low: float
    high: float
    drift_db: float | None
    predicted_bytes: int | None = None
    schemes: Mapping[str, int] | None = None  # how many weights each scheme of a mix stores


@dataclass(frozen=True, kw_only=True, slots=True)
class Goal:
    """What was asked for: at most so many bytes, or top-1 at most so many points below the oracle's."""

    target_bytes: int | None = None
    max_drop: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchReport:
    """A whole search. `measure` says what `right` counts: labelled images, or those answered as the oracle does.

    `points` are in the order of their sizes; `front` names those that no other beats, `chosen` the one that `recipe`
    writes again. `kept` are the weights that no candidate compresses, with the reason.
    """

    schema: Literal[1]
    model: str
    checkpoint_sha256: str
    dataset_sha256: str
    images: int
    sensitivity_images: int
    measure: Measure
    oracle_right: int
    goal: Goal
    min_ios: int
    candidates: tuple[str, ...]
    points: tuple[Point, ...]
    front: tuple[str, ...]
    chosen: str
    recipe: Recipe
    sensitivities: tuple[Sensitivity, ...]
    kept: Mapping[str, str]

    def point(self, name: str) -> Point:
        """The point of that name."""
        return next(point for point in self.points if point.name == name)


def text(report: SearchReport) -> str:
    """The document: the same report gives the same bytes."""
    return canonical(to_plain(report))


def read_report(path: Path) -> SearchReport:
    """The report that `text` wrote into a file. Raises ArtifactError for what is none."""
    try:
        return from_plain(SearchReport, json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError) as error:
        raise ArtifactError(f"{path} is no search's report: {error}", hint="search again") from error
