"""What a difference may be: stated limits, and which of them are exceeded."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from swiftdeploy.errors import UsageError
from swiftdeploy.matrix.diff import ArtifactDifference, BundleDifference, Difference, Figure, Kind

ANY_CHANGE = ("bytes", "weights", "ops", "artifacts", "facts")


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Limits from a baseline A to B; None is no limit.

    `size_ratio` and `latency_ratio` are b / a at most, `psnr_drop` a - b in dB at most, `accuracy_drop` a - b in
    percentage points at most, for top-1 on images and for top-1 agreement; `weights_l2` the largest relative L2 of a
    tensor. `changes` names what may not change at all, of ANY_CHANGE.
    """

    size_ratio: float | None = None
    latency_ratio: float | None = None
    psnr_drop: float | None = None
    accuracy_drop: float | None = None
    weights_l2: float | None = None
    changes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in self.changes:
            if name not in ANY_CHANGE:
                raise UsageError(f"--fail-on {name!r} is not known", hint=f"choose from {', '.join(ANY_CHANGE)}")
        numbers = (self.size_ratio, self.latency_ratio, self.psnr_drop, self.accuracy_drop, self.weights_l2)
        for value in numbers:
            if value is not None and (not math.isfinite(value) or value < 0):
                raise UsageError(f"a limit of {value} holds nothing", hint="give a number of 0 or more")

    @property
    def stated(self) -> bool:
        """Whether there is any."""
        return self != Limits()


def exceeded(difference: Difference, limits: Limits) -> tuple[str, ...]:
    """One line for every limit that does not hold, none where all do.

    A figure that A has and B lacks exceeds its limit, and so does an artifact: what cannot be checked has not passed.
    """
    if not limits.stated:
        return ()
    return tuple(_lines(difference, limits))


def _lines(difference: Difference, limits: Limits) -> Iterator[str]:
    for name in difference.only_a:
        yield f"{name}: the bundle is gone"
    if "artifacts" in limits.changes:
        for name in difference.only_b:
            yield f"{name}: the bundle is new"
    for bundle in difference.bundles:
        yield from (f"{bundle.name}: {line}" for line in _bundle(bundle, limits))


def _bundle(bundle: BundleDifference, limits: Limits) -> Iterator[str]:
    for path in bundle.only_a:
        yield f"{path} is gone"
    if "artifacts" in limits.changes:
        yield from (f"{path} is new" for path in bundle.only_b)
    if "facts" in limits.changes:
        yield from (f"{fact} was {a or 'nothing'}, is {b or 'nothing'}" for fact, (a, b) in bundle.facts.items())
    if "bytes" in limits.changes and not bundle.identical:
        yield "the bytes changed"
    yield from _figure(bundle.size, limits)
    for artifact in bundle.artifacts:
        yield from (f"{artifact.name}: {line}" for line in _artifact(artifact, limits))


def _artifact(artifact: ArtifactDifference, limits: Limits) -> Iterator[str]:
    for figure in artifact.figures:
        yield from _figure(figure, limits)
    if "ops" in limits.changes and artifact.ops:
        yield "ops changed: " + ", ".join(f"{op} {a} → {b}" for op, (a, b) in artifact.ops.items())
    yield from _weights(artifact, limits)


def _weights(artifact: ArtifactDifference, limits: Limits) -> Iterator[str]:
    found = artifact.weights
    if artifact.identical or (limits.weights_l2 is None and "weights" not in limits.changes):
        return
    if found is None:
        yield "its weights cannot be compared: a report has none, the bundles beside it have"
    elif found.only_a or found.only_b:
        yield f"tensors came or went, first {(*found.only_a, *found.only_b)[0]}"
    elif "weights" in limits.changes and found.changed:
        yield f"{found.changed} of {found.tensors} weight tensors changed, most {found.worst}"
    elif limits.weights_l2 is not None and (found.relative_l2 is None or found.relative_l2 > limits.weights_l2):
        by = "from zeros" if found.relative_l2 is None else f"by relative L2 {found.relative_l2:.2e}"
        yield f"{found.worst} changed {by}, more than {limits.weights_l2:g}"


def _figure(figure: Figure, limits: Limits) -> Iterator[str]:
    limit = _limit(figure.kind, limits)
    if limit is None or figure.a is None:
        return
    if figure.b is None:
        yield f"{figure.name} is not recorded any more"
    elif figure.kind in ("size", "latency"):
        a, b = float(figure.a), float(figure.b)
        if b > a * limit:
            yield f"{figure.name} is {b:g}, more than {limit:g} times {a:g}"
    else:
        scale, unit = (1.0, "dB") if figure.kind == "psnr" else (100.0, "points")
        drop = (_number(figure.a) - _number(figure.b)) * scale if figure.a != figure.b else 0.0
        if round(drop, 9) > limit:  # 1.0 - 0.99 is a little more than a point in binary
            yield f"{figure.name} fell from {_text(figure.a)} to {_text(figure.b)}, more than {limit:g} {unit}"


def _text(value: float | str | None) -> str:
    return value if isinstance(value, str) else f"{value or 0.0:.4g}"


def _number(value: float | str | None) -> float:
    return math.inf if isinstance(value, str) else float(value or 0.0)


def _limit(kind: Kind, limits: Limits) -> float | None:
    return {
        "size": limits.size_ratio,
        "latency": limits.latency_ratio,
        "psnr": limits.psnr_drop,
        "agreement": limits.accuracy_drop,
        "accuracy": limits.accuracy_drop,
    }[kind]
