"""8-bit ONNX files: the shipped digits and a small convolutional network with stress weights, run in ONNX Runtime."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from swiftdeploy.capture import freeze
from swiftdeploy.errors import ArtifactError, ConversionError, ModelError, UsageError
from swiftdeploy.parity.stress import stress_
from swiftdeploy.quantization import Int8Options
from swiftdeploy.targets import onnx as target
from swiftdeploy.targets import onnx_int8, onnx_int8_gelu
from swiftdeploy.targets.onnx_cleanup import op_counts

IMAGES = np.random.default_rng(0).standard_normal((6, 3, 32, 32)).astype(np.float32)


class Small(nn.Module):
    """A stem of few channels, a depthwise filter, a GELU, a sigmoid's gate, a residual sum and a head."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.widen = nn.Conv2d(8, 32, 1)
        self.narrow = nn.Conv2d(32, 8, 1)
        self.gate = nn.Conv2d(8, 8, 1)
        self.head = nn.Linear(8, 10)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        x = x + self.narrow(torch.nn.functional.gelu(self.widen(self.depthwise(x))))
        x = x * torch.sigmoid(self.gate(x))
        return self.head(x.mean((2, 3)))


def small(folder, opset=20):
    torch.manual_seed(0)
    module = stress_(Small().eval().requires_grad_(False), torch.from_numpy(IMAGES))
    path = folder / f"small-{opset}.onnx"
    program = freeze(module, torch.zeros(1, 3, 32, 32), input_name="image")
    target.convert(program, path, precision="fp32", opset=opset, labels=("cat", "dog"))
    return path


@pytest.fixture(scope="module")
def fp32(tmp_path_factory):
    return small(tmp_path_factory.mktemp("small"))


def run(path, images):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: image[None]})[0] for image in images])


def psnr(found, expected):
    return 20 * np.log10(np.abs(expected).max() / np.sqrt(np.mean((found - expected) ** 2)))


@pytest.mark.parametrize(
    ("options", "least"),
    [
        (Int8Options(), 32),
        (Int8Options(method="percentile", percentile=99.99), 32),
        (Int8Options(method="entropy"), 15),
        (Int8Options(activations="int8"), 30),
        (Int8Options(gelu="exact"), 32),
        (Int8Options(gelu="tanh"), 32),
        (Int8Options(gelu="sigmoid"), 30),
    ],
    ids=["minmax", "percentile", "entropy", "int8 activations", "exact", "tanh", "sigmoid"],
)
def test_a_small_network_in_eight_bits(fp32, tmp_path, options, least):
    path = tmp_path / "int8.onnx"
    placed = onnx_int8.static(fp32, path, IMAGES, options)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 20)]
    assert {p.key: p.value for p in model.metadata_props} == {"labels": "cat\ndog"}
    assert "reads the image's few channels" in placed.floating.values()
    assert psnr(run(path, IMAGES), run(fp32, IMAGES)) >= least
    kinds = {numpy_helper.to_array(t).dtype for t in model.graph.initializer if len(t.dims) == 4}
    assert kinds == {np.dtype(np.int8), np.dtype(np.float32)}  # the stem's stays


class Upscaling(nn.Module):
    """A transposed convolution of two groups, whose weight has as many output channels as one group."""

    def __init__(self, groups):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.up = nn.ConvTranspose2d(16, 16, 4, stride=2, padding=1, groups=groups)
        self.narrow = nn.Conv2d(16, 8, 3, stride=2, padding=1)

    def forward(self, x):
        return self.narrow(torch.relu(self.up(torch.relu(self.stem(x))))).mean((2, 3))


@pytest.mark.parametrize("groups", [1, 2])
def test_a_transposed_convolution_of_several_groups_stays_float(tmp_path, groups):
    torch.manual_seed(0)
    program = freeze(Upscaling(groups).eval().requires_grad_(False), torch.zeros(1, 3, 32, 32), input_name="image")
    source, destination = tmp_path / "a.onnx", tmp_path / "b.onnx"
    target.convert(program, source, precision="fp32", opset=20)
    placed = onnx_int8.static(source, destination, IMAGES, Int8Options())
    kept = [name for name, why in placed.floating.items() if "groups" in why]
    assert len(kept) == (groups > 1)
    assert psnr(run(destination, IMAGES), run(source, IMAGES)) > 25


