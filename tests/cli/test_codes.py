"""Every exit code provoked by real bad input: one line of fact, one of hint, and the disk as it was."""

import contextlib
import importlib.metadata
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch

from swiftdeploy.errors import EXIT_CODES

EXPORT = ("-m", "swiftformer_digits", "--attention", "token_l2", "-t", "onnx", "-p", "fp32")


class Hostile:
    """Unpickling it would make a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (self.path,))


@pytest.fixture
def refused(cli, tmp_path):
    """refused(code, *arguments) checks the form of a failure on both roads; the fact comes back."""

    def check(code, *arguments):
        before = tree(tmp_path)
        plain, document = cli(*arguments), cli(*arguments, "--json")
        assert plain.code == document.code == code, plain.err
        assert plain.out == ""
        lines = [line for line in plain.err.splitlines() if not line.startswith(("· ", "✓ "))]
        assert [line[:7] for line in lines] == ["error: ", "hint:  "], plain.err
        error = document.document["error"]
        assert (error["exit_code"], error["meaning"]) == (code, EXIT_CODES[code])
        assert len(error["hint"]) > 3
        assert tree(tmp_path) == before
        return error["fact"], error["hint"]

    return check


def tree(folder):
    return sorted(str(path) for path in folder.rglob("*"))


@pytest.fixture
def out(tmp_path):
    return ("-o", tmp_path / "dist")


def test_0(cli, quick, tmp_path):
    answer = cli(*quick, "-o", tmp_path / "dist")
    assert answer.code == 0
    assert answer.out.splitlines()[0] == f"{tmp_path}/dist/swiftformer_digits/swiftformer_digits-fp32.onnx"


@pytest.mark.parametrize(
    ("extra", "fact"),
    [
        (("-t", "tflite"), "'tflite' is none of coreml, onnx"),
        (("-p", "int5"), "precision 'int5' is not known"),
        (("-p", "int4"), "precision 'int4' is for coreml, which is no --target here"),
        (("--min-ios", "14"), "--min-ios 14 is not known"),
        (("--opset", "21"), "--opset 21 is not known"),
        (("--batch", "0"), "batch 0 is not positive"),
        (("--size", "big"), "--size 'big' is no size"),
        (("--size", "16"), "under 32 px"),
        (("--input", "video"), "video"),
        (("--input", "image", "--batch", "2"), "holds one image"),
        (("--untrained", "1"), "contradict"),
    ],
)
def test_2_options(refused, digits, out, extra, fact):
    found, _ = refused(2, "export", digits / "swiftformer_digits.pth", *EXPORT, *out, *extra)
    assert fact in found


def test_2_no_model(refused, digits, out):
    assert "no model is named" in refused(2, "export", digits / "swiftformer_digits.pth", *out)[0]


def test_2_nothing_to_do(refused, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "no checkpoint is given" in refused(2, "export")[0]
    assert "nothing to verify" in refused(2, "verify")[0]


def test_2_destination_exists(refused, digits, digits_bundle, tmp_path):
    shutil.copytree(digits_bundle, tmp_path / "dist" / "swiftformer_digits")
    fact, hint = refused(2, "export", digits / "swiftformer_digits.pth", *EXPORT, "-o", tmp_path / "dist")
    assert "exists already" in fact
    assert "--force" in hint


def test_2_destination_is_something_else(refused, digits, tmp_path):
    (tmp_path / "dist" / "swiftformer_digits").mkdir(parents=True)
    (tmp_path / "dist" / "swiftformer_digits" / "thesis.tex").touch()
    fact, _ = refused(2, "export", digits / "swiftformer_digits.pth", *EXPORT, "-o", tmp_path / "dist", "--force")
    assert "no bundle: it holds thesis.tex" in fact


@pytest.mark.parametrize(
    ("text", "fact", "hint"),
    [
        ('[models.a]\nchekpoint = "x.pth"', "unknown key 'chekpoint'", "did you mean 'checkpoint'"),
        ('outptu = "dist"', "unknown key 'outptu'", "did you mean 'output'"),
        ("[models.a\n", "line 1", "fix the TOML"),
        ("[models.a]\nbatch = 2", "needs checkpoint or untrained", "config"),
        ('[models.a]\nuntrained = 0\ntargets = ["tflite"]', "'tflite' is none of", "coreml"),
        ("[models.a]\nuntrained = 0\nopset = 3", "toml:3: models.a.opset: 3 is none of 17", "17"),
        ('[models."../a"]\nuntrained = 0', "cannot be '../a'", "letters"),
        ("", "names no model", "[models.NAME]"),
        ("a = " + "[" * 5000, "toml", ""),
    ],
)
def test_3(refused, tmp_path, monkeypatch, text, fact, hint):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "swiftdeploy.toml").write_text(text)
    for command in ("export", "verify"):
        found, advice = refused(3, command)
        assert fact in found
        assert hint in advice


def test_4_truncated_file(refused, digits, tmp_path, out):
    content = (digits / "swiftformer_digits.pth").read_bytes()
    for size in (0, 10, 5000, len(content) - 1):
        (tmp_path / "half.pth").write_bytes(content[:size])
        assert "half.pth" in refused(4, "export", tmp_path / "half.pth", *EXPORT, *out)[0]


def test_4_a_pickle_with_code_in_it(refused, tmp_path, out):
    proof = tmp_path / "executed"
    torch.save({"model": Hostile(str(proof))}, tmp_path / "zip.pth")
    (tmp_path / "legacy.pth").write_bytes(pickle.dumps({"weight": Hostile(str(proof))}))
    for name in ("zip.pth", "legacy.pth"):
        refused(4, "export", tmp_path / name, *EXPORT, *out)
        refused(4, "inspect", tmp_path / name)
        assert not proof.exists()
    pickle.loads((tmp_path / "legacy.pth").read_bytes())
    assert proof.exists()  # the trap was armed


def test_4_wrong_model(refused, digits, out):
    fact, _ = refused(4, "export", digits / "swiftformer_digits.pth", "-m", "swiftformer_xs", *EXPORT[2:], *out)
    assert "swiftformer" in fact


def test_4_nan(refused, digits, tmp_path, out):
    state = torch.load(digits / "swiftformer_digits.pth", weights_only=True)["model"]
    state["head.weight"][0, 0] = float("nan")
    torch.save(state, tmp_path / "nan.pth")
    fact, _ = refused(4, "export", tmp_path / "nan.pth", *EXPORT, *out)
    assert "head.weight" in fact


def test_4_model_names(refused, digits, out):
    fact, hint = refused(4, "export", digits / "swiftformer_digits.pth", "-m", "swiftfromer_xs", *out)
    assert "no model is named 'swiftfromer_xs'" in fact
    assert "did you mean swiftformer_xs" in hint
    assert "does not import" in refused(4, "export", digits / "swiftformer_digits.pth", "-m", "no.such:thing", *out)[0]


def test_4_no_such_file(refused, tmp_path, out):
    for path in (tmp_path / "nothing.pth", tmp_path):
        refused(4, "export", path, *EXPORT, *out)
    refused(4, "inspect", tmp_path / "nothing.pth")


def test_4_unreadable_folder(command, ordinary, tmp_path):
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "model.safetensors").write_bytes(b"x")
    weights.chmod(0o000)
    done = command("export", weights, "-m", "swiftformer_digits", "-o", tmp_path / "new", wrapped=ordinary)
    assert done.returncode == 4, done.stderr
    assert "Permission denied" in done.stderr
    assert "Traceback" not in done.stderr
    assert os.listdir(tmp_path) == ["weights"]  # noqa: PTH208


NET = """
import torch

