"""A summary for people, in GitHub's Markdown: what failed and why, then the matrix, then what changed.

Nothing of a report is markup: every character that Markdown or HTML could read as such is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from swiftdeploy.errors import EXIT_CODES, ArtifactError
from swiftdeploy.reporting.cells import Cell, cells, closeness
from swiftdeploy.reporting.differences import Difference, differences
from swiftdeploy.reporting.problems import Problem, problems
from swiftdeploy.reporting.text import EXACT, NOTHING, figure, percent, plural, shortened
from swiftdeploy.runs import RunReport

STEP_SUMMARY = "GITHUB_STEP_SUMMARY"
PROBLEMS_SHOWN = 50
ROWS_SHOWN = 400  # GitHub refuses a summary of more than 1 MiB as a whole
_MARKS = {"pass": "✅ pass", "warn": "⚠️ warn", "fail": "❌ fail", "skip": "⏭️ skip"}
_ENTITIES = str.maketrans({char: f"&#{ord(char)};" for char in "&<>|@`*_{}[]()#~\\!$"})


def summary_markdown(report: RunReport) -> str:
    """The whole summary, of a bounded length."""
    parts = [f"## swiftdeploy: {_verdict(report)}", _counts(report)]
    parts += _problems(problems(report))
    parts += _matrix(cells(report))
    parts += _differences([found for job in report.jobs for found in differences(job)], report.baseline)
    versions = ", ".join(f"{escaped(name)} {escaped(version)}" for name, version in sorted(report.tool.items()))
    parts.append(f"<sub>{versions}</sub>")
    return "\n\n".join(parts) + "\n"


def append_summary(report: RunReport, environment: Mapping[str, str]) -> Path | None:
    """The file of $GITHUB_STEP_SUMMARY with the summary at its end; None where the variable is not set.

    Raises ArtifactError where the disk refuses.
    """
    if not environment.get(STEP_SUMMARY):
        return None
    path = Path(environment[STEP_SUMMARY])
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(summary_markdown(report) + "\n")
    except OSError as error:
        raise ArtifactError(
            f"{STEP_SUMMARY} cannot be written: {error.strerror or error}", hint="unset the variable, or mend its path"
        ) from error
    return path


def escaped(text: str, limit: int = 300) -> str:
    """`text` as Markdown that shows it letter by letter, also in a table, without links or mentions."""
    plain = shortened(text, limit).translate(_ENTITIES)
    plain = plain.replace("://", "&#58;//").replace("www.", "www&#46;")
    # Dashes, plus signs and digits with a dot begin lists, equals signs headings, but only at the start of a line.
    return f"&#{ord(plain[0])};{plain[1:]}" if plain[:1] in {"-", "+", "="} else plain


def _verdict(report: RunReport) -> str:
    code = report.totals.exit_code
    return "passed" if code == 0 else f"failed ({EXIT_CODES.get(code, 'bug')}, exit code {code})"


def _counts(report: RunReport) -> str:
    totals = report.totals
    jobs = {"passed": totals.passed, "cached": totals.cached, "failed": totals.failed, "skipped": totals.skipped}
    shown = ", ".join(f"{count} {name}" for name, count in jobs.items() if count)
    checks = ", ".join(f"{count} {name}" for name, count in totals.checks.items() if count)
    return f"{plural(totals.jobs, 'job')}: {shown or 'none'}. Checks: {checks or 'none'}."


def _problems(found: Sequence[Problem]) -> list[str]:
    parts = []
    for title, verdict in (("What failed", "fail"), ("Warnings", "warn")):
        chosen = [problem for problem in found if problem.verdict == verdict]
        if chosen:
            lines = [_problem(problem) for problem in chosen[:PROBLEMS_SHOWN]]
            lines += _rest(len(chosen) - PROBLEMS_SHOWN)
            parts += [f"### {title}", "\n".join(lines)]
    return parts


def _problem(problem: Problem) -> str:
    line = (
        f"- **{escaped(problem.place)}**, {escaped(problem.check)} ({escaped(problem.kind)}): {escaped(problem.fact)}"
    )
    return f"{line}<br>→ {escaped(problem.hint)}" if problem.hint else line


def _rest(count: int) -> list[str]:
    return [f"- and {count} more"] if count > 0 else []


def _matrix(found: Sequence[Cell]) -> list[str]:
    if not found:
        return []
    columns = ("model", "artifact", "verdict", "size", "against baseline", "worst PSNR", "top-1")
    rows = [_row(cell) for cell in found[:ROWS_SHOWN]]
    more = [f"{len(found) - ROWS_SHOWN} more rows are in run.json."] if len(found) > ROWS_SHOWN else []
    return ["### Matrix", _table(columns, rows, right=4), *more]


def _row(cell: Cell) -> tuple[str, ...]:
    start = (escaped(cell.job), escaped(cell.name), _MARKS[cell.verdict])
    if cell.artifact is None:
        return (*start, NOTHING, NOTHING, NOTHING, NOTHING)
    close = closeness(cell.artifact.parity)
    change = NOTHING if cell.before is None else percent(cell.before.bytes, cell.artifact.bytes)
    decibels = EXACT if close.compared and close.psnr_db is None else figure(close.psnr_db, "dB")
    top1 = figure(cell.accuracy.top1 if cell.accuracy else None, "share")
    return (*start, figure(cell.artifact.bytes, "bytes"), change, decibels, top1)


def _differences(found: Sequence[Difference], baseline: str) -> list[str]:
    changed = [difference for difference in found if difference.changed]
    if not found:
        return []
    title = f"### Difference to the baseline {escaped(baseline)}".rstrip()
    if not changed:
        return [title, "Every figure is the baseline's."]
    rows = [
        (
            escaped(one.job),
            escaped(one.artifact),
            escaped(one.figure),
            one.was,
            one.now,
            one.change,
        )
        for one in changed[:ROWS_SHOWN]
    ]
    return [title, _table(("model", "artifact", "figure", "baseline", "now", "change"), rows, right=3)]


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: int) -> str:
    """A table whose last `right` columns are figures."""
    rules = [":---"] * (len(columns) - right) + ["---:"] * right
    return "\n".join("| " + " | ".join(row) + " |" for row in (columns, rules, *rows))
