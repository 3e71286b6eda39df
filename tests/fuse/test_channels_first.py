import pytest
import torch
from torch import nn
from torch.nn import functional as F

from swiftdeploy.fuse.channels_first import to_channels_first

LAYOUT = {"permute", "transpose", "reshape", "view", "flatten", "unsqueeze", "expand", "repeat", "linear", "matmul"}


def tokens(x):
    return x.flatten(2).transpose(1, 2)


def pixels(t, x):
    return t.transpose(1, 2).reshape(x.shape[0], -1, *x.shape[2:])


def grown(**layers):
    return {"fc": nn.Linear(6, 6), **layers}


ISLANDS = {
    "a linear": (lambda m, x: pixels(m.fc(tokens(x)), x), ["conv2d"]),
    "a wider linear": (lambda m, x: pixels(m.wide(tokens(x)), x), ["conv2d"]),
    "channels last": (lambda m, x: m.fc(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), ["conv2d"]),
    "channels last, flattened": (
        lambda m, x: m.fc(x.permute(0, 2, 3, 1).reshape(2, 20, 6)).reshape(2, 4, 5, 6).permute(0, 3, 1, 2),
        ["conv2d"],
    ),
    "an MLP": (
        lambda m, x: pixels(tokens(x) + m.fc(F.gelu(m.fc(tokens(x)))), x),
        ["conv2d", "gelu", "conv2d", "add"],
    ),
    "tanh gelu": (lambda m, x: pixels(F.gelu(m.fc(tokens(x)), approximate="tanh"), x), ["conv2d", "gelu"]),
    "a weighted sum": (
        lambda m, x: pixels(torch.add(tokens(x), m.fc(tokens(x)), alpha=3), x),
        ["conv2d", "add"],
    ),
    "a matrix of scores": (
        lambda m, x: pixels(tokens(x) * (tokens(x) @ m.w).sigmoid(), x),
        ["conv2d", "sigmoid", "mul"],
    ),
    "unit vectors": (
        lambda m, x: pixels(F.normalize(m.fc(tokens(x)), dim=-1), x),
        ["conv2d", "linalg_vector_norm", "clamp_min", "div"],
    ),
    "weights over tokens": (
        lambda m, x: pixels(tokens(x) * F.normalize(tokens(x) @ m.w, dim=1), x),
        ["conv2d", "linalg_vector_norm", "clamp_min", "div", "mul"],
    ),
    "a global value, kept": (
        lambda m, x: pixels(tokens(x) * m.fc(tokens(x)).sum(1, keepdim=True), x),
        ["conv2d", "sum", "mul"],
    ),
    "a global value, repeated": (
        lambda m, x: pixels(tokens(x) - m.fc(tokens(x)).mean(1)[:, None].repeat(1, 20, 1), x),
        ["conv2d", "mean", "sub"],
    ),
    "a constant of each channel": (lambda m, x: pixels(m.fc(tokens(x)) * m.scale, x), ["conv2d", "mul"]),
    "a number": (lambda m, x: pixels(m.fc(tokens(x)) * 3 - m.number, x), ["conv2d", "mul", "sub"]),
}


@pytest.mark.parametrize("case", ISLANDS)
def test_an_island_works_on_pixels(apply, images, net, case):
    forward, expected = ISLANDS[case]
    module = net(forward, **grown(wide=nn.Linear(6, 9, bias=False), w=torch.randn(6, 1), scale=torch.rand(6)))
    module.register_buffer("number", torch.tensor(2.0))
    done = apply(to_channels_first, module, images)
    assert done.ops == expected
    assert len(done.fired) == 1
    assert done.declined == {}


@pytest.mark.parametrize("shape", [(1, 6, 1, 1), (1, 4, 4, 4), (2, 20, 4, 5), (1, 6, 1, 6)], ids=str)
def test_sizes_that_coincide_are_not_taken_for_each_other(apply, net, shape):
    """Channels as many as rows, columns or tokens: only the axes say what is what."""
    width = shape[1]
    module = net(
        lambda m, x: pixels(m.fc(tokens(x)) * F.normalize(m.key(tokens(x)), dim=-1).sum(1, keepdim=True), x),
        fc=nn.Linear(width, width),
        key=nn.Linear(width, width),
    )
    done = apply(to_channels_first, module, torch.randn(shape))
    assert not LAYOUT & set(done.ops)


