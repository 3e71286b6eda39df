"""The driver of coremltools' own tests: what it picks, how it counts, and what makes a run fail.

The runs themselves are started by CI; here one real case goes all the way through, and one is made to disagree.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
NAMES = [f"test_a::one[{k}]" for k in range(50)] + ["test_b::two", "test_c::three[0]", "test_c::three[1]"]


@pytest.fixture(scope="module")
def suite():
    spec = importlib.util.spec_from_file_location("coremltools_suite", BENCHMARKS / "coremltools_suite.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def line(case, outcome, **more):
    return {"case": case, "outcome": outcome, "seconds": 0.5, **more}


def summary(suite, lines, exceptions=(), whole=False, names=None):
    listed = {case: {"reason": "because"} for case in exceptions}
    return suite.summarise(lines, names or [one["case"] for one in lines], listed, whole=whole)


def test_the_sample_is_fixed_by_its_seed_and_takes_every_test_function(suite):
    picked = suite.choose(NAMES, count=5, seed=0)
    assert picked == suite.choose(reversed(NAMES), count=5, seed=0)
    assert {name.partition("[")[0] for name in picked} == {"test_a::one", "test_b::two", "test_c::three"}
    assert len(set(picked)) == 5
    assert any(suite.choose(NAMES, count=5, seed=seed) != picked for seed in range(1, 4))
    assert suite.choose(NAMES, count=999, seed=0) == sorted(NAMES)


def test_only_cases_that_reached_a_prediction_count_for_the_rate(suite):
    lines = [line("a", "agreed"), line("b", "unreached"), line("c", "skipped"), line("d", "error", reason="boom\nat")]
    found = summary(suite, lines)
    assert (found["reached_a_prediction"], found["share_that_agrees"], found["holds"]) == (1, 1.0, True)
    assert found["errors_before_a_prediction"] == {"boom": 1}


def test_an_unlisted_disagreement_fails_the_run_and_a_listed_one_does_not(suite):
    lines = [line("a", "agreed"), line("b[1]", "disagreed", reason="0.5 off")]
    found = summary(suite, lines)
    assert not found["holds"]
    assert found["unlisted_disagreements"] == {"b[1]": "0.5 off"}
    assert found["share_that_agrees"] == 0.5
    for key in ("b[1]", "b[*"):
        listed = summary(suite, lines, [key])
        assert listed["holds"]
        assert listed["listed_exceptions"] == 1
    assert not summary(suite, lines, ["b"])["holds"]  # a key without a star is a whole name


def test_a_listed_case_that_agrees_fails_the_run(suite):
    found = summary(suite, [line("a", "agreed")], ["a"])
    assert not found["holds"]
    assert found["listed_but_agreeing"] == ["a"]


def test_an_exception_that_no_case_has_is_stale_in_a_whole_run_only(suite):
    assert summary(suite, [line("a", "agreed")], ["gone"])["holds"]
    found = summary(suite, [line("a", "agreed")], ["gone"], whole=True)
    assert not found["holds"]
    assert found["listed_but_absent"] == ["gone"]


def test_a_lost_case_and_a_run_without_agreement_fail(suite):
    assert summary(suite, [line("a", "agreed")], names=["a", "b"])["lost"] == ["b"]
    assert not summary(suite, [line("a", "agreed")], names=["a", "b"])["holds"]
    assert not summary(suite, [line("a", "error", reason="")])["holds"]


def test_a_case_that_was_run_again_counts_once_with_its_last_outcome(suite):
    found = summary(suite, [line("a", "disagreed", reason="old"), line("a", "agreed")])
    assert (found["cases"], found["holds"]) == (1, True)


def test_every_exception_has_cases_and_evidence(suite):
    import tomllib

    entries = tomllib.loads((BENCHMARKS / "coremltools_suite_exceptions.toml").read_text()).get("exception", [])
    cases = [case for entry in entries for case in entry["cases"]]
    assert len(cases) == len(set(cases))
    for entry in entries:
        assert set(entry) == {"reason", "evidence", "cases"}
        assert len(entry["evidence"]) > 40
        assert all("*" not in case.removesuffix("*") or "[" in case for case in entry["cases"])


@pytest.mark.slow
def test_a_wrong_kernel_disagrees(tmp_path):
    """A sabotaged kernel must show: the gate compares, it does not just run."""
    (tmp_path / "sitecustomize.py").write_text(
        "from swiftdeploy.mil.kernels import scatter_gather\n"
        "scatter_gather._bounded = lambda indices, sizes, validate=False: (indices * 0).long()\n"
    )
    tests = "coremltools.converters.mil.mil.ops.tests.iOS17.test_scatter_gather"
    what = ["--sample", "1", "--suite", tests, "--select", "TestGatherAlongAxis::test_builder_to_backend_programmatic"]
    command = [sys.executable, BENCHMARKS / "coremltools_suite.py", *what]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False)
    document = json.loads(done.stdout)
    assert (document["disagreed"], document["holds"], done.returncode) == (1, False, 1)
    assert "Not equal to tolerance" in next(iter(document["unlisted_disagreements"].values()))
