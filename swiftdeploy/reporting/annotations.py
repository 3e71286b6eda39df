"""GitHub annotations: one workflow command a problem, escaped as GitHub's runner reads them back."""

from __future__ import annotations

from swiftdeploy.reporting.problems import Problem, problems
from swiftdeploy.reporting.text import plural, shortened
from swiftdeploy.runs import RunReport

LIMIT = 10  # GitHub shows ten errors and ten warnings of a step, and drops the rest without a word


def annotation_lines(report: RunReport) -> tuple[str, ...]:
    """Lines for a step's output, errors first. Where there are too many, the last says how many it stands for."""
    found = problems(report)
    errors = [problem for problem in found if problem.verdict == "fail"]
    warnings = [problem for problem in found if problem.verdict == "warn"]
    return (*_commands("error", errors), *_commands("warning", warnings))


def _commands(command: str, found: list[Problem]) -> list[str]:
    if len(found) <= LIMIT:
        return [_command(command, problem) for problem in found]
    rest = f"{plural(len(found) - LIMIT + 1, f'more {command}')}: see the summary of this run"
    return [*(_command(command, problem) for problem in found[: LIMIT - 1]), f"::{command} title=swiftdeploy::{rest}"]


def _command(command: str, problem: Problem) -> str:
    title = shortened(f"{problem.place}: {problem.check}", 120)
    message = shortened(f"{problem.fact} ({problem.hint})" if problem.hint else problem.fact, 900)
    return f"::{command} title={_property(title)}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
