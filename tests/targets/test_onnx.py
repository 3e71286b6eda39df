"""ONNX files as they lie on disk, run in ONNX Runtime against eager torch."""

import os
import subprocess
import sys

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from swiftdeploy.capture import freeze
from swiftdeploy.errors import ConversionError
from swiftdeploy.fuse import constants
from swiftdeploy.runtimes import open_artifact, run_samples
from swiftdeploy.spec import Metadata
from swiftdeploy.targets import onnx as target

CLUTTER = {"Identity", "Constant", "Reshape", "Transpose", "Expand", "Shape", "Gather", "Unsqueeze", "Tile", "Cast"}
PSNR = {"fp32": 100.0, "fp16": 45.0}


def psnr(found, expected):
    error = np.sqrt(np.mean((found.astype(np.float64) - expected) ** 2))
    return 20 * np.log10(np.abs(expected).max() / error)


@pytest.mark.parametrize("opset", [17, 18, 19, 20])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_file_answers_as_eager_torch_does(network, written, opset, precision):
    path = written("onnx", precision, opset=opset)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert [entry.version for entry in model.opset_import if not entry.domain] == [opset]
    runtime = open_artifact(path)
    found = run_samples(runtime, network("tiny", 32).images.numpy())["logits"]
    assert psnr(found[:5], network("tiny", 32).expected[0][:5].numpy()) >= PSNR[precision]
    assert runtime.inputs[0].dtype == {"fp32": "float32", "fp16": "float16"}[precision]
    assert runtime.inputs[0].shape == (1, 3, 32, 32)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_no_clutter(written, precision):
    counts = open_artifact(written("onnx", precision, opset=20)).op_counts()
    assert not CLUTTER & set(counts)
    assert counts["Gelu"] == 8
    assert not {"Erf", "BatchNormalization"} & set(counts)


def test_gelu_is_spelt_out_below_opset_20(written):
    counts = open_artifact(written("onnx", "fp32", opset=17)).op_counts()
    assert counts["Erf"] == 8
    assert "Gelu" not in counts
    assert not {"Identity", "Constant", "Reshape", "Transpose"} & set(counts)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_every_weight_is_the_graphs_rounded_once(network, written, precision):
    stored = open_artifact(written("onnx", precision)).tensors()
    dtype = np.float16 if precision == "fp16" else np.float32
    for name, value in constants(network("tiny", 32).fused.graph).items():
        assert stored[name].dtype == dtype
        np.testing.assert_array_equal(stored[name], value.numpy().astype(dtype))


def test_one_file_holds_everything(written):
    model = onnx.load(written("onnx", "fp32"), load_external_data=False)
    assert all(not t.external_data for t in model.graph.initializer)
    assert not any(node.doc_string for node in model.graph.node)
    assert len({node.name for node in model.graph.node}) == len(model.graph.node)


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_a_dynamic_batch(network, written, batch):
    runtime = open_artifact(written("onnx", "fp32", dynamic_batch=True))
    assert runtime.inputs[0].shape == (0, 3, 32, 32)
    found = runtime.run({"image": network("tiny", 32).images[:batch].numpy()})["logits"]
    assert found.shape == (batch, 10)
    rows = min(batch, 5)
    assert psnr(found[:rows], network("tiny", 32).expected[0][:rows].numpy()) >= 100


def test_a_fixed_batch_refuses_another(written):
    runtime = open_artifact(written("onnx", "fp32"))
    with pytest.raises(Exception, match=r"[Ii]nvalid dimensions"):
        runtime.run({"image": np.zeros((2, 3, 32, 32), np.float32)})