class Odd(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3)
    def forward(self, x):
        if x.sum() > 3:
            return self.conv(x)
        return self.conv(x * 2)

def odd():
    return Odd()
"""


def test_5_a_graph_that_cannot_be_captured(refused, tmp_path, monkeypatch, out):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "oddnets.py").write_text(NET)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    fact, _ = refused(5, "export", "-m", "oddnets:odd", "--untrained", "0", "--size", "32", *out)
    assert "captur" in fact or "convert" in fact


def test_6_numbers(refused, digits, digits_bundle):
    checkpoint = digits / "swiftformer_digits.pth"
    fact, _ = refused(6, "verify", digits_bundle, "--checkpoint", checkpoint, "--attention", "sum")
    assert "fails leg 'outputs'" in fact


def test_7_bytes(refused, digits_copy):
    (digits_copy / "golden" / "outputs.safetensors").write_bytes(b"")
    for command in ("verify", "inspect"):
        assert "changed golden/outputs.safetensors" in refused(7, command, digits_copy)[0]


def test_7_no_bundle(refused, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.onnx").write_text("no")
    assert "manifest.json" in refused(7, "verify", tmp_path / "empty")[0]
    refused(7, "verify", tmp_path / "x.onnx")
    refused(7, "inspect", tmp_path / "x.onnx")


@pytest.mark.parametrize("line", ["verify", "inspect", "inspect --placement", "inspect --cost", "inspect --run"])
def test_7_nothing_is_there(refused, tmp_path, line):
    for name in ("x.mlpackage", "x.onnx", *(("bundle",) if line != "inspect" else ())):  # that may be a checkpoint
        assert "does not exist" in refused(7, *line.split(), tmp_path / name)[0]


@pytest.mark.parametrize("command", ["verify", "inspect", "inspect --run", "inspect --cost", "pack", "bench"])
def test_7_the_system_refuses_a_name(refused, tmp_path, command):
    fact, hint = refused(7, *command.split(), tmp_path / ("x" * 300 + ".onnx"))
    assert fact.endswith("File name too long")
    assert "check the path" in hint


def test_8_a_library_is_missing(refused, monkeypatch):
    version = importlib.metadata.version

    def without(name):
        if name == "onnxruntime":
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(importlib.metadata, "version", without)
    cli_fact, _ = refused_doctor(refused)
    assert cli_fact == "missing: onnxruntime"


def refused_doctor(refused):
    with pytest.MonkeyPatch.context() as patch:
        # On the plain road doctor shows its table on stdout first: that is its result. Here only the failure counts.
        patch.setattr("swiftdeploy.cli.doctor._show", lambda findings: None)
        return refused(8, "doctor")


def test_130_at_every_stage(cli, tmp_path, monkeypatch, quick):
    """The key is pressed as each stage begins."""
    from swiftdeploy.pipeline import export as module

    def press(*_, **__):
        raise KeyboardInterrupt

    for stage in ("load_subject", "prepare", "convert", "_record", "_finish"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, stage, press)
            plain = cli(*quick, "-o", tmp_path / "dist")
            document = cli(*quick, "-o", tmp_path / "dist", "--json") if stage == "load_subject" else None
        assert plain.code == 130
        assert "error: interrupted" in plain.err
        assert tree(tmp_path) == [], stage
        if document:
            assert document.document["error"]["exit_code"] == 130
            assert document.document["error"]["kind"] == "Interrupted"


@pytest.mark.parametrize(("where", "extra"), [("convert", "-q"), ("_finish", "--json")])
def test_130_when_a_library_swallows_the_key(cli, tmp_path, monkeypatch, quick, where, extra):
    """coremltools catches everything in places; the run then ends at the next step, before anything is committed."""
    from swiftdeploy.pipeline import export as module

    original = getattr(module, where)

    def swallow(*arguments, **options):
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        return original(*arguments, **options)

    before = signal.getsignal(signal.SIGINT)  # a shell's background job, as CI may be one, ignores it
    monkeypatch.setattr(module, where, swallow)
    answer = cli(*quick, "-o", tmp_path / "dist", extra)
    assert answer.code == 130
    assert "interrupted" in answer.out + answer.err
    assert tree(tmp_path) == []
    monkeypatch.undo()
    assert cli(*quick, "-o", tmp_path / "dist").code == 0  # the next run in this process knows nothing of it
    assert signal.getsignal(signal.SIGINT) is before


def test_130_when_a_library_makes_another_error_of_the_key(cli, tmp_path, monkeypatch, quick):
    """An extension module that is being imported says ImportError then."""
    from swiftdeploy.pipeline import export as module

    def disguise(*_):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt as error:
            raise ImportError("initialization failed") from error

    monkeypatch.setattr(module, "convert", disguise)
    answer = cli(*quick, "-o", tmp_path / "dist")
    assert answer.code == 130
    assert "error: interrupted" in answer.err
    assert tree(tmp_path) == []


def test_130_by_a_real_signal(digits, tmp_path):
    line = [sys.executable, "-u", "-c", "from swiftdeploy.cli import main; main()"]
    wanted = ("export", digits / "swiftformer_digits.pth", *EXPORT, "-o", tmp_path / "dist")
    with subprocess.Popen(
        [*line, *map(str, wanted)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        seen = ""
        for text in process.stderr:
            seen += text
            if "converting to onnx" in text:
                break
        time.sleep(0.05)  # some way into the stage; any moment must do
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 130, seen + err
    assert out == ""
    assert "error: interrupted" in err
    assert "Traceback" not in err
    assert tree(tmp_path) == []
