"""One page of a whole run: self-contained, light and dark, for wide and narrow screens, without scripts or a network.

In: the report. Out: text. Its policy lets the browser load nothing and apply no style but the page's own.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from swiftdeploy.errors import EXIT_CODES
from swiftdeploy.reporting.cells import Cell, cells, closeness, find_accuracy, job_cells
from swiftdeploy.reporting.differences import differences
from swiftdeploy.reporting.pictures import bars, scatter, strip
from swiftdeploy.reporting.placed import placed
from swiftdeploy.reporting.problems import problems
from swiftdeploy.reporting.text import EXACT, NOTHING, figure, percent, plural, replaced, signed
from swiftdeploy.runs import BundleSummary, Check, RunReport

TEMPLATES = Path(__file__).parent / "templates"
HITS_SHOWN = 12


def run_html(report: RunReport) -> str:
    """The page. Raises ArtifactError for a placement record that cannot be read."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_shown,
    )
    environment.filters.update(figure=figure, plural=plural, external=external, by_job=by_job)
    style = (TEMPLATES / "run.css").read_text(encoding="utf-8")
    found = cells(report)
    return environment.get_template("run.html.j2").render(
        report=report,
        meaning=EXIT_CODES.get(report.totals.exit_code, EXIT_CODES[1]),
        style=Markup(style),  # noqa: S704 - our own file
        style_sha256=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        problems=problems(report),
        numbers={job.name: number for number, job in enumerate(report.jobs, 1)},
        matrix=_matrix(report, found),
        parity=_parity(report),
        sizes=_sizes(found),
        accuracy=_accuracy(report),
        fusing=[(job.name, bars(job.summary.ops_before, job.summary.ops_after)) for job in report.jobs if job.summary],
        placement=[(place, strip(place.engine.segments)) for place in placed(report)],
        latency=_latency(report),
        changes=[found for job in report.jobs for found in differences(job)],
        hits_shown=HITS_SHOWN,
    )


def external(source: str) -> str:
    """The address in a source that is one, for a link; empty where it is a name."""
    return source if source.startswith("https://") and " " not in source and source.isprintable() else ""


def by_job(rows: Sequence[Any]) -> list[tuple[str, list[Any]]]:
    """Rows that stand together anyway, with their job's name: jinja's own groupby would sort them by it."""
    return [(job, list(group)) for job, group in groupby(rows, key=_job_of)]


def _job_of(row: Any) -> str:
    return row["job"] if isinstance(row, dict) else row.job


def _shown(value: object) -> object:
    """What an expression of the template puts on the page: text without hidden characters, markup as it is."""
    return replaced(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _matrix(report: RunReport, found: Sequence[Cell]) -> dict[str, Any]:
    """Models down, targets and precisions across; a model has no cell where it was not asked for one."""
    columns = list(dict.fromkeys(cell.column for cell in found))
    rows = []
    for job in report.jobs:
        own = {cell.column: cell for cell in found if cell.job == job.name}
        rows.append((job, [_cell(own.get(column)) for column in columns]))
    return {"columns": columns, "rows": rows}


def _cell(cell: Cell | None) -> dict[str, Any] | None:
    if cell is None:
        return None
    return {
        "verdict": cell.verdict,
        "written": cell.artifact is not None,
        "size": figure(cell.artifact.bytes if cell.artifact else None, "bytes"),
        "closeness": _decibels(cell),
    }


def _decibels(cell: Cell) -> str:
    close = closeness(cell.artifact.parity if cell.artifact else None)
    return EXACT if close.compared and close.psnr_db is None else figure(close.psnr_db, "dB")


def _parity(report: RunReport) -> dict[str, Any]:
    """The parity checks with a leg to a column: a row for each artifact, and one for the fused graph."""
    rows: list[dict[str, Any]] = []
    for job in report.jobs:
        asked = [check for check in job.checks if check.name.startswith("parity.")]
        for subject in dict.fromkeys(check.subject for check in asked):
            own = [check for check in asked if check.subject == subject]
            gate = next((check.limit for check in own if check.limit is not None), None)
            legs = {check.name.removeprefix("parity."): (check.verdict, _measured(check)) for check in own}
            rows.append({"job": job.name, "subject": subject or "fused graph", "gate": gate, "legs": legs})
    return {"legs": list(dict.fromkeys(leg for row in rows for leg in row["legs"])), "rows": rows}


def _measured(check: Check) -> str:
    if check.value is None:
        return NOTHING if check.verdict == "skip" else EXACT
    return f"{check.value:.0f} equal" if check.unit == "tensors" else figure(check.value, check.unit)


def _sizes(found: Sequence[Cell]) -> list[dict[str, Any]]:
    written = [(cell, cell.artifact) for cell in found if cell.artifact is not None]
    largest = max((max(a.bytes, c.before.bytes if c.before else 0) for c, a in written), default=1) or 1
    return [
        {
            "job": cell.job,
            "name": cell.name,
            "bytes": artifact.bytes,
            "before": cell.before.bytes if cell.before else None,
            "change": percent(cell.before.bytes, artifact.bytes) if cell.before else NOTHING,
            "width": round(100 * artifact.bytes / largest, 3),
            "mark": round(100 * cell.before.bytes / largest, 3) if cell.before else None,
        }
        for cell, artifact in written
    ]


def _accuracy(report: RunReport) -> dict[str, Any] | None:
    """Every evaluated artifact, numbered as its mark in the plot is; None where nothing was evaluated."""
    rows: list[dict[str, Any]] = []
    points = []
    for colour, job in enumerate(report.jobs):
        for cell in job_cells(job):
            if cell.accuracy is None or cell.artifact is None:
                continue
            points.append((cell.artifact.bytes / 1e6, 100 * cell.accuracy.top1, colour % 6))
            oracle, before = find_accuracy(job.summary, ""), find_accuracy(job.baseline, cell.name)
            rows.append(
                {
                    "job": job.name,
                    "mark": len(points),
                    "colour": colour % 6,
                    "cell": cell,
                    "top1": cell.accuracy.top1,
                    "top5": cell.accuracy.top5,
                    "images": cell.accuracy.images,
                    "oracle": oracle.top1 if oracle else None,
                    "change": signed(cell.accuracy.top1 - before.top1, "share") if before else NOTHING,
                }
            )
    return {"rows": rows, "plot": scatter(points)} if rows else None


def _latency(report: RunReport) -> list[dict[str, Any]]:
    rows = []
    for job in report.jobs:
        before = _medians(job.baseline)
        for time in job.summary.latency if job.summary else ():
            old = before.get((time.artifact, time.device, time.unit))
            change = percent(old, time.median_ms) if old is not None else NOTHING
            rows.append({"job": job.name, "time": time, "before": old, "change": change})
    return rows


def _medians(summary: BundleSummary | None) -> dict[tuple[str, str, str], float]:
    return {(t.artifact, t.device, t.unit): t.median_ms for t in summary.latency} if summary else {}
