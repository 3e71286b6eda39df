"""8-bit ONNX artifacts of the digits checkpoint, from the export to the held-out images in plain ONNX Runtime."""

import dataclasses
import shutil

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from safetensors.numpy import load_file

from swiftdeploy.bundle import read_bundle, unfinished_path
from swiftdeploy.errors import BudgetError, ParityError, UsageError
from swiftdeploy.parity import quantized
from swiftdeploy.pipeline import against, onnx_variants
from swiftdeploy.pipeline.against import verify_against
from swiftdeploy.pipeline.export import export
from swiftdeploy.pipeline.inspection import look
from swiftdeploy.pipeline.request import ExportRequest
from swiftdeploy.pipeline.subject import load_subject, truth_of
from swiftdeploy.pipeline.verify import verify_bundle
from swiftdeploy.quantization import Int8Options
from swiftdeploy.report import Leg
from swiftdeploy.spec import ExportOptions

STEM = "swiftformer_digits"


@pytest.fixture(scope="module")
def calibration(digits, tmp_path_factory):
    """A folder with every 30th of the held-out images; accuracy is then measured on the others."""
    folder = tmp_path_factory.mktemp("calibration")
    for path in sorted((digits / "images").rglob("*.png"))[::30]:
        shutil.copyfile(path, folder / f"{path.parent.name}-{path.name}")
    return folder


@pytest.fixture(scope="module")
def eight_bits(shared, digits, calibration):
    def make(folder):
        export(
            ExportRequest(
                model=STEM,
                checkpoint=str(digits / f"{STEM}.pth"),
                attention="token_l2",
                destination=folder / "bundle",
                images=digits / "images",
                calibration=calibration,
                options=ExportOptions(targets=("onnx",), precisions=("fp32", "int8", "w8"), ort=True),
            )
        )

    return shared("eight-bits", make) / "bundle"


@pytest.fixture(scope="module")
def records(eight_bits):
    return {artifact.path.removeprefix(f"{STEM}-"): artifact for artifact in read_bundle(eight_bits).manifest.artifacts}


def session(path, *, optimised=True):
    options = onnxruntime.SessionOptions()
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run(opened, images):
    return np.concatenate([opened.run(["logits"], {"image": image[None]})[0] for image in images])


def test_top1_on_the_held_out_digits(eight_bits, records, held_out, scores):
    others = np.arange(len(held_out[0])) % 30 != 0
    images, classes = ((held_out[0] / 255 - 0.5) / 0.5)[others].astype(np.float32), held_out[1][others]
    accuracy = (scores[others].argmax(1) == classes).mean()
    assert set(records) == {f"{name}.{form}" for name in ("fp32", "int8", "w8") for form in ("onnx", "ort")}
    for name in ("int8.onnx", "int8.ort", "w8.onnx", "w8.ort"):
        found = run(session(eight_bits / records[name].path), images)
        assert accuracy - (found.argmax(1) == classes).mean() <= 0.005, name


def test_what_is_recorded(records, calibration):
    int8, w8, fp32 = (records[f"{name}.onnx"] for name in ("int8", "w8", "fp32"))
    assert int8.compression.base_bytes == w8.compression.base_bytes == fp32.bytes
    assert w8.bytes < 0.3 * fp32.bytes
    assert int8.bytes < 0.4 * fp32.bytes, "the graph of a small network weighs as much as its integers"
    assert int8.options["int8"] == dataclasses.asdict(Int8Options()) | {"keep_float": []}
    assert "int8" not in w8.options
    assert int8.compression.calibration.images == len(list(calibration.iterdir())) == 12
    assert w8.compression.calibration is None
    assert {tensor.scheme for tensor in int8.compression.tensors} == {"int8"}
    whole = {tensor.name.partition("_part")[0] for tensor in int8.compression.tensors}
    assert {tensor.name for tensor in w8.compression.tensors} == whole
    assert "reads the image's few channels" in int8.compression.floating.values()
    assert (w8.compression.passes_db, w8.compression.fails_db) == (100.0, 100.0)
    assert 20.0 <= int8.compression.fails_db <= int8.compression.passes_db <= 50.0
    assert int8.parity.drift.judged[0].top1 == 1.0
    for record in (int8, w8):
        assert [leg.name for leg in record.parity.legs] == ["outputs", "stress", "weights"]
    assert records["int8.ort"].compression == int8.compression


