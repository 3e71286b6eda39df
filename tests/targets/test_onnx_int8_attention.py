"""Sums of attention and joined channels in another form: the same answers as torch, and only where they fit."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from swiftdeploy.capture import freeze
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
