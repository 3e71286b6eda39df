"""What goes where: results on stdout, progress and errors on stderr, libraries' talk nowhere without -v."""

import json

import pytest

# What torch, coremltools and onnx are known to say while they are imported and at work.
NOISE = (
    "scikit-learn",
    "has not been tested",
    "libcoremlpython",
    "Warning",
    "Running MIL",
    "passes/s",
    "ONNX program",
    "torch.onnx",
)


@pytest.fixture(scope="module")
def loud(command, digits, tmp_path_factory):
    """A Core ML and ONNX export with -v, in a process that imports everything anew."""
    folder = tmp_path_factory.mktemp("loud")
    wanted = ("-m", "swiftformer_digits", "--attention", "token_l2", "-t", "coreml", "--no-verify", "-v")
    return command("export", digits / "swiftformer_digits.pth", *wanted, "-o", "dist", cwd=folder)


def test_stdout_is_one_document(digits_elsewhere):
    bundle, process = digits_elsewhere
    assert process.returncode == 0
    (found,) = json.loads(process.stdout)["bundles"]
    assert found["path"] == str(bundle)
    assert found["manifest"]["model"]["name"] == "swiftformer_digits"
    assert found["recommendation"] is None
    assert set(found["seconds"]) == {"load", "fuse", "convert", "verify", "bundle"}


def test_stderr_is_our_own_progress(digits_elsewhere):
    lines = digits_elsewhere[1].stderr.splitlines()
    assert [line[:2] for line in lines] == ["· "] * len(lines)
    assert lines[-1] == "· writing the bundle"
    for noise in NOISE:
        assert noise not in digits_elsewhere[1].stderr


def test_with_v_libraries_speak_on_stderr(loud):
    assert loud.returncode == 0, loud.stderr
    assert any(noise in loud.stderr for noise in NOISE)  # so their absence above means something
    for noise in NOISE:
        assert noise not in loud.stdout


def test_stdout_is_the_result_alone(loud):
    path, header, row = loud.stdout.splitlines()
    assert path == "dist/swiftformer_digits/swiftformer_digits-fp16.mlpackage"
    assert header.split() == ["artifact", "MB", "ops", "outputs", "stress", "weights", "top-1", "verdict"]
    assert row.split()[:2] == ["coreml", "fp16"]
    assert row.endswith("not checked")


def test_quiet_says_nothing(cli, quick, tmp_path):
    answer = cli(*quick, "-q", "-o", tmp_path / "dist")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.count("\n") == 3


def test_progress_and_conclusions_are_on_stderr(cli, quick, tmp_path):
    answer = cli(*quick, "-o", tmp_path / "dist")
    for line in ("· loading ", "· converting to onnx fp32", "· writing the bundle", "said the user", "fused 2"):
        assert line in answer.err
        assert line not in answer.out


@pytest.mark.parametrize("arguments", [("models",), ("doctor",), ("schema",)])
def test_one_document_each(cli, arguments):
    answer = cli(*arguments, "--json")
    assert (answer.code, answer.err) == (0, "")
    assert answer.document
    assert answer.out == json.dumps(answer.document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def test_inspect_and_verify_give_one_document_each(cli, digits_bundle):
    found = cli("inspect", digits_bundle, "--json")
    assert (found.code, found.err, found.document["kind"]) == (0, "", "bundle")
    checked = cli("verify", digits_bundle, "--json")
    assert checked.code == 0
    (only,) = checked.document["verified"]
    assert (only["files"], len(only["reports"])) == (10, 4)


def test_dry_run_writes_nothing(cli, quick, tmp_path):
    answer = cli(*quick, "--dry-run", "-o", tmp_path / "dist")
    assert answer.code == 0
    assert "as swiftformer_digits → " in answer.out
    assert answer.out.rstrip().endswith("onnx fp32")
    document = cli(*quick, "--dry-run", "-o", tmp_path / "dist", "--json").document
    assert document["plan"][0]["artifacts"] == ["onnx fp32"]
    assert list(tmp_path.iterdir()) == []
