import math

import pytest
import torch
from swiftdeploy_models.swiftformer import EfficientAdditiveAttention
from torch import nn
from torch.nn import functional as F

from swiftdeploy.capture import capture
from swiftdeploy.fuse import fuse, identities, scale
from swiftdeploy.fuse.additive_attention import GUARD, composed, power_of_two, rewrite_attention
from swiftdeploy.fuse.channels_first import to_channels_first
from swiftdeploy.fuse.graph import CLAMP_MIN, NORM, calls, conv_of
from swiftdeploy.fuse.ranges import largest
from swiftdeploy.parity.stress import stress_

ATTENTION = [identities.fold_constants, identities.remove_identities, rewrite_attention]


def unit(v, axis):
    return F.normalize(v, dim=axis)


class Pixels(nn.Module):
    """The attention as it stands in NCHW, each part of it open to the test's changes."""

    def __init__(self, generation="token_l2", channels=6, **changed):
        super().__init__()
        self.generation = generation
        self.changed = changed
        self.q, self.k = nn.Conv2d(channels, channels, 1), nn.Conv2d(channels, channels, 1, bias=False)
        self.g = nn.Conv2d(channels, 1, 1, bias=False)
        self.projection, self.final = nn.Conv2d(channels, channels, 1), nn.Conv2d(channels, channels, 1)

    def part(self, name, default):
        return self.changed.get(name, default)

    def forward(self, x):
        raw = self.q(x)
        query = self.part("query", lambda v: unit(v, 1))(raw)
        key = self.part("key", lambda v: unit(v, 1))(self.k(x))
        weights = self.part("weights", lambda v: unit(v, (2, 3)))(self.g(query))
        summed = self.part("summed", lambda a, q: a * q if self.generation == "token_l2" else q)(weights, query)
        context = summed.sum((2, 3), keepdim=True)
        out = self.final(self.part("join", lambda p, q: p + q)(self.projection(context * key), query))
        return self.part("out", lambda y, q: y)(out, raw)


@pytest.mark.parametrize(
    ("generation", "expected"),
    [
        (
            "token_l2",
            [
                "conv2d",
                "linalg_vector_norm",
                "clamp_min",
                "div",
                "conv2d",
                "linalg_vector_norm",
                "conv2d",
                "linalg_vector_norm",
                "mul",
                "sum",
                "mul",
                "clamp_min",
                "div",
                "mul",
                "cat",
                "conv2d",
            ],
        ),
        (
            "sum",
            [
                "conv2d",
                "linalg_vector_norm",
                "clamp_min",
                "div",
                "conv2d",
                "linalg_vector_norm",
                "sum",
                "clamp_min",
                "div",
                "mul",
                "cat",
                "conv2d",
            ],
        ),
    ],
)
def test_an_attention_in_pixels(apply, images, generation, expected):
    done = apply(ATTENTION, Pixels(generation), images)
    assert sorted(done.ops) == sorted(expected)
    assert done.fired == ["final"]
    assert done.declined == {}


@pytest.mark.parametrize("generation", ["sum", "token_l2"])
def test_an_attention_in_tokens(images, relative, ops, net, generation):
    """The released layer itself, between flatten and reshape as in the network."""
    module = net(
        lambda m, x: m.attn(x.flatten(2).transpose(1, 2)).transpose(1, 2).reshape(x.shape),
        attn=EfficientAdditiveAttention(6, generation),
    )
    stress_(module.eval().requires_grad_(False), images)
    result = fuse(capture(module, images), images)
    assert not {"linear", "matmul", "transpose", "reshape", "expand", "softmax"} & set(ops(result.graph))
    assert relative(result.graph(images), module(images)) <= 1e-6
    assert {r.name for r in result.ledger if r.fired} >= {"channels_first", "additive_attention"}


