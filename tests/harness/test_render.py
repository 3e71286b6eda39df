"""What `render` writes and refuses, and that it never leaves half of a project."""

import dataclasses
import hashlib
import json

import jsonschema
import numpy as np
import pytest
import safetensors.numpy

from swiftdeploy.errors import ArtifactError, ModelError, UsageError
from swiftdeploy.harness import render as rendering
from swiftdeploy.harness.digest import tree_sha256
from swiftdeploy.harness.plan import Plan, TensorPlan
from swiftdeploy.harness.render import render
from swiftdeploy.schema import load_schema
from swiftdeploy.spec import from_plain


def test_plan_says_what_was_asked(make_model, tmp_path):
    models = [make_model("a", gate_db=42), make_model("b.0")]
    root = render(models, tmp_path / "Bench", plan=Plan(rounds=3, seed=2**64 - 1))
    document = json.loads((root / "Resources/plan.json").read_text())
    jsonschema.Draft202012Validator(load_schema("harness/plan")).validate(document)
    plan = from_plain(Plan, document)
    assert (plan.rounds, plan.seed) == (3, 2**64 - 1)
    assert [m.label for m in plan.models] == ["a-fp16", "b.0-fp16"]
    assert [m.resource for m in plan.models] == ["a-fp16", "b_0-fp16"]
    assert plan.models[0].gate_db == 42.0
    assert plan.models[0].weights_sha256 == hashlib.sha256(b"a").hexdigest()


def test_packages_arrive_unchanged(make_model, tmp_path):
    model = make_model("a")
    root = render([model], tmp_path / "Bench")
    assert tree_sha256(root / "Models/a-fp16.mlpackage") == model.sha256


def test_tree_digest_is_that_of_sha256sum(make_model):
    model = make_model("a")
    lines = [
        hashlib.sha256(data).hexdigest() + "  " + name + "\n"
        for name, data in [("Data/com.apple.CoreML/weights/weight.bin", b"a"), ("Manifest.json", b"{}")]
    ]
    assert model.sha256 == hashlib.sha256("".join(lines).encode()).hexdigest()


def test_golden_data_arrives_in_single_precision(make_model, tmp_path):
    model = make_model("a", golden_inputs={"image": np.arange(96).reshape(2, 3, 4, 4), "unused": np.zeros(1)},
                       golden_outputs={"logits": np.ones((2, 1, 7), dtype=np.float64)})  # fmt: skip
    root = render([model], tmp_path / "Bench")
    inputs = safetensors.numpy.load_file(root / "Resources/a-fp16.inputs.safetensors")
    assert list(inputs) == ["image"]
    assert inputs["image"].dtype == np.float32
    np.testing.assert_array_equal(inputs["image"], np.arange(96).reshape(2, 1, 3, 4, 4))
    outputs = safetensors.numpy.load_file(root / "Resources/a-fp16.outputs.safetensors")
    assert outputs["logits"].shape == (2, 1, 7)


def test_golden_data_may_be_files(make_model, tmp_path):
    safetensors.numpy.save_file({"image": np.zeros((2, 1, 3, 4, 4), np.float32)}, tmp_path / "in.safetensors")
    safetensors.numpy.save_file({"logits": np.zeros((2, 1, 7), np.float16)}, tmp_path / "out.safetensors")
    model = make_model("a", golden_inputs=tmp_path / "in.safetensors", golden_outputs=tmp_path / "out.safetensors")
    assert (render([model], tmp_path / "Bench") / "Resources/a-fp16.outputs.safetensors").is_file()


def test_same_input_same_bytes(make_model, tmp_path):
    models = [make_model("a"), make_model("b")]
    first, second = (render(models, tmp_path / name, team="ABCDE12345") for name in ("one", "two"))
    assert tree_sha256(first) == tree_sha256(second)


def test_no_template_is_left_over(make_model, tmp_path):
    root = render([make_model("a")], tmp_path / "Bench")
    for path in root.rglob("*"):
        assert path.suffix != ".j2"
        assert not path.name.startswith(".")
        if path.suffix in {".swift", ".md", ".xcconfig"}:
            assert "{{" not in path.read_text()
            assert "{%" not in path.read_text()


def test_team_goes_into_the_settings_file(make_model, tmp_path):
    root = render([make_model("a")], tmp_path / "Bench", team="ABCDE12345")
    assert "DEVELOPMENT_TEAM = ABCDE12345\n" in (root / "Bench.xcconfig").read_text()


def test_one_clock_test_a_model(make_model, tmp_path):
    root = render([make_model("a"), make_model("b.0")], tmp_path / "Bench")
    text = (root / "Tests/ClockTests.swift").read_text()
    assert 'func test_a_fp16() throws { try measure("a-fp16") }' in text
    assert 'func test_b_0_fp16() throws { try measure("b.0-fp16") }' in text


@pytest.mark.parametrize("command", [
    "xcodebuild build-for-testing", "xcodebuild test-without-building", "xcrun xcresulttool export attachments",
    "xcrun devicectl device install app", "xcrun devicectl device process launch", "xcrun devicectl device copy from",
    "pymobiledevice3 apps install", "pymobiledevice3 developer dvt launch", "pymobiledevice3 apps pull",
    "swiftdeploy harness import", "swiftdeploy harness compare", "What only a real phone can show",
])  # fmt: skip
def test_runbook_names_each_step(make_model, tmp_path, command):
    assert command in (render([make_model("a")], tmp_path / "Bench") / "README.md").read_text()


def refused(error, match, models, destination, **options):
    before = sorted(destination.parent.iterdir())
    with pytest.raises(error, match=match) as caught:
        render(models, destination, **options)
    assert caught.value.hint
    assert sorted(destination.parent.iterdir()) == before
    return caught.value


