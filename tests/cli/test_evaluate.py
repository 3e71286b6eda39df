"""`swiftdeploy evaluate` at the terminal: what it prints, what it writes, how it fails, and Ctrl-C."""

import dataclasses
import json
import os
import signal
import subprocess
import sys

import pytest
import torch

from swiftdeploy.cli import accuracy
from swiftdeploy.evaluation.recommend import Recommendation
from swiftdeploy.evaluation.report import EvaluationReport
from swiftdeploy.evaluation.statistics import Difference
from swiftdeploy.spec import from_plain

ARTIFACTS = ["coreml fp16", "coreml fp32", "onnx fp16", "onnx fp32"]


@pytest.fixture
def wanted(digits_bundle, digits):
    """Ten held-out digits, with the oracle."""
    folder = ("evaluate", digits_bundle, "--images", digits / "images", "--limit", "10")
    return (*folder, "--checkpoint", digits / "swiftformer_digits.pth")


@pytest.fixture(scope="module")
def document(digits_bundle, digits, command):
    """The JSON document of ten digits without the oracle, from a process of its own."""
    done = command("evaluate", digits_bundle, "--images", digits / "images", "--limit", "10", "--json", "-q")
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


@pytest.mark.parametrize("columns", [60, 80])
def test_the_table_fits(cli, wanted, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    answer = cli(*wanted)
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    assert max(map(len, lines)) <= columns
    assert lines[0] == "10 images of 360, seed 0, 10 classes"
    alike = lines.index("all images are answered alike")
    assert [line[:11] for line in lines[2:alike]] == ["oracle fp32", *(a.ljust(11) for a in ARTIFACTS)]
    assert lines[2].split()[2:5] == ["100.00", "72.2-100.0", "100.00"]
    assert "reference" in lines[2]
    assert not any("…" in line for line in lines)
    assert lines[alike + 1].startswith("recommended: swiftformer_digits-fp16.mlpackage,")
    assert "0 is 0, 9 is 9" in answer.err
    assert "evaluating: " in answer.err


def test_without_a_checkpoint_it_says_so(cli, wanted):
    answer = cli(*wanted[:-2])
    assert answer.code == 0
    assert "no --checkpoint: compared with swiftformer_digits-fp32.onnx" in answer.err
    assert "not with PyTorch" in answer.err
    assert "oracle" not in answer.out


def test_the_document_is_a_report_of_schema_1(document):
    report = from_plain(EvaluationReport, document)
    assert (report.schema, report.images, report.reference) == (1, 10, "swiftformer_digits-fp32.onnx")
    assert [row.figures.top1.count for row in report.rows] == [10] * 4
    assert "/" not in report.bundle


def test_output_is_the_document(cli, wanted, tmp_path):
    (tmp_path / "out").mkdir()
    answer = cli(*wanted, "--json", "-o", tmp_path / "out" / "report.json")
    assert answer.code == 0
    assert (tmp_path / "out" / "report.json").read_text() == answer.out
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["report.json"]
    assert (tmp_path / "out" / "report.json").stat().st_mode & 0o444 == 0o444 & ~umask()


def umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_one_artifact_is_recommended(cli, wanted, document):
    said = " ".join(cli(*wanted).out.split())
    assert "recommended: swiftformer_digits-fp16.mlpackage, the smallest of 2 Core ML artifacts within " in said
    assert said.endswith("one image of 10 is 10.0 points, so that more of them would say more")
    found = document["recommendation"]
    assert (found["artifact"], found["tolerance"]) == ("swiftformer_digits-fp16.mlpackage", 0.5)
    none = Recommendation(artifact="", reason="none of 2 is close", tolerance=0.5)
    assert accuracy.recommendation(none) == "no recommendation: none of 2 is close"


def test_a_broken_budget_is_exit_6_after_the_table(cli, wanted):
    answer = cli(*wanted, "--min-top1", "100.5")
    assert answer.code == 6
    assert "coreml fp16" in answer.out
    assert "error: top-1 under 100.5 %: swiftformer_digits-fp16.mlpackage, " in answer.err
    held = cli(*wanted, "--min-top1", "100", "--max-top1-drop", "0")
    assert held.code == 0, held.err


def test_a_broken_budget_is_one_document(cli, wanted, tmp_path):
    answer = cli(*wanted, "--max-top1-drop", "-1", "--json", "-o", tmp_path / "report.json")
    assert answer.code == 6
    error = answer.document["error"]
    assert (error["kind"], error["exit_code"]) == ("BudgetError", 6)
    assert "a loss of top-1 over -1 points" in error["fact"]
    assert answer.document["budgets"][0]["broken"] == [f"swiftformer_digits-{a}" for a in suffixes()]
    assert json.loads((tmp_path / "report.json").read_text()) == answer.document


def suffixes():
    return ["fp16.mlpackage", "fp32.mlpackage", "fp16.onnx", "fp32.onnx"]


def test_a_dry_run_checks_and_writes_nothing(cli, wanted, tmp_path):
    answer = cli(*wanted, "--dry-run", "--resume", tmp_path / "j", "-o", tmp_path / "report.json")
    assert answer.code == 0
    assert answer.out.startswith("10 images of 10 classes through swiftformer_digits-fp16.mlpackage, ")
    assert list(tmp_path.iterdir()) == []
    assert cli(*wanted, "--dry-run", "--json").document["plan"]["reference"] == "oracle"
    assert cli(*wanted, "--dry-run", "--labels", "nothing.txt").code == 2


def other_checkpoint(digits, tmp_path):
    state = torch.load(digits / "swiftformer_digits.pth", weights_only=True)
    state["model"]["head.weight"] += 1
    torch.save(state, tmp_path / "other.pth")
    return tmp_path / "other.pth"


def test_errors_have_their_codes(cli, wanted, digits, digits_copy, tmp_path):
    bundle, images = wanted[1], wanted[3]
    other = other_checkpoint(digits, tmp_path)
    (digits_copy / "labels.txt").write_text("x")
    for code, arguments, fact in (
        (2, (bundle, "--images", tmp_path / "none"), "is no folder"),
        (2, (bundle, "--images", tmp_path), "has 1 class folders, the model 10 classes"),
        (2, (bundle, "--images", images, "--labels", "imagenet"), "1000 labels, the model has 10 classes"),
        (2, (bundle, "--images", images, "-o", tmp_path / "no" / "x.json"), "cannot be written"),
        (4, (bundle, "--images", images, "--checkpoint", other), "is not the bundle's checkpoint"),
        (4, (bundle, "--images", images, "--checkpoint", tmp_path / "none.pth"), "none.pth"),
        (7, (digits_copy, "--images", images), "unexpected labels.txt"),
        (7, (tmp_path / "none", "--images", images), "is no folder"),
    ):
        answer = cli("evaluate", *arguments, "--json")
        assert answer.code == code, (fact, answer)
        assert fact in answer.document["error"]["fact"]
    assert cli("evaluate", bundle).code == 2


def test_a_scheduler_that_is_not_there(cli, wanted, monkeypatch):
    monkeypatch.setattr("swiftdeploy.scheduler.CONNECT_SECONDS", 0.5)
    answer = cli(*wanted, "--scheduler", "tcp://127.0.0.1:1")
    assert answer.code == 8
    assert "no scheduler answers" in answer.err


def test_ctrl_c_keeps_what_was_answered(digits_bundle, digits, command, tmp_path):
    journal = tmp_path / "answers.jsonl"
    wanted = ("evaluate", digits_bundle, "--images", digits / "images", "--resume", journal, "-j", 2)
    line = [sys.executable, "-u", "-c", "from swiftdeploy.cli import main; main()", *map(str, wanted)]
    with subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        seen = ""
        for text in process.stderr:
            seen += text
            if "evaluating: " in text:
                break
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to every process of the group
        out, err = process.communicate(timeout=120)
    assert process.returncode == 130, seen + err
    assert out == ""
    assert "error: interrupted" in err
    assert "Traceback" not in seen + err
    answered = len(journal.read_text().splitlines()) - 1
    assert 0 < answered < 360
    assert [path.name for path in tmp_path.iterdir()] == ["answers.jsonl"]
    # The rest need not be run here: that it goes on from there is what the note says.
    refused = command(*wanted, "--limit", "10")
    assert refused.returncode == 2
    assert "it differs in images" in refused.stderr


def test_a_lone_artifact_is_compared_with_nothing(cli, export_to, digits):
    made = export_to(targets=("onnx",), precisions=("fp32",))
    answer = cli("evaluate", made.bundle, "--images", digits / "images", "--limit", "1")
    lines = answer.out.splitlines()
    assert lines[0] == "1 image of 360, seed 0, 10 classes"
    assert lines[3] == "nothing to compare with: there is one artifact, and no --checkpoint"


@pytest.mark.parametrize(("count", "said"), [(1, "1 image is not answered alike"), (2, "2 images are not")])
def test_how_many_are_not_answered_alike(document, count, said):
    report = from_plain(EvaluationReport, document)
    best = {row.figures.subject: 3 for row in report.rows}
    differing = (Difference(name="3/x.png", label=3, best=best),) * count
    assert accuracy.alike(dataclasses.replace(report, differences=differing)).startswith(said)


def test_images_that_are_not_answered_alike_are_told_in_one_line(document):
    report = from_plain(EvaluationReport, document)
    best = {row.figures.subject: 3 for row in report.rows} | {"swiftformer_digits-fp16.onnx": 5}
    told = accuracy.difference(report, Difference(name="3/[x].png", label=3, best=best))
    assert told == r"3/\[x].png is 3 - 3: coreml fp16, coreml fp32, onnx fp32; 5: onnx fp16"
    nameless = dataclasses.replace(report, class_names=())
    lost = Difference(name="a", label=1, best={**best, "swiftformer_digits-fp16.onnx": -1})
    assert accuracy.difference(nameless, lost).endswith("NaN or Inf: onnx fp16")


def test_preprocessing_parity(cli, digits_bundle, digits):
    checkpoint = ("--checkpoint", digits / "swiftformer_digits.pth")
    answer = cli("verify", digits_bundle, *checkpoint, "--preprocessing")
    assert answer.code == 0, answer.err
    assert [line.split()[2] for line in answer.out.splitlines()[1:5]] == ["preprocessing"] * 4
    assert cli("verify", digits_bundle, "--preprocessing").code == 2