def test_the_ort_form(network, written):
    path = written("onnx", "fp32")
    mobile = target.to_ort(path)
    assert mobile == path.with_suffix(".ort")
    assert mobile.read_bytes()[4:8] == b"ORTM"
    first, second = (open_artifact(p) for p in (path, mobile))
    images = network("tiny", 32).images.numpy()
    np.testing.assert_allclose(
        run_samples(first, images)["logits"], run_samples(second, images)["logits"], rtol=1e-4, atol=1e-4
    )
    assert second.tensors() == {}
    assert second.op_counts() == {}
    # ONNX Runtime writes the names inside in an order of its own: the size is one, the bytes are not.
    before = mobile.stat().st_size
    assert target.to_ort(path).stat().st_size == before


def test_a_damaged_file_has_no_ort_form(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"no model")
    with pytest.raises(ConversionError, match=r"m\.onnx has no \.ort form"):
        target.to_ort(tmp_path / "m.onnx")
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]


def small(layer=None):
    module = (layer or nn.Conv2d(3, 2, 1)).eval().requires_grad_(False)
    return freeze(module, torch.zeros(1, 3, 32, 32), input_name="image")


def test_metadata_and_labels(tmp_path):
    told = Metadata(author="A", license="Apache-2.0", version="1.2", description="A model.")
    path = tmp_path / "m.onnx"
    target.convert(small(), path, precision="fp32", opset=20, labels=("cat", "dog"), metadata=told)
    model = onnx.load(path)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert properties == {"author": "A", "license": "Apache-2.0", "version": "1.2", "labels": "cat\ndog"}
    assert model.doc_string == "A model."
    target.convert(small(), path, precision="fp32", opset=20)
    assert not onnx.load(path).metadata_props


def test_weights_below_fp16_are_zero_and_not_the_least_number(tmp_path):
    conv = nn.Conv2d(3, 1, 1, bias=False).requires_grad_(False)
    conv.weight.copy_(torch.tensor([1.0, 1e-9, -1e-9]).reshape(1, 3, 1, 1))
    target.convert(small(conv), tmp_path / "m.onnx", precision="fp16", opset=20)
    weights = [numpy_helper.to_array(t) for t in onnx.load(tmp_path / "m.onnx").graph.initializer]
    assert [w.ravel().tolist() for w in weights if w.size == 3] == [[1.0, 0.0, 0.0]]


def test_what_onnx_lacks_is_one_error(tmp_path):
    class Odd(nn.Module):
        def forward(self, x):
            return torch.linalg.matrix_exp(x)

    with pytest.raises(ConversionError, match="does not export to ONNX opset 18") as caught:
        target.convert(small(Odd()), tmp_path / "m.onnx", precision="fp32", opset=18)
    assert "\n" not in caught.value.fact
    assert list(tmp_path.iterdir()) == []


KEEPING = """
import gc, sys
from pathlib import Path
import torch
from swiftdeploy.capture import capture, freeze
from swiftdeploy.targets import onnx

def resident():
    return 1024 * int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1])

def make():
    example = torch.zeros(1, 8, 1, 1)
    graph = capture(torch.nn.Sequential(torch.nn.Conv2d(8, 1 << 19, 1)).eval().requires_grad_(False), example)
    onnx.convert(freeze(graph, example, input_name="image"), Path(sys.argv[1]), precision="fp32", opset=20)
    if sys.argv[2] == "forget":
        onnx.forget_exports()
    del graph
    gc.collect()
    return resident()

first, *_, last = [make() for _ in range(5)]
print(last - first)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="resident memory is read from /proc")
def test_programs_that_are_forgotten_take_no_memory(tmp_path):
    """Four programs of 18 MB of weights more: forgotten they leave nothing, and kept they show that it is measured."""
    # With a fixed threshold glibc gives every large block back at once, and what is resident is what is in use.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}

    def grown(what):
        line = [sys.executable, "-c", KEEPING, str(tmp_path / "a.onnx"), what]
        return int(subprocess.run(line, check=True, capture_output=True, text=True, env=environment).stdout)

    assert grown("keep") > 4 * (16 << 20)
    assert grown("forget") < 16 << 20