def test_what_cannot_be_measured_is_refused(make_model, tmp_path):
    destination = tmp_path / "Bench"
    good = make_model("a")
    refused(UsageError, "no model", [], destination)
    refused(UsageError, "no Apple team", [good], destination, team="short")
    refused(UsageError, "share a label", [good, make_model("a", package=good.package)], destination)
    refused(UsageError, "'npu' is no compute unit", [good], destination, plan=Plan(compute_units=("all", "npu")))
    dotted = make_model("b.c"), make_model("b_c")
    refused(UsageError, "share a file name", dotted, destination)
    changed = make_model("d")
    (changed.package / "Manifest.json").write_text("{ }")
    assert refused(ArtifactError, "was changed", [changed], destination).exit_code == 7
    gone = make_model("e")
    (gone.package / "Manifest.json").unlink()
    assert refused(ModelError, "no Core ML package", [gone], destination).exit_code == 4


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"golden_inputs": {}}, "no sample"),
        ({"golden_outputs": {}}, "lacks 'logits'"),
        ({"golden_inputs": {"image": np.zeros((0, 3, 4, 4))}}, "no sample"),
        ({"golden_outputs": {"logits": np.zeros((2, 7))}}, "has shape"),
        ({"golden_outputs": {"logits": np.full((3, 7), np.nan)}}, "NaN"),
        ({"golden_outputs": {"logits": np.full((3, 7), 1e300)}}, "Inf"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_golden_data_that_does_not_fit_is_refused(make_model, tmp_path, changes, match):
    assert refused(ModelError, match, [make_model("a", **changes)], tmp_path / "Bench").exit_code == 4


def test_golden_files_that_are_missing_or_damaged_are_refused(make_model, tmp_path):
    missing = make_model("a", golden_inputs=tmp_path / "gone.safetensors")
    refused(ModelError, "no golden inputs", [missing], tmp_path / "Bench")
    (tmp_path / "bad.safetensors").write_bytes(b"\x00" * 20)
    damaged = make_model("b", golden_inputs=tmp_path / "bad.safetensors")
    refused(ArtifactError, "damaged", [damaged], tmp_path / "Bench")


def test_names_that_xcode_cannot_carry_are_refused(make_model):
    model = make_model("ok")
    for name in ("a b", "../x", "", 'a"b'):
        with pytest.raises(UsageError):
            dataclasses.replace(model, name=name)
    with pytest.raises(ModelError):
        dataclasses.replace(model, outputs=())


def test_an_existing_destination_stays_as_it_was(make_model, tmp_path):
    destination = tmp_path / "Bench"
    destination.mkdir()
    (destination / "mine.txt").write_text("keep")
    refused(UsageError, "exists", [make_model("a")], destination)
    assert (destination / "mine.txt").read_text() == "keep"


def test_a_failure_in_the_middle_leaves_nothing(make_model, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(rendering, "_write_project", fail)
    model = make_model("a")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ArtifactError, match="cannot be written: No space left"):
        render([model], tmp_path / "Bench")
    assert sorted(tmp_path.iterdir()) == before


def test_an_interrupt_in_the_middle_leaves_nothing(make_model, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(rendering, "_write_project", interrupt)
    model = make_model("a")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(KeyboardInterrupt):
        render([model], tmp_path / "Bench")
    assert sorted(tmp_path.iterdir()) == before


def test_a_link_in_the_way_is_a_destination_that_exists(make_model, tmp_path):
    (tmp_path / "Bench").symlink_to(tmp_path / "nowhere")
    refused(UsageError, "exists", [make_model("a")], tmp_path / "Bench")


@pytest.mark.parametrize(
    "changes",
    [{"rounds": 0}, {"seed": -1}, {"seed": 2**64}, {"compute_units": ()}, {"compute_units": ("all", "all")},
     {"predictions_per_round": 0}, {"load_timeout_seconds": 0}],
)  # fmt: skip
def test_plans_that_measure_nothing_are_refused(changes):
    with pytest.raises(UsageError):
        Plan(**changes)


def test_image_and_probability_kinds_reach_the_plan(make_model, tmp_path):
    model = make_model(
        "a",
        inputs=(TensorPlan(name="image", shape=(1, 3, 4, 4), dtype="uint8", kind="image"),),
        outputs=(TensorPlan(name="classLabel_probs", shape=(1, 7), dtype="float32", kind="probabilities"),),
        golden_outputs={"classLabel_probs": np.full((3, 7), 1 / 7)},
        labels=tuple("abcdefg"),
    )
    document = json.loads((render([model], tmp_path / "Bench") / "Resources/plan.json").read_text())
    assert document["models"][0]["inputs"][0]["kind"] == "image"
    assert document["models"][0]["labels"] == list("abcdefg")


def test_a_larger_batch_holds_the_sample_in_every_place(make_model, tmp_path):
    images = np.arange(96, dtype=np.float32).reshape(2, 3, 4, 4)
    model = make_model(
        "a",
        inputs=(TensorPlan(name="image", shape=(3, 3, 4, 4)),),
        outputs=(TensorPlan(name="logits", shape=(3, 7)),),
        golden_inputs={"image": images},
        golden_outputs={"logits": np.arange(14.0).reshape(2, 7)},
    )
    root = render([model], tmp_path / "Bench")
    inputs = safetensors.numpy.load_file(root / "Resources/a-fp16.inputs.safetensors")["image"]
    assert inputs.shape == (2, 3, 3, 4, 4)
    for place in range(3):
        np.testing.assert_array_equal(inputs[:, place], images)