def test_two_in_a_row(apply, images):
    """The second one's projections read what the rewrite of the first one makes."""
    done = apply(ATTENTION, nn.Sequential(Pixels(), Pixels("sum")), images)
    assert len(done.fired) == 2
    assert done.ops.count("cat") == 2


def test_two_generations_stay_two_functions(images, relative):
    first, second = Pixels("sum"), Pixels("token_l2")
    stress_(first.eval().requires_grad_(False), images)
    second.load_state_dict(first.state_dict())
    fused = [fuse(capture(m.eval(), images), images).graph(images) for m in (first, second)]
    assert relative(*fused) > 0.1


DECLINES = {
    "order 1": ({"query": lambda v: F.normalize(v, p=1.0, dim=1)}, "the query has a norm of order 1.0 over axes [1]"),
    "order 3": ({"weights": lambda v: F.normalize(v, p=3.0, dim=(2, 3))}, "the weight of the tokens has a norm of"),
    "query over pixels": ({"query": lambda v: unit(v, (2, 3))}, "the query has a norm of order 2.0 over axes [2, 3]"),
    "key over rows": ({"key": lambda v: unit(v, 2)}, "the key has a norm of order 2.0 over axes [2]"),
    "no norm on the key": ({"key": lambda v: v}, "the key is not divided by a guarded norm"),
    "no norm on the query": ({"query": lambda v: v}, "the query is not divided by a guarded norm"),
    "no norm on the weights": ({"weights": lambda v: v}, "the weight of the tokens is not divided"),
    "true softmax": ({"weights": lambda v: v.flatten(2).softmax(2).view_as(v)}, "the weight of the tokens is not"),
    "a real bound": (
        {"query": lambda v: F.normalize(v, dim=1, eps=0.5)},
        "the query has a norm bounded by 0.5, which is more than a guard",
    ),
    "an activation": ({"query": lambda v: unit(v.relu(), 1)}, "the query is not a convolution over its own norm"),
    "another norm": ({"query": lambda v: v / (2 * v).norm(dim=1, keepdim=True).clamp_min(1e-12)}, "over its own norm"),
    "a query that is read elsewhere": ({"out": lambda y, q: y + q}, "the query is read before its norm too"),
    "a foreign sum": ({"summed": lambda a, q: a * q.abs()}, "the summed value is not the query"),
    "a weighted residual": (
        {"join": lambda p, q: torch.add(p, q, alpha=2)},
        "the sum before it weighs its second term",
    ),
}


@pytest.mark.parametrize("case", DECLINES)
def test_what_only_resembles_it_declines_with_the_reason(apply, images, case):
    changed, reason = DECLINES[case]
    done = apply(ATTENTION, Pixels(**changed), images)
    assert "cat" not in done.ops
    assert done.fired == []
    assert reason in done.declined["final"]


@pytest.mark.parametrize(
    "layer",
    [nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 6, 1, groups=2)],
    ids=["3x3", "grouped"],
)
@pytest.mark.parametrize("place", ["projection", "final"])
def test_convolutions_that_do_not_compose_are_left_alone(apply, images, place, layer):
    module = Pixels()
    setattr(module, place, layer)
    done = apply(ATTENTION, module, images)
    assert "cat" not in done.ops


def test_one_value_as_query_and_key_declines(apply, images, net):
    def forward(m, x):
        query = unit(m.q(x), 1)
        return m.final(m.projection(query.sum((2, 3), keepdim=True) * query) + query)

    module = net(forward, q=nn.Conv2d(6, 6, 1), projection=nn.Conv2d(6, 6, 1), final=nn.Conv2d(6, 6, 1))
    done = apply(ATTENTION, module, images)
    assert "one value" in done.declined["final"]


@pytest.mark.parametrize("spoiled", [math.nan, math.inf, 0.0], ids=str)
def test_images_that_give_no_norm_decline(images, ops, spoiled):
    module = Pixels()
    stress_(module.eval().requires_grad_(False), images)
    module.q.bias.zero_()
    graph = capture(module, images)
    identities.remove_identities(graph, images)
    outcome = rewrite_attention(graph, torch.full_like(images, spoiled))
    assert outcome.fired == ()
    assert "0, Inf or NaN on the calibration images" in outcome.declined["final"]
    assert "cat" not in ops(graph)


