import numpy as np
import pytest
import torch
from torch import nn

from swiftdeploy.capture import capture
from swiftdeploy.fuse import batch_norm
from swiftdeploy.fuse.graph import BATCH_NORM, calls
from swiftdeploy.parity.stress import stress_

AFTER, BEFORE = batch_norm.fold_into_previous, batch_norm.fold_into_next


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(6, 8, 1),
        nn.Conv2d(6, 8, 3, padding=1, bias=False),
        nn.Conv2d(6, 8, 3, stride=2, padding=1),
        nn.Conv2d(6, 8, 3, padding=2, dilation=2),
        nn.Conv2d(6, 12, 3, padding=1, groups=6, bias=False),
    ],
    ids=["pointwise", "padded", "strided", "dilated", "depthwise"],
)
def test_a_norm_after_a_convolution_is_gone(apply, images, conv):
    done = apply(AFTER, nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels), nn.ReLU()), images)
    assert done.ops == ["conv2d", "relu"]
    assert done.fired == ["1"]


def test_a_norm_without_gain_and_shift_is_a_norm_too(apply, images):
    done = apply(AFTER, nn.Sequential(nn.Conv2d(6, 8, 1), nn.BatchNorm2d(8, affine=False)), images)
    assert done.ops == ["conv2d"]


def test_a_convolution_that_two_read_keeps_its_weights(apply, images, net):
    two = net(lambda m, x: m.norm(m.conv(x)) + m.conv(x).relu(), conv=nn.Conv2d(6, 6, 1), norm=nn.BatchNorm2d(6))
    shared = net(lambda m, x: m.norm(y := m.conv(x)) + y, conv=nn.Conv2d(6, 6, 1), norm=nn.BatchNorm2d(6))
    assert apply(AFTER, shared, images).ops == ["conv2d", "batch_norm", "add"]
    # Two calls of one convolution are two convolutions: one of them may change.
    assert sorted(apply(AFTER, two, images).ops) == ["add", "conv2d", "conv2d", "relu"]


def test_a_norm_after_anything_else_stays(apply, images):
    assert apply(AFTER, nn.Sequential(nn.Conv2d(6, 6, 1), nn.ReLU(), nn.BatchNorm2d(6)), images).ops[-1] == "batch_norm"


@pytest.mark.parametrize("bias", [True, False])
def test_a_norm_before_a_pointwise_convolution_is_gone(apply, images, bias):
    done = apply(BEFORE, nn.Sequential(nn.BatchNorm2d(6), nn.Conv2d(6, 8, 1, bias=bias)), images)
    assert done.ops == ["conv2d"]
    assert done.fired == ["0"]


def test_every_reader_absorbs_the_norm(apply, images, net):
    module = net(
        lambda m, x: m.a(y := m.norm(x)) + m.b(y) + m.c(y.mean((2, 3)))[:, :, None, None],
        norm=nn.BatchNorm2d(6),
        a=nn.Conv2d(6, 8, 1),
        b=nn.Conv2d(6, 8, 1, bias=False),
        c=nn.Linear(6, 8),
    )
    done = apply(BEFORE, module, images)
    assert "batch_norm" not in done.ops
    assert done.ops.count("conv2d") == 2
    assert "mean" in done.ops


def test_a_norm_reaches_a_linear_directly_where_channels_are_last(apply, images, net):
    module = net(lambda m, x: m.fc(m.norm(x.mean((2, 3)))), norm=nn.BatchNorm1d(6), fc=nn.Linear(6, 3, bias=False))
    assert apply(BEFORE, module, images).ops == ["mean", "linear"]


DECLINES = {
    "padding": (
        lambda m, x: m.conv(m.norm(x)),
        {"conv": nn.Conv2d(6, 8, 3, padding=1)},
        "conv pads its input with zeros",
    ),
    "neighbours": (lambda m, x: m.conv(m.norm(x)), {"conv": nn.Conv2d(6, 8, 3)}, "looks at neighbours"),
    "padded pointwise": (
        lambda m, x: m.conv(m.norm(x)),
        {"conv": nn.Conv2d(6, 8, 1, padding=1)},
        "conv pads its input with zeros",
    ),
    "groups": (lambda m, x: m.conv(m.norm(x)), {"conv": nn.Conv2d(6, 6, 1, groups=2)}, "conv is grouped"),
    "another reader": (
        lambda m, x: m.conv(y := m.norm(x)) + y,
        {"conv": nn.Conv2d(6, 6, 1)},
        "add reads it and has no weights",
    ),
    "an output": (
        lambda m, x: ((m.conv((y := m.norm(x))), y)),
        {"conv": nn.Conv2d(6, 6, 1)},
        "output reads it and has no weights",
    ),
    "a kept mean": (
        lambda m, x: m.conv(m.norm(x).mean((2, 3), keepdim=True)),
        {"conv": nn.Linear(1, 3)},
        "conv reads it and has no weights",
    ),
    "a linear over another axis": (
        lambda m, x: m.conv(m.norm(x)),
        {"conv": nn.Linear(5, 3)},
        "conv reads it and has no weights",
    ),
}


@pytest.mark.parametrize("case", DECLINES)
def test_a_reader_that_cannot_absorb_it_declines_with_the_reason(apply, images, net, case):
    forward, layers, reason = DECLINES[case]
    done = apply(BEFORE, net(forward, norm=nn.BatchNorm2d(6), **layers), images)
    assert "batch_norm" in done.ops
    assert done.fired == []
    assert reason in done.declined["norm"]


def test_batch_statistics_are_no_constants(apply, images):
    module = nn.Sequential(nn.BatchNorm2d(6, track_running_stats=False), nn.Conv2d(6, 6, 1))
    done = apply(BEFORE, module, images)
    assert done.declined == {"0": "its statistics are not constants"}
    assert "batch_norm" in done.ops


def test_scale_and_shift_are_those_of_the_definition():
    norm = stress_(nn.BatchNorm2d(5, eps=0.25).eval(), torch.randn(2, 5, 3, 3))
    graph = capture(norm, torch.randn(1, 5, 3, 3))
    scale, shift = batch_norm.scale_and_shift(graph, next(calls(graph, BATCH_NORM)))
    gain, bias, mean, var = (
        getattr(norm, n).detach().double().numpy() for n in ("weight", "bias", "running_mean", "running_var")
    )
    np.testing.assert_allclose(scale.numpy(), gain / np.sqrt(var + 0.25), rtol=1e-12)
    np.testing.assert_allclose(shift.numpy(), bias - mean * gain / np.sqrt(var + 0.25), rtol=1e-12)


def test_absorbing_is_in_float64():
    weight, scale, shift = torch.randn(3, 4), torch.rand(4).double(), torch.randn(4).double()
    new, bias = batch_norm.absorbed(weight, None, scale, shift)
    assert new.dtype == bias.dtype == torch.float64
    np.testing.assert_allclose(new.numpy(), weight.double().numpy() * scale.numpy(), rtol=1e-15)
    np.testing.assert_allclose(bias.numpy(), weight.double().numpy() @ shift.numpy(), rtol=1e-12)
