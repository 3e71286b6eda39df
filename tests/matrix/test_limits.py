"""Limits: each holds, breaks by one step, and breaks where nothing can be checked."""

from pathlib import Path

import pytest

from swiftdeploy.errors import UsageError
from swiftdeploy.matrix.diff import ArtifactDifference, BundleDifference, Difference, Figure
from swiftdeploy.matrix.limits import ANY_CHANGE, Limits, exceeded
from swiftdeploy.pipeline.contents import WeightsDifference


def difference(*figures, identical=False, ops=None, weights=None, facts=None, size=(1000, 1000), **lists):
    artifact = ArtifactDifference(name="net.onnx", identical=identical, figures=figures, ops=ops or {}, weights=weights)
    bundle = BundleDifference(
        name="net",
        identical=identical,
        facts=facts or {},
        size=Figure(kind="size", name="size", a=size[0], b=size[1]),
        artifacts=(artifact,),
        only_a=lists.get("only_a", ()),
        only_b=lists.get("only_b", ()),
    )
    return Difference(
        a=Path("a"),
        b=Path("b"),
        bundles=(bundle,),
        only_a=lists.get("bundles_a", ()),
        only_b=lists.get("bundles_b", ()),
    )


@pytest.mark.parametrize(
    ("kind", "limits", "a", "within", "beyond"),
    [
        ("size", Limits(size_ratio=1.02), 1000, 1020, 1021),
        ("latency", Limits(latency_ratio=1.5), 2.0, 3.0, 3.01),
        ("psnr", Limits(psnr_drop=3), 60.0, 57.0, 56.9),
        ("agreement", Limits(accuracy_drop=1), 1.0, 0.99, 0.98),
        ("accuracy", Limits(accuracy_drop=0.5), 0.96, 0.956, 0.95),
    ],
)
def test_a_limit_holds_and_breaks(kind, limits, a, within, beyond):
    for b in (within, a, a * 0.5 if kind in ("size", "latency") else a + 1):
        assert exceeded(difference(Figure(kind=kind, name="it", a=a, b=b)), limits) == ()
    (line,) = exceeded(difference(Figure(kind=kind, name="it", a=a, b=beyond)), limits)
    assert line.startswith("net: net.onnx: it ")
    (lost,) = exceeded(difference(Figure(kind=kind, name="it", a=a, b=None)), limits)
    assert "not recorded any more" in lost
    assert exceeded(difference(Figure(kind=kind, name="it", a=None, b=beyond)), limits) == ()
    assert exceeded(difference(Figure(kind=kind, name="it", a=a, b=beyond)), Limits(weights_l2=1)) in (
        (),
        ("net: net.onnx: its weights cannot be compared: a report has none, the bundles beside it have",),
    )


def test_equal_to_the_bit_is_the_best_there_is():
    limits = Limits(psnr_drop=3)
    assert exceeded(difference(Figure(kind="psnr", name="it", a="equal", b="equal")), limits) == ()
    assert exceeded(difference(Figure(kind="psnr", name="it", a=60.0, b="equal")), limits) == ()
    assert len(exceeded(difference(Figure(kind="psnr", name="it", a="equal", b=140.0)), limits)) == 1


def test_the_bundles_own_size():
    assert exceeded(difference(size=(1000, 1021)), Limits(size_ratio=1.02)) == (
        "net: size is 1021, more than 1.02 times 1000",
    )


@pytest.mark.parametrize(
    ("weights", "line"),
    [
        (WeightsDifference(tensors=3, changed=1, worst="w", relative_l2=0.01), ""),
        (WeightsDifference(tensors=3, changed=1, worst="w", relative_l2=0.02), "w changed by relative L2 2.00e-02"),
        (WeightsDifference(tensors=3, changed=1, worst="w", relative_l2=None), "w changed from zeros"),
        (WeightsDifference(tensors=3, changed=0, only_a=("gone",)), "tensors came or went, first gone"),
        (None, "cannot be compared"),
    ],
)
def test_weights_by_distance(weights, line):
    found = exceeded(difference(weights=weights), Limits(weights_l2=0.01))
    assert (line in found[0]) if line else found == ()


@pytest.mark.parametrize(
    ("change", "given", "line"),
    [
        ("bytes", {}, "the bytes changed"),
        ("ops", {"ops": {"conv": (2, 3)}}, "ops changed: conv 2 → 3"),
        ("facts", {"facts": {"torch": ("1", "")}}, "torch was 1, is nothing"),
        ("artifacts", {"only_b": ("new.onnx",)}, "new.onnx is new"),
        ("artifacts", {"bundles_b": ("new",)}, "new: the bundle is new"),
        ("weights", {"weights": WeightsDifference(tensors=3, changed=1, worst="w")}, "1 of 3 weight tensors changed"),
    ],
)
def test_what_may_not_change_at_all(change, given, line):
    (found,) = exceeded(difference(**given), Limits(changes=(change,)))
    assert line in found
    others = tuple(name for name in ANY_CHANGE if name not in (change, "bytes"))
    assert [text for text in exceeded(difference(**given), Limits(changes=others)) if line in text] == []
    assert exceeded(difference(identical=True), Limits(changes=ANY_CHANGE)) == ()


def test_what_is_gone_exceeds_any_limit():
    gone = difference(only_a=("net.mlpackage",), bundles_a=("other",), identical=True)
    for limits in (Limits(size_ratio=9), Limits(psnr_drop=90), Limits(changes=("ops",))):
        assert exceeded(gone, limits) == ("other: the bundle is gone", "net: net.mlpackage is gone")
    assert exceeded(gone, Limits()) == ()


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf")])
def test_limits_that_hold_nothing(value):
    with pytest.raises(UsageError, match="holds nothing"):
        Limits(size_ratio=value)


def test_a_change_that_is_not_known():
    with pytest.raises(UsageError, match="'size' is not known"):
        Limits(changes=("size",))
