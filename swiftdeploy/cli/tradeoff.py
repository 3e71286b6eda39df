"""A search's tables for a terminal of eighty columns."""

from __future__ import annotations

from collections.abc import Iterator

from rich.markup import escape
from rich.table import Table

from swiftdeploy.cli.table import ROOMY, table_of
from swiftdeploy.searches import Point, SearchReport, Sensitivity

SHOWN = 12


def sensitivities(report: SearchReport, *, width: int, every: bool) -> Table:
    """One row a weight, the most fragile first: the output's PSNR in dB by scheme. What is chosen is marked with *."""
    gap = 2 if width >= ROOMY else 1
    columns = list(report.candidates)
    room = width - sum(max(len(name), 5) + gap for name in columns) - gap
    while room < 16:  # a narrow terminal shows the smallest schemes, which differ most
        room += max(len(columns.pop(0)), 5) + gap
    table = table_of("weight alone", *columns, width=width)
    rows = sorted(report.sensitivities, key=_fragility)
    for row in rows if every else rows[:SHOWN]:
        scheme = report.recipe.scheme(row.weight).name
        cells = {damage.scheme: _decibels(damage.psnr_db) for damage in row.damages}
        marked = (f"{cells.get(name, '-')}{'*' if name == scheme else ''}" for name in columns)
        table.add_row(escape(_short(row.weight, room)), *marked)
    return table


def points(report: SearchReport, *, width: int) -> Table:
    """One row a package that was written and run, smallest first."""
    base = next(point for point in report.points if point.kind == "base")
    what = "top-1" if report.measure == "top1" else "alike"
    table = table_of("package", "MB", "of fp16", what, "95 %", "drift dB", "", width=width)
    for point in report.points:
        table.add_row(
            point.name,
            f"{point.bytes / 1e6:.3f}",
            f"{point.bytes / base.bytes:.0%}",
            f"{point.percent:.2f}",
            f"{point.low:.1f}-{point.high:.1f}",
            _decibels(point.drift_db),
            _mark(point, report),
        )
    return table


def conclusion(report: SearchReport) -> Iterator[str]:
    """What was chosen, and how to make it."""
    chosen = report.point(report.chosen)
    mix = ", ".join(f"{count} {scheme}" for scheme, count in (chosen.schemes or {}).items())
    stored = f"of weights {mix}, the others fp16" if mix else f"every weight {chosen.name}"
    if report.measure == "top1":
        lost = _lost(report.oracle_right - chosen.right, report.images)
        answers = f"right on {chosen.right} of {report.images} images, the oracle on {report.oracle_right} ({lost})"
    else:
        answers = f"{chosen.right} of {report.images} images are answered as the oracle does"
    yield f"chosen: {chosen.name}, {chosen.bytes:,} bytes; {answers}; {stored}"


def legend(report: SearchReport, *, every: bool) -> str:
    """What the columns mean."""
    hidden = max(0, len(report.sensitivities) - SHOWN)
    more = f" {hidden} more weights with -v." if hidden and not every else ""
    what = "" if report.measure == "top1" else "; without labels, alike is the share answered as the oracle does"
    return (
        f"weight alone: PSNR of the output in dB where only it is compressed, * is chosen.{more} drift: scores against "
        f"the oracle's; front: no package is smaller and as often right{what}"
    )


def _mark(point: Point, report: SearchReport) -> str:
    if point.name == report.chosen:
        return "[bold]chosen[/bold]"
    return "front" if point.name in report.front else ""


def _lost(count: int, images: int) -> str:
    if count == 0:
        return "no loss"
    return f"{abs(100 * count / images):.2f} points {'less' if count > 0 else 'more'}"


def _fragility(row: Sensitivity) -> float:
    return min((damage.psnr_db for damage in row.damages if damage.psnr_db is not None), default=999.0)


def _decibels(value: float | None) -> str:
    return "equal" if value is None else f"{value:.1f}"


def _short(name: str, room: int) -> str:
    """The end of a long name tells more than its beginning."""
    name = name.removesuffix("_weight")
    return name if len(name) <= room else f"…{name[1 - room :]}"
