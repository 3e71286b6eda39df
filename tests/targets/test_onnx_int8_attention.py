"""Norms, sums and joined channels of attention in another form: the same answers as torch, and only where they fit."""

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
from swiftdeploy.parity.stress import stress_
from swiftdeploy.targets import onnx as target
from swiftdeploy.targets.onnx_cleanup import op_counts
from swiftdeploy.targets.onnx_int8_attention import parts_of, rewritten

X = torch.randn(3, 4, 5, 6, generator=torch.Generator().manual_seed(0))


class Additive(nn.Module):
    """Weights of the tokens, their weighted sum, and both branches joined."""

    def __init__(self, dims=(2, 3), axis=1, groups=1, keepdim=True, again=False, channels=1):
        super().__init__()
        torch.manual_seed(1)
        self.weigh = nn.Conv2d(4, channels, 1)
        self.key = nn.Conv2d(4, 4, 1)
        self.final = nn.Conv2d(8 if axis == 1 else 4, 4, 1, groups=groups)
        self.dims, self.axis, self.keepdim, self.again = dims, axis, keepdim, again

    def forward(self, x):
        product = self.weigh(x) * x
        total = product.sum(self.dims, keepdim=self.keepdim)
        if not self.keepdim:
            total = total[..., None, None]
        joined = torch.cat((self.key(x) * total, x), self.axis)
        out = self.final(joined)
        return out + joined.mean() + product.mean() if self.again else out


class Units(nn.Module):
    """Unit vectors of the tokens, and the same under a scale of each map, times a value a channel, as fusing has it."""

    def __init__(self, dim=1, scaled=True, most=None, other=False, shared=False, least=6.103515625e-05):
        super().__init__()
        torch.manual_seed(2)
        self.key = nn.Conv2d(4, 4, 1)
        self.dim, self.scaled, self.most, self.other, self.shared, self.least = dim, scaled, most, other, shared, least

    def forward(self, x):
        norm = torch.linalg.vector_norm(self.key(x) if self.other else x, dim=self.dim, keepdim=True)
        if not self.scaled:
            return x / norm.clamp(self.least, self.most)
        scale = torch.linalg.vector_norm(self.key(x), dim=(1, 2, 3), keepdim=True)
        unit = x / (scale * norm).clamp(self.least, self.most)
        product = unit * x.amax((2, 3), keepdim=True)
        return product + unit if self.shared else product


def written(folder, module, *, dynamic_batch=False):
    path = folder / "a.onnx"
    example = X if not dynamic_batch else X[:1]
    program = freeze(module.eval().requires_grad_(False), example, input_name="image", output_names=("out",))
    target.convert(program, path, precision="fp32", opset=20, dynamic_batch=dynamic_batch)
    return onnx.load(path)


def run(model, x):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"image": x.numpy()})[0]


@pytest.mark.parametrize("dynamic_batch", [False, True])
def test_both_are_rewritten_and_answer_as_torch(tmp_path, dynamic_batch):
    module = Additive()
    model = rewritten(written(tmp_path, module, dynamic_batch=dynamic_batch))
    counts = op_counts(model)
    assert "ReduceSum" not in counts
    assert "Concat" not in counts
    assert (counts["MatMul"], counts["Conv"], counts["Mul"]) == (1, 4, 1)
    onnx.checker.check_model(model, full_check=True)
    with torch.no_grad():
        np.testing.assert_allclose(run(model, X), module(X).numpy(), atol=2e-5)
    read = {name for node in model.graph.node for name in node.input}
    assert {tensor.name for tensor in model.graph.initializer} <= read


