"""Packages that a search writes and runs: every figure of its report is one of these, and so is its choice."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from swiftdeploy import compress, console
from swiftdeploy.evaluation.statistics import share
from swiftdeploy.pipeline.compressed import Base
from swiftdeploy.recipe import Recipe
from swiftdeploy.search import candidates
from swiftdeploy.search.candidates import Candidate
from swiftdeploy.search.scores import Judge
from swiftdeploy.searches import Goal, Point, PointKind

SPREAD = 8  # mixes that are measured wherever the goal lies, so that there is a curve to look at


class Trials:
    """Measured points by name. A mix is written, below `folder`, and run when it is first asked for.

    `options` are the ways to store each weight, `path` the mixes of them.
    """

    def __init__(self, base: Base, judge: Judge, folder: Path) -> None:
        self.base, self.judge, self.folder = base, judge, folder
        self.path: tuple[compress.Mix, ...] = ()
        self.options: tuple[compress.Option, ...] = ()
        self.names = {weight.name: candidates.portable(weight) for weight in base.weights}
        self.before = candidates.before(base)
        self.points: dict[str, Point] = {}
        self.recipes: dict[str, Recipe] = {}
        self.packages: dict[str, Path] = {}

    def whole(self, name: str, kind: PointKind, package: Path, size: int, digest: str) -> Point:
        """Measure a package that stores every weight alike."""
        self.packages[name] = package
        self.recipes[name] = Recipe(name=name, default=name)
        return self._measured(name, kind, package, size, digest)

    def uniform(self, candidate: Candidate) -> Point:
        """Measure a candidate."""
        return self.whole(candidate.scheme, "uniform", candidate.path, candidate.bytes, candidate.sha256)

    def follow(self, options: Sequence[compress.Option]) -> None:
        """Take the path of these options."""
        self.options = tuple(options)
        self.path = compress.mixes(self.before, self.options, self.points["fp16"].bytes)

    def mix(self, step: int) -> Point:
        """The point of one step of the path, from 0."""
        return self._mix(f"mix-{step + 1}", self.path[step], f"mix {step + 1} of {len(self.path)}")

    def fill(self, step: int, target: int) -> None:
        """Measure that step with what it leaves of `target` bytes spent on the weights that need it most."""
        room = target - self.mix(step).bytes
        mix = compress.filled(self.path[step], self.before, self.options, room)
        if mix.schemes != self.path[step].schemes:
            self._mix(f"mix-{step + 1}-filled", mix, f"mix {step + 1} with {room:,} bytes more")

    def _mix(self, name: str, mix: compress.Mix, what: str) -> Point:
        if name not in self.points:
            schemes = {self.names[weight]: scheme for weight, scheme in mix.schemes.items()}
            self.recipes[name] = compress.recipe_of(name, schemes)
            with console.step(f"compressing and running {what}"):
                package, size, digest = candidates.package(self.base, self.recipes[name], self.folder)
                self.packages[name] = package
                self._measured(name, "mixed", package, size, digest, mix)
        return self.points[name]

    def _measured(
        self, name: str, kind: PointKind, package: Path, size: int, digest: str, mix: compress.Mix | None = None
    ) -> Point:
        right, drift = self.judge.measure(package)
        found = share(right, len(self.judge.album.names))
        self.points[name] = Point(
            name=name,
            kind=kind,
            bytes=size,
            sha256=digest,
            right=right,
            percent=found.percent,
            low=found.low,
            high=found.high,
            drift_db=None if drift == math.inf else max(drift, -999.0),
            predicted_bytes=None if mix is None else round(mix.bytes),
            schemes=None if mix is None else dict(sorted(Counter(mix.schemes.values()).items())),
        )
        return self.points[name]


def spread(trials: Trials) -> None:
    """Measure mixes at even distances of size along the path, its end among them."""
    sizes = [mix.bytes for mix in trials.path]
    for wanted in np.linspace(sizes[0], sizes[-1], min(SPREAD, len(sizes))):
        trials.mix(min(range(len(sizes)), key=lambda step: abs(sizes[step] - wanted)))


def walk_to_size(trials: Trials, target: int) -> None:
    """Measure the first mix of the path that really has no more than `target` bytes, if there is one, and fill it."""
    last = len(trials.path) - 1
    step = next((i for i, mix in enumerate(trials.path) if mix.bytes <= target), last)
    while trials.mix(step).bytes > target and step < last:
        step += 1
    while step > 0 and trials.mix(step - 1).bytes <= target:
        step -= 1
    if trials.mix(step).bytes <= target:
        trials.fill(step, target)


def walk_to_accuracy(trials: Trials, holds: Callable[[Point], bool]) -> None:
    """Measure mixes between the smallest that is known to hold and the next smaller one, which does not.

    Halving takes accuracy for something that falls along the path. Where it does not quite, what is found holds all the
    same, and may not be the last that does.
    """
    known = {step: holds(trials.mix(step)) for step in _measured_steps(trials)}
    low = max((step for step, good in known.items() if good), default=-1)  # -1 is fp16
    high = min((step for step, good in known.items() if step > low and not good), default=len(trials.path))
    while high - low > 1:
        middle = (low + high) // 2
        if holds(trials.mix(middle)):
            low = middle
        else:
            high = middle


def best(points: Sequence[Point], goal: Goal, oracle_right: int, images: int) -> Point | None:
    """Of the compressed points that meet the goal the one to take; None where none does.

    Under a number of bytes: the most often right, then the least drift. Under a loss: the smallest.
    """
    meeting = [point for point in points if point.kind != "base" and meets(point, goal, oracle_right, images)]
    if goal.target_bytes is not None:
        return max(meeting, key=lambda p: (p.right, _closeness(p), -p.bytes), default=None)
    return min(meeting, key=lambda p: (p.bytes, -p.right, -_closeness(p)), default=None)


def meets(point: Point, goal: Goal, oracle_right: int, images: int) -> bool:
    """Whether a point holds what was asked for. Counts are compared, so that no rounding decides."""
    if goal.target_bytes is not None and point.bytes > goal.target_bytes:
        return False
    return goal.max_drop is None or 100 * (oracle_right - point.right) <= goal.max_drop * images


def _closeness(point: Point) -> float:
    return math.inf if point.drift_db is None else point.drift_db


def _measured_steps(trials: Trials) -> list[int]:
    return [step for step in range(len(trials.path)) if f"mix-{step + 1}" in trials.points]
