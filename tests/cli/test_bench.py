"""`swiftdeploy bench`: what it prints and writes; never a time."""

import json
import os

import pytest

from swiftdeploy import console
from swiftdeploy.cli.app import run
from swiftdeploy.harness.results import read_result

ARTIFACTS = [f"swiftformer_digits-{p}.{kind}" for kind in ("mlpackage", "onnx") for p in ("fp16", "fp32")]
FEW = ("--rounds", "2", "--predictions", "2", "--threads", "1")


@pytest.fixture
def bench(capsys, monkeypatch):
    """bench(*words) -> (exit code, stdout, stderr), on a terminal of eighty columns."""
    monkeypatch.setenv("COLUMNS", "80")

    def call(*words):
        capsys.readouterr()  # what fixtures said
        code = run(["bench", *map(str, words)])
        streams = capsys.readouterr()
        return code, streams.out, streams.err

    yield call
    console.configure(verbosity=0, color=True)


def test_every_artifact_with_its_runtime_and_the_noise(bench, digits_bundle):
    code, out, err = bench(digits_bundle, *FEW)
    assert code == 0
    for name in ARTIFACTS:
        assert name in out
    assert out.count("reference runtime") == 2
    assert out.count("ONNX Runtime") == 2
    assert "noise: one artifact measured twice" in out
    assert "say nothing of a phone" in err
    table = [line for line in out.splitlines() if "Runtime" in line or "runtime" in line]
    assert max(map(len, table)) <= 80


def test_one_document(bench, digits_bundle, tmp_path):
    code, out, err = bench(digits_bundle, *FEW, "--json", "-q", "-o", tmp_path / "host.json")
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert [row["artifact"] for row in document["artifacts"]] == ARTIFACTS
    assert all(row["statistics"]["n"] == 4 for row in document["artifacts"])
    assert all(row["noise"]["paired"] for row in document["artifacts"])
    assert "phone" in document["note"]
    assert read_result(tmp_path / "host.json").device.kind == "host"


def test_failures_have_their_exit_codes(bench, digits_copy, tmp_path):
    assert bench(tmp_path)[0] == 7
    assert bench(digits_copy, "--rounds", "0")[0] == 2
    assert bench(digits_copy, "--threads", "-1")[0] == 2
    (digits_copy / "extra.txt").write_text("x")
    code, out, _ = bench(digits_copy, "--json", "-q")
    assert code == 7
    assert "extra.txt" in json.loads(out)["error"]["fact"]


@pytest.mark.parametrize(
    ("place", "code", "fact"),
    [
        ("nodir/x.json", 2, "nodir is no folder"),
        ("file/x.json", 2, "file is no folder"),
        ("folder", 2, "it is a folder"),
        ("locked/x.json", 7, "locked is read-only"),
        ("locked.json", 7, "locked.json is read-only"),
    ],
)
def test_a_result_without_a_place_is_found_before_measuring(
    bench, digits_bundle, tmp_path, monkeypatch, place, code, fact
):
    for name in ("folder", "locked"):
        (tmp_path / name).mkdir()
    for name in ("file", "locked.json"):
        (tmp_path / name).touch()
    may = os.access  # root may write anywhere
    monkeypatch.setattr(
        os, "access", lambda path, mode: may(path, mode) and (mode, "locked" in str(path)) != (os.W_OK, True)
    )
    monkeypatch.setattr("swiftdeploy.pipeline.bench.bench", None)
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    found, out, err = bench(digits_bundle, "-o", place)
    assert (found, out) == (code, "")
    assert fact in err
    assert "-o FILE" in err
    assert sorted(tmp_path.iterdir()) == before


def test_help_has_an_example(command):
    done = command("bench", "--help")
    assert done.returncode == 0
    assert "Example: swiftdeploy bench" in done.stdout
