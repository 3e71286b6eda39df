"""Channels of zeros up to a multiple of 16: the same answers as torch, the same integers, and only where they fit."""

import random

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from swiftdeploy import catalog, checkpoint
from swiftdeploy.capture import capture, freeze
from swiftdeploy.fuse import fuse
from swiftdeploy.parity import metrics, quantized
from swiftdeploy.parity.stress import stress_
from swiftdeploy.quantization import Int8Options
from swiftdeploy.targets import onnx as target
from swiftdeploy.targets import onnx_int8, onnx_int8_channels
from swiftdeploy.targets.onnx_int8_channels import grown, widened
from swiftdeploy.targets.onnx_int8_record import tensor_records

X = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
TWICE = 2


class Stream(nn.Module):
    """A residual stream of `channels`, depthwise filters and a gate on it, then a head; `odd` says what differs."""

    def __init__(self, channels=40, odd="", hidden=72):
        super().__init__()
        self.odd = odd
        self.stem = nn.Conv2d(3, channels, 3, stride=2, padding=1)
        multiple = TWICE if odd == "a multiplier" else 1
        self.depthwise = nn.Conv2d(channels, multiple * channels, 3, padding=1, groups=channels)
        self.up = nn.Conv2d(multiple * channels, hidden, 1)
        self.down = nn.Conv2d(hidden, channels, 1)
        self.again = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.gate = nn.Conv2d(channels, channels, 1)
        self.grouped = nn.Conv2d(channels, channels, 1, groups=2)
        self.head = nn.Linear(2 * channels if odd == "joined" else channels, 10)
        self.shift = nn.Parameter(torch.randn(1, channels, 1, 1))

    def forward(self, x):
        x = torch.relu(self.stem(x))
        x = x + self.down(nn.functional.gelu(self.up(self.depthwise(x))))
        x = self.again(x)
        x = x * torch.sigmoid(self.gate(x.mean((2, 3), keepdim=True)))
        if self.odd == "two layers of one weight":
            x = torch.relu(self.gate(x))
        elif self.odd == "groups":
            x = self.grouped(x)
        elif self.odd == "a constant":
            x = x + self.shift
        elif self.odd == "joined":
            x = torch.cat((x, x), 1)
        return x if self.odd == "an output" else self.head(x.mean((2, 3)))


def written(folder, module, name="a"):
    path = folder / f"{name}.onnx"
    program = freeze(module.eval().requires_grad_(False), X[:1], input_name="image", output_names=("out",))
    target.convert(program, path, precision="fp32", opset=20)
    return path


def run(model, images):
    data = model.SerializeToString() if isinstance(model, onnx.ModelProto) else str(model)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"image": image[None].numpy()})[0] for image in images])


def tensors(model):
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def padded(value, shape):
    found = np.zeros(shape, value.dtype)
    found[tuple(map(slice, value.shape))] = value
    return found


def test_a_stream_is_widened_as_a_whole_and_answers_as_torch(tmp_path):
    module = Stream()
    path = written(tmp_path, module)
    before, model = tensors(onnx.load(path)), widened(onnx.load(path))
    after = tensors(model)
    onnx.checker.check_model(model, full_check=True)
    assert {name: after[name].shape for name in before if before[name].shape != after[name].shape} == {
        "stem.weight": (48, 3, 3, 3),
        "stem.bias": (48,),
        "depthwise.weight": (48, 1, 3, 3),
        "depthwise.bias": (48,),
        "up.weight": (72, 48, 1, 1),
        "down.weight": (48, 72, 1, 1),
        "down.bias": (48,),
        "again.weight": (48, 1, 3, 3),
        "gate.weight": (48, 48, 1, 1),
        "gate.bias": (48,),
        "head.weight": (10, 48),
    }
    for name, value in before.items():
        np.testing.assert_array_equal(padded(value, after[name].shape), after[name])
    with torch.no_grad():
        np.testing.assert_allclose(run(model, X), module(X).numpy(), atol=1e-5)


