"""Latency tables for a terminal of eighty columns. Phones never share a table."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from swiftdeploy.cli.render import MARKS
from swiftdeploy.cli.table import table_of
from swiftdeploy.harness.compare import Comparison, Row
from swiftdeploy.harness.measurement import Measurement, PairResult
from swiftdeploy.harness.statistics import Interval

WIDTH = 80  # columns that the widest of these tables takes
COLOURS = {"faster": "green", "slower": "red", "no evidence": "yellow"}


def milliseconds(value: float) -> str:
    """Milliseconds with three digits that count."""
    return f"{value:.3f}" if value < 10 else f"{value:.2f}" if value < 100 else f"{value:.0f}"


def interval(found: Interval) -> str:
    """An interval of milliseconds."""
    return f"{milliseconds(found.low)} to {milliseconds(found.high)}"


def parity(pair: PairResult) -> str:
    """The worst verdict over a pair's outputs, and the worst PSNR."""
    if not pair.parity:
        return ""
    order = ("fail", "warn", "pass")
    verdict = min((p.verdict for p in pair.parity), key=order.index)
    known = [p.psnr_db for p in pair.parity if p.psnr_db is not None]
    return f"{MARKS[verdict]} {min(known):.1f} dB" if known else f"{MARKS[verdict]} equal"


def results(measurement: Measurement) -> Iterator[tuple[str, Table]]:
    """(a model's label, its compute units) for each model of a run."""
    for label in dict.fromkeys(pair.label for pair in measurement.pairs):
        table = table_of("compute unit", "median ms", "95 % interval", "p99 ms", "parity", width=WIDTH)
        for pair in measurement.pairs:
            if pair.label != label:
                continue
            figures = pair.statistics
            if pair.status != "measured" or figures is None:
                table.add_row(pair.unit, f"[red]{pair.status.replace('_', ' ')}[/red]", "", "", parity(pair))
                continue
            table.add_row(
                pair.unit,
                milliseconds(figures.estimate_ms),
                interval(figures.estimate_interval),
                milliseconds(figures.p99_ms),
                parity(pair),
            )
        yield label, table


def comparison(found: Comparison) -> Table:
    """One row a compute unit: both sides, the ratio and what it proves; then what papers state, marked."""
    table = table_of("compute unit", "A ms", "B ms", "B / A", "95 % interval", "B is", width=WIDTH)
    for row in found.rows:
        table.add_row(
            row.unit, milliseconds(row.a.ms), milliseconds(row.b.ms), f"{row.ratio:.3f}", ratio(row), verdict(row)
        )
    return table


def ratio(row: Row) -> str:
    """The interval of a ratio."""
    return f"{row.ratio_interval.low:.3f} to {row.ratio_interval.high:.3f}"


def verdict(row: Row) -> str:
    """The verdict in its colour."""
    return f"[{COLOURS[row.verdict]}]{row.verdict}[/]"


def stated(found: Comparison) -> Iterator[str]:
    """A line for each published latency of either side."""
    for side, label, published in (("A", found.label_a, found.published_a), ("B", found.label_b, found.published_b)):
        for one in published:
            device = one.device or "device not stated"
            yield f"published, not measured here: {side} {label} {one.value:g} ms ({device}; {one.source})"