def test_seven_bits_fill_half_of_int8(fp32, tmp_path):
    peaks = {}
    for bits in (7, 8):
        onnx_int8.static(fp32, tmp_path / "w.onnx", IMAGES, Int8Options(weight_bits=bits))
        tensors = [numpy_helper.to_array(t) for t in onnx.load(tmp_path / "w.onnx").graph.initializer]
        peaks[bits] = max(int(np.abs(t.astype(int)).max()) for t in tensors if t.dtype == np.int8 and t.ndim > 1)
    assert peaks == {7: 64, 8: 127}


def test_a_gelu_of_a_sigmoid_is_integers_throughout(fp32, tmp_path):
    onnx_int8.static(fp32, tmp_path / "s.onnx", IMAGES, Int8Options(gelu="sigmoid"))
    counts = op_counts(onnx.load(tmp_path / "s.onnx"))
    assert "Gelu" not in counts
    assert (counts["Sigmoid"], counts["Mul"]) == (2, 2)  # the gate's and the GELU's; the factor 1.702 is a scale
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(str(tmp_path / "s.onnx"), options, providers=["CPUExecutionProvider"])
    fused = op_counts(onnx.load(tmp_path / "optimised.onnx"))
    assert (fused["QLinearSigmoid"], fused["QLinearMul"]) == (2, 2)
    assert fused["QLinearConv"] == 4


def test_the_error_of_the_gelus_is_what_the_docstring_says():
    x = torch.linspace(-20, 20, 400001, dtype=torch.float64)
    exact = torch.nn.functional.gelu(x)
    assert 0.0203 < float((x * torch.sigmoid(1.702 * x) - exact).abs().max()) < onnx_int8_gelu.ERROR
    assert float((torch.nn.functional.gelu(x, approximate="tanh") - exact).abs().max()) < 4.8e-4


@pytest.mark.parametrize("method", ["minmax", "percentile"])
@pytest.mark.parametrize(("loudness", "form"), [(8.0, "sigmoid"), (0.1, "exact")])
def test_the_steps_of_a_layer_decide_the_form_of_its_gelu(fp32, tmp_path, loudness, form, method):
    images = loudness * IMAGES
    onnx_int8.static(fp32, tmp_path / "auto.onnx", images, Int8Options(method=method))
    onnx_int8.static(fp32, tmp_path / "said.onnx", images, Int8Options(method=method, gelu=form))
    assert (tmp_path / "auto.onnx").read_bytes() == (tmp_path / "said.onnx").read_bytes()
    assert ("Gelu" in op_counts(onnx.load(tmp_path / "auto.onnx"))) == (form == "exact")


@pytest.mark.parametrize(
    ("lowest", "highest", "coarse"),
    [(-0.17, 5.04, True), (-0.17, 5.02, False), (4.0, 5.3, True), (4.0, 5.1, False), (-0.17, -0.1, False)],
)
def test_a_step_is_a_255th_of_the_range_with_zero_in_it(fp32, lowest, highest, coarse):
    model = onnx.load(fp32)
    (gelu,) = (node for node in model.graph.node if node.op_type == "Gelu")
    found = onnx_int8_gelu.coarse(model, {gelu.output[0]: (lowest, highest)})
    assert found == ({gelu.name} if coarse else set())


def test_a_gelu_that_was_asked_to_stay_stays_whatever_its_steps(fp32, tmp_path):
    kept = next(node.name for node in onnx.load(fp32).graph.node if node.op_type == "Gelu")
    onnx_int8.static(fp32, tmp_path / "q.onnx", 8 * IMAGES, Int8Options(keep_float=(kept,)))
    assert op_counts(onnx.load(tmp_path / "q.onnx"))["Gelu"] == 1


def test_same_input_same_bytes(fp32, tmp_path):
    for name in ("a.onnx", "b.onnx"):
        onnx_int8.static(fp32, tmp_path / name, IMAGES[:2], Int8Options(method="percentile", gelu="sigmoid"))
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    assert str(tmp_path).encode() not in (tmp_path / "a.onnx").read_bytes()


@pytest.mark.parametrize("opset", [17, 19])
def test_the_opset_stays(tmp_path, opset):
    onnx_int8.static(small(tmp_path, opset), tmp_path / "q.onnx", IMAGES, Int8Options())
    model = onnx.load(tmp_path / "q.onnx")
    assert [entry.version for entry in model.opset_import if not entry.domain] == [opset]
    assert psnr(run(tmp_path / "q.onnx", IMAGES), run(tmp_path / f"small-{opset}.onnx", IMAGES)) >= 32


