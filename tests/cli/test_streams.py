"""What goes where: results on stdout, progress and errors on stderr, libraries' talk nowhere without -v.

And when nobody reads it, or it cannot be written: the work is done all the same, and the exit code says how it went.
"""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

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


@pytest.fixture
def damaged(digits_copy):
    """A bundle whose verification is exit code 7, before anything runs."""
    with (digits_copy / "swiftformer_digits-fp32.onnx").open("ab") as stream:
        stream.write(b"x")
    return digits_copy


def redirected(where, *arguments):
    """`swiftdeploy ARGUMENTS WHERE` of a shell; stdout and stderr are what is left of them."""
    line = ["sh", "-c", f'exec "$@" {where}', "sh", sys.executable, "-c", "from swiftdeploy.cli import main; main()"]
    return subprocess.run([*line, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=300)


@contextlib.contextmanager
def nobody():
    """The writing end of a pipe whose reader has gone: `swiftdeploy ... | head` without the race."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


def unheard(*arguments, gone):
    line = [sys.executable, "-c", "from swiftdeploy.cli import main; main()", *map(str, arguments)]
    with nobody() as pipe:
        streams = {name: pipe if name in gone else subprocess.PIPE for name in ("stdout", "stderr")}
        return subprocess.run(line, text=True, check=False, timeout=300, **streams)


@pytest.mark.parametrize("gone", [("stdout",), ("stderr",), ("stdout", "stderr")], ids=" ".join)
@pytest.mark.parametrize(
    ("arguments", "code"),
    [(("models",), 0), (("--help",), 0), (("verify", "nope"), 7), (("verify", "nope", "--json"), 7)],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_a_reader_that_has_gone_changes_no_exit_code(arguments, code, gone):
    done = unheard(*arguments, gone=gone)
    assert done.returncode == code
    assert "Traceback" not in (done.stderr or "")
    assert "cannot be written" not in (done.stderr or "")


@pytest.mark.parametrize("extra", [(), ("--json",)])
def test_a_failure_stays_one_though_its_reader_has_gone(damaged, extra):
    assert unheard("verify", damaged, *extra, gone=("stdout",)).returncode == 7
    assert unheard("verify", damaged, *extra, gone=("stderr",)).returncode == 7


def test_the_work_goes_on_without_a_reader(digits_bundle, tmp_path):
    """Progress is shown before anything is written: to stop there would lose the file."""
    file = tmp_path / "digits.zip"
    assert unheard("pack", digits_bundle, "-o", file, gone=("stdout", "stderr")).returncode == 0
    assert file.stat().st_size > 0


@pytest.mark.parametrize("where", [">&-", "2>&-", ">&- 2>&- <&-"])
@pytest.mark.parametrize(
    ("arguments", "code"),
    [(("models",), 0), (("doctor", "--json"), 0), (("--help",), 0), (("verify", "nope"), 7), (("init",), 2)],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_a_closed_stream_changes_no_exit_code(where, arguments, code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = redirected(where, *arguments)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    if where == ">&-" and code:
        assert [line[:7] for line in done.stderr.splitlines()] == ["error: ", "hint:  "]


# A descriptor that only reads refuses on any system; what a full disk is like, Linux has a device for.
REFUSALS = [f"1<{os.devnull}", *(f">{path}" for path in Path("/dev").glob("full"))]


@pytest.mark.parametrize("where", REFUSALS)
@pytest.mark.parametrize("arguments", [("schema",), ("--help",), ("doctor", "--json")], ids=" ".join)
def test_a_lost_result_is_an_error(where, arguments):
    done = redirected(where, *arguments)
    assert done.returncode == 7
    error, hint = done.stderr.splitlines()
    assert error.startswith("error: stdout cannot be written: ")
    assert hint.startswith("hint:  free space")


@pytest.mark.parametrize("where", REFUSALS)
def test_a_failure_whose_document_is_lost_keeps_its_code(where):
    done = redirected(where, "inspect", "nope", "--json")
    assert done.returncode == 4
    assert done.stderr.startswith("error: stdout cannot be written: ")


@pytest.mark.parametrize("where", [w.replace("1<", "2<").replace(">", "2>") for w in REFUSALS])
def test_progress_that_cannot_be_written_is_no_error(where):
    done = redirected(where, "models")
    assert (done.returncode, done.stderr) == (0, "")
    assert "swiftformer_xs" in done.stdout
