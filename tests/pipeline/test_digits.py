"""The demo's promise: one trained checkpoint, and the same answers from the oracle and from every artifact."""

import json

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.numpy import load_file

from swiftdeploy import mil
from swiftdeploy.bundle import read_bundle
from swiftdeploy.pipeline.verify import verify_bundle

ARTIFACTS = [
    f"swiftformer_digits-{precision}.{suffix}" for suffix in ("mlpackage", "onnx") for precision in ("fp16", "fp32")
]


def run(path, images):
    """Logits by the public door of each runtime, one image at a time; no pipeline code."""
    if path.suffix == ".mlpackage":
        program = mil.load_program(path)
        return np.concatenate([program.predict({"image": image[None]})["logits"] for image in images])
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    dtype = np.float16 if session.get_inputs()[0].type == "tensor(float16)" else np.float32
    return np.concatenate([session.run(None, {"image": image[None].astype(dtype)})[0] for image in images])


@pytest.mark.parametrize("name", ARTIFACTS)
def test_every_held_out_digit(digits_bundle, held_out, scores, name):
    pixels, classes = held_out
    found = run(digits_bundle / name, (pixels / 255 - 0.5) / 0.5)
    assert found.shape == (360, 10)
    assert np.array_equal(found.argmax(1), scores.argmax(1))
    assert (found.argmax(1) == classes).mean() >= 0.98
    error = np.sqrt(np.mean(np.square(found.astype(np.float64) - scores)))
    decibels = 20 * np.log10(np.abs(scores).max() / error)
    assert decibels > (100 if "fp32" in name else 50)


def test_what_a_bundle_holds(digits_bundle):
    manifest = read_bundle(digits_bundle).manifest
    vouching = ["SHA256SUMS", "bom.cdx.json", "provenance.intoto.json"]
    expected = [*ARTIFACTS, *vouching, "golden", "manifest.json"]
    assert sorted(path.name for path in digits_bundle.iterdir()) == sorted(expected)
    assert [artifact.path for artifact in manifest.artifacts] == ARTIFACTS
    assert manifest.provenance.weights == "trained"
    assert manifest.provenance.keys.strict
    assert manifest.model.attention == "token_l2"
    assert manifest.model.parameters == 339_764
    assert manifest.preprocessing.mean == (0.5, 0.5, 0.5)
    for artifact in manifest.artifacts:
        assert artifact.parity.verdict == "pass"
        assert [leg.name for leg in artifact.parity.legs] == ["outputs", "stress", "weights"]
        assert artifact.parity.legs[2].weights.equal == artifact.parity.legs[2].weights.tensors > 50


def test_the_ledger_says_what_fired(digits_bundle):
    manifest = read_bundle(digits_bundle).manifest
    fired = {record.name: len(record.fired) for record in manifest.fusion}
    assert fired["additive_attention"] == 4
    assert fired["heads"] == 1
    assert sum(manifest.ops_after.values()) < 0.7 * sum(manifest.ops_before.values())
    package = manifest.artifacts[0]
    assert {"tile", "transpose", "reshape", "expand_dims"}.isdisjoint(package.ops)


def test_golden_data_are_the_oracles_answers(digits_bundle, oracle):
    inputs = load_file(str(digits_bundle / "golden" / "inputs.safetensors"))["image"]
    outputs = load_file(str(digits_bundle / "golden" / "outputs.safetensors"))["logits"]
    with torch.no_grad():
        expected = oracle(torch.from_numpy(inputs)).numpy()
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-5)
    assert inputs.dtype == np.float32
    assert len({row.tobytes() for row in inputs}) == 4


def test_op_counts_are_the_files(digits_bundle):
    """Counted by the formats' own readers."""
    import onnx

    from swiftdeploy.mil import load_program

    recorded = {artifact.path: artifact.ops for artifact in read_bundle(digits_bundle).manifest.artifacts}
    nodes = onnx.load(digits_bundle / "swiftformer_digits-fp32.onnx").graph.node
    counted = {op: sum(node.op_type == op for node in nodes) for op in {node.op_type for node in nodes}}
    assert dict(recorded["swiftformer_digits-fp32.onnx"]) == counted
    assert load_program(digits_bundle / "swiftformer_digits-fp16.mlpackage")
    assert recorded["swiftformer_digits-fp16.mlpackage"]["conv"] > 40


def test_it_verifies_without_the_checkpoint(digits_bundle):
    found = verify_bundle(digits_bundle)
    assert found.files == 10
    assert [report.subject for report in found.reports] == ARTIFACTS
    assert {report.verdict for report in found.reports} == {"pass"}


def test_the_manifest_is_plain_json_for_other_tools(digits_bundle):
    plain = json.loads((digits_bundle / "manifest.json").read_text())
    assert plain["schema"] == 1
    assert {entry["path"] for entry in plain["files"]} > {"golden/inputs.safetensors", "swiftformer_digits-fp32.onnx"}
