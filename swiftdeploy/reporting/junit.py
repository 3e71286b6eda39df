"""JUnit XML: a suite for each job, a case for each artifact and check, so that any CI service lists them.

The form is the one of Jenkins' schema (junit-10.xsd), which GitLab, GitHub actions and Azure read as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from swiftdeploy.reporting.problems import kind_of, tells_failure
from swiftdeploy.reporting.text import figure, shortened, visible
from swiftdeploy.runs import Check, JobReport, RunReport

NAME = "swiftdeploy"


def junit_xml(report: RunReport) -> str:
    """The document. A warning is a case that passes and says so; a question that was not asked is a skipped one."""
    root = ET.Element("testsuites", name=NAME)
    for job in report.jobs:
        root.append(_suite(job))
    for kind in ("tests", "failures", "errors"):
        root.set(kind, str(sum(int(suite.get(kind, "0")) for suite in root)))
    root.set("time", _seconds(report.totals.seconds))
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _suite(job: JobReport) -> ET.Element:
    cases = [_case(job, check) for check in job.checks]
    if job.failure is not None and not any(tells_failure(check, job) for check in job.checks):
        cases.insert(0, _failed_job(job))
    if not cases:
        cases.append(_unchecked_job(job))
    _number_twins(cases)
    suite = ET.Element("testsuite", name=visible(job.name), tests=str(len(cases)))
    for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(attribute, str(sum(case.find(tag) is not None for case in cases)))
    suite.set("time", _seconds(sum(job.seconds.values())))
    suite.extend(cases)
    return suite


def _case(job: JobReport, check: Check) -> ET.Element:
    if tells_failure(check, job):
        return _failed_job(job)
    case = _new_case(job, check.name, check.subject, seconds=_time_of(job, check))
    message = shortened(check.message)
    if check.verdict == "fail":
        failure = ET.SubElement(case, "failure", type=visible(kind_of(check)), message=message)
        failure.text = visible(check.message)
    elif check.verdict == "skip":
        ET.SubElement(case, "skipped", message=message)
    lines = [f"verdict: {check.verdict}", visible(check.message)]
    lines += [f"value: {figure(check.value, check.unit)}"] if check.value is not None else []
    lines += [f"limit: {figure(check.limit, check.unit)}"] if check.limit is not None else []
    ET.SubElement(case, "system-out").text = "\n".join(lines)
    return case


def _failed_job(job: JobReport) -> ET.Element:
    """An error rather than a failure: nothing was there to be checked."""
    assert job.failure is not None  # noqa: S101 - the callers ask first
    case = _new_case(job, "export", "", seconds=sum(job.seconds.values()))
    fact, hint = visible(job.failure.fact), visible(job.failure.hint)
    error = ET.SubElement(case, "error", type=visible(job.failure.kind), message=shortened(job.failure.fact))
    error.text = f"{fact}\n{hint}"
    stage = f"stage: {visible(job.failure.stage)}\nexit code: {job.failure.exit_code}"
    ET.SubElement(case, "system-out").text = stage
    return case


def _unchecked_job(job: JobReport) -> ET.Element:
    case = _new_case(job, "export", "", seconds=0)
    if job.status == "skipped":
        ET.SubElement(case, "skipped", message="the run was stopped before this job began")
    return case


def _number_twins(cases: Sequence[ET.Element]) -> None:
    """Give cases of one name a number: services that tell cases apart by name would keep the last alone."""
    seen: dict[tuple[str, str], int] = {}
    for case in cases:
        key = (case.get("classname", ""), case.get("name", ""))
        seen[key] = seen.get(key, 0) + 1
        if seen[key] > 1:
            case.set("name", f"{key[1]} ({seen[key]})")


def _new_case(job: JobReport, check: str, subject: str, *, seconds: float) -> ET.Element:
    name = f"{subject} {check}" if subject else check
    place = f"{job.name}.{subject}" if subject else job.name
    return ET.Element("testcase", name=visible(name), classname=visible(place), time=_seconds(seconds))


def _time_of(job: JobReport, check: Check) -> float:
    """The stage's own seconds where one is named as the check is; an export's case carries the whole job's."""
    return sum(job.seconds.values()) if check.name == "export" else job.seconds.get(check.name, 0.0)


def _seconds(value: float) -> str:
    return f"{value:.3f}"
