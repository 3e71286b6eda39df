"""Oracle: torch's hooks for what a layer gives, and the guide's count of multiply-accumulates for a known network."""

import numpy as np
import pytest
import torch
from PIL import Image

from swiftdeploy.errors import ArtifactError, UsageError
from swiftdeploy.pipeline.running import run_report


def by_output(report):
    return {op.output: op for op in report.ops}


def test_a_bundle_runs_every_package_on_its_golden_inputs(digits_bundle, oracle):
    half, whole = run_report(digits_bundle)
    assert (half.artifact, whole.artifact) == ("swiftformer_digits-fp16.mlpackage", "swiftformer_digits-fp32.mlpackage")
    assert (half.inputs, half.samples) == ("golden inputs", 4)
    assert {op.dtype for op in whole.ops} == {"fp32"}
    assert "fp16" in {op.dtype for op in half.ops}
    from safetensors.numpy import load_file

    images = load_file(digits_bundle / "golden" / "inputs.safetensors")["image"]
    with torch.no_grad():
        logits = oracle(torch.from_numpy(images))
    assert by_output(whole)["logits"].greatest == pytest.approx(float(logits.abs().max()), rel=1e-4)
    assert sum(op.macs for op in whole.ops) == sum(op.macs for op in half.ops) > 1e6
    assert all(op.overflow == op.nan == op.inf == 0 for op in half.ops)


def test_a_lone_package_runs_on_seeded_inputs_or_on_images(digits_bundle, tmp_path):
    path = digits_bundle / "swiftformer_digits-fp16.mlpackage"
    (seeded,) = run_report(path)
    assert (seeded.inputs, seeded.samples) == ("seeded inputs", 4)
    assert by_output(seeded)["logits"].greatest == by_output(run_report(path)[0])["logits"].greatest
    for value in (0, 255):
        Image.fromarray(np.full((32, 32, 3), value, np.uint8)).save(tmp_path / f"{value}.png")
    (shown,) = run_report(path, images=tmp_path)
    assert (shown.inputs, shown.samples) == (f"images of {tmp_path.name}", 2)
    assert by_output(shown)["logits"].greatest != by_output(seeded)["logits"].greatest


@pytest.mark.parametrize("name", ["swiftformer_digits-fp32.onnx", "manifest.json", "golden"])
def test_only_core_ml_packages_run(digits_bundle, name):
    with pytest.raises(UsageError, match="no Core ML package"):
        run_report(digits_bundle / name)


def test_a_damaged_package_is_refused(digits_copy):
    (digits_copy / "swiftformer_digits-fp16.mlpackage" / "Manifest.json").write_text("{}")
    with pytest.raises(ArtifactError):
        run_report(digits_copy / "swiftformer_digits-fp16.mlpackage")
