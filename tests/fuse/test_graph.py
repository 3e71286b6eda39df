import pytest
import torch
from torch import nn

from swiftdeploy.capture import capture
from swiftdeploy.fuse import constants
from swiftdeploy.fuse import graph as g


def first(graph, target):
    return next(g.calls(graph, target))


@pytest.fixture
def convolution(images):
    module = nn.Sequential(nn.Conv2d(6, 8, 3, stride=2, padding=1, dilation=2, groups=2), nn.GELU()).eval()
    return capture(module.requires_grad_(False), images)


def test_a_convolution_taken_apart(convolution):
    conv = g.conv_of(convolution, first(convolution, g.CONV))
    assert (conv.stride, conv.padding, conv.dilation, conv.groups) == ((2, 2), (1, 1), (2, 2), 2)
    assert conv.weight.shape == (8, 3, 3, 3)
    assert conv.bias.shape == (8,)
    assert conv.name == "0"
    assert not conv.pointwise


def test_defaults_are_filled_in(images):
    graph = capture(nn.Conv2d(6, 8, 1, bias=False), images)
    conv = g.conv_of(graph, first(graph, g.CONV))
    assert (conv.stride, conv.padding, conv.dilation, conv.groups, conv.bias) == ((1, 1), (0, 0), (1, 1), 1, None)
    assert conv.pointwise


def test_a_pointwise_convolution_with_padding_sees_its_border(images):
    graph = capture(nn.Conv2d(6, 8, 1, padding=1), images)
    assert not g.conv_of(graph, first(graph, g.CONV)).pointwise


def test_weights_that_are_computed_are_no_layer(images, net):
    module = net(lambda m, x: torch.conv2d(x, m.weight * x.mean()), weight=torch.randn(3, 6, 1, 1))
    graph = capture(module, images)
    assert g.conv_of(graph, first(graph, g.CONV)) is None
    linear = capture(net(lambda m, x: torch.nn.functional.linear(x, x[0, 0])), images)
    assert g.linear_of(linear, first(linear, g.LINEAR)) is None


def test_other_nodes_are_no_layers(convolution):
    gelu = first(convolution, torch.ops.aten.gelu.default)
    assert g.conv_of(convolution, gelu) is None
    assert g.linear_of(convolution, gelu) is None
    assert g.constant(convolution, gelu) is None
    assert g.constant(convolution, 3.0) is None


def test_a_new_call_knows_its_shape_and_its_place(convolution):
    gelu = first(convolution, torch.ops.aten.gelu.default)
    node = g.emit(
        convolution,
        torch.ops.aten.gelu.default,
        (gelu.args[0],),
        before=gelu,
        like=gelu,
        options={"approximate": "tanh"},
    )
    assert g.shape(node) == g.shape(gelu)
    assert g.place(node) == "1"
    assert node.kwargs == {"approximate": "tanh"}


def test_constants_get_names_of_their_own(convolution):
    conv = first(convolution, g.CONV)
    names = [g.add_constant(convolution, "a.b", torch.full((2,), float(i)), conv).target for i in range(3)]
    assert names == ["a_b", "a_b_1", "a_b_2"]
    assert [float(convolution.get_buffer(name)[0]) for name in names] == [0.0, 1.0, 2.0]


def test_flat_names_carry_no_number_of_a_rewrite(convolution, images):
    """What reaches an artifact is called as in the checkpoint, however often it was rewritten."""
    expected = convolution(images)
    for _ in range(3):
        conv = g.conv_of(convolution, first(convolution, g.CONV))
        g.set_conv(convolution, conv, weight=conv.weight.double(), bias=conv.bias.double())
    convolution.graph.eliminate_dead_code()
    flat = g.flatten_constants(convolution)
    assert set(constants(flat)) == {"0_weight", "0_bias"}
    assert torch.equal(flat(images), expected)


def test_two_constants_of_one_name_stay_two(images, net):
    module = net(lambda m, x: m.a(x) + m.b(x), a=nn.Conv2d(6, 6, 1, bias=False), b=nn.Conv2d(6, 6, 1, bias=False))
    graph = capture(module.eval().requires_grad_(False), images)
    for conv in list(g.calls(graph, g.CONV)):
        taken = g.conv_of(graph, conv)
        weight = g.add_constant(graph, "shared", taken.weight * 2, conv)
        conv.update_arg(1, weight)
    graph.graph.eliminate_dead_code()
    flat = constants(g.flatten_constants(graph))
    assert set(flat) == {"shared", "shared_1"}
    torch.testing.assert_close(flat["shared_1"], module.b.weight * 2)


def test_new_weights_are_rounded_once(convolution):
    conv = g.conv_of(convolution, first(convolution, g.CONV))
    third = conv.weight.double() / 3
    node = g.set_conv(convolution, conv, weight=third, bias=None)
    stored = g.conv_of(convolution, node)
    assert stored.weight.dtype == torch.float32
    assert torch.equal(stored.weight, third.float())
    assert stored.bias is None


@pytest.mark.parametrize(("value", "expected"), [(2, 2.0), (0.5, 0.5), (True, None), ("x", None), (None, None)])
def test_scalars(value, expected):
    assert g.scalar(value) == expected


def test_writing_calls_are_known(images, net):
    graph = capture(net(lambda m, x: (x * 2).add_(1).chunk(2)[0]), images)
    assert [n.name for n in graph.graph.nodes if g.overwrites(n)] == ["add_"]