def test_a_free_batch_stays_free(tmp_path):
    module = Stream()
    program = freeze(module.eval().requires_grad_(False), X[:1], input_name="image")
    target.convert(program, tmp_path / "a.onnx", precision="fp32", opset=20, dynamic_batch=True)
    model = widened(onnx.load(tmp_path / "a.onnx"))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    with torch.no_grad():
        np.testing.assert_allclose(session.run(None, {"image": X.numpy()})[0], module(X).numpy(), atol=1e-5)


@pytest.mark.parametrize(
    "module",
    [
        Stream(48),
        Stream(20),
        *[Stream(odd=odd) for odd in ("an output", "a constant", "joined", "groups", "two layers of one weight")],
        Stream(odd="a multiplier"),
    ],
    ids=lambda module: f"{module.stem.out_channels} {module.odd}".strip(),
)
def test_what_fits_or_belongs_to_something_else_stays(tmp_path, module):
    if module.odd == "a multiplier":
        module.again = nn.Identity()  # or this one would be a reason of its own
    model = onnx.load(written(tmp_path, module))
    assert widened(onnx.ModelProto.FromString(model.SerializeToString())) == model


def test_what_was_asked_to_stay_stays(tmp_path):
    model = onnx.load(written(tmp_path, Stream()))
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm", "Add"):
            assert widened(onnx.ModelProto.FromString(model.SerializeToString()), [node.name]) == model


@pytest.fixture(scope="module")
def in_integers(tmp_path_factory):
    """A stream with stress weights: its fp32 file, the 8-bit one, and the 8-bit one that was not widened."""
    folder = tmp_path_factory.mktemp("int8")
    fp32 = written(folder, stress_(Stream().eval().requires_grad_(False), X))
    images = torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(1)).numpy()
    placed = onnx_int8.static(fp32, folder / "wide.onnx", images, Int8Options())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_int8_channels, "widened", lambda model, keep=(): model)
        onnx_int8.static(fp32, folder / "narrow.onnx", images, Int8Options())
    return fp32, folder / "wide.onnx", folder / "narrow.onnx", placed


def test_integers_are_the_same_and_zeros_beside_them(in_integers):
    _, wide, narrow, _ = in_integers
    before, after = tensors(onnx.load(narrow)), tensors(onnx.load(wide))
    weights = [name for name, value in before.items() if value.dtype == np.int8 and value.ndim > 1]
    assert len(weights) == 6, "all but the stem, which reads few channels"
    for name in weights:
        np.testing.assert_array_equal(padded(before[name], after[name].shape), after[name])
    assert any(before[name].shape != after[name].shape for name in weights)
    # Equal to the bit on our hosts; float sums that set the ranges may round otherwise where they are added otherwise.
    assert metrics.psnr_db(run(narrow, X), run(wide, X)) > 50


def test_the_legs_take_zeros_and_nothing_else(in_integers, tmp_path):
    fp32, wide, _, placed = in_integers
    found = quantized.weights(fp32, wide, floating=placed.floating)
    assert (found.problems, found.equal) == ((), found.tensors)
    assert quantized.execution(wide, X.numpy(), samples=("a", "b")).verdict == "pass"
    for name in ("down.weight_quantized", "stem.weight"):
        model = onnx.load(wide)
        tensor = next(t for t in model.graph.initializer if t.name == name)
        value = numpy_helper.to_array(tensor).copy()
        value[-1, 0] = 1
        tensor.CopyFrom(numpy_helper.from_array(value, name))
        onnx.save(model, tmp_path / "b.onnx")
        problems = quantized.weights(fp32, tmp_path / "b.onnx", floating=placed.floating).problems
        assert [problem.split(":")[0] for problem in problems] == [name.removesuffix("_quantized")]


def test_a_record_has_the_sizes_of_the_network(in_integers):
    fp32, wide, narrow, _ = in_integers
    before, after = tensor_records(fp32, narrow), tensor_records(fp32, wide)
    assert [(r.name, r.shape, r.bytes_before) for r in after] == [(r.name, r.shape, r.bytes_before) for r in before]
    assert [r.relative_l2 for r in after] == pytest.approx([r.relative_l2 for r in before])
    assert sum(r.bytes_after for r in after) > sum(r.bytes_after for r in before)


