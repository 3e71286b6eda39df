"""A folder with a swiftdeploy.toml: export and verify need no arguments."""

import json
import shutil

import pytest

TOML = """
output = "bundles"

[models.digits]
model = "swiftformer_digits"
checkpoint = "weights/digits.pth"
attention = "token_l2"
labels = "labels.txt"
images = "pictures"
targets = ["onnx"]
precisions = ["fp32"]

[models.swiftformer_digits]
untrained = 3
attention = "sum"
targets = ["onnx"]
size = [32, 64]
"""


@pytest.fixture
def project(tmp_path, digits, monkeypatch):
    (tmp_path / "weights").mkdir()
    shutil.copy(digits / "swiftformer_digits.pth", tmp_path / "weights" / "digits.pth")
    shutil.copy(digits / "labels.txt", tmp_path)
    shutil.copytree(digits / "images" / "5", tmp_path / "pictures")
    (tmp_path / "swiftdeploy.toml").write_text(TOML)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_export_and_verify_without_arguments(cli, project):
    answer = cli("export", "--no-verify")
    assert answer.code == 0, answer.err
    assert sorted(p.name for p in (project / "bundles").iterdir()) == ["digits", "swiftformer_digits"]
    manifest = json.loads((project / "bundles" / "digits" / "manifest.json").read_text())
    assert [a["path"] for a in manifest["artifacts"]] == ["swiftformer_digits-fp32.onnx"]
    assert manifest["labels"] == "labels.txt"
    other = json.loads((project / "bundles" / "swiftformer_digits" / "manifest.json").read_text())
    assert other["inputs"][0]["shape"] == [1, 3, 32, 64]
    assert (other["model"]["attention"], other["provenance"]["seed"]) == ("sum", 3)
    checked = cli("verify")
    assert checked.code == 0, checked.err
    assert checked.out.count("numbers agree") == 2
    assert "exists already" in cli("export").err
    next((project / "bundles" / "digits").glob("*.onnx")).write_bytes(b"x")
    assert cli("verify").code == 7


def test_target_and_precision_override_the_file(cli, project):
    plan = cli(
        "export", "--target", "coreml", "--target", "onnx", "-p", "fp16", "-o", "elsewhere", "--dry-run", "--json"
    )
    assert [row["artifacts"] for row in plan.document["plan"]] == [["coreml fp16", "onnx fp16"]] * 2
    assert [row["destination"] for row in plan.document["plan"]] == ["elsewhere/digits", "elsewhere/swiftformer_digits"]
    assert plan.document["plan"][0]["options"]["input_size"] is None
    assert not (project / "elsewhere").exists()


@pytest.mark.parametrize(
    "option",
    [
        ("--size", "64"),
        ("--attention", "sum"),
        ("--batch", "1"),  # also where it is the default: the file may say otherwise
        ("--min-ios", "16"),
        ("--input", "image"),
        ("--labels", "imagenet"),
        ("--name", "x"),
        ("--author", "me"),
    ],
)
def test_what_the_file_says_is_never_ignored_silently(cli, project, option):
    answer = cli("export", *option)
    assert answer.code == 2
    assert f"{option[0]} is said by swiftdeploy.toml" in answer.err
    assert not (project / "bundles").exists()


def test_a_checkpoint_on_the_line_leaves_the_file_aside(cli, project):
    plan = cli("export", "weights/digits.pth", "-m", "swiftformer_digits", "--size", "64", "--dry-run", "--json")
    (row,) = plan.document["plan"]
    assert (row["destination"], row["options"]["input_size"]) == ("dist/swiftformer_digits", [64, 64])


@pytest.mark.parametrize(
    ("model", "folder"),
    [("swiftformer_xs", "swiftformer_xs"), ("my.nets:make net", "make_net"), ("timm:resnet18", "resnet18")],
)
def test_the_bundles_name(cli, tmp_path, monkeypatch, model, folder):
    monkeypatch.chdir(tmp_path)
    (row,) = cli("export", "-m", model, "--untrained", "0", "--dry-run", "--json").document["plan"]
    assert row["destination"] == f"dist/{folder}"
    (row,) = cli("export", "-m", model, "--untrained", "0", "--name", "n", "--dry-run", "--json").document["plan"]
    assert row["destination"] == "dist/n"


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_a_destination_in_the_way_is_found_before_the_first_model(cli, quick, project, monkeypatch, dry):
    """A file in place of the folder, and a bundle that is there already: the plan says so too."""
    monkeypatch.setattr("swiftdeploy.pipeline.export.export", None)
    (project / "taken").write_text("precious")
    for words in (quick, ("export",)):
        answer = cli(*words, "-o", "taken", *dry)
        assert (answer.code, answer.out) == (2, "")
        assert "cannot be written: taken is no folder" in answer.err
        assert "another folder: -o DIR" in answer.err
    (project / "there" / "swiftformer_digits").mkdir(parents=True)
    answer = cli(*quick, "-o", "there", *dry)
    assert (answer.code, answer.out) == (2, "")
    assert "exists already" in answer.err
    assert (project / "taken").read_text() == "precious"
