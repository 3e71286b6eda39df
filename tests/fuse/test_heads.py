import pytest
import torch
from torch import nn

from swiftdeploy.fuse import scale
from swiftdeploy.fuse.heads import merge_heads


def pair(**options):
    return {"a": nn.Linear(6, 5, **options), "b": nn.Linear(6, 5)}


def pooled(x):
    return x.mean((2, 3))


@pytest.mark.parametrize("bias", [True, False])
def test_two_heads_of_one_input_are_one(apply, images, net, bias):
    module = net(lambda m, x: m.a(y := pooled(x)) + m.b(y), **pair(bias=bias))
    done = apply(merge_heads, module, images)
    assert done.ops == ["mean", "linear"]
    assert done.fired == ["a + b"]


def test_their_mean_is_one_head_too(apply, images, net):
    module = net(lambda m, x: (m.a(y := pooled(x)) + m.b(y)) / 2, **pair())
    done = apply([merge_heads, scale.fold_into_previous], module, images)
    assert done.ops == ["mean", "linear"]


DECLINES = {
    "different inputs": (
        lambda m, x: m.a(pooled(x)) + m.b(x.amax((2, 3))),
        "the two linears read different values",
    ),
    "an output": (
        lambda m, x: ((m.a((y := pooled(x))) + (z := m.b(y)), z)),
        "one of the two is an output of its own",
    ),
    "the same head twice": (
        lambda m, x: (y := m.a(pooled(x)) + 0 * m.b(pooled(x)).sum()) + y,
        None,
    ),
    "a weighted sum": (
        lambda m, x: torch.add(m.a(y := pooled(x)), m.b(y), alpha=3),
        "the sum weighs its second term",
    ),
    "read twice": (
        lambda m, x: m.a(y := pooled(x)) + (z := m.b(y)) + z.relu(),
        "one of the two is an output of its own",
    ),
}


@pytest.mark.parametrize("case", DECLINES)
def test_heads_that_are_not_two_of_one_stay(apply, images, net, case):
    forward, reason = DECLINES[case]
    done = apply(merge_heads, net(forward, **pair()), images)
    assert done.ops.count("linear") == 2
    assert done.fired == []
    assert list(done.declined.values()) == ([reason] if reason else [])
