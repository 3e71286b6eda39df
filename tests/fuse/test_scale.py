import pytest
import torch
from torch import nn

from swiftdeploy.fuse import scale

AFTER, BEFORE = scale.fold_into_previous, scale.fold_into_next


def per_channel(channels, *tail):
    return torch.rand(channels, *tail) + 0.5


@pytest.mark.parametrize(
    ("forward", "layers"),
    [
        (lambda m, x: m.s * m.conv(x), {"conv": nn.Conv2d(6, 8, 3, padding=1), "s": per_channel(8, 1, 1)}),
        (lambda m, x: m.conv(x) * m.s, {"conv": nn.Conv2d(6, 8, 1, bias=False), "s": per_channel(1, 8, 1, 1)}),
        (lambda m, x: m.conv(x) / m.s, {"conv": nn.Conv2d(6, 6, 3, groups=6), "s": per_channel(6, 1, 1)}),
        (lambda m, x: m.conv(x) * 0.125, {"conv": nn.Conv2d(6, 8, 1)}),
        (lambda m, x: m.conv(x) / 2, {"conv": nn.Conv2d(6, 8, 1)}),
        (lambda m, x: m.conv(x) * m.s, {"conv": nn.Conv2d(6, 8, 1), "s": per_channel(1)}),
    ],
    ids=["layer scale", "no bias", "division", "number", "half", "one value"],
)
def test_a_factor_after_a_convolution_is_gone(apply, images, net, forward, layers):
    done = apply(AFTER, net(forward, **layers), images)
    assert done.ops == ["conv2d"]
    assert len(done.fired) == 1


@pytest.mark.parametrize(
    ("forward", "layers"),
    [
        (lambda m, x: m.fc(x.mean((2, 3))) * m.s, {"fc": nn.Linear(6, 4), "s": per_channel(4)}),
        (lambda m, x: m.fc(x.mean((2, 3))) / 2, {"fc": nn.Linear(6, 4, bias=False)}),
        (lambda m, x: m.fc(x.flatten(2).transpose(1, 2)) * m.s, {"fc": nn.Linear(6, 4), "s": per_channel(4)}),
        (lambda m, x: m.fc(x.permute(0, 2, 3, 1)) * 0.5, {"fc": nn.Linear(6, 7)}),
        (lambda m, x: m.fc(x.permute(0, 2, 3, 1)) * m.s, {"fc": nn.Linear(6, 4), "s": per_channel(4)}),
    ],
    ids=["vector", "number", "tokens", "channels last, number", "channels last"],
)
def test_a_factor_after_a_linear_is_gone(apply, images, net, forward, layers):
    done = apply(AFTER, net(forward, **layers), images)
    assert "linear" in done.ops
    assert not {"mul", "div"} & set(done.ops)


def test_a_factor_for_each_row_is_none_for_each_channel(apply, net):
    """(B, H, W, C) with H equal to C: only the axis tells them apart."""
    module = net(lambda m, x: m.fc(x.permute(0, 2, 3, 1)) * m.s, fc=nn.Linear(6, 4), s=per_channel(4, 1, 1))
    done = apply(AFTER, module, torch.randn(2, 6, 4, 5))
    assert done.ops == ["permute", "linear", "mul"]


LEFT_ALONE = {
    "read elsewhere": (lambda m, x: m.s * (y := m.conv(x)) + y, "the layer before it is read elsewhere too"),
    "over pixels": (lambda m, x: m.conv(x) * torch.ones_like(x[:, :1]), None),
    "a computed factor": (lambda m, x: m.conv(x) * x.mean((2, 3), keepdim=True), None),
    "behind an activation": (lambda m, x: m.conv(x).relu() * m.s, None),
    "a divisor": (lambda m, x: m.s / (m.conv(x).abs() + 1), None),
    "a wider result": (lambda m, x: m.conv(x).mean(1, keepdim=True) * m.s, None),
}


@pytest.mark.parametrize("case", LEFT_ALONE)
def test_a_factor_that_is_not_one_of_a_layer_stays(apply, images, net, case):
    forward, reason = LEFT_ALONE[case]
    done = apply(AFTER, net(forward, conv=nn.Conv2d(6, 6, 1), s=per_channel(6, 1, 1)), images)
    assert {"mul", "div"} & set(done.ops)
    assert done.fired == []
    assert list(done.declined.values()) == ([reason] if reason else [])


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(6, 8, 3, padding=1),
        nn.Conv2d(6, 8, 1, bias=False),
        nn.Conv2d(6, 6, 3, padding=1, groups=6),
        nn.Conv2d(6, 4, 3, stride=2, padding=1, groups=2),
    ],
    ids=["padded", "pointwise", "depthwise", "grouped"],
)
def test_a_factor_before_a_convolution_is_gone(apply, images, net, conv):
    done = apply(BEFORE, net(lambda m, x: m.conv(x * m.s), conv=conv, s=per_channel(1, 6, 1, 1)), images)
    assert done.ops == ["conv2d"]
    assert len(done.fired) == 1


def test_every_convolution_that_reads_the_product_takes_the_factor(apply, images, net):
    module = net(
        lambda m, x: m.a(y := x / m.s) + m.b(y),
        a=nn.Conv2d(6, 6, 1),
        b=nn.Conv2d(6, 6, 3, padding=1),
        s=per_channel(6, 1, 1),
    )
    assert sorted(apply(BEFORE, module, images).ops) == ["add", "conv2d", "conv2d"]


@pytest.mark.parametrize(
    "forward",
    [
        lambda m, x: m.conv(y := x * m.s) + y,
        lambda m, x: ((m.conv((y := x * m.s)), y)),
        lambda m, x: m.conv((x * m.s).relu()),
    ],
    ids=["an addition", "an output", "an activation"],
)
def test_a_factor_that_others_read_stays(apply, images, net, forward):
    done = apply(BEFORE, net(forward, conv=nn.Conv2d(6, 6, 1), s=per_channel(6, 1, 1)), images)
    assert "mul" in done.ops
    assert list(done.declined.values()) == ["something other than a convolution reads the product"]


def test_an_offset_is_no_factor(apply, images, net):
    """Subtracting a mean before a padded convolution must stay: the padding adds 0 after it."""
    module = net(lambda m, x: m.conv((x - m.mean) * m.s), conv=nn.Conv2d(6, 8, 3, padding=1))
    module.register_buffer("mean", torch.randn(6, 1, 1))
    module.register_buffer("s", per_channel(6, 1, 1))
    assert apply(BEFORE, module, images).ops == ["sub", "conv2d"]