@pytest.mark.parametrize(
    ("other", "stays"),
    [
        ({"dims": (1, 3), "channels": 4}, {"ReduceSum"}),
        ({"dims": (2,)}, {"ReduceSum"}),
        ({"keepdim": False}, {"ReduceSum"}),
        ({"channels": 4}, {"ReduceSum"}),
        ({"axis": 0}, {"Concat"}),
        ({"groups": 2}, {"Concat"}),
        ({"again": True}, {"ReduceSum", "Concat"}),
    ],
    ids=["over channels", "over rows", "without its axes", "no weight a token", "a batch", "groups", "read twice"],
)
def test_what_is_something_else_stays(tmp_path, other, stays):
    module = Additive(**other)
    model = rewritten(written(tmp_path, module))
    assert stays <= set(op_counts(model))
    with torch.no_grad():
        np.testing.assert_allclose(run(model, X), module(X).numpy(), atol=2e-5)


def test_what_was_asked_to_stay_stays(tmp_path):
    model = written(tmp_path, Additive())
    kept = [node.name for node in model.graph.node if node.op_type in ("ReduceSum", "Concat")]
    assert op_counts(rewritten(onnx.ModelProto.FromString(model.SerializeToString()), kept)) == op_counts(model)


def test_a_weight_in_parts_is_found_again():
    value = np.arange(24.0).reshape(2, 12, 1, 1)
    stored = {f"w_part{i}_quantized": np.zeros((2, width, 1, 1), np.int8) for i, width in enumerate((4, 8))}
    parts = parts_of("w", value, stored)
    assert list(parts) == ["w_part0", "w_part1"]
    np.testing.assert_array_equal(np.concatenate(list(parts.values()), axis=1), value)
    assert list(parts_of("v", value, stored)) == ["v"]
    del stored["w_part1_quantized"]
    assert list(parts_of("w", value, stored)) == ["w"], "what is missing of a weight is not hidden"


@pytest.mark.parametrize("dynamic_batch", [False, True])
@pytest.mark.parametrize("scaled", [False, True])
def test_norms_are_rewritten_and_answer_as_torch(tmp_path, scaled, dynamic_batch):
    module = Units(scaled=scaled)
    model = rewritten(written(tmp_path, module, dynamic_batch=dynamic_batch))
    counts = op_counts(model)
    assert counts["LpNormalization"] == 1
    assert "Clip" not in counts
    assert counts.get("ReduceL2", 0) == int(scaled), "the norm of whole maps stays"
    onnx.checker.check_model(model, full_check=True)
    x = X.clone()
    x[0, :, 0, 0] = 0
    with torch.no_grad():
        np.testing.assert_allclose(run(model, x), module(x).numpy(), atol=1e-6)


def test_a_scale_of_zero_stays_finite(tmp_path):
    module = Units()
    nn.init.zeros_(module.key.weight)
    nn.init.zeros_(module.key.bias)
    model = rewritten(written(tmp_path, module))
    assert np.isfinite(run(model, X)).all()


def test_a_norm_below_the_least_one_is_that_of_pytorchs_normalize(tmp_path):
    small = X * 1e-7
    model = rewritten(written(tmp_path, Units(scaled=False)))
    np.testing.assert_allclose(run(model, small), nn.functional.normalize(small, dim=1).numpy(), atol=1e-6)