def test_weights_alone(fp32, tmp_path):
    onnx_int8.weight_only(fp32, tmp_path / "w.onnx")
    counts = op_counts(onnx.load(tmp_path / "w.onnx"))
    assert "QuantizeLinear" not in counts
    assert counts["DequantizeLinear"] == 5  # of six weighted layers all but the stem
    assert counts["Relu"] == 1
    assert psnr(run(tmp_path / "w.onnx", IMAGES), run(fp32, IMAGES)) >= 38
    onnx_int8.weight_only(fp32, tmp_path / "v.onnx")
    assert (tmp_path / "w.onnx").read_bytes() == (tmp_path / "v.onnx").read_bytes()


def test_one_image_is_enough_and_a_blank_one_does_no_harm(fp32, tmp_path):
    onnx_int8.static(fp32, tmp_path / "one.onnx", IMAGES[:1], Int8Options())
    assert psnr(run(tmp_path / "one.onnx", IMAGES), run(fp32, IMAGES)) >= 20
    blank = np.concatenate([np.zeros_like(IMAGES[:1]), IMAGES])
    onnx_int8.static(fp32, tmp_path / "blank.onnx", blank, Int8Options(method="percentile"))
    assert psnr(run(tmp_path / "blank.onnx", IMAGES), run(fp32, IMAGES)) >= 30


@pytest.mark.parametrize(
    ("images", "error", "fact"),
    [
        (IMAGES[:0], UsageError, "no calibration image"),
        (np.where(np.arange(6).reshape(-1, 1, 1, 1) == 2, np.nan, IMAGES), ModelError, "image 2 holds NaN"),
        (IMAGES[:, :, :16], ModelError, r"\(3, 16, 32\), the model takes \(3, 32, 32\)"),
        (IMAGES[0], ModelError, "the model takes"),
    ],
    ids=["none", "NaN", "size", "no batch axis"],
)
def test_images_that_do_not_calibrate(fp32, tmp_path, images, error, fact):
    with pytest.raises(error, match=fact):
        onnx_int8.static(fp32, tmp_path / "q.onnx", images, Int8Options())
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_quantised(fp32, tmp_path):
    with pytest.raises(UsageError, match="no node 'Conv_99'"):
        onnx_int8.static(fp32, tmp_path / "q.onnx", IMAGES, Int8Options(keep_float=("Conv_99",)))
    with pytest.raises(UsageError, match="needs opset 20, the file has 17"):
        onnx_int8.static(small(tmp_path, 17), tmp_path / "q.onnx", IMAGES, Int8Options(gelu="sigmoid"))
    onnx_int8.static(fp32, tmp_path / "twice.onnx", IMAGES, Int8Options())
    with pytest.raises(UsageError, match="no fp32 weights alone"):
        onnx_int8.static(tmp_path / "twice.onnx", tmp_path / "q.onnx", IMAGES, Int8Options())
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with pytest.raises(ArtifactError, match=r"broken\.onnx is no readable ONNX file"):
        onnx_int8.static(tmp_path / "broken.onnx", tmp_path / "q.onnx", IMAGES, Int8Options())
    assert not (tmp_path / "q.onnx").exists()


def test_a_network_that_overflows_does_not_calibrate(fp32, tmp_path):
    model = onnx.load(fp32)
    stem = next(t for t in model.graph.initializer if t.name.startswith("stem"))
    stem.CopyFrom(numpy_helper.from_array(np.full(tuple(stem.dims), 3e38, np.float32), stem.name))
    onnx.save(model, tmp_path / "huge.onnx")
    with pytest.raises(ConversionError, match="not finite on the calibration images"):
        onnx_int8.static(tmp_path / "huge.onnx", tmp_path / "q.onnx", IMAGES, Int8Options())


def test_what_was_asked_to_stay_stays(fp32, tmp_path):
    kept = next(node.name for node in onnx.load(fp32).graph.node if node.op_type == "Gemm")
    placed = onnx_int8.static(fp32, tmp_path / "q.onnx", IMAGES, Int8Options(keep_float=(kept,)))
    assert placed.floating[kept] == "was asked for"
    weights = {t.name: t for t in onnx.load(tmp_path / "q.onnx").graph.initializer}
    assert weights["head.weight"].data_type == onnx.TensorProto.FLOAT
