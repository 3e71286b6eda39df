"""What can be wrong with an 8-bit file is made wrong here, and must be refused."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper, numpy_helper
from PIL import Image

from swiftdeploy import catalog, checkpoint
from swiftdeploy.capture import capture, freeze
from swiftdeploy.fuse import fuse
from swiftdeploy.parity import quantized
from swiftdeploy.quantization import Int8Options
from swiftdeploy.targets import onnx as target
from swiftdeploy.targets import onnx_int8


def pixels(paths):
    arrays = [np.asarray(Image.open(path).convert("RGB"), np.float32).transpose(2, 0, 1) for path in paths]
    return (np.stack(arrays) / np.float32(127.5) - 1).astype(np.float32)


@pytest.fixture(scope="module")
def held_out(digits):
    """(calibration images, other images, their classes)."""
    paths = sorted((digits / "images").rglob("*.png"))
    calibration, rest = paths[::30], [path for i, path in enumerate(paths) if i % 30]
    return pixels(calibration), pixels(rest), np.array([int(path.parent.name) for path in rest])


@pytest.fixture(scope="module")
def fp32(digits, tmp_path_factory):
    weights = checkpoint.load(str(digits / "swiftformer_digits.pth"))
    module = checkpoint.build(weights, catalog.find("swiftformer_digits"), attention="token_l2").module
    example = torch.zeros(1, 3, 32, 32)
    program = freeze(fuse(capture(module, example), example).graph, example, input_name="image")
    path = tmp_path_factory.mktemp("digits") / "fp32.onnx"
    target.convert(program, path, precision="fp32", opset=20)
    return path


@pytest.fixture(scope="module")
def int8(fp32, held_out):
    """(path, placement) of the default: min-max, seven bits, the GELU that fits each layer."""
    path = fp32.with_name("int8.onnx")
    return path, onnx_int8.static(fp32, path, held_out[0], Int8Options())


def run(path, images):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"image": image[None]})[0] for image in images])


def tampered(path, change):
    """A copy of the file whose initializers went through change(name, array), None for as it is."""
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        value = change(tensor.name, numpy_helper.to_array(tensor).copy())
        if value is not None:
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    result = path.with_name("tampered.onnx")
    onnx.save(model, result)
    return result


@pytest.mark.parametrize(
    "options",
    [
        Int8Options(),
        Int8Options(method="percentile"),
        Int8Options(gelu="exact"),
        Int8Options(gelu="sigmoid"),
    ],
    ids=["minmax", "percentile", "exact", "sigmoid"],
)
def test_the_digits_in_eight_bits(fp32, held_out, tmp_path, options):
    calibration, images, classes = held_out
    path = tmp_path / "int8.onnx"
    placed = onnx_int8.static(fp32, path, calibration, options)
    reference, found = run(fp32, images), run(path, images)
    accuracy, before = ((scores.argmax(axis=1) == classes).mean() for scores in (found, reference))
    assert before - accuracy <= 0.005
    assert path.stat().st_size < 0.4 * fp32.stat().st_size
    leg = quantized.execution(path, images[:2], samples=("a", "b"))
    assert (leg.verdict, leg.divergence) == ("pass", "")
    assert leg.outputs[0].psnr_db >= 100
    report = quantized.weights(fp32, path, floating=placed.floating)
    assert report.problems == ()
    assert report.equal == report.tensors > 50


def test_weights_alone_are_held_to_the_fp32_gate(fp32, held_out, tmp_path):
    placed = onnx_int8.weight_only(fp32, tmp_path / "w.onnx")
    leg = quantized.execution(tmp_path / "w.onnx", held_out[1][:2], samples=("a", "b"))
    assert leg.verdict == "pass"
    assert leg.outputs[0].psnr_db >= 100
    assert quantized.weights(fp32, tmp_path / "w.onnx", floating=placed.floating).problems == ()
    scores = run(tmp_path / "w.onnx", held_out[1])
    assert (scores.argmax(axis=1) == held_out[2]).mean() >= 0.995


def weight(name):
    return name.endswith("pwconv1_weight_quantized") and "network_0_0" in name


WRONG = {
    "a scale": (
        lambda name, value: value * np.float32(1.05) if name.endswith("network_0_0_pwconv1_weight_scale") else None,
        "steps from its fp32 value",
    ),
    "one channel's scale": (
        lambda name, value: (
            value * np.float32([1.1] + [1] * (value.size - 1)) if name.endswith("0_0_pwconv1_weight_scale") else None
        ),
        "steps from its fp32 value",
    ),
    "a scale of zero": (
        lambda name, value: value * 0 if name.endswith("network_0_0_pwconv1_weight_scale") else None,
        "not positive",
    ),
    "a zero point": (
        lambda name, value: value + np.int8(3) if name.endswith("network_0_0_pwconv1_weight_zero_point") else None,
        "a zero point is not 0",
    ),
    "one weight by one step": (
        lambda name, value: (
            value + (np.arange(value.size).reshape(value.shape) == 7).astype(np.int8) if weight(name) else None
        ),
        "steps from its fp32 value",
    ),
    "a part of a split weight": (
        lambda name, value: (
            value * np.float32(1.05) if name.endswith("network_4_1_attn_final_weight_part1_scale") else None
        ),
        "network_4_1_attn_final_weight_part1: up to",
    ),
    "a bias": (
        lambda name, value: -value if name.endswith("network_0_0_pwconv1_bias_quantized") else None,
        "steps from its fp32 value",
    ),
    "a weight that stayed float": (
        lambda name, value: value * np.float32(1.001) if name == "patch_embed_0_weight" else None,
        "patch_embed_0_weight: is not in the file",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_weight_is_refused(fp32, int8, case):
    change, fact = WRONG[case]
    path, placed = int8
    changed = []

    def once(name, value):
        new = change(name, value)
        changed.extend([name] if new is not None else [])
        return new

    report = quantized.weights(fp32, tampered(path, once), floating=placed.floating)
    assert len(changed) == 1
    assert report.equal < report.tensors
    assert any(fact in problem for problem in report.problems)


def test_a_tensor_that_was_left_out_is_refused(fp32, int8):
    _, placed = int8
    head = [name for name in placed.integer if name.startswith("Gemm")]
    partly = fp32.with_name("partly.onnx")
    onnx_int8.static(fp32, partly, np.zeros((1, 3, 32, 32), np.float32), Int8Options(keep_float=tuple(head)))
    report = quantized.weights(fp32, partly, floating=placed.floating)
    assert "head_weight: is no integers in the file" in report.problems
    assert quantized.weights(fp32, partly, floating=[*placed.floating, *head]).problems == ()


def test_a_runtime_that_saturates_is_refused(int8, held_out, monkeypatch):
    """x86 without VNNI adds two products in 16 bits; here as a graph whose optimised session reads other integers."""
    path, _ = int8
    first = quantized._cut

    def saturating(model, values):
        cut = first(model, values)
        tensor = next(t for t in cut.graph.initializer if weight(t.name))
        value = np.clip(numpy_helper.to_array(tensor), -40, 40)
        tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
        return cut

    monkeypatch.setattr(quantized, "_cut", saturating)
    leg = quantized.execution(path, held_out[1][:1], samples=("a",))
    assert leg.verdict == "fail"
    assert leg.divergence.startswith("Conv_")
    assert "steps apart" in leg.divergence


@pytest.mark.parametrize("kind", ["scale", "zero_point"])
def test_a_runtime_that_rounds_otherwise_is_refused(int8, held_out, monkeypatch, kind):
    path, _ = int8
    first = quantized._cut

    def other(model, values):
        cut = first(model, values)
        rounding = [node for node in cut.graph.node if node.op_type == "QuantizeLinear"][5]
        name = rounding.input[1 if kind == "scale" else 2]
        old = numpy_helper.to_array(next(t for t in cut.graph.initializer if t.name == name))
        new = old * np.float32(1.02) if kind == "scale" else old + np.uint8(1)
        cut.graph.initializer.append(numpy_helper.from_array(np.asarray(new), "other"))
        rounding.input[1 if kind == "scale" else 2] = "other"
        return cut

    monkeypatch.setattr(quantized, "_cut", other)
    leg = quantized.execution(path, held_out[1][:1], samples=("a",))
    assert leg.verdict == "fail"
    assert "of its values, on a" in leg.divergence


def test_drift_is_a_budget(fp32, int8, held_out):
    images = held_out[1][:20]
    reference, found = {"logits": run(fp32, images)}, {"logits": run(int8[0], images)}
    names = [str(i) for i in range(20)]
    (parity,) = quantized.drift(reference, found, samples=names, least_db=30, least_top1=0.99)
    assert parity.verdict == "pass"
    assert parity.top1 == parity.top5 == 1.0
    assert 30 <= parity.psnr_db < 60
    (parity,) = quantized.drift(reference, found, samples=names, least_db=90)
    assert parity.verdict == "fail"
    flipped = {"logits": np.concatenate([-found["logits"][:1], found["logits"][1:]])}
    (parity,) = quantized.drift(reference, flipped, samples=names, least_db=-200, least_top1=0.99)
    assert (parity.verdict, parity.top1) == ("fail", 0.95)
    assert "wins on 95.0%" in parity.reason
    broken = {"logits": np.where(np.arange(20)[:, None] == 3, np.nan, found["logits"])}
    (parity,) = quantized.drift(reference, broken, samples=names, least_db=-200)
    assert "NaN or Inf on 3" in parity.reason
    missing = quantized.drift(reference, {}, samples=names, least_db=-200)
    assert missing[0].verdict == "fail"


def test_weights_that_the_runtime_rounds_by_itself_are_noticed(fp32, held_out, tmp_path):
    """A float convolution between two roundings: ONNX Runtime rounds its weights at load, with one scale for all."""
    graph = onnx.load(fp32).graph
    convolution = next(node.name for node in graph.node if "network_0_0_dwconv_weight" in node.input)
    onnx_int8.static(fp32, tmp_path / "q.onnx", held_out[0][:2], Int8Options(keep_float=(convolution,)))
    leg = quantized.execution(tmp_path / "q.onnx", held_out[1][:1], samples=("a",))
    assert leg.verdict == "fail"
    assert leg.divergence


@pytest.mark.parametrize("kind", ["scale", "zero_point"])
def test_a_wrong_range_of_an_activation_shows_as_drift(fp32, int8, held_out, kind):
    """Both sessions compute what the file says, so only the oracle knows."""
    images = held_out[1][:8]
    graph = onnx.load(int8[0]).graph
    zeros = {
        t.name: int(numpy_helper.to_array(t)) for t in graph.initializer if t.name.endswith("zero_point") and not t.dims
    }
    rounding = next(n for n in graph.node if n.op_type == "QuantizeLinear" and zeros[n.input[2]] > 60)
    name = rounding.input[1 if kind == "scale" else 2]
    path = tampered(
        int8[0], lambda n, value: None if n != name else value / np.float32(8) if kind == "scale" else value * 0
    )
    found = {"logits": run(path, images)}
    (parity,) = quantized.drift({"logits": run(fp32, images)}, found, samples=list("abcdefgh"), least_db=35)
    assert parity.verdict == "fail"


def test_golden_answers_are_the_graphs_own(int8, held_out):
    """As onnxruntime answers with every optimisation off; a file that it optimises is near, and counts in the gate."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(int8[0]), options, providers=["CPUExecutionProvider"])
    images = held_out[1][:3]
    expected = np.concatenate([session.run(None, {"image": image[None]})[0] for image in images])
    np.testing.assert_array_equal(quantized.as_written(int8[0], images)["logits"], expected)


