"""What went wrong, in which order, and each thing once."""

import dataclasses

from swiftdeploy import runs
from swiftdeploy.reporting.problems import problems


def check(name, code=0, verdict="fail"):
    return runs.Check(name=name, subject="a.onnx", verdict=verdict, message=f"{name} says so", exit_code=code)


def test_failures_before_warnings_and_the_severe_before_the_mild(green):
    mixed = (
        check("parity.stress", verdict="warn"),
        check("budget.size", 6),
        check("integrity", 7),
        check("export", 5),
        check("parity.outputs", verdict="skip"),
    )
    job = dataclasses.replace(green.jobs[0], checks=mixed)
    found = problems(dataclasses.replace(green, jobs=(job,)))
    assert [one.check for one in found] == ["integrity", "budget.size", "export", "parity.stress"]
    assert [one.kind for one in found] == ["artifact integrity", "parity or budget", "conversion", "parity"]
    assert all(one.hint for one in found)
    assert found[0].place == "swiftformer_xs / a.onnx"


def test_a_failed_job_is_told_once_with_its_own_hint(red):
    [one] = [one for one in problems(red) if one.job == "mobilevitv2_050"]
    assert (one.check, one.kind, one.hint) == ("load", "CheckpointError", "name the model that it was trained as")
    assert one.place == "mobilevitv2_050"


def test_an_unknown_exit_code_counts_as_a_bug(green):
    job = dataclasses.replace(green.jobs[0], checks=(check("budget.size", 6), check("budget.new", 99)))
    found = problems(dataclasses.replace(green, jobs=(job,)))
    assert [one.kind for one in found] == ["bug", "parity or budget"]


def test_a_green_run_has_none(green):
    assert problems(green) == ()
