"""`inspect --placement` and `--cost` on a screen and as a document."""

import re

import pytest

PACKAGE, MODEL = "swiftformer_digits-fp16.mlpackage", "swiftformer_digits-fp16.onnx"


@pytest.fixture(params=[60, 80, 140])
def columns(request, cli, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(request.param))
    return request.param


@pytest.mark.parametrize("name", [PACKAGE, MODEL])
def test_it_fits_and_says_that_it_is_a_prediction(cli, digits_bundle, columns, name):
    answer = cli("inspect", digits_bundle / name, "--placement", "--cost")
    assert answer.code == 0, answer.err
    assert max(map(len, answer.out.splitlines())) <= columns
    assert "only a device says where an op runs" in answer.err
    assert "runs on" not in answer.out


def test_findings_are_readable(cli, digits_bundle):
    lines = cli("inspect", digits_bundle / PACKAGE, "--placement").out.splitlines()
    assert lines[0] == PACKAGE
    assert lines[1] == "Neural Engine, predicted: risky (ops: 120 eligible, 13 risky, 0 ineligible)"
    at = lines.index("warning ane-fp16-square (12)")
    finding = " ".join(line.strip() for line in lines[at : at + 8])
    assert "do: divide by the largest magnitude first" in finding
    assert "reported: coremltools" in finding
    assert finding.count("it is reduce_l2_norm") == 1
    assert "10 of 26 segments; -v shows all" in lines
    whole = cli("inspect", digits_bundle / PACKAGE, "--placement", "-v").out
    assert " ".join(whole.split()).count("it is reduce_l2_norm") == 12
    assert not re.search(r"-v shows all", whole)


def test_providers_are_readable(cli, digits_bundle):
    out = cli("inspect", digits_bundle / MODEL, "--placement").out
    assert "ONNX Runtime CoreMLExecutionProvider, ML Program: 121 of 133 nodes, 9 partitions" in out
    assert "  ReduceL2: not listed (12)" in out


def test_cost_is_readable(cli, digits_bundle):
    out = cli("inspect", digits_bundle / PACKAGE, "--cost").out
    assert re.search(r"^conv +53 +1\.268 +670\.4 ", out, re.MULTILINE)
    assert re.search(r"^total +133 +1\.269 +672\.4 ", out, re.MULTILINE)
    assert "ane-" not in out
    assert "10 of 54 ops with MACs; -v shows all" in out
    whole = cli("inspect", digits_bundle / PACKAGE, "--cost", "-v").out
    assert len(whole.splitlines()) > 133


def test_a_bundle_as_one_document(cli, digits_bundle):
    found = cli("inspect", digits_bundle, "--placement", "--cost", "--json").document
    assert [record["artifact"] for record in found["placement"]] == [part["artifact"] for part in found["cost"]]
    assert len(found["placement"]) == 4
    for record, part in zip(found["placement"], found["cost"], strict=True):
        assert record["cost"] == part["total"]
        assert sum(op["cost"]["macs"] for op in part["ops"]) == part["total"]["macs"]
    engine = found["placement"][0]["neural_engine"]
    assert engine["verdict"] == "risky"
    for finding in engine["findings"]:
        assert {"rule", "severity", "says", "source", "confidence", "remedy", "hits"} <= set(finding)


def test_each_asks_for_its_own_part(cli, digits_bundle):
    assert set(cli("inspect", digits_bundle / MODEL, "--placement", "--json").document) == {"placement"}
    assert set(cli("inspect", digits_bundle / MODEL, "--cost", "--json").document) == {"cost"}


def test_a_checkpoint_has_no_program(cli, digits):
    answer = cli("inspect", digits / "swiftformer_digits.pth", "--placement")
    assert (answer.code, answer.out) == (2, "")
    assert "holds no program to judge" in answer.err


def test_a_hostile_name_does_not_steer_the_terminal(cli, digits_bundle, tmp_path):
    path = tmp_path / "a[bold]\x1b[2J.onnx"
    path.write_bytes((digits_bundle / MODEL).read_bytes())
    answer = cli("inspect", path, "--placement", "--cost")
    assert answer.code == 0, answer.err
    assert "\x1b" not in answer.out
    assert answer.out.splitlines()[0] == r"a[bold]\x1b[2J.onnx"


def test_to_run_and_to_judge_are_two_questions(cli, digits_bundle):
    answer = cli("inspect", digits_bundle / PACKAGE, "--run", "--cost")
    assert (answer.code, answer.out) == (2, "")
    assert "ask for one of them" in answer.err
