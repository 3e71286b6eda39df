"""Bundles become one project: what it holds, what is refused, and what stays as it was."""

import dataclasses
import hashlib
import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file

from swiftdeploy.bundle import attest, payload_records, read_bundle, records, tree_digest
from swiftdeploy.errors import ArtifactError, ModelError, UsageError
from swiftdeploy.harness.plan import Plan
from swiftdeploy.pipeline.harness import PLAN_FILE, models_of, planned, read_plan, write_harness

LABELS = ["swiftformer_digits-fp16", "swiftformer_digits-fp32"]


@pytest.fixture(scope="module")
def project(digits_bundle, tmp_path_factory):
    return write_harness([digits_bundle], tmp_path_factory.mktemp("project") / "Bench", team="ABCDE12345")


def rewrite(bundle, change):
    """The bundle as another version might have written it: a changed manifest, with hashes that fit."""
    manifest = read_bundle(bundle).manifest
    change(bundle)
    files = payload_records(bundle)
    placement = tuple(record for record in manifest.placement if (bundle / record.artifact).exists())
    return dataclasses.replace(manifest, placement=placement, files=files, tree_sha256=tree_digest(files))


def seal(bundle, manifest):
    attest(bundle, manifest)


def test_the_project_holds_every_package_byte_for_byte(project, digits_bundle):
    for label in LABELS:
        package = project / "Models" / f"{label}.mlpackage"
        files = sorted(path.relative_to(package) for path in package.rglob("*") if path.is_file())
        assert files
        for name in files:
            assert (package / name).read_bytes() == (digits_bundle / f"{label}.mlpackage" / name).read_bytes()
    assert (project / "Bench.xcodeproj" / "project.pbxproj").is_file()
    assert "ABCDE12345" in (project / "Bench.xcconfig").read_text()


def test_the_plan_names_every_model_with_hash_gate_and_tensors(project, digits_bundle):
    manifest = read_bundle(digits_bundle).manifest
    hashes = {record.path: record.sha256 for record in manifest.artifacts}
    plan = read_plan(project / PLAN_FILE)
    assert [model.label for model in plan.models] == LABELS
    assert [model.gate_db for model in plan.models] == [50.0, 100.0]
    for model in plan.models:
        assert model.sha256 == hashes[f"{model.label}.mlpackage"]
        weights = digits_bundle / f"{model.label}.mlpackage" / "Data/com.apple.CoreML/weights/weight.bin"
        assert model.weights_sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()
        assert [(t.name, t.shape) for t in model.inputs] == [("image", (1, 3, 32, 32))]
        assert [(t.name, t.shape) for t in model.outputs] == [("logits", (1, 10))]


def test_the_golden_data_is_that_of_the_bundle(project, digits_bundle):
    for label in LABELS:
        for kind, name in (("inputs", "image"), ("outputs", "logits")):
            ours = load_file(project / "Resources" / f"{label}.{kind}.safetensors")[name]
            kept = load_file(digits_bundle / "golden" / f"{kind}.safetensors")[name]
            assert ours.dtype == np.float32
            np.testing.assert_array_equal(ours.reshape(kept.shape), kept.astype(np.float32))


def test_the_same_bundle_gives_the_same_bytes(project, digits_bundle, tmp_path):
    again = write_harness([digits_bundle], tmp_path / "Bench", team="ABCDE12345")
    assert records(again) == records(project)


def test_two_bundles_of_one_model_stand_side_by_side_by_their_folders(digits_bundle, digits_copy, tmp_path):
    other = shutil.copytree(digits_copy, tmp_path / "other")
    out = write_harness([digits_copy, other], tmp_path / "Bench")
    labels = [model.label for model in read_plan(out / PLAN_FILE).models]
    assert labels == ["digits-fp16", "digits-fp32", "other-fp16", "other-fp32"]
    assert sorted(path.stem for path in (out / "Models").iterdir()) == labels


def test_a_plan_is_taken_over_and_a_dry_run_writes_nothing(digits_bundle, tmp_path):
    wanted = Plan(rounds=3, compute_units=("all",), seed=9)
    shown = planned([digits_bundle], tmp_path / "Bench", plan=wanted)
    assert not list(tmp_path.iterdir())
    write_harness([digits_bundle], tmp_path / "Bench", plan=wanted)
    assert read_plan(tmp_path / "Bench" / PLAN_FILE) == shown
    assert (shown.rounds, shown.compute_units, shown.seed) == (3, ("all",), 9)