def test_conditioning_is_no_better_than_two_right_runs_are(fp32, int8, held_out, tmp_path):
    images = held_out[1][::10]
    written, optimised = quantized.as_written(int8[0], images)["logits"], run(int8[0], images)
    error = np.sqrt(((written - optimised) ** 2).mean(axis=1)).max()
    two_runs = 20 * np.log10(np.abs(written).max() / error) if error else np.inf
    found = quantized.conditioning_db(int8[0], images)
    assert 20 < found <= two_runs
    assert quantized.conditioning_db(fp32, images) > 100 > found, "only rounding to steps is a staircase"


@pytest.mark.parametrize(
    ("size", "moved", "steps", "refused"),
    [(96, 2, 1, False), (96, 3, 1, True), (1000, 10, 1, False), (1000, 11, 1, True), (96, 1, 2, True)],
    ids=["two of a small tensor", "three of it", "one in a hundred", "more", "two steps"],
)
def test_how_many_values_may_lie_on_a_border(size, moved, steps, refused):
    node = helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"])
    model = helper.make_model(helper.make_graph([node], "one", [], []))
    values = np.full(size, 100, np.uint8)
    answers = values.copy()
    answers[:moved] += steps
    excess, where = quantized._worst_apart(model, {"q": values}, {"q": answers}, ["q"])
    assert (excess > 0, bool(where)) == (refused, refused)
