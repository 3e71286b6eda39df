"""One HTML page of what was measured: self-contained, light and dark, readable on a phone and without a network.

In: checked measurements, comparisons and published figures. Out: text. Phones never share a chart or a column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from swiftdeploy.axis import Axis, number
from swiftdeploy.errors import UsageError
from swiftdeploy.harness.charts import deviation_axis, histogram_path, line_path, sample_axis
from swiftdeploy.harness.compare import Comparison, Table, tabulate
from swiftdeploy.harness.measurement import Measurement, PairResult
from swiftdeploy.harness.recompute import spoiling_facts
from swiftdeploy.harness.statistics import median
from swiftdeploy.spec import Published

TEMPLATE = Path(__file__).parent / "templates/report/report.html.j2"

DRIFT_NOTED = 0.05
_PROCESSORS = ("neuralEngine", "gpu", "cpu")


def report_html(
    measurements: Sequence[Measurement],
    *,
    comparisons: Sequence[Comparison] = (),
    published: Mapping[str, Sequence[Published]] | None = None,
) -> str:
    """The page. `published` maps model names to what others state of them. Raises UsageError for no measurement."""
    if not measurements:
        raise UsageError("there is nothing to report", hint="import at least one result first")
    table = tabulate(measurements, published=published)
    columns = list(dict.fromkeys(m.device.column for m in measurements))
    labels = list(dict.fromkeys(pair.label for m in measurements for pair in m.pairs))
    phones = [
        _phone(column, [m for m in measurements if m.device.column == column], table, labels) for column in columns
    ]
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=True, trim_blocks=True)
    environment.filters["number"] = number
    template = environment.from_string(TEMPLATE.read_text())
    return template.render(phones=phones, labels=labels, comparisons=comparisons)


def notes(measurement: Measurement) -> tuple[str, ...]:
    """What a reader of the figures should know, short of a reason to refuse them."""
    found = []
    for pair in measurement.pairs:
        where = f"{pair.label} on {pair.unit}"
        if pair.status != "measured":
            found.append(f"{where}: {pair.status.replace('_', ' ')} ({pair.reason or 'no reason given'})")
            continue
        if pair.statistics is not None and abs(pair.statistics.drift) > DRIFT_NOTED:
            found.append(f"{where}: drifted by {pair.statistics.drift:+.1%} while it was measured")
        if not all(r.warm_up.settled for r in pair.rounds):
            found.append(f"{where}: latency did not settle in every warm-up")
        if pair.load is not None and not pair.load.output_backings:
            found.append(f"{where}: Core ML took none of our output buffers, so copies are part of the figures")
        found += [f"{where}: parity of {p.output}: {p.verdict}" for p in pair.parity if p.verdict != "pass"]
        model = next(m for m in measurement.plan.models if m.label == pair.label)
        if pair.weights_sha256 and model.weights_sha256 and pair.weights_sha256 != model.weights_sha256:
            found.append(f"{where}: the compiled model's weights are not those of the package")
    return tuple(found)


def _phone(column: str, runs: Sequence[Measurement], table: Table, labels: Sequence[str]) -> dict[str, Any]:
    units = list(dict.fromkeys(pair.unit for m in runs for pair in m.pairs))
    return {
        "column": column,
        "runs": runs,
        "invalid": sorted({reason for m in runs for reason in spoiling_facts(m)}),
        "notes": list(dict.fromkeys(note for m in runs for note in notes(m))),
        "units": [_unit(unit, column, runs, table, labels) for unit in units],
        "placements": [p for label in labels if (p := _placements(label, runs[0])) is not None],
        "pairs": [
            (index, pair)
            for label in labels
            for unit in units
            for index, m in enumerate(runs)
            if (pair := m.pair(label, unit)) is not None
        ],
        "plan": runs[0].plan,
    }


def _unit(unit: str, column: str, runs: Sequence[Measurement], table: Table, labels: Sequence[str]) -> dict[str, Any]:
    measured = {
        label: found
        for label in labels
        if (found := [p for m in runs if (p := m.pair(label, unit)) is not None and p.status == "measured"])
    }
    bars: list[dict[str, Any]] = []
    for index, label in enumerate(labels):
        ours = table.cell(label, unit, column)
        if ours is not None:
            bars.append({"label": label, "colour": index, "cell": ours, "where": ""})
        for other in table.columns:
            cell = table.cell(label, unit, other)
            if cell is not None and cell.published:
                bars.append({"label": label, "colour": index, "cell": cell, "where": other})
    highest = max((b["cell"].interval.high if b["cell"].interval else b["cell"].ms for b in bars), default=1.0)
    axis = Axis(low=0.0, high=highest * 1.02)
    for bar in bars:
        cell = bar["cell"]
        bar["width"] = axis.place(cell.ms)
        if cell.interval is not None:
            bar["low"], bar["high"] = axis.place(cell.interval.low), axis.place(cell.interval.high)
    return {
        "name": unit,
        "bars": bars,
        "spread": _spread(measured, labels) if measured else None,
        "drift": _drift(measured, labels) if measured else None,
    }


def _spread(measured: Mapping[str, Sequence[PairResult]], labels: Sequence[str]) -> dict[str, Any]:
    """Histograms of all samples, one a model, on one axis."""
    samples = {
        label: [ns / 1e6 for pair in pairs for r in pair.rounds for ns in r.samples_ns]
        for label, pairs in measured.items()
    }
    axis = sample_axis(list(samples.values()))
    rows: list[dict[str, Any]] = []
    for label, values in samples.items():
        ordered = sorted(values)
        rows.append(
            {
                "label": label,
                "colour": labels.index(label),
                "path": histogram_path(values, axis),
                "median": axis.place(median(values)),
                "outside": sum(v < axis.low or v > axis.high for v in values),
                "n": len(values),
                "p50": median(values),
                "p99": ordered[min(int(0.99 * len(ordered)), len(ordered) - 1)],
            }
        )
    return {"rows": rows, "ticks": [(axis.place(tick), f"{tick:g}") for tick in axis.ticks()]}


def _drift(measured: Mapping[str, Sequence[PairResult]], labels: Sequence[str]) -> dict[str, Any]:
    """Each round's median against the run's, in percent, over the seconds of the run; one line a launch."""
    lines: list[dict[str, Any]] = []
    for label, pairs in measured.items():
        for pair in pairs:
            middles = [median([float(ns) for ns in r.samples_ns]) for r in pair.rounds]
            middle = median(middles)
            lines.append(
                {
                    "colour": labels.index(label),
                    "label": label,
                    "xs": [r.start_ns / 1e9 for r in pair.rounds],
                    "ys": [100 * (value / middle - 1) for value in middles],
                    "hot": [r.start_ns / 1e9 for r in pair.rounds if r.thermal != "nominal"],
                }
            )
    horizontal = Axis(low=0.0, high=max(max(line["xs"]) for line in lines) or 1.0)
    vertical = deviation_axis([line["ys"] for line in lines])
    return {
        "lines": [{**line, "path": line_path(line["xs"], line["ys"], horizontal, vertical)} for line in lines],
        "hot": sorted({horizontal.place(x) for line in lines for x in line["hot"]}),
        "bound": f"{vertical.high:.3g}",
        "seconds": horizontal.high,
        "ticks": [(horizontal.place(t), f"{t:g}") for t in horizontal.ticks()],
    }


def _placements(label: str, run: Measurement) -> dict[str, Any] | None:
    """Shares of the estimated cost (of the ops where there is none) by processor, for each compute unit."""
    rows: list[dict[str, Any]] = []
    for pair in run.pairs:
        if pair.label != label or not pair.placement:
            continue
        priced = all(op.cost is not None for op in pair.placement)
        weights = [(op.preferred, float(op.cost or 0.0) if priced else 1.0) for op in pair.placement]
        total = sum(weight for _, weight in weights) or 1.0
        shares = [(p, 100 * sum(w for name, w in weights if name == p) / total) for p in _PROCESSORS]
        rows.append(
            {
                "unit": pair.unit,
                "shares": shares,
                "ops": len(pair.placement),
                "elsewhere": _off_the_neural_engine(pair),
                "priced": priced,
            }
        )
    return {"label": label, "rows": rows} if rows else None


def _off_the_neural_engine(pair: PairResult) -> list[str]:
    """Up to ten ops that would not run on the Neural Engine though they might, the costliest first."""
    if pair.unit in ("cpuAndGPU", "cpuOnly"):
        return []
    others = [op for op in pair.placement if op.preferred != "neuralEngine"]
    others.sort(key=lambda op: -(op.cost or 0.0))
    return [f"{op.op} {op.output} ({op.preferred})" for op in others[:10]]
