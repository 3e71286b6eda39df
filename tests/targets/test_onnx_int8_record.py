"""What is recorded of an 8-bit file, against ONNX Runtime's own reading of it."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from swiftdeploy.capture import freeze
from swiftdeploy.targets import onnx as target
from swiftdeploy.targets import onnx_int8
from swiftdeploy.targets.onnx_int8_record import dense_tensors, kept_tensors, tensor_records


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """(fp32 file, file of 8-bit weights, its placement): a stem of few channels, a convolution and a linear head."""
    folder = tmp_path_factory.mktemp("record")
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 24, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    module = nn.Sequential(*layers, nn.Linear(24, 10)).eval().requires_grad_(False)
    target.convert(
        freeze(module, torch.zeros(1, 3, 8, 8), input_name="image"), folder / "a.onnx", precision="fp32", opset=20
    )
    placed = onnx_int8.weight_only(folder / "a.onnx", folder / "b.onnx")
    return folder / "a.onnx", folder / "b.onnx", placed


def read_by_the_runtime(path):
    """Every value that a DequantizeLinear makes of a stored tensor, as ONNX Runtime computes it."""
    model = onnx.load(path)
    stored = {tensor.name for tensor in model.graph.initializer}
    nodes = [n for n in model.graph.node if n.op_type == "DequantizeLinear" and n.input[0] in stored]
    model.graph.output.extend(onnx.ValueInfoProto(name=node.output[0]) for node in nodes)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    values = session.run([node.output[0] for node in nodes], {"image": np.zeros((1, 3, 8, 8), np.float32)})
    return {n.input[0].removesuffix("_quantized"): value for n, value in zip(nodes, values, strict=True)}


def test_dense_tensors_are_what_the_runtime_reads(files):
    expected, found = read_by_the_runtime(files[1]), dense_tensors(files[1])
    assert found.keys() == expected.keys() == {"2.weight", "5.weight"}
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)


def test_a_record_says_what_lies_in_the_file(files):
    base = {t.name: numpy_helper.to_array(t) for t in onnx.load(files[0]).graph.initializer}
    records = {record.name: record for record in tensor_records(*files[:2])}
    assert records.keys() == {"2.weight", "5.weight"}
    record = records["2.weight"]
    assert (record.scheme, record.group, record.shape) == ("int8", 0, (24, 16, 1, 1))
    assert record.bytes_before == 4 * 24 * 16
    assert record.bytes_after == 24 * 16 + 5 * 24, "integers, then a float scale and a zero point a channel"
    wanted, now = base["2.weight"].astype(np.float64), dense_tensors(files[1])["2.weight"]
    assert record.relative_l2 == pytest.approx(np.linalg.norm(now - wanted) / np.linalg.norm(wanted))
    assert record.psnr_db == pytest.approx(20 * np.log10(np.abs(wanted).max() / np.sqrt(np.mean((now - wanted) ** 2))))


def test_what_is_not_compressed_has_a_reason(files):
    kept = {record.name: record for record in kept_tensors(files[0], files[1], files[2].floating)}
    assert kept.keys() == {"0.weight", "0.bias", "2.bias", "5.bias"}
    assert kept["0.weight"].reason == kept["0.bias"].reason == "its node reads the image's few channels"
    assert kept["2.bias"].reason == "a float bias"
    assert kept["0.weight"].bytes == 4 * 16 * 27
    images = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)
    static = files[1].with_name("c.onnx")
    placed = onnx_int8.static(files[0], static, images, onnx_int8.Int8Options())
    reasons = {record.name: record.reason for record in kept_tensors(files[0], static, placed.floating)}
    assert reasons["2.bias"] == "a bias, of int32 in steps of its layer"