@pytest.mark.parametrize("shape", [(1, 6, 1, 1), (2, 4, 4, 4), (2, 6, 4, 1), (2, 6, 1, 4)], ids=str)
def test_sizes_that_coincide_with_channels_last(apply, net, shape):
    batch, width, height, columns = shape

    def forward(m, x):
        flat = m.fc(x.permute(0, 2, 3, 1).reshape(batch, height * columns, width))
        return flat.reshape(batch, height, columns, width).permute(0, 3, 1, 2)

    assert apply(to_channels_first, net(forward, fc=nn.Linear(width, width)), torch.randn(shape)).ops == ["conv2d"]


def test_two_islands_are_two_entries(apply, images, net):
    module = net(lambda m, x: pixels(m.b(tokens(pixels(m.a(tokens(x)), x).relu())), x), a=nn.Linear(6, 6))
    module.b = nn.Linear(6, 6)
    done = apply(to_channels_first, module, images)
    assert done.ops == ["conv2d", "relu", "conv2d"]
    assert len(done.fired) == 2


def attention(m, x):
    query, key, value = m.fc(tokens(x)), m.key(tokens(x)), m.value(tokens(x))
    return pixels((query @ key.transpose(1, 2)).softmax(-1) @ value, x)


DECLINES = {
    "layer norm": (lambda m, x: pixels(m.fc(F.layer_norm(tokens(x), (6,))), x), "layer_norm"),
    "softmax attention": (attention, "matmul"),
    "an order of tokens": (lambda m, x: pixels(m.fc(tokens(x)).flip(1), x), "flip"),
    "a running sum": (lambda m, x: pixels(m.fc(tokens(x)).cumsum(1), x), "cumsum"),
    "a constant of each token": (lambda m, x: pixels(m.fc(tokens(x)) + m.position, x), "add"),
    "another grid": (
        lambda m, x: pixels(m.fc(tokens(x)) + tokens(x.reshape(2, 6, 5, 4)), x),
        "add",
    ),
    "a maximum over channels": (lambda m, x: pixels(m.fc(tokens(x)) / tokens(x).amax(-1, keepdim=True), x), "amax"),
}


@pytest.mark.parametrize("case", DECLINES)
def test_a_step_without_a_twin_leaves_the_island_and_names_it(apply, images, net, case):
    forward, step = DECLINES[case]
    module = net(forward, **grown(key=nn.Linear(6, 6), value=nn.Linear(6, 6), position=torch.randn(20, 6)))
    done = apply(to_channels_first, module, images)
    assert "linear" in done.ops
    assert "conv2d" not in done.ops
    assert done.fired == []
    assert any(f"aten.{step}" in reason for reason in done.declined.values()), done.declined


def test_an_island_that_declines_is_named_beside_one_that_fires(apply, images, net):
    module = net(
        lambda m, x: pixels(m.b(F.layer_norm(tokens(pixels(m.a(tokens(x)), x)), (6,))), x),
        a=nn.Linear(6, 6),
        b=nn.Linear(6, 6),
    )
    done = apply(to_channels_first, module, images)
    assert len(done.fired) == 1
    assert list(done.declined.values()) == ["aten.layer_norm.default has no channels-first form here"]


def test_flattening_for_a_mean_is_no_island(apply, images, net):
    done = apply(to_channels_first, net(lambda m, x: m.fc(x.flatten(2).mean(-1)), fc=nn.Linear(6, 3)), images)
    assert done.fired == []
    assert done.declined == {}


def test_tokens_that_are_an_output_stay_tokens(apply, images, net):
    done = apply(to_channels_first, net(lambda m, x: m.fc(tokens(x)), fc=nn.Linear(6, 3)), images)
    assert done.ops == ["flatten", "transpose", "linear"]