def test_golden_answers_are_those_of_the_weights_as_stored(eight_bits, records, oracle):
    """Of w8, the eager oracle with the integers' values; of int8, the graph with every operator run as it stands."""
    inputs = load_file(eight_bits / "golden" / "inputs.safetensors")["image"]
    written = session(eight_bits / records["int8.onnx"].path, optimised=False)
    golden = load_file(eight_bits / records["int8.onnx"].compression.golden)["logits"]
    np.testing.assert_array_equal(golden, run(written, inputs))
    plain = load_file(eight_bits / "golden" / "outputs.safetensors")["logits"]
    with torch.no_grad():
        np.testing.assert_allclose(plain, oracle(torch.from_numpy(inputs)).numpy(), atol=1e-5)
    assert np.abs(golden - plain).max() > 1e-3, "eight bits answer otherwise than the oracle"
    golden = load_file(eight_bits / records["w8.onnx"].compression.golden)["logits"]
    found = run(session(eight_bits / records["w8.onnx"].path), inputs)
    np.testing.assert_allclose(golden, found, atol=1e-4)
    assert np.abs(golden - plain).max() > 1e-3


def test_it_verifies_by_itself_and_against_the_checkpoint(eight_bits, digits):
    reports = {report.subject: report for report in verify_bundle(eight_bits).reports}
    assert [leg.name for leg in reports[f"{STEM}-int8.onnx"].legs] == ["golden", "outputs"]
    assert [leg.name for leg in reports[f"{STEM}-int8.ort"].legs] == ["golden"]
    found = verify_against(
        eight_bits, str(digits / f"{STEM}.pth"), model=None, attention="token_l2", images=None
    ).reports
    assert [[leg.name for leg in report.legs] for report in found] == [["outputs", "weights"]] * 3
    assert {report.verdict for report in found} == {"pass"}


def test_another_checkpoint_is_refused(eight_bits, digits, tmp_path):
    state = torch.load(digits / f"{STEM}.pth", weights_only=True)
    state["model"]["network.4.0.pwconv1.weight"].mul_(1.05)
    torch.save(state, tmp_path / "other.pth")
    claim = against.claim_of(eight_bits, str(tmp_path / "other.pth"), model=None, attention=None, images=None)
    subject = load_subject(claim.request)
    truth = truth_of(subject, subject.oracle, subject.samples)
    for claimed in (c for c in claim.artifacts if c.compression is not None):
        legs = {leg.name: leg for leg in against._check_onnx(claimed, claimed.compression, subject, truth).legs}
        assert legs["weights"].verdict == "fail", claimed.precision
        assert any("network_4_0_pwconv1_weight" in problem for problem in legs["weights"].weights.problems)


def test_a_machine_that_computes_otherwise_is_refused(eight_bits, monkeypatch):
    leg = Leg(name="outputs", verdict="fail", divergence="Conv_7: up to 90 steps apart")
    monkeypatch.setattr(quantized, "execution", lambda *_, **__: leg)
    with pytest.raises(ParityError, match=r"int8\.onnx does not give the oracle's answers: Conv_7: up to 90 steps"):
        verify_bundle(eight_bits)


def test_a_lone_file_does_not_know_how_it_was_made(eight_bits, records, digits):
    with pytest.raises(UsageError, match="weights of this artifact are compressed"):
        verify_against(
            eight_bits / records["w8.onnx"].path,
            str(digits / f"{STEM}.pth"),
            model=STEM,
            attention="token_l2",
            images=None,
        )


def test_inspect_tells_the_targets_apart(eight_bits):
    found = look(str(eight_bits))
    assert found["onnx w8"][0].endswith("are not compressed")
    assert any("weights, its node reads the image's few channels" in line for line in found["onnx int8"])
    assert any("a bias, of int32" in line for line in found["onnx int8"])


# --- what is refused, and what an interruption leaves ---


