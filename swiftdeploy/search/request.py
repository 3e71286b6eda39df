"""What a search is asked for, and what of it can be refused before anything is loaded."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from swiftdeploy.errors import UsageError
from swiftdeploy.precision import parse
from swiftdeploy.recipe import parse_scheme
from swiftdeploy.searches import REPORT_NAME, Goal
from swiftdeploy.spec import ExportOptions, check_recipe_name

CANDIDATES = ("int8", "pal8", "pal6", "pal4", "pal3", "pal2", "int4", "pal4g16")


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchRequest:
    """What to search. `goal` has one of its two set; `candidates` are schemes, none for those that the system reads.

    `labels`, `limit` and `seed` are as in an evaluation, `probe` is on how many of the images each weight is tried
    alone, and `options` are those of the export that will use the recipe.
    Raises UsageError for whatever contradicts itself.
    """

    model: str
    checkpoint: str
    images: Path
    destination: Path
    goal: Goal
    attention: str | None = None
    candidates: tuple[str, ...] = ()
    labels: str = ""
    limit: int = 500
    seed: int = 0
    probe: int = 64
    name: str = "mixed"
    options: ExportOptions = field(default_factory=ExportOptions)
    force: bool = False

    def __post_init__(self) -> None:
        size, drop = self.goal.target_bytes, self.goal.max_drop
        if (size is None) == (drop is None):
            raise UsageError(
                "a search needs one target", hint="give --target-size 2MB, or --min-top1-drop 0.5 (points), not both"
            )
        if size is not None and size < 1:
            raise UsageError(f"--target-size {size} is no size", hint="give a number of bytes, such as 2MB")
        if drop is not None and not (math.isfinite(drop) and 0.0 <= drop <= 100.0):
            raise UsageError(f"--min-top1-drop {drop} is no loss of top-1", hint="give 0 to 100 points")
        for option, count in (("--limit", self.limit), ("--probe", self.probe)):
            if count < 1:
                raise UsageError(f"{option} {count} leaves no image", hint=f"use {option} 1 or more")
        parse(f"{self.name}.toml")
        check_recipe_name(self.name)
        self._check_candidates()

    @property
    def schemes(self) -> tuple[str, ...]:
        """The schemes that are tried: those that were asked for, or all usual ones that `min_ios` reads."""
        if self.candidates:
            return tuple(dict.fromkeys(self.candidates))
        return tuple(name for name in CANDIDATES if parse_scheme(name).least_ios <= self.options.min_ios)

    def _check_candidates(self) -> None:
        for name in self.candidates:
            scheme = parse_scheme(name)
            if scheme.form == "float" and not scheme.sparsity:
                raise UsageError("fp16 is what a search begins with", hint="name schemes that are smaller, or none")
            if scheme.least_ios > self.options.min_ios:
                raise UsageError(
                    f"{name!r} needs iOS {scheme.least_ios}, and the artifact is for iOS {self.options.min_ios}",
                    hint=f"use --min-ios {scheme.least_ios}, or a scheme that iOS {self.options.min_ios} reads",
                )
        if not self.schemes:
            raise UsageError(
                f"no compressed weights are read by iOS {self.options.min_ios}", hint="use --min-ios 16, or 18 for more"
            )


def check_destination(request: SearchRequest) -> None:
    """Raise UsageError where a search must not write: something else lies there, or `force` is off."""
    folder = request.destination
    if not folder.exists() and not folder.is_symlink():
        return
    if not folder.is_dir() or (any(folder.iterdir()) and not (folder / REPORT_NAME).is_file()):
        raise UsageError(f"{folder} exists and is no search's folder", hint="choose another -o FOLDER")
    if not request.force:
        raise UsageError(f"{folder} exists already", hint="use --force to replace it, or choose another -o FOLDER")