def test_a_scale_below_the_least_norm_is_divided_by_all_the_same(tmp_path):
    module, exact = Units(), Units(least=1e-12)
    for net in (module, exact):
        net.key.load_state_dict({name: 1e-7 * value for name, value in net.key.state_dict().items()})
    model = rewritten(written(tmp_path, module))
    with torch.no_grad():
        expected = exact(X).numpy()
    np.testing.assert_allclose(run(model, X), expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(
    "other",
    [
        {"dim": 2},
        {"dim": 2, "scaled": False},
        {"dim": (1, 2)},
        {"dim": (2, 3), "scaled": False},
        {"most": 2.0},
        {"most": 2.0, "scaled": False},
        {"other": True},
        {"other": True, "scaled": False},
        {"shared": True},
        {"least": 0.5},
        {"least": 0.5, "scaled": False},
    ],
    ids=str,
)
def test_other_norms_stay(tmp_path, other):
    module = Units(**other)
    model = rewritten(written(tmp_path, module))
    assert "LpNormalization" not in op_counts(model)
    with torch.no_grad():
        np.testing.assert_allclose(run(model, X), module(X).numpy(), atol=1e-6)


class MapNorm(nn.Module):
    """The norm of a map of `channels`, over `dim`."""

    def __init__(self, channels, dim, keepdim=True):
        super().__init__()
        torch.manual_seed(3)
        self.weigh = nn.Conv2d(4, channels, 1)
        self.dim, self.keepdim = dim, keepdim

    def forward(self, x):
        return torch.linalg.vector_norm(self.weigh(x), dim=self.dim, keepdim=self.keepdim)


@pytest.mark.parametrize(
    ("module", "axes", "last"),
    [
        (MapNorm(1, (2, 3)), [1, 2], True),
        (MapNorm(4, (2, 3)), [2, 3], False),
        (MapNorm(1, (1, 2)), [1, 2], False),
        (MapNorm(1, (2, 3), keepdim=False), [2, 3], False),
    ],
    ids=["a value a token", "several", "over rows", "without its axes"],
)
def test_the_norm_of_a_map_is_taken_where_its_channels_are_last(tmp_path, module, axes, last):
    before = written(tmp_path, module)
    model = rewritten(onnx.ModelProto.FromString(before.SerializeToString()))
    (norm,) = (node for node in model.graph.node if node.op_type == "ReduceL2")
    stored = {tensor.name: numpy_helper.to_array(tensor).tolist() for tensor in model.graph.initializer}
    assert stored[norm.input[1]] == axes
    assert ("Transpose" in op_counts(model)) == last
    with torch.no_grad():
        np.testing.assert_allclose(run(model, X), module(X).numpy(), atol=1e-5)
    assert op_counts(rewritten(before, [norm.name])) == op_counts(written(tmp_path, module))


@pytest.mark.parametrize("kept", ["ReduceL2", "Clip", "Div"])
@pytest.mark.parametrize("scaled", [False, True])
def test_norms_that_were_asked_to_stay_stay(tmp_path, scaled, kept):
    model = written(tmp_path, Units(scaled=scaled))
    names = [node.name for node in model.graph.node if node.op_type == kept]
    assert op_counts(rewritten(onnx.ModelProto.FromString(model.SerializeToString()), names)) == op_counts(model)


@pytest.fixture(scope="module")
def swiftformer(tmp_path_factory):
    """A fused SwiftFormer-XS of 64 px with stress weights, the module and its fp32 file."""
    module = checkpoint.build_untrained(catalog.find("swiftformer_xs"), 0, attention="token_l2").module
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    stress_(module, images)
    program = freeze(fuse(capture(module, images[:1]), images[:1]).graph, images[:1], input_name="image")
    path = tmp_path_factory.mktemp("xs") / "xs.onnx"
    target.convert(program, path, precision="fp32", opset=20)
    return module, images, path


def test_all_of_a_swiftformers_attention_is_rewritten(swiftformer):
    module, images, path = swiftformer
    model = rewritten(onnx.load(path))
    counts = op_counts(model)
    assert (counts["LpNormalization"], counts["MatMul"], counts["ReduceL2"]) == (8, 4, 4), "of four attentions"
    assert not {"Clip", "Concat", "ReduceSum"} & set(counts)
    made = {name: node for node in model.graph.node for name in node.output}
    pairs = [n for n in model.graph.node if n.op_type == "Transpose" and made[n.input[0]].op_type == "Transpose"]
    assert not pairs, "a transposition there and back is rounded twice"
    with torch.no_grad():
        for image in images:
            expected = module(image[None]).numpy()
            found = run(model, image[None])
            assert np.abs(found - expected).max() < 2e-5 * np.abs(expected).max()
