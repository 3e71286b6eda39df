"""Accuracy tables for a terminal of eighty columns."""

from __future__ import annotations

from rich.table import Table

from swiftdeploy import console
from swiftdeploy.cli.render import label
from swiftdeploy.cli.table import ROOMY, table_of
from swiftdeploy.evaluation.recommend import Recommendation
from swiftdeploy.evaluation.report import ORACLE, EvaluationReport, Row
from swiftdeploy.evaluation.statistics import Against, Difference
from swiftdeploy.reporting.text import plural

LEGEND = (
    "95 %: Wilson's interval of top-1; alike: answered as the reference; only: images that only the reference, and only"
    " this one gets right; PSNR: of all scores, and last of the worst image"
)


def table(report: EvaluationReport, *, width: int) -> Table:
    """One row a subject, the reference marked."""
    made = table_of("", "top-1", "95 %", "top-5", "alike", "only", "PSNR dB", width=width)
    for row in report.rows:
        figures = row.figures
        top5 = f"{figures.top5.percent:.2f}" if figures.top5 is not None else "-"
        interval = f"{figures.top1.low:.1f}-{figures.top1.high:.1f}"
        made.add_row(
            subject(row),
            f"{figures.top1.percent:.2f}",
            interval,
            top5,
            *(_against(figures.against, short=width < ROOMY) or ("reference", "", "")),
        )
    return made


def subject(row: Row) -> str:
    """A subject in a word or two."""
    return "oracle fp32" if row.figures.subject == ORACLE else label(row.figures.subject, row.precision)


def _against(found: Against | None, *, short: bool) -> tuple[str, str, str] | None:
    if found is None:
        return None
    drift = found.drift
    if not drift.worst_image:
        psnr = "-"
    elif drift.psnr_db is None or drift.worst_db is None:
        psnr = "equal"
    else:
        psnr = f"{drift.worst_db:.1f}" if short else f"{drift.psnr_db:.1f}, {drift.worst_db:.1f}"
    return f"{found.agreement.percent:.2f}", f"{found.only_reference}, {found.only_subject}", psnr


def alike(report: EvaluationReport) -> str:
    """How many images are not answered alike, in one line."""
    differing = len(report.differences)
    if len(report.rows) == 1:
        return "nothing to compare with: there is one artifact, and no --checkpoint"
    if not differing:
        return "all images are answered alike"
    return f"{plural(differing, 'image')} {'is' if differing == 1 else 'are'} not answered alike"


def difference(report: EvaluationReport, found: Difference) -> str:
    """An image that not all answer alike, in one line: what it shows, then who says what."""
    said: dict[str, list[str]] = {}
    for row in report.rows:
        said.setdefault(class_name(report, found.best[row.figures.subject]), []).append(subject(row))
    answers = "; ".join(f"{name}: {', '.join(who)}" for name, who in said.items())
    return console.plain(f"{found.name} is {class_name(report, found.label)} - {answers}")


def recommendation(found: Recommendation) -> str:
    """What to ship and why, in one line."""
    return f"recommended: {found.artifact}, {found.reason}" if found.artifact else f"no recommendation: {found.reason}"


def class_name(report: EvaluationReport, index: int) -> str:
    """What a class is called."""
    if index < 0:
        return "NaN or Inf"
    return report.class_names[index] if report.class_names else str(index)
