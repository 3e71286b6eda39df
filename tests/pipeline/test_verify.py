"""Checking what was written: numbers that changed, checkpoints that do not belong, artifacts that stand alone."""

import dataclasses
import json
import shutil

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from swiftdeploy import bundle
from swiftdeploy.errors import ArtifactError, CheckpointError, ParityError, SwiftdeployError, UsageError
from swiftdeploy.pipeline.against import verify_against
from swiftdeploy.pipeline.verify import verify_artifact, verify_bundle

ONNX = "swiftformer_digits-fp32.onnx"
PAIR = "network.2.0.pwconv1.weight"


@pytest.fixture
def forged(digits_copy, refit):
    """forged() rewrites the manifest so that it fits a changed artifact: the bytes then say nothing."""
    return lambda **changes: refit(digits_copy, **changes)


def change_tensor(path, factor):
    """One weight tensor of an ONNX file times a factor."""
    model = onnx.load(path)
    tensor = max(model.graph.initializer, key=lambda t: np.prod(t.dims))
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(factor), tensor.name))
    onnx.save(model, path)


@pytest.fixture(scope="module")
def state(digits):
    return torch.load(digits / "swiftformer_digits.pth", weights_only=True)["model"]


@pytest.fixture
def other(state, tmp_path):
    """other(change) is a checkpoint file with a changed state dict."""

    def write(change):
        changed = {key: value.clone() for key, value in state.items()}
        change(changed)
        torch.save(changed, tmp_path / "other.pth")
        return str(tmp_path / "other.pth")

    return write


def against(path, checkpoint, **changes):
    given = {"model": None, "attention": None, "images": None, **changes}
    return verify_against(path, checkpoint, **given)


def test_one_weight_one_percent_off_is_seen_in_the_numbers(digits_copy, forged):
    change_tensor(digits_copy / ONNX, 1.01)
    forged()
    with pytest.raises(ParityError, match=r"fp32.onnx does not give the oracle's answers: logits: .* dB") as caught:
        verify_bundle(digits_copy)
    assert caught.value.exit_code == 6


def test_the_same_change_without_a_forged_manifest_is_seen_in_the_bytes(digits_copy):
    change_tensor(digits_copy / ONNX, 1.01)
    with pytest.raises(ArtifactError, match=f"changed {ONNX}"):
        verify_bundle(digits_copy)


def test_golden_data_of_other_weights(digits_copy, forged):
    outputs = bundle.read_bundle(digits_copy).golden()[1]
    outputs["logits"][0, 3] += 0.5
    bundle.save_arrays(outputs, digits_copy / "golden" / "outputs.safetensors")
    forged()
    with pytest.raises(ParityError, match="natural_0"):
        verify_bundle(digits_copy)


@pytest.mark.parametrize("lost", ["inputs", "outputs"])
def test_golden_data_without_a_tensor(digits_copy, forged, lost):
    arrays = dict(zip(("inputs", "outputs"), bundle.read_bundle(digits_copy).golden(), strict=True))[lost]
    bundle.save_arrays({"other": next(iter(arrays.values()))}, digits_copy / "golden" / f"{lost}.safetensors")
    forged()
    with pytest.raises(ArtifactError, match="the golden data lacks"):
        verify_bundle(digits_copy)


def test_an_artifact_of_another_digest_than_the_files(digits_copy, forged):
    wrong = dataclasses.replace(bundle.read_manifest(digits_copy).artifacts[3], sha256="0" * 64)
    forged(artifacts=(wrong,))
    with pytest.raises(ArtifactError, match="not the artifact that the manifest describes"):
        verify_bundle(digits_copy)


