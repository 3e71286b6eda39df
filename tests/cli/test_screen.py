"""What a person sees: tables that fit, and commands on real files."""

import re
import shutil

import pytest
import torch


@pytest.fixture(params=[60, 80, 140])
def columns(request, cli, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(request.param))
    return request.param


def rows(text, first):
    return [line for line in text.splitlines() if line.startswith(first)]


def test_verify_fits(cli, digits_bundle, columns):
    answer = cli("verify", digits_bundle)
    table, last = answer.out.splitlines()[:-1], answer.out.splitlines()[-1]
    assert max(map(len, table)) <= columns
    assert table[0].split() == ["artifact", "leg", "PSNR", "dB", "max", "|d|", "cosine", "top-1", "verdict"]
    assert [re.split(r" {2,}| (?=golden)", row)[0].strip() for row in table[1:]] == [
        *("coreml fp16", "coreml fp32", "onnx fp16", "onnx fp32")
    ]
    for row in table[1:]:
        assert row.rstrip().endswith("pass")
        assert "…" not in row
    assert last == f"{digits_bundle}: 10 files as recorded, numbers agree"


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (("verify", "ODD"), 0),
        (("pack", "ODD", "-o", "ODD.zip"), 0),
        (("diff", "a[/b]", "plain"), 0),
        (("harness", "ODD", "-o", "ODD-bench", "--dry-run"), 0),
        (("verify", "ODD-none"), 7),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_a_folders_name_neither_steers_the_terminal_nor_is_a_style(
    cli, digits_bundle, tmp_path, monkeypatch, line, code
):
    name = "e\x1b[31m[red]"
    monkeypatch.chdir(tmp_path)
    for place in (f"a[/b]/{name}", "a[/b]/same", "plain/same"):
        shutil.copytree(digits_bundle, tmp_path / place)
    answer = cli(*(word.replace("ODD", f"a[/b]/{name}") for word in line))
    assert answer.code == code, answer.err
    assert "\x1b" not in answer.out + answer.err
    assert "e\\x1b[31m[red]" in (answer.err if code else answer.out)


def test_verify_with_a_checkpoint_shows_every_leg(cli, digits_bundle, digits):
    lone = digits_bundle / "swiftformer_digits-fp32.onnx"
    wanted = ("--checkpoint", digits / "swiftformer_digits.pth", "-m", "swiftformer_digits", "--attention", "token_l2")
    answer = cli("verify", lone, *wanted)
    assert answer.code == 0, answer.err
    assert [row.split()[2] for row in rows(answer.out, "onnx fp32")] == ["outputs", "weights"]
    assert re.search(r"weights +(\d+)/\1 ", answer.out)


def test_verify_of_a_lone_artifact_says_what_it_cannot(cli, digits_bundle):
    answer = cli("verify", digits_bundle / "swiftformer_digits-fp16.mlpackage")
    assert answer.code == 0
    assert "give --checkpoint" in answer.out


def test_export_shows_paths_and_figures(cli, digits, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    wanted = (
        "-m",
        "swiftformer_digits",
        "--attention",
        "token_l2",
        "-t",
        "onnx",
        "-p",
        "fp32",
        "-o",
        tmp_path / "dist",
    )
    answer = cli("export", digits / "swiftformer_digits.pth", *wanted)
    path, header, row = answer.out.splitlines()
    assert path == f"{tmp_path}/dist/swiftformer_digits/swiftformer_digits-fp32.onnx"
    assert max(len(header), len(row)) <= 60
    cells = row.split()
    assert cells[:2] == ["onnx", "fp32"]
    assert float(cells[4]) > 100
    assert float(cells[5]) > 100
    assert re.fullmatch(r"(\d+)/\1", cells[6])
    assert cells[7:] == ["100%", "pass"]
    assert "PSNR in dB" in answer.err


def test_models_fits_and_names_its_sources(cli, columns):
    answer = cli("models")
    table = answer.out.split("\n1  ")[0].splitlines()
    assert max(map(len, table)) <= columns
    (row,) = rows(answer.out, "swiftformer_xs")
    assert row.split() == ["swiftformer_xs", "224", "3.48", "602", "75.7", "0.7", "1"]
    assert "\n1  SwiftFormer paper" in answer.out
    assert len(table) == 1 + len(cli("models", "--json").document["models"])
    assert "not measurements of this tool" in answer.err


def test_doctor(cli, columns):
    answer = cli("doctor")
    assert answer.code == 0
    for name in ("torch", "coremltools", "onnxruntime", "Core ML numerics", "Xcode"):
        assert re.search(rf"^\S +{name}", answer.out, re.MULTILINE), name
    assert max(map(len, answer.out.splitlines())) <= columns


def test_inspect_a_bundle(cli, digits_bundle, columns):
    answer = cli("inspect", digits_bundle)
    assert answer.code == 0
    assert max(map(len, answer.out.splitlines())) <= columns
    for pattern in (r"attention +token_l2", r"parameters +339,764", "said the user", r"tree sha256 +[0-9a-f]{20}"):
        assert re.search(pattern, answer.out), pattern


@pytest.mark.parametrize("name", ["swiftformer_digits-fp16.mlpackage", "swiftformer_digits-fp32.onnx"])
def test_inspect_an_artifact(cli, digits_bundle, name):
    found = cli("inspect", digits_bundle / name, "--json").document
    assert found["inputs"][0].startswith("image (1, 3, 32, 32) float")
    assert found["outputs"] == ["logits"]
    assert found["weights"]["values"] > 300_000
    assert sum(found["ops"].values()) == 133


def test_inspect_a_checkpoint(cli, digits):
    found = cli("inspect", digits / "swiftformer_digits.pth", "--json").document
    state = torch.load(digits / "swiftformer_digits.pth", weights_only=True)["model"]
    assert found["kind"] == "checkpoint"
    assert found["tensors"] == len(state)
    assert found["values"] == sum(value.numel() for value in state.values())
