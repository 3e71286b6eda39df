"""Predictions for bundles and files, and the section of the manifest."""

import shutil

import pytest

from swiftdeploy.bundle import read_bundle
from swiftdeploy.errors import ArtifactError, UsageError
from swiftdeploy.pipeline.placing import predict


def test_the_manifest_holds_what_the_files_say(digits_bundle):
    manifest = read_bundle(digits_bundle).manifest
    assert [record.artifact for record in manifest.placement] == [artifact.path for artifact in manifest.artifacts]
    assert tuple(record for record, _ in predict(str(digits_bundle))) == manifest.placement
    for record, artifact in zip(manifest.placement, manifest.artifacts, strict=True):
        if artifact.target == "coreml":
            assert sum(record.neural_engine.ops.values()) == sum(artifact.ops.values())
            verdict = {"fp16": "risky", "fp32": "ineligible"}[artifact.precision]
            assert record.neural_engine.verdict == verdict
        else:
            assert {coverage.nodes for coverage in record.providers} == {sum(artifact.ops.values())}
    costs = {record.artifact: record.cost for record in manifest.placement}
    for precision in ("fp16", "fp32"):
        of_package, of_model = (costs[f"swiftformer_digits-{precision}{s}"] for s in (".mlpackage", ".onnx"))
        assert of_package == of_model


def test_an_ort_file_is_left_to_its_runtime(export_to):
    result = export_to(targets=("onnx",), precisions=("fp32",), ort=True, verify=False)
    assert {artifact.path for artifact in result.manifest.artifacts} == {
        "swiftformer_digits-fp32.onnx",
        "swiftformer_digits-fp32.ort",
    }
    assert [record.artifact for record in result.manifest.placement] == ["swiftformer_digits-fp32.onnx"]
    with pytest.raises(UsageError, match="holds no program to judge"):
        predict(str(result.bundle / "swiftformer_digits-fp32.ort"))


def test_a_lone_file_answers_as_in_its_bundle(digits_bundle):
    for record, ops in predict(str(digits_bundle)):
        assert predict(str(digits_bundle / record.artifact)) == ((record, ops),)


@pytest.mark.parametrize("name", ["swiftformer_digits.pth", ""])
def test_what_holds_no_program(digits, name):
    with pytest.raises(UsageError, match="holds no program to judge") as caught:
        predict(str(digits / name))
    assert "swiftdeploy export" in caught.value.hint


def test_a_tampered_bundle_is_not_judged(digits_copy):
    shutil.rmtree(digits_copy / "swiftformer_digits-fp16.mlpackage")
    with pytest.raises(ArtifactError, match="missing"):
        predict(str(digits_copy))