@pytest.mark.parametrize("brightness", [1e-3, 1.0, 300.0], ids=str)
def test_norms_reach_the_upper_half_of_their_ceiling(images, brightness):
    """Sums of squares then stay below fp16's 65504, with 2**8 to spare."""
    module = stress_(Pixels().eval().requires_grad_(False), images)
    graph = capture(module, images * brightness)
    result = fuse(graph, images * brightness).graph
    norms = list(calls(result, NORM))
    assert len(norms) == 3
    for reach in largest(result, norms, images * brightness):
        assert 8.0 <= reach < 16.0


def test_the_scales_are_powers_of_two(images):
    """So no weight loses a bit, and leg 3 can compare them."""
    module = stress_(Pixels().eval().requires_grad_(False), images)
    weights = {"q": module.q.weight, "k": module.k.weight, "g": module.g.weight}
    result = fuse(capture(module, images), images).graph
    for name, weight in weights.items():
        ratio = result.get_buffer(f"{name}_weight") / weight
        assert torch.equal(ratio, ratio.flatten()[0].expand_as(ratio))
        assert math.frexp(float(ratio.flatten()[0]))[0] == 0.5


def test_every_guard_is_a_normal_number_of_fp16(images):
    result = fuse(capture(stress_(Pixels().eval(), images), images), images).graph
    bounds = [node.args[1] for node in calls(result, CLAMP_MIN)]
    assert bounds == [GUARD, GUARD]
    assert float(torch.finfo(torch.float16).smallest_normal) == GUARD


@pytest.mark.parametrize("generation", ["sum", "token_l2"])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_zero_vectors_give_what_eager_gives(images, relative, generation, value):
    """Without biases a black image gives |q| = |k| = |a| = 0, and 0/0 is one guard away."""
    module = stress_(Pixels(generation).eval().requires_grad_(False), images)
    module.q.bias.zero_()
    result = fuse(capture(module, images), images).graph
    flat = torch.full_like(images, value)
    assert torch.isfinite(result(flat)).all()
    assert relative(result(flat), module(flat)) <= 1e-6


@pytest.mark.parametrize(
    ("norm", "factor"),
    [(1.0, 8.0), (8.0, 1.0), (15.999, 1.0), (16.0, 0.5), (2.0**-20, 2.0**23), (1207.0, 2.0**-7), (7.999, 2.0)],
)
def test_power_of_two_by_hand(norm, factor):
    assert power_of_two(norm) == factor
    assert 8.0 <= norm * factor < 16.0


def test_two_convolutions_in_a_row_by_definition(images, net):
    module = Pixels()
    stress_(module.eval().requires_grad_(False), images)
    graph = capture(nn.Sequential(module.projection, module.final), images)
    first, second = (conv_of(graph, node) for node in calls(graph, torch.ops.aten.conv2d.default))
    weight, bias = composed(first, second)
    z, q = torch.randn(2, 6, 4, 5), torch.randn(2, 6, 4, 5)
    found = F.conv2d(torch.cat([z, q], 1).double(), weight, bias)
    torch.testing.assert_close(found.float(), module.final(module.projection(z) + q), rtol=1e-5, atol=1e-5)


def test_the_island_comes_first(apply, images, net):
    """In tokens the rewrite finds nothing, and says nothing."""
    module = net(
        lambda m, x: m.attn(x.flatten(2).transpose(1, 2)).transpose(1, 2).reshape(x.shape),
        attn=EfficientAdditiveAttention(6, "token_l2"),
    )
    assert apply(ATTENTION, module, images).fired == []
    found = apply([to_channels_first, scale.fold_into_previous, *ATTENTION], module, images)
    assert found.fired == ["attn"]
