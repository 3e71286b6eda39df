"""Workflow commands, read back by the rules of GitHub's runner."""

import dataclasses
import re

from swiftdeploy import runs
from swiftdeploy.reporting.annotations import LIMIT, annotation_lines


def read(line):
    """(command, title, message) as actions/runner reads a line: properties first, %25 decoded last."""
    command, title, message = re.fullmatch(r"::(\w+) title=([^:,\r\n]*)::([^\r\n]*)", line).groups()
    for code, char in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        title = title.replace(code, char)
    for code, char in (("%0D", "\r"), ("%0A", "\n"), ("%25", "%")):
        message = message.replace(code, char)
    return command, title, message


def test_failures_come_first_with_fact_and_hint(red):
    found = [read(line) for line in annotation_lines(red)]
    assert [command for command, *_ in found] == ["error"] * 3 + ["warning"]
    assert found[0][1] == "swiftformer_s / swiftformer_s-fp16.mlpackage: budget.size"
    assert found[0][2].startswith("13.250 MB, at most 1.02 times")
    assert found[1][2].startswith("77.06 %, at least 78.00 % (mend what got worse")
    assert found[2][1] == "mobilevitv2_050: load"
    assert found[2][2].endswith("(name the model that it was trained as)")


def test_a_green_run_says_nothing(green):
    assert annotation_lines(green) == ()


def test_hostile_text_stays_in_its_line(hostile):
    for line in annotation_lines(hostile):
        command, _, message = read(line)
        assert command == "error"
        assert "::error::no" in message  # as text: a command counts only at the start of a line
        assert "\x1b" not in message


def test_commas_colons_and_percent_are_escaped(green):
    check = runs.Check(name="a,b:c%2C", subject="", verdict="fail", message="50 %0A", exit_code=6)
    job = dataclasses.replace(green.jobs[0], checks=(check,))
    [line] = annotation_lines(dataclasses.replace(green, jobs=(job,)))
    assert read(line) == ("error", "swiftformer_xs: a,b:c%2C", "50 %0A")


def test_githubs_limit_is_not_passed_in_silence(green):
    check = runs.Check(name="budget.x", subject="", verdict="fail", message="m", exit_code=6)
    job = dataclasses.replace(green.jobs[0], checks=(check,) * 25)
    lines = annotation_lines(dataclasses.replace(green, jobs=(job,)))
    assert len(lines) == LIMIT
    assert read(lines[-1])[2] == "16 more errors: see the summary of this run"
