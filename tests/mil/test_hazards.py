"""Oracles: numpy's own counting for the shares; torch hooks and products of sizes for multiply-accumulates."""

import numpy as np
import pytest
import torch
from torch import nn

from swiftdeploy.mil import load_program
from swiftdeploy.mil.hazards import measure


def by_op(found):
    return {entry.op: entry for entry in found}


def test_shares_and_ranges(save):
    x = np.array([1e-9, -1e-7, 3e-5, 1.0, -300.0, 70000.0, 0.0, np.inf, np.nan, 2.0], np.float32)
    loaded = load_program(save(lambda mb, a: mb.mul(x=a, y=np.float32(1)), [x]))
    (entry,) = measure(loaded, [{"a": x}])
    assert (entry.op, entry.output, entry.dtype, entry.shape, entry.runs) == (
        "mul", loaded.outputs[0].name, "fp32", (10,), 1,
    )  # fmt: skip
    assert entry.least == np.float32(1e-9)
    assert entry.greatest == 70000.0
    shares = (entry.overflow, entry.vanish, entry.subnormal, entry.nan, entry.inf)
    assert shares == pytest.approx((0.2, 0.1, 0.3, 0.1, 0.1))


def test_a_half_program_shows_what_it_has_lost(save):
    x = np.array([200.0, 300.0, 1e-5, 1.0], np.float16)
    loaded = load_program(save(lambda mb, a: mb.square(x=a), [x], ios=16, half=True))
    entry = by_op(measure(loaded, [{"a": x}]))["square"]
    assert entry.dtype == "fp16"
    assert (entry.overflow, entry.inf, entry.nan) == (0.25, 0.25, 0)
    assert entry.greatest == np.float16(40000)


def test_samples_and_turns_of_a_loop_add_up(save):
    def graph(mb, a):
        return mb.while_loop(
            _cond=lambda i, x: mb.less(x=i, y=np.int32(3)),
            _body=lambda i, x: (mb.add(x=i, y=np.int32(1)), mb.matmul(x=x, y=x)),
            loop_vars=(np.int32(0), a),
        )[1]

    samples = [np.full((2, 2), value, np.float32) for value in (1.0, 10.0)]
    loaded = load_program(save(graph, [samples[0]]))
    entry = by_op(measure(loaded, ({"a": sample} for sample in samples)))["matmul"]
    assert entry.runs == 6
    assert entry.least == 2.0
    assert entry.greatest == 2.0**7 * 10.0**8
    assert entry.overflow == pytest.approx(1 / 3)
    assert entry.macs == 3 * 8
    assert by_op(measure(loaded, [])) == {}


def test_whole_numbers_and_truths_have_no_shares(save):
    def graph(mb, a):
        return mb.cast(x=mb.greater(x=mb.cast(x=a, dtype="int32"), y=np.int32(5)), dtype="fp32")

    found = measure(load_program(save(graph, [np.ones(3, np.float32)])), [{"a": [1e6, 0, 2]}])
    assert [(entry.dtype, entry.greatest, entry.overflow) for entry in found] == [
        ("int32", 1e6, 0.0), ("bool", 0.0, 0.0), ("fp32", 1.0, 0.0),
    ]  # fmt: skip


def test_a_stateful_program_starts_fresh_for_each_sample(ct, convert):
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("total", torch.zeros(2))

        def forward(self, x):
            self.total.add_(x)
            return self.total * 1.5

    states = [ct.StateType(wrapped_type=ct.TensorType(shape=(2,), dtype=np.float16), name="total")]
    inputs = [ct.TensorType(name="x", shape=(2,), dtype=np.float16)]
    loaded = load_program(convert(Sum(), torch.ones(2), ios=18, half=True, inputs=inputs, states=states))
    assert by_op(measure(loaded, [{"x": [1, 1]}] * 3))["mul"].greatest == 1.5


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 8, 3, 2, 1, groups=2)
        self.up = nn.ConvTranspose2d(8, 3, 2, 2)
        self.head = nn.Linear(12, 5)

    def forward(self, x):
        x = self.up(self.conv(x))
        gram = torch.matmul(x.transpose(-1, -2), x)
        return self.head(gram)


@pytest.mark.parametrize("half", [False, True])
def test_macs_equal_those_of_the_module(ct, convert, half):
    example = torch.rand(2, 4, 12, 12)
    loaded = load_program(convert(Net(), example, half=half, inputs=[ct.TensorType(name="x", shape=example.shape)]))
    found = {entry.op: entry.macs for entry in measure(loaded, [{"x": example.numpy()}]) if entry.macs}
    assert found == {
        "conv": 2 * 8 * 6 * 6 * (2 * 3 * 3),
        "conv_transpose": 2 * 8 * 6 * 6 * (3 * 2 * 2),
        "matmul": 2 * 3 * 12 * 12 * 12,
        "linear": 2 * 3 * 12 * 12 * 5,
    }


