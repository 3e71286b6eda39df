"""Geometry of the run page's pictures: figures in, percentages of a plot out. Text is never part of what stretches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from swiftdeploy.axis import Axis
from swiftdeploy.report import Eligibility, Segment

OPS_SHOWN = 14
WHOLE = 100.0  # percent; a mark there still needs room above it
_NEAR = (3.0, 8.0)  # percent of width and height within which two marks would cover each other
# Worse verdicts are taller as well as stronger in colour, so that the strip can be read without colours.
_HEIGHTS: Mapping[Eligibility, int] = {"eligible": 40, "risky": 70, "ineligible": 100}
_NARROWEST = 0.6  # percent of a strip: a single op among thousands must still be seen


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """One mark of a scatter plot, for one point or for several that lie together; `top` counts from the top."""

    left: float
    top: float
    label: str
    colour: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Scatter:
    """Marks and ticks of both axes. A tick is its place in percent and its value."""

    marks: tuple[Mark, ...]
    horizontal: tuple[tuple[float, float], ...]
    vertical: tuple[tuple[float, float], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """One operator's calls before and after, and the widths of both bars in percent of the most frequent one."""

    op: str
    before: int
    after: int
    before_width: float
    after_width: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """One segment of a strip."""

    left: float
    width: float
    height: int
    segment: Segment


def scatter(points: Sequence[tuple[float, float, int]]) -> Scatter:
    """A plot of (x, y in percent, colour), numbered from 1.

    The horizontal axis begins at 0. The vertical fits the values, and its ticks end at 100.
    """
    highest, lowest = max(y for _, y, _ in points), min(y for _, y, _ in points)
    room = (highest - lowest) * 0.12 or 1.0
    horizontal = Axis(low=0.0, high=max(x for x, _, _ in points) * 1.05)
    vertical = Axis(low=max(lowest - room, 0.0), high=highest + room)
    groups: list[list[tuple[float, float, int, int]]] = []
    for index, (x, y, colour) in enumerate(points, 1):
        left, top = horizontal.place(x), 100 - vertical.place(y)
        near = (g for g in groups if abs(g[0][0] - left) < _NEAR[0] and abs(g[0][1] - top) < _NEAR[1])
        group = next(near, None)
        if group is None:
            groups.append(group := [])
        group.append((left, top, colour, index))
    marks = tuple(
        Mark(left=g[0][0], top=round(g[0][1], 3), colour=g[0][2], label=", ".join(str(index) for *_, index in g))
        for g in groups
    )
    return Scatter(
        marks=marks,
        horizontal=tuple((horizontal.place(tick), tick) for tick in horizontal.ticks()),
        vertical=tuple((round(100 - vertical.place(tick), 3), tick) for tick in vertical.ticks() if tick <= WHOLE),
    )


def bars(before: Mapping[str, int], after: Mapping[str, int]) -> tuple[Bar, ...]:
    """A bar for each operator, the most frequent first; the rarest share one where there are many."""
    counts = {op: (before.get(op, 0), after.get(op, 0)) for op in {*before, *after}}
    ordered = sorted(counts.items(), key=lambda item: (-max(item[1]), item[0]))
    shown, rest = ordered[:OPS_SHOWN], ordered[OPS_SHOWN:]
    if rest:
        shown.append((f"{len(rest)} others", (sum(b for _, (b, _) in rest), sum(a for _, (_, a) in rest))))
    axis = Axis(low=0.0, high=float(max((max(pair) for _, pair in shown), default=1)) or 1.0)
    return tuple(
        Bar(op=op, before=b, after=a, before_width=axis.place(b), after_width=axis.place(a)) for op, (b, a) in shown
    )


def strip(segments: Sequence[Segment]) -> tuple[Piece, ...]:
    """The segments from left to right, each as wide as its share of the ops; the worse lie on top of the better."""
    total = sum(segment.ops for segment in segments) or 1
    pieces, left = [], 0.0
    for segment in segments:
        share = 100 * segment.ops / total
        width = max(share, _NARROWEST)
        place = min(left, 100 - width)
        height = _HEIGHTS[segment.verdict]
        pieces.append(Piece(left=round(place, 3), width=round(width, 3), height=height, segment=segment))
        left += share
    return tuple(sorted(pieces, key=lambda piece: (piece.height, piece.left)))