def test_calibration_is_asked_for_before_anything_slow(export_to, monkeypatch):
    monkeypatch.setattr("swiftdeploy.pipeline.export.prepare", lambda _: pytest.fail("this is the slow part"))
    with pytest.raises(UsageError, match="'int8' is calibrated on images for onnx, and none are given") as caught:
        export_to(targets=("coreml", "onnx"), precisions=("int8",))
    assert "w8 for 8-bit weights alone" in caught.value.hint


def changed_weight(path):
    """One stored integer moved by two steps."""
    model = onnx.load(path)
    tensor = next(t for t in model.graph.initializer if t.name == "network_4_0_pwconv1_weight_quantized")
    value = numpy_helper.to_array(tensor).copy()
    value.flat[0] += 2 if value.flat[0] < 0 else -2
    tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    onnx.save(model, path)


@pytest.mark.parametrize("precision", ["int8", "w8"])
def test_a_quantiser_that_rounds_otherwise_is_refused(export_to, tmp_path, monkeypatch, calibration, precision):
    name = "static" if precision == "int8" else "weight_only"
    right = getattr(onnx_variants.onnx_int8, name)

    def wrong(source, destination, *rest):
        placed = right(source, destination, *rest)
        changed_weight(destination)
        return placed

    monkeypatch.setattr(onnx_variants.onnx_int8, name, wrong)
    with pytest.raises(ParityError, match=r"fails leg 'weights': network_4_0_pwconv1_weight: up to [12]\.\d+ steps"):
        export_to(request={"calibration": calibration}, targets=("onnx",), precisions=(precision,))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_wrong_decompression_is_refused(export_to, tmp_path, monkeypatch):
    """The file runs in ONNX Runtime, its reference by our reading of the integers: one of them wrong is a failure."""
    right = onnx_variants.dense_tensors

    def wrong(path):
        found = right(path)
        found["network_4_0_pwconv1_weight"] = found["network_4_0_pwconv1_weight"] * np.float32(1.001)
        return found

    monkeypatch.setattr(onnx_variants, "dense_tensors", wrong)
    with pytest.raises(ParityError, match="fails leg 'outputs'"):
        export_to(targets=("onnx",), precisions=("w8",))
    assert list(tmp_path.rglob("*")) == []


def test_a_budget_refuses_and_nothing_is_written(export_to, tmp_path, calibration):
    with pytest.raises(BudgetError, match=r"int8\.onnx drifts: logits has .* the budget is 60 dB"):
        export_to(request={"calibration": calibration}, targets=("onnx",), precisions=("int8",), max_drift_db=60.0)
    assert list(tmp_path.rglob("*")) == []


def test_an_interruption_leaves_what_was_finished(export_to, tmp_path, monkeypatch, calibration):
    make = onnx_variants.make_variant

    def interrupted(subject, pair, bases, folder, precision):
        if precision == "w8":
            raise KeyboardInterrupt
        return make(subject, pair, bases, folder, precision)

    monkeypatch.setattr(onnx_variants, "make_variant", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export_to(
            request={"calibration": calibration}, targets=("onnx",), precisions=("int8", "w8"), ort=True, verify=False
        )
    left = unfinished_path(tmp_path / "dist" / "bundle")
    assert sorted(path.name for path in left.parent.iterdir()) == [left.name]
    assert [report.subject for report in verify_bundle(left).reports] == [f"{STEM}-int8.onnx", f"{STEM}-int8.ort"]


def test_free_batches_pixels_and_an_older_opset(export_to, calibration):
    made = export_to(
        request={"calibration": calibration},
        targets=("onnx",),
        precisions=("int8",),
        dynamic_batch=True,
        input_kind="image",
        opset=17,
        int8=Int8Options(method="percentile", percentile=99.99, weight_bits=8, keep_float=()),
    )
    (record,) = made.manifest.artifacts
    assert record.parity.verdict == "pass"
    assert record.inputs[0].shape[0] == 0
    assert record.options["int8"]["percentile"] == 99.99
    pixels = np.full((3, 3, 32, 32), 128, np.float32)
    answers = session(made.bundle / record.path).run(["logits"], {"image": pixels})[0]
    assert answers.shape == (3, 10)
    assert np.ptp(answers, axis=0).max() == 0