def test_a_bundle_without_artifacts(digits_copy, forged):
    for path in digits_copy.glob("swiftformer_digits-*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    forged(artifacts=())
    with pytest.raises(ArtifactError, match="holds no artifact"):
        verify_bundle(digits_copy)


def test_artifacts_that_are_damaged_under_a_fitting_manifest(digits_copy, forged):
    (digits_copy / ONNX).write_bytes((digits_copy / ONNX).read_bytes()[:5000])
    with pytest.raises(ArtifactError, match="does not load in ONNX Runtime"):
        verify_bundle(forged())


def test_a_package_without_weights_under_a_fitting_manifest(digits_copy, forged):
    name = "swiftformer_digits-fp32.mlpackage"
    next((digits_copy / name).rglob("weight.bin")).write_bytes(b"")
    with pytest.raises(ArtifactError, match=r"weight\.bin|mlpackage"):
        verify_bundle(forged())


def test_the_right_checkpoint(digits_bundle, digits):
    found = against(digits_bundle, str(digits / "swiftformer_digits.pth"), images=digits / "images" / "3")
    assert found.files == 10
    assert [[leg.name for leg in report.legs] for report in found.reports] == [["outputs", "weights"]] * 4
    outputs = found.reports[0].legs[0].outputs[0]
    assert outputs.samples == 7 + 16  # the synthetic ones and 16 of the folder's images
    assert {report.verdict for report in found.reports} == {"pass"}


def test_a_checkpoint_with_one_changed_weight(digits_bundle, other):
    with pytest.raises(ParityError, match=r"fails leg '(outputs|weights)'"):
        against(digits_bundle, other(lambda state: state[PAIR].mul_(1.01)))


def test_a_change_too_small_for_the_outputs_fails_the_weights(digits_bundle, other):
    """One number of one tensor by 1 %: fp16 artifacts still give outputs within the gate."""

    def nudge(state):
        state[PAIR].view(-1)[17] *= 1.01

    with pytest.raises(ParityError, match=r"fp16.mlpackage fails leg 'weights': .* differ by"):
        against(digits_bundle, other(nudge))


def test_a_swapped_layer(digits_bundle, other):
    def swap(state):
        pairs = [key for key, value in state.items() if value.dim() == 4 and state[PAIR].shape == value.shape]
        a, b = PAIR, next(key for key in pairs if key != PAIR)
        state[a], state[b] = state[b], state[a]

    with pytest.raises(ParityError, match="fails leg"):
        against(digits_bundle, other(swap))


def test_the_other_generation(digits_bundle, digits):
    with pytest.raises(ParityError, match="fails leg 'outputs'"):
        against(digits_bundle, str(digits / "swiftformer_digits.pth"), attention="sum")


def test_a_checkpoint_of_another_model(digits_bundle, tmp_path):
    torch.save({"weight": torch.zeros(3, 3)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError):
        against(digits_bundle, str(tmp_path / "other.pth"))


@pytest.mark.parametrize("name", ["swiftformer_digits-fp16.mlpackage", ONNX])
def test_a_lone_artifact_with_its_checkpoint(digits_bundle, digits, name):
    checkpoint = str(digits / "swiftformer_digits.pth")
    found = against(digits_bundle / name, checkpoint, model="swiftformer_digits", attention="token_l2")
    assert (found.files, found.reports[0].precision) == (0, "fp16" if "fp16" in name else "fp32")
    assert found.reports[0].verdict == "pass"


def test_a_lone_artifact_does_not_know_its_model(digits_bundle, digits):
    with pytest.raises(UsageError, match="does not say which model"):
        against(digits_bundle / ONNX, str(digits / "swiftformer_digits.pth"))
    with pytest.raises(ArtifactError, match="does not exist"):
        against(digits_bundle / "no.onnx", str(digits / "swiftformer_digits.pth"))


@pytest.mark.parametrize("name", ["swiftformer_digits-fp16.mlpackage", "swiftformer_digits-fp16.onnx"])
def test_a_lone_artifact_runs(digits_bundle, name):
    found = verify_artifact(digits_bundle / name)
    assert (found.files, found.reports) == (0, ())


def test_a_lone_artifact_that_overflows(digits_bundle, tmp_path):
    path = shutil.copy(digits_bundle / ONNX, tmp_path)
    change_tensor(path, 1e38)
    with pytest.raises(ParityError, match="gives NaN or Inf in logits"):
        verify_artifact(tmp_path / ONNX)


@pytest.mark.parametrize("name", ["notes.txt", "half.onnx", "empty.mlpackage", "file.mlpackage"])
def test_a_lone_file_that_is_no_artifact(digits_bundle, tmp_path, name):
    if name == "half.onnx":
        (tmp_path / name).write_bytes((digits_bundle / ONNX).read_bytes()[:1000])
    elif name == "empty.mlpackage":
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).write_text("x")
    with pytest.raises(SwiftdeployError) as caught:
        verify_artifact(tmp_path / name)
    assert caught.value.exit_code == (2 if name == "notes.txt" else 7)
    assert name in caught.value.fact
    with pytest.raises(ArtifactError, match="does not exist"):
        verify_artifact(tmp_path / "nothing.onnx")


def test_an_onnx_file_that_loads_and_cannot_run(tmp_path):
    node = onnx.helper.make_node("Reshape", ["image", "shape"], ["out"])
    shape = numpy_helper.from_array(np.array([7, 7], np.int64), "shape")
    image = onnx.helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, [1, 3, 4, "w"])
    out = onnx.helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, [7, 7])
    graph = onnx.helper.make_graph([node], "g", [image], [out], [shape])
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9),
        tmp_path / "x.onnx",
    )
    with pytest.raises(ArtifactError, match=r"x\.onnx"):
        verify_artifact(tmp_path / "x.onnx")


def test_reports_are_what_the_manifest_could_hold(digits_bundle):
    json.dumps([dataclasses.asdict(report) for report in verify_bundle(digits_bundle).reports], allow_nan=False)
