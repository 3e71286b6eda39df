"""junit.xml against the rules of Jenkins' junit-10.xsd, written down by hand, and read back by the standard parser."""

import dataclasses
import re
from xml.etree import ElementTree as ET

import pytest

from swiftdeploy import runs
from swiftdeploy.reporting.junit import junit_xml

# Element -> (required attributes, optional ones, children), as junit-10.xsd has them.
RULES = {
    "testsuites": (set(), {"name", "time", "tests", "failures", "disabled", "errors"}, {"testsuite"}),
    "testsuite": (
        {"name", "tests"},
        {"failures", "errors", "time", "disabled", "skipped", "timestamp", "hostname", "id", "package"},
        {"properties", "testcase", "system-out", "system-err"},
    ),
    "testcase": (
        {"name", "classname"},
        {"assertions", "time", "status"},
        {"skipped", "error", "failure", "system-out", "system-err"},
    ),
    "failure": (set(), {"type", "message"}, set()),
    "error": (set(), {"type", "message"}, set()),
    "skipped": (set(), {"message"}, set()),
    "system-out": (set(), set(), set()),
}


def check(element):
    required, optional, children = RULES[element.tag]
    assert required <= set(element.attrib) <= required | optional, element.attrib
    assert {child.tag for child in element} <= children
    for attribute in {"tests", "failures", "errors", "skipped"} & set(element.attrib):
        assert element.get(attribute).isdigit()
    if "time" in element.attrib:
        assert re.fullmatch(r"\d+\.\d{3}", element.get("time"))
    for child in element:
        check(child)


def suites(report):
    root = ET.fromstring(junit_xml(report))
    assert root.tag == "testsuites"
    check(root)
    return root


@pytest.mark.parametrize("which", ["green", "red", "empty", "hostile"])
def test_it_keeps_to_the_schema(which, request):
    root = suites(request.getfixturevalue(which))
    for kind, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error")):
        assert int(root.get(kind)) == len(root.findall(f".//{tag}"))
    for suite in root:
        assert int(suite.get("skipped")) == len(suite.findall("testcase/skipped"))


def test_the_rules_can_fail():
    with pytest.raises(AssertionError):
        check(ET.fromstring('<testsuites><testsuite name="a" tests="1"><testcase name="x"/></testsuite></testsuites>'))
    with pytest.raises(AssertionError):
        check(ET.fromstring('<testsuites skipped="1"/>'))


def test_one_case_for_each_model_artifact_and_check(red):
    root = suites(red)
    assert [suite.get("name") for suite in root] == [job.name for job in red.jobs]
    for suite, job in zip(root, red.jobs, strict=True):
        assert len(suite) == max(1, len(job.checks))
        names = [(case.get("classname"), case.get("name")) for case in suite]
        assert len(set(names)) == len(names)
    case = root.find(".//testcase[@name='swiftformer_s-fp16.mlpackage budget.size']")
    assert case.get("classname") == "swiftformer_s.swiftformer_s-fp16.mlpackage"
    failure = case.find("failure")
    assert failure.get("type") == "parity or budget"
    assert failure.get("message").startswith("13.250 MB, at most 1.02 times")
    assert case.find("system-out").text.splitlines()[2:] == ["value: 13.250 MB", "limit: 12.521 MB"]


def test_a_failed_job_is_an_error_and_its_artifacts_are_skipped(red):
    suite = suites(red).find("testsuite[@name='mobilevitv2_050']")
    error = suite.find("testcase[@name='export']/error")
    assert error.get("type") == "CheckpointError"
    assert error.text.splitlines()[1] == "name the model that it was trained as"
    assert (suite.get("errors"), suite.get("failures"), suite.get("skipped")) == ("1", "0", "4")
    assert "stage: load" in suite.find("testcase/system-out").text


def test_a_failure_without_a_check_still_has_a_case(red):
    job = dataclasses.replace(red.job("mobilevitv2_050"), checks=())
    assert suites(dataclasses.replace(red, jobs=(job,))).find(".//error") is not None


def test_warnings_pass_and_say_so(red):
    case = suites(red).find(".//testcase[@name='swiftformer_xs-fp16.mlpackage parity.outputs']")
    assert case.find("failure") is None
    assert case.find("system-out").text.startswith("verdict: warn")


def test_a_job_that_never_began_is_skipped(red):
    suite = suites(red).find("testsuite[@name='swiftformer_l3']")
    assert suite.find("testcase/skipped").get("message") == "the run was stopped before this job began"


def test_no_control_character_and_no_markup_gets_through(hostile):
    text = junit_xml(hostile)
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\ufffe\uffff]", text)
    assert "<img" not in text
    case = ET.fromstring(text).find("testsuite/testcase/failure")
    assert '<img src="https://evil.example/x.png" onerror=alert(1)>' in case.get("message")


def test_lone_surrogates_and_noncharacters_are_replaced(green):
    job = dataclasses.replace(green.jobs[0], name="a\ud800b\uffffc", checks=(), failure=None)
    text = junit_xml(dataclasses.replace(green, jobs=(job,)))
    text.encode()
    assert ET.fromstring(text)[0].get("name") == "a\ufffdb\ufffdc"


def test_the_time_of_a_case_is_its_own_stage(green):
    job = dataclasses.replace(
        green.jobs[0],
        checks=(runs.Check(name="export", subject="", verdict="pass", message="m"),
                runs.Check(name="verify", subject="", verdict="pass", message="m")),
    )  # fmt: skip
    suite = suites(dataclasses.replace(green, jobs=(job,)))[0]
    assert [case.get("time") for case in suite] == ["18.400", "5.200"]


def test_cases_of_one_name_are_told_apart(green):
    check = runs.Check(name="budget.latency.max_ms", subject="a", verdict="pass", message="m")
    job = dataclasses.replace(green.jobs[0], checks=(check,) * 3)
    suite = suites(dataclasses.replace(green, jobs=(job,)))[0]
    names = [case.get("name") for case in suite]
    assert names == ["a budget.latency.max_ms", "a budget.latency.max_ms (2)", "a budget.latency.max_ms (3)"]