@pytest.mark.parametrize("given", [{"team": "no team"}, {"plan": Plan(compute_units=("gpu",))}])
def test_a_dry_run_refuses_what_the_run_would(digits_bundle, tmp_path, given):
    for verb in (planned, write_harness):
        with pytest.raises(UsageError, match=r"no team|gpu"):
            verb([digits_bundle], tmp_path / "Bench", **given)
    assert not list(tmp_path.iterdir())


def test_a_classifier_carries_its_labels(export_to, digits):
    made = export_to(
        request={"labels": str(digits / "labels.txt")},
        targets=("coreml",),
        precisions=("fp16",),
        input_kind="image",
        verify=False,
    )
    (model,) = models_of([made.bundle])
    assert model.labels == tuple((digits / "labels.txt").read_text().split("\n")[:10])
    assert [t.kind for t in model.inputs] == ["image"]
    assert "probabilities" in {t.kind for t in model.outputs}


@pytest.mark.parametrize("how", ["no_files", "no_samples", "no_outputs"])
def test_a_bundle_without_golden_data_is_refused_with_the_remedy(digits_copy, tmp_path, how):
    if how == "no_samples":
        manifest = read_bundle(digits_copy).manifest
        seal(digits_copy, dataclasses.replace(manifest, golden=dataclasses.replace(manifest.golden, samples=())))
    elif how == "no_files":
        shutil.rmtree(digits_copy / "golden")
    else:
        (digits_copy / "golden" / "outputs.safetensors").unlink()
    with pytest.raises(ModelError, match="digits holds no golden data") as caught:
        write_harness([digits_copy], tmp_path / "Bench")
    assert caught.value.exit_code == 4
    assert "export" in caught.value.hint
    assert not (tmp_path / "Bench").exists()


def test_a_bundle_without_a_core_ml_artifact_is_refused_with_the_remedy(digits_copy, tmp_path):
    def drop(bundle):
        for label in LABELS:
            shutil.rmtree(bundle / f"{label}.mlpackage")

    manifest = rewrite(digits_copy, drop)
    seal(digits_copy, dataclasses.replace(manifest, artifacts=manifest.artifacts[2:]))
    assert [record.target for record in read_bundle(digits_copy).manifest.artifacts] == ["onnx", "onnx"]
    with pytest.raises(ModelError, match="no Core ML artifact") as caught:
        write_harness([digits_copy], tmp_path / "Bench")
    assert caught.value.exit_code == 4
    assert "--target coreml" in caught.value.hint


def test_a_changed_bundle_and_a_folder_that_is_none_are_refused(digits_copy, tmp_path):
    with (digits_copy / "swiftformer_digits-fp16.mlpackage/Data/com.apple.CoreML/weights/weight.bin").open("ab") as f:
        f.write(b"\0")
    for path in (digits_copy, tmp_path / "nothing"):
        with pytest.raises(ArtifactError) as caught:
            write_harness([path], tmp_path / "Bench")
        assert caught.value.exit_code == 7


def test_an_older_project_is_replaced_with_force_only(digits_bundle, tmp_path):
    out = write_harness([digits_bundle], tmp_path / "Bench")
    (out / "mine.txt").write_text("x")
    with pytest.raises(UsageError, match="exists already"):
        write_harness([digits_bundle], out)
    assert (out / "mine.txt").exists()
    write_harness([digits_bundle], out, force=True, plan=Plan(rounds=2))
    assert not (out / "mine.txt").exists()
    assert read_plan(out / PLAN_FILE).rounds == 2
    assert [path.name for path in tmp_path.iterdir()] == ["Bench"]


def test_a_refusal_leaves_the_older_project(digits_bundle, tmp_path):
    out = write_harness([digits_bundle], tmp_path / "Bench")
    with pytest.raises(UsageError, match="team"):
        write_harness([digits_bundle], out, team="no team", force=True)
    assert read_plan(out / PLAN_FILE).rounds == 20
    assert [path.name for path in tmp_path.iterdir()] == ["Bench"]


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_what_is_no_project_is_never_replaced(digits_bundle, tmp_path, kind):
    out = tmp_path / "Bench"
    if kind == "folder":
        (out / "holiday").mkdir(parents=True)
    elif kind == "file":
        out.write_text("x")
    else:
        out.symlink_to(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="no harness project"):
        write_harness([digits_bundle], out, force=True)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"rounds": 0}', "{" * 10**5])
def test_what_is_no_plan_is_told(tmp_path, text):
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(UsageError):
        read_plan(tmp_path / "plan.json")
    with pytest.raises(UsageError, match="holds no plan"):
        read_plan(tmp_path / "nothing.json")


def test_a_written_plan_reads_back(project):
    plan = read_plan(project / PLAN_FILE)
    assert dataclasses.asdict(plan)["rounds"] == json.loads((project / PLAN_FILE).read_text())["rounds"] == 20
