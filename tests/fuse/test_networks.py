"""Whole networks: what fusing leaves of them, and that it is still the same function.

The algebra is held in float64, where nothing but the algebra can differ. In fp32 new weights are rounded once, and sums
are taken in another order: so the fused graph may be no farther from the float64 truth than the eager network itself.
"""

import copy

import pytest
import torch
from swiftdeploy_models import efficientnet_lite, mobilevit_v2
from swiftdeploy_models.swiftformer import SwiftFormer

from swiftdeploy.capture import capture
from swiftdeploy.fuse import constants, fuse
from swiftdeploy.fuse.graph import NORM, calls
from swiftdeploy.fuse.ranges import largest
from swiftdeploy.mil import load_program
from swiftdeploy.parity.stress import stress_

SWIFTFORMERS = [("swiftformer_xs", 224), ("swiftformer_s", 64), ("swiftformer_l1", 64), ("swiftformer_l3", 64)]
LAYOUT = {
    "tile",
    "transpose",
    "reshape",
    "expand_dims",
    "linear",
    "matmul",
    "permute",
    "expand",
    "repeat",
    "batch_norm",
}


def tiny_swiftformer(**arguments):
    return SwiftFormer(widths=(8, 12, 16, 24), depths=(1, 1, 1, 1), num_classes=10, **arguments)


def listed(value):
    return [value] if torch.is_tensor(value) else list(value)


def hugging_face():
    """Somebody else's SwiftFormer, which computes `sum`, between permute and repeat instead of transpose."""
    transformers = pytest.importorskip("transformers")
    config = transformers.SwiftFormerConfig(
        image_size=32, depths=[1, 1, 1, 1], embed_dims=[8, 12, 16, 24], num_labels=10, drop_path_rate=0.0
    )
    return transformers.SwiftFormerForImageClassification(config)


@pytest.mark.parametrize("attention", ["sum", "token_l2"])
@pytest.mark.parametrize(("name", "size"), SWIFTFORMERS)
def test_every_variant_and_generation(network, relative, ops, name, size, attention):
    found = network(name, size, attention=attention)
    left = ops(found.fused.graph)
    assert not LAYOUT & (set(left) - {"linear"})
    assert left.count("linear") == 1  # the head
    assert not any(record.declined for record in found.fused.ledger)
    assert len(found.ledger["additive_attention"].fired) == 4
    assert len(found.ledger["channels_first"].fired) == 4
    assert len(found.ledger["singleton_softmax"].fired) == (4 if attention == "sum" else 0)
    assert len(found.ledger["heads"].fired) == 1
    wide = torch.fx.GraphModule(
        {n: v.double() for n, v in constants(found.fused.graph).items()}, found.fused.graph.graph
    )
    with torch.no_grad():
        truth = copy.deepcopy(found.module).double()(found.images[:1].double())
        fused = found.fused.graph(found.images[:1])
        assert relative(wide(found.images[:1].double()), truth) <= 1e-6
    assert relative(fused, truth) <= 1.5 * relative(found.expected[0][:1], truth) + 1e-7


MODELS = {
    "sum": lambda: tiny_swiftformer(attention="sum"),
    "token_l2": lambda: tiny_swiftformer(attention="token_l2"),
    "one head": lambda: tiny_swiftformer(attention="token_l2", distillation=False),
    "a backbone": lambda: tiny_swiftformer(attention="token_l2", features=True),
    "transformers": hugging_face,
    "mobilevit": lambda: mobilevit_v2.mobilevitv2_050(num_classes=10),
    "efficientnet": lambda: efficientnet_lite.efficientnet_lite0(num_classes=10),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_algebra_is_exact(relative, ops, net, name):
    """In float64 throughout, weights included: what is left is rounding at 1e-16 a step."""
    model = MODELS[name]()
    module = net(lambda m, x: m.model(x, return_dict=False)[0], model=model) if name == "transformers" else model
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    stress_(module.eval().requires_grad_(False), images)
    module, images = module.double(), images.double()
    result = fuse(capture(module, images[:1]), images)
    found, expected = result.graph(images[:1]), module(images[:1])
    for one, other in zip(listed(found), listed(expected), strict=True):
        assert relative(one, other) <= 1e-11
    fired = {record.name: len(record.fired) for record in result.ledger}
    assert fired["batch_norm_after"] >= 9
    if name == "transformers":
        assert (fired["channels_first"], fired["additive_attention"], fired["singleton_softmax"]) == (4, 4, 4)
        assert not LAYOUT & (set(ops(result.graph)) - {"linear"})
    if name in ("mobilevit", "efficientnet"):
        assert "batch_norm" not in ops(result.graph)


def test_a_backbone_gives_four_maps(network, relative):
    found = network("tiny", 64, attention="token_l2", features=True)
    assert [tuple(v.shape[1:]) for v in found.expected] == [(8, 16, 16), (12, 8, 8), (16, 4, 4), (24, 2, 2)]
    for one, expected in zip(found.fused.graph(found.images[:1]), found.expected, strict=True):
        assert relative(one, expected[:1]) <= 1e-5
    # A norm on a map that goes two ways has no weights to go into.
    assert sorted(found.ledger["batch_norm_before"].declined) == ["norm0", "norm2", "norm4", "norm6"]


@pytest.mark.parametrize("attention", ["sum", "token_l2"])
def test_norms_stay_below_their_ceiling_on_every_calibration_image(network, attention):
    found = network("swiftformer_xs", 224, attention=attention)
    norms = list(calls(found.fused.graph, NORM))
    assert len(norms) == {"sum": 8, "token_l2": 12}[attention]
    assert all(8.0 <= reach < 16.0 for reach in largest(found.fused.graph, norms, found.images))


@pytest.mark.parametrize(("attention", "total"), [("sum", 157), ("token_l2", 173)])
def test_the_written_program_of_xs_has_so_many_ops(written, attention, total):
    """Read from the package, since a rewrite's word is not the converter's. The official graph has 234."""
    path = written("coreml", "fp16", of=("swiftformer_xs", 224, ("attention", attention)))
    operations = [o for o in load_program(path).function.block.operations if o.type != "const"]
    kinds = {operation.type for operation in operations}
    assert len(operations) == total
    assert not kinds & {"tile", "transpose", "reshape", "expand_dims", "batch_norm", "softmax"}
    assert ("cast" in kinds) is False


def test_constants_are_what_the_artifacts_hold(network):
    found = network("tiny", 32)
    names = constants(found.fused.graph)
    assert all("." not in name for name in names)
    assert names.keys() == {n.target for n in found.fused.graph.graph.nodes if n.op == "get_attr"}