@pytest.mark.parametrize(
    ("shape", "fits"),
    [((2, 3), True), ((2, 5), True), ((17, 3), True), ((18, 3), False), ((1, 3), False), ((2, 3, 1), False)],
    ids=str,
)
def test_a_weight_grows_by_zeros_and_by_no_more_than_it_has_to(shape, fits):
    value = np.ones((2, 3))
    found = grown(value, shape)
    assert (found is not None) == fits
    if found is not None:
        assert found.shape == shape
        assert found.sum() == value.sum() == found[:2, :3].sum()


@pytest.mark.parametrize(
    ("name", "widths"), [("swiftformer_xs", {48, 64, 112, 224}), ("swiftformer_s", {48, 64, 176, 224})]
)
def test_all_of_a_swiftformers_filters_have_multiples_of_16(tmp_path, name, widths):
    module = checkpoint.build_untrained(catalog.find(name), 0, attention="token_l2").module
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    stress_(module, image)
    program = freeze(fuse(capture(module, image), image).graph, image, input_name="image")
    target.convert(program, tmp_path / "a.onnx", precision="fp32", opset=20)
    model = widened(onnx.load(tmp_path / "a.onnx"))
    groups = {
        a.i for n in model.graph.node if n.op_type == "Conv" for a in n.attribute if a.name == "group" and a.i > 1
    }
    assert groups == widths
    with torch.no_grad():
        expected = module(image).numpy()
    assert np.abs(run(model, image) - expected).max() < 2e-5 * np.abs(expected).max()


class Drawn(nn.Module):
    """A network of layers drawn by a seed: those that share channels, those that end a stream, those that break one."""

    KINDS = ("depthwise", "depthwise", "depthwise", "mlp", "gelu", "clip", "gate", "pooled", "branch", "down", "odd")

    def __init__(self, seed):
        super().__init__()
        draw = random.Random(seed)
        self.kinds = [draw.choice(self.KINDS) for _ in range(draw.randint(3, 8))]
        width = draw.choice((36, 40, 44, 56))
        self.odd = draw.choice(("joined", "cut", "groups"))
        layers = [nn.Conv2d(3, width, 3, padding=1)]
        for kind in self.kinds:
            groups = {"depthwise": width, "odd": 2}.get(kind, 1)
            layers.append(nn.Conv2d(width, width, 3, stride=2 if kind == "down" else 1, padding=1, groups=groups))
        self.layers = nn.ModuleList(layers)
        self.head = nn.Linear(width, 10)

    def step(self, kind, layer, x, first):
        if kind in ("depthwise", "down"):
            return layer(x)
        if kind == "mlp":
            return x + nn.functional.gelu(layer(x))
        if kind == "clip":
            return x.clamp(0.5, 2)
        if kind == "gate":
            return x * torch.sigmoid(layer(x.mean((2, 3), keepdim=True)))
        if kind == "pooled":
            return x * x.mean((2, 3), keepdim=True)
        if kind == "branch":
            return x + first if x.shape == first.shape else torch.relu(x)
        if kind == "odd":
            odd = {
                "joined": lambda: torch.cat((x[:, 4:], x[:, :4]), 1),
                "cut": lambda: x.flip(1),
                "groups": lambda: layer(x),
            }
            return odd[self.odd]()
        return nn.functional.gelu(x)

    def forward(self, x):
        first = x = self.layers[0](x)
        for kind, layer in zip(self.kinds, self.layers[1:], strict=True):
            x = self.step(kind, layer, x, first)
        return self.head(x.mean((2, 3)))


def test_drawn_networks_answer_as_torch(tmp_path):
    changed = 0
    for seed in range(30):
        torch.manual_seed(seed)
        module = Drawn(seed)
        model = onnx.load(written(tmp_path, module, str(seed)))
        wide = widened(onnx.ModelProto.FromString(model.SerializeToString()))
        changed += wide != model
        onnx.checker.check_model(wide, full_check=True)
        with torch.no_grad():
            expected = module(X).numpy()
        assert np.abs(run(wide, X) - expected).max() < 1e-5 * np.abs(expected).max(), (seed, module.kinds)
    assert 5 < changed < 25, "both kinds are drawn"