def test_macs_of_attention_and_einsum(save):
    q, k, v = np.ones((1, 2, 7, 4), np.float32), np.ones((1, 2, 9, 4), np.float32), np.ones((1, 2, 9, 3), np.float32)
    graph = lambda mb, a, b, c: mb.scaled_dot_product_attention(query=a, key=b, value=c)  # noqa: E731
    loaded = load_program(save(graph, [q, k, v], ios=18))
    (entry,) = measure(loaded, [{"a": q, "b": k, "c": v}])
    assert entry.macs == 2 * 7 * 9 * (4 + 3)
    x, y = np.ones((2, 3, 4, 5), np.float32), np.ones((2, 5, 4, 6), np.float32)
    loaded = load_program(save(lambda mb, a, b: mb.einsum(values=(a, b), equation="nchw,nwhu->nchu"), [x, y], name="e"))
    (entry,) = measure(loaded, [{"a": x, "b": y}])
    assert entry.macs == 2 * 3 * 4 * 6 * 5


def test_sizes_that_only_a_run_knows(ct, convert):
    shape = ct.Shape((1, 3, ct.RangeDim(4, 32, default=8), 8))
    module = nn.Conv2d(3, 2, 3, padding=1)
    loaded = load_program(convert(module, torch.ones(1, 3, 8, 8), inputs=[ct.TensorType(name="x", shape=shape)]))
    for height in (8, 16):
        macs = sum(entry.macs for entry in measure(loaded, [{"x": np.ones((1, 3, height, 8))}]))
        assert macs == 2 * height * 8 * 27


def risks_of(path, samples):
    return {entry.op: {risk.kind: risk.value for risk in entry.risks} for entry in measure(load_program(path), samples)}


def test_a_sum_of_squares_is_found_though_the_norm_itself_is_small(save):
    x = np.full((1, 4, 64), 40.0, np.float32)  # 64 * 40^2 = 102,400 and its root is 320
    found = risks_of(save(lambda mb, a: mb.reduce_l2_norm(x=mb.relu(x=a), axes=[2], keep_dims=True), [x]), [{"a": x}])
    assert found["reduce_l2_norm"] == {"squares": pytest.approx(np.square(x, dtype=np.float64).sum(axis=2).max())}
    assert found["relu"] == {}
    small = risks_of(save(lambda mb, a: mb.reduce_l2_norm(x=a, axes=[1]), [x], name="b"), [{"a": x}])
    assert small["reduce_l2_norm"] == {}


@pytest.mark.parametrize("axes", [[1], [1, 2, 3], [-1]])
def test_a_layer_norm_squares_over_its_axes(save, axes):
    x = np.random.default_rng(0).normal(0, 150, (1, 8, 4, 5)).astype(np.float32)
    largest = np.square(x.astype(np.float64)).sum(axis=tuple(axes)).max()
    found = risks_of(save(lambda mb, a: mb.layer_norm(x=a, axes=axes, epsilon=1e-3), [x]), [{"a": x}])
    assert found["layer_norm"] == ({"squares": pytest.approx(largest)} if largest > 65504 else {})


@pytest.mark.parametrize(("epsilon", "risky"), [(1e-10, True), (1e-5, True), (1e-4, False)])
def test_an_epsilon_that_half_precision_loses(save, epsilon, risky):
    x = np.ones((1, 4), np.float32)
    for graph in (
        lambda mb, a: mb.rsqrt(x=a, epsilon=epsilon),
        lambda mb, a: mb.maximum(x=a, y=np.float32(epsilon)),
        lambda mb, a: mb.add(x=np.float32(epsilon), y=a),
        lambda mb, a: mb.clip(x=a, alpha=epsilon, beta=2.0),
        lambda mb, a: mb.layer_norm(x=a, axes=[1], epsilon=epsilon),
    ):
        (found,) = risks_of(save(graph, [x]), [{"a": x}]).values()
        assert found == ({"epsilon": pytest.approx(epsilon)} if risky else {})


def test_the_epsilon_that_nobody_asked_for_is_none(save):
    """coremltools writes 1e-12 into every rsqrt, and 1e-45 into every log, that has none."""
    x = np.ones((1, 4), np.float32)
    for graph in (lambda mb, a: mb.rsqrt(x=a), lambda mb, a: mb.log(x=a), lambda mb, a: mb.add(x=a, y=np.float32(0))):
        assert list(risks_of(save(graph, [x]), [{"a": x}]).values()) == [{}]


def test_the_epsilon_that_is_meant_where_none_is_written(save):
    x = np.ones((1, 4), np.float32)
    (found,) = risks_of(save(lambda mb, a: mb.layer_norm(x=a, axes=[1]), [x]), [{"a": x}]).values()
    assert found == {"epsilon": pytest.approx(1e-5)}


def test_a_mask_of_the_most_negative_float_becomes_infinite(save):
    x = np.zeros((1, 4), np.float32)
    mask = np.array([[0, 0, np.finfo(np.float32).min, 0]], np.float32)
    found = risks_of(save(lambda mb, a: mb.softmax(x=mb.add(x=a, y=mask), axis=-1), [x]), [{"a": x}])
    assert found["add"]["constant"] == pytest.approx(3.4e38, rel=0.01)
    mild = risks_of(save(lambda mb, a: mb.add(x=a, y=np.maximum(mask, np.float32(-4e4))), [x], name="b"), [{"a": x}])
    assert mild["add"] == {}


def test_what_leaves_the_range_in_the_run_is_a_risk(save):
    x = np.array([300.0, 1e-5, 1.0, 2.0], np.float32)
    (found,) = risks_of(save(lambda mb, a: mb.square(x=a), [x]), [{"a": x}]).values()
    assert found == {"overflow": 90000.0, "vanish": 0.25}
