import pytest
import torch
from torch import nn
from torch.nn import functional as F

from swiftdeploy.capture import capture
from swiftdeploy.fuse import identities
from swiftdeploy.fuse.graph import constant

REMOVE, FOLD = identities.remove_identities, identities.fold_constants
SOFTMAX, MEAN = identities.remove_singleton_softmax, identities.merge_spatial_mean


@pytest.mark.parametrize(
    "forward",
    [
        lambda x: F.dropout(x, 0.5, training=False) * 2,
        lambda x: x.clone() * 2,
        lambda x: x.contiguous() * 2,
        lambda x: x.detach() * 2,
        lambda x: x.to(torch.float32) * 2,
        lambda x: x.reshape(x.shape) * 2,
        lambda x: x.flatten(3) * 2,
        lambda x: x.expand(x.shape) * 2,
    ],
    ids=["dropout", "clone", "contiguous", "detach", "cast", "reshape", "flatten", "expand"],
)
def test_calls_that_change_nothing_are_gone(apply, images, net, forward):
    assert apply(REMOVE, net(lambda m, x: forward(x)), images).ops == ["mul"]


@pytest.mark.parametrize(
    ("forward", "kept"),
    [
        (lambda x: x.to(torch.float64) * 2, "to"),
        (lambda x: x.reshape(2, 6, 20) * 2, "reshape"),
        (lambda x: x.flatten(2) * 2, "flatten"),
        (lambda x: x.mean((2, 3), keepdim=True).expand(x.shape).flatten(1), "expand"),
    ],
    ids=["another dtype", "another shape", "flatten", "an expansion that is read as it is"],
)
def test_calls_that_change_something_stay(apply, images, net, forward, kept):
    assert kept in apply(REMOVE, net(lambda m, x: forward(x)), images).ops


def test_an_expansion_before_a_product_is_what_the_product_does_anyway(apply, images, net):
    module = net(lambda m, x: x.mean((2, 3), keepdim=True).expand(x.shape) * x)
    assert apply(REMOVE, module, images).ops == ["mean", "mul"]


@pytest.mark.parametrize(
    "forward",
    [
        lambda x: x * x.clone().add_(1),
        lambda x: (y := x.clone()).add_(1) * 0 + x * y,
        lambda x: x * (y := x.clone()) + y.view(2, 6, 20).add_(1).sum() * 0,
    ],
    ids=["written", "written and read", "written through a view"],
)
def test_a_copy_that_keeps_two_values_apart_stays(apply, images, net, forward):
    assert "clone" in apply(REMOVE, net(lambda m, x: forward(x)), images).ops


def test_what_depends_on_constants_alone_is_computed_once(apply, images, net):
    module = net(lambda m, x: x + (m.a * m.b).exp()[None, :, None, None], a=torch.randn(6), b=torch.randn(6))
    done = apply(FOLD, module, images)
    assert done.ops == ["add"]
    stored = [constant(done.graph, n) for n in done.graph.graph.nodes if n.op == "get_attr"]
    torch.testing.assert_close(stored[0].flatten(), (module.a * module.b).exp())


def test_folding_never_runs_a_call_that_writes(images, net):
    counting = net(lambda m, x: x * m.count.add_(1), count=torch.zeros(1)).eval()
    graph = capture(counting, images)
    FOLD(graph, images)
    assert counting.count.item() == 0.0


def test_softmax_over_one_element_is_gone_with_all_that_fed_it(apply, images, net):
    module = net(lambda m, x: (m.score(x).softmax(1) * x).sum((2, 3)), score=nn.Conv2d(6, 1, 1))
    done = apply(SOFTMAX, module, images)
    assert done.ops == ["sum"]
    assert done.fired == ["softmax"]


def test_softmax_over_more_stays(apply, images, net):
    done = apply(SOFTMAX, net(lambda m, x: x * m.score(x).softmax(1), score=nn.Conv2d(6, 6, 1)), images)
    assert "softmax" in done.ops
    assert done.declined == {"softmax": "the axis has 6 elements, not 1"}


@pytest.mark.parametrize(
    "forward",
    [lambda m, x: x + m.score(x).softmax(1), lambda m, x: m.score(x).softmax(1)],
    ids=["a sum", "an output"],
)
def test_ones_that_something_else_reads_stay(apply, images, net, forward):
    done = apply(SOFTMAX, net(forward, score=nn.Conv2d(6, 1, 1)), images)
    assert "softmax" in done.ops
    assert done.declined == {"softmax": "its value is read by something other than a product of full shape"}


def test_a_product_that_the_ones_widen_stays(apply, images, net):
    """1 (B, 6, 4, 1) times w (1, 6, 1, 5) has a shape that neither alone has."""
    module = net(lambda m, x: x[..., :1].softmax(3) * m.w, w=torch.randn(1, 6, 1, 5))
    assert "softmax" in apply(SOFTMAX, module, images).ops


@pytest.mark.parametrize(
    "forward",
    [lambda x: x.flatten(2).mean(-1), lambda x: x.reshape(2, 6, 20).mean(2), lambda x: x.flatten(2).mean((-1,))],
    ids=["flatten", "reshape", "tuple"],
)
def test_a_mean_over_flattened_pixels_needs_no_reshape(apply, images, net, forward):
    done = apply(MEAN, net(lambda m, x: forward(x)), images)
    assert done.ops == ["mean"]
    assert done.fired == ["mean"]


@pytest.mark.parametrize(
    "forward",
    [
        lambda x: x.flatten(2).mean(1),
        lambda x: x.flatten(2).mean(2, keepdim=True),
        lambda x: (y := x.flatten(2)).mean(2) + y.amax(2),
        lambda x: x.flatten(1).mean(1),
        lambda x: x.flatten(0, 1).mean(-1),
        lambda x: x.mean(2),
    ],
    ids=["channels", "kept", "read elsewhere", "everything", "another flatten", "rows"],
)
def test_another_mean_stays(apply, images, net, forward):
    done = apply(MEAN, net(lambda m, x: forward(x)), images)
    assert done.fired == []
