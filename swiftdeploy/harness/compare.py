"""Which of two is faster, and how sure that is; and tables that never mix phones in one column.

In: checked measurements. Out: frozen values that a command line or a report renders. Ratios are b over a, so a ratio
below one means that b is faster.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from swiftdeploy.errors import UsageError
from swiftdeploy.harness.measurement import Measurement, PairResult
from swiftdeploy.harness.splitmix import indices, stream
from swiftdeploy.harness.statistics import Interval, bootstrap_median, median
from swiftdeploy.spec import Published

Verdict = Literal["faster", "slower", "no evidence"]

# What two launches of the same app on the same phone may differ by; one launch alone cannot tell.
LAUNCH_MARGIN = 0.05
LAUNCHES_WANTED = 3

_RESAMPLES = 2000
_CONFIDENCE = 95


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """The median of rounds' medians in ms over `launches` launches, with its interval."""

    ms: float
    interval: Interval
    launches: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One compute unit of a comparison. `verdict` is b's against a; `reason` says why there is no more to say."""

    unit: str
    a: Estimate
    b: Estimate
    ratio: float
    ratio_interval: Interval
    paired: bool
    verdict: Verdict
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Two models, or one model on two phones or systems; each side has its own column."""

    label_a: str
    label_b: str
    column_a: str
    column_b: str
    rows: tuple[Row, ...]
    published_a: tuple[Published, ...] = ()
    published_b: tuple[Published, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """A figure of a table: ours with an interval, or one that somebody published, which has none."""

    label: str
    unit: str
    column: str
    ms: float
    interval: Interval | None = None
    published: bool = False
    source: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Latencies in ms; a row is (label, compute unit), a column one phone with one build of its system."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, str], ...]
    cells: tuple[Cell, ...]

    def cell(self, label: str, unit: str, column: str) -> Cell | None:
        """The figure of a row and a column, None where there is none."""
        wanted = (label, unit, column)
        return next((cell for cell in self.cells if (cell.label, cell.unit, cell.column) == wanted), None)


def compare(
    a: Sequence[Measurement],
    b: Sequence[Measurement],
    *,
    model_a: str = "",
    model_b: str = "",
    published: Mapping[str, Sequence[Published]] | None = None,
) -> tuple[Comparison, ...]:
    """Compare two sides, each the launches of one phone, model by model and unit by unit.

    `model_a` and `model_b` are labels ("name-precision"); left out, the labels that both sides hold are compared, or
    the single ones of each. Where both sides come from the same launches, rounds are compared in pairs. `published`
    maps model names to what others state of them. Raises UsageError where the sides hold nothing to compare, or one
    side mixes phones.
    """
    column_a, column_b = _column(a), _column(b)
    known = published or {}
    made = []
    for label_a, label_b in _matches(a, b, model_a, model_b):
        rows = tuple(_rows(a, b, label_a, label_b))
        if not rows:
            raise UsageError(
                f"{label_a} and {label_b} were measured on no compute unit in common", hint="measure with one plan"
            )
        made.append(
            Comparison(
                label_a=label_a,
                label_b=label_b,
                column_a=column_a,
                column_b=column_b,
                rows=rows,
                published_a=_latencies(known, _name(a, label_a)),
                published_b=_latencies(known, _name(b, label_b)),
            )
        )
    return tuple(made)


def compare_units(runs: Sequence[Measurement], label: str, unit_a: str, unit_b: str) -> Row:
    """One model on two compute units or runtimes of one machine; the row's unit is "unit_b / unit_a".

    With one runtime measured under two names this is the machine's noise: a ratio that should be one. Raises UsageError
    where either was not measured, or the runs mix machines.
    """
    _column(runs)
    a, b = _rounds(runs, label, unit_a), _rounds(runs, label, unit_b)
    for unit, found in ((unit_a, a), (unit_b, b)):
        if not found:
            raise UsageError(f"{label} was not measured on {unit}", hint="name two compute units of the result")
    return _row(f"{unit_b} / {unit_a}", a, b)


def tabulate(
    measurements: Sequence[Measurement], *, published: Mapping[str, Sequence[Published]] | None = None
) -> Table:
    """Every model and compute unit against every phone; published latencies stand in columns of their own.

    Launches on the same phone and system build share a column. A published latency is shown in the row of compute unit
    "all", under its device's name and marked.
    """
    columns = list(dict.fromkeys(m.device.column for m in measurements))
    rows = list(dict.fromkeys((pair.label, pair.unit) for m in measurements for pair in m.pairs))
    cells: list[Cell] = []
    for label, unit in rows:
        for column in columns:
            rounds = _rounds([m for m in measurements if m.device.column == column], label, unit)
            if rounds:
                found = _estimate(rounds)
                cells.append(Cell(label=label, unit=unit, column=column, ms=found.ms, interval=found.interval))
        for stated in _latencies(published or {}, _name(measurements, label)) if unit == "all" else ():
            column = f"{stated.device or 'device not stated'} (published)"
            if column not in columns:
                columns.append(column)
            cells.append(
                Cell(label=label, unit=unit, column=column, ms=stated.value, published=True, source=stated.source)
            )
    return Table(columns=tuple(columns), rows=tuple(rows), cells=tuple(cells))


def _latencies(published: Mapping[str, Sequence[Published]], name: str) -> tuple[Published, ...]:
    return tuple(stated for stated in published.get(name, ()) if stated.metric == "latency_ms")


def _column(side: Sequence[Measurement]) -> str:
    columns = sorted({m.device.column for m in side})
    if len(columns) != 1:
        raise UsageError(
            f"one side holds {len(columns)} phones or systems: {'; '.join(columns)}",
            hint="give each side the results of one phone with one build of its system",
        )
    return columns[0]


def _matches(a: Sequence[Measurement], b: Sequence[Measurement], model_a: str, model_b: str) -> list[tuple[str, str]]:
    labels_a, labels_b = _labels(a), _labels(b)
    if model_a or model_b:
        wanted = (model_a or model_b, model_b or model_a)
        for label, held in zip(wanted, (labels_a, labels_b), strict=True):
            if label not in held:
                raise UsageError(f"{label!r} was not measured", hint=f"choose from {', '.join(held)}")
        return [wanted]
    shared = [label for label in labels_a if label in labels_b]
    if shared and {m.launch_id for m in a} != {m.launch_id for m in b}:
        return [(label, label) for label in shared]
    if len(labels_a) == len(labels_b) == 1:
        return [(labels_a[0], labels_b[0])]
    raise UsageError(
        "it is not clear which models to compare",
        hint=f"--model-a and --model-b name one of each side: {', '.join(labels_a)} against {', '.join(labels_b)}",
    )


def _labels(side: Sequence[Measurement]) -> list[str]:
    return list(dict.fromkeys(pair.label for m in side for pair in m.pairs))


def _name(side: Sequence[Measurement], label: str) -> str:
    return next(pair.model for m in side for pair in m.pairs if pair.label == label)


def _rows(a: Sequence[Measurement], b: Sequence[Measurement], label_a: str, label_b: str) -> Iterator[Row]:
    for unit in dict.fromkeys(pair.unit for m in a for pair in m.pairs):
        rounds_a, rounds_b = _rounds(a, label_a, unit), _rounds(b, label_b, unit)
        if rounds_a and rounds_b:
            yield _row(unit, rounds_a, rounds_b)


# Medians of rounds in ms by (launch, round).
_Rounds = Mapping[tuple[str, int], float]


def _rounds(side: Sequence[Measurement], label: str, unit: str) -> _Rounds:
    found: dict[tuple[str, int], float] = {}
    for measurement in side:
        pair: PairResult | None = measurement.pair(label, unit)
        for r in pair.rounds if pair is not None and pair.status == "measured" else ():
            found[measurement.launch_id, r.index] = median([value / 1e6 for value in r.samples_ns])
    return found


def _row(unit: str, a: _Rounds, b: _Rounds) -> Row:
    paired = set(a) == set(b)
    if paired:
        keys = sorted(a)
        logs = [math.log(b[key] / a[key]) for key in keys]
        ratio = math.exp(median(logs))
        found = bootstrap_median(logs, resamples=_RESAMPLES, confidence_percent=_CONFIDENCE, seed=1)
        interval = Interval(low=math.exp(found.low), high=math.exp(found.high))
    else:
        ratio = median(list(b.values())) / median(list(a.values()))
        interval = _unpaired(a, b)
    verdict, reason = _judge(interval, a, b, paired=paired)
    return Row(
        unit=unit,
        a=_estimate(a),
        b=_estimate(b),
        ratio=ratio,
        ratio_interval=interval,
        paired=paired,
        verdict=verdict,
        reason=reason,
    )


def _judge(interval: Interval, a: _Rounds, b: _Rounds, *, paired: bool) -> tuple[Verdict, str]:
    margin, reason = 0.0, ""
    if not paired and min(_launches(a), _launches(b)) < LAUNCHES_WANTED:
        margin = LAUNCH_MARGIN
        reason = f"fewer than {LAUNCHES_WANTED} launches a side: differences under {margin:.0%} are not told apart"
    if interval.high < 1 - margin:
        return "faster", reason
    if interval.low > 1 + margin:
        return "slower", reason
    return "no evidence", reason or "the interval of the ratio holds 1"


def _launches(rounds: _Rounds) -> int:
    return len({launch for launch, _ in rounds})


def _estimate(rounds: _Rounds) -> Estimate:
    values = list(rounds.values())
    interval = bootstrap_median(values, resamples=_RESAMPLES, confidence_percent=_CONFIDENCE, seed=1)
    return Estimate(ms=median(values), interval=interval, launches=_launches(rounds))


def _unpaired(a: _Rounds, b: _Rounds) -> Interval:
    """The interval of the ratio of medians, launches drawn first and rounds within them."""
    ratios = np.sort(_resampled_medians(b, seed=2) / _resampled_medians(a, seed=1))
    low, high = np.quantile(ratios, [(100 - _CONFIDENCE) / 200, (100 + _CONFIDENCE) / 200])
    return Interval(low=float(low), high=float(high))


def _resampled_medians(rounds: _Rounds, *, seed: int) -> npt.NDArray[np.float64]:
    """Medians of `_RESAMPLES` draws of launches and of rounds within each, float64 of shape (_RESAMPLES,)."""
    launches = [
        np.array([value for (launch, _), value in rounds.items() if launch == wanted])
        for wanted in dict.fromkeys(launch for launch, _ in rounds)
    ]
    size = max(len(values) for values in launches)
    table = np.stack([np.resize(values, size) for values in launches])
    numbers = stream(seed, _RESAMPLES * len(launches) * (size + 1)).reshape(_RESAMPLES, len(launches), size + 1)
    drawn = indices(numbers[:, :, 0], len(launches))
    within = indices(numbers[:, :, 1:], size)
    medians: npt.NDArray[np.float64] = np.median(table[drawn[:, :, None], within].reshape(_RESAMPLES, -1), axis=1)
    return medians
