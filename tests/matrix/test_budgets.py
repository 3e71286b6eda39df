"""Budgets: each holds where it should and breaks where it should; what cannot be measured never passes."""

import dataclasses

import pytest

from swiftdeploy.config import Budgets
from swiftdeploy.config.budgets import AccuracyBudget, DecibelBudget, LatencyBudget, PlacementBudget, SizeBudget
from swiftdeploy.matrix.budgets import check_budgets
from swiftdeploy.report import Leg, OutputParity, ParityReport, Provenance
from swiftdeploy.runs import Accuracy, ArtifactSummary, BundleSummary, Latency


def output(psnr):
    return OutputParity(
        name="logits", psnr_db=psnr, relative_l2=0.0, cosine=1.0, max_abs=0.0, samples=1, verdict="pass"
    )


def legs(**psnr):
    found = tuple(Leg(name=name, verdict="pass", outputs=(output(value), output(90.0))) for name, value in psnr.items())
    return ParityReport(subject="a.onnx", precision="fp16", gate_db=50.0, legs=found)


def summary(size=1000, parity=None, **changes):
    artifact = ArtifactSummary(
        path="a.onnx",
        target="onnx",
        precision="fp16",
        bytes=size,
        sha256="00",
        ops={},
        parity=parity or legs(outputs=60.0, stress=55.0),
    )
    plain = BundleSummary(
        tool={},
        model="a",
        family="f",
        attention="",
        parameters=1,
        provenance=Provenance(weights="trained", source="a.pth", sha256="", format=""),
        input_kind="tensor",
        inputs=(),
        outputs=(),
        bytes=2 * size,
        tree_sha256="",
        seal="",
        ops_before={},
        ops_after={},
        fusion=(),
        fusion_parity=None,
        artifacts=(artifact,),
    )
    return dataclasses.replace(plain, **changes)


def latency(ms=1.5, unit="all", device="iPhone14,7, iOS 18.1 (22B83)", artifact="a.onnx"):
    return Latency(artifact=artifact, device=device, unit=unit, median_ms=ms, p95_ms=2, launch_id="x")


def share(top1):
    return (Accuracy(artifact="a.onnx", images=100, top1=top1, top5=None),)


def top1(**limits):
    return Budgets(top1=AccuracyBudget(images="x", **limits))


PLACED = ({"artifact": "a.mlpackage", "neural_engine": {"severities": {"error": 1, "warning": 3}}},)
CASES = [
    (Budgets(size=SizeBudget(max="1 kB")), summary(1000), None, "pass"),
    (Budgets(size=SizeBudget(max="1 kB")), summary(1001), None, "fail"),
    (Budgets(bundle_size=SizeBudget(max="2 kB")), summary(1000), None, "pass"),
    (Budgets(bundle_size=SizeBudget(max="2 kB")), summary(1001), None, "fail"),
    (Budgets(size=SizeBudget(max_ratio=1.02)), summary(1020), summary(1000), "pass"),
    (Budgets(size=SizeBudget(max_ratio=1.02)), summary(1021), summary(1000), "fail"),
    (Budgets(size=SizeBudget(max_ratio=1.02)), summary(1021), summary(artifacts=()), "skip"),
    (Budgets(size=SizeBudget(max_ratio=1.02)), summary(1021), None, "skip"),
    (Budgets(bundle_size=SizeBudget(max_ratio=1.0)), summary(1001), summary(1000), "fail"),
    (Budgets(parity=DecibelBudget(min=55)), summary(), None, "pass"),
    (Budgets(parity=DecibelBudget(min=55.1)), summary(), None, "fail"),
    (Budgets(parity=DecibelBudget(min=99)), summary(parity=legs(weights=3.0)), None, "fail"),
    (Budgets(parity=DecibelBudget(min=80)), summary(parity=legs(outputs=None)), None, "pass"),
    (Budgets(parity=DecibelBudget(max_drop=2)), summary(), summary(parity=legs(outputs=57.0)), "pass"),
    (Budgets(parity=DecibelBudget(max_drop=2)), summary(), summary(parity=legs(outputs=57.1)), "fail"),
    (Budgets(drift=DecibelBudget(min=60)), summary(), None, "pass"),
    (Budgets(drift=DecibelBudget(min=61)), summary(), None, "fail"),
    (top1(min=0.9), summary(accuracy=share(0.9)), None, "pass"),
    (top1(min=0.9), summary(accuracy=share(0.89)), None, "fail"),
    (top1(min=0.9), summary(), None, "fail"),
    (top1(max_drop=0.01), summary(accuracy=share(0.9)), summary(accuracy=share(0.905)), "pass"),
    (top1(max_drop=0.01), summary(accuracy=share(0.9)), summary(accuracy=share(0.92)), "fail"),
    (top1(max_drop=0.01), summary(accuracy=share(0.9)), summary(), "skip"),
    (Budgets(placement=PlacementBudget(error=1)), summary(placement=PLACED), None, "pass"),
    (Budgets(placement=PlacementBudget(error=0)), summary(placement=PLACED), None, "fail"),
    (Budgets(placement=PlacementBudget(note=0)), summary(placement=PLACED), None, "pass"),
    (Budgets(placement=PlacementBudget(error=0)), summary(), None, "fail"),
    (Budgets(latency=LatencyBudget(max_ms=1.5)), summary(latency=(latency(),)), None, "pass"),
    (Budgets(latency=LatencyBudget(max_ms=1.4)), summary(latency=(latency(),)), None, "fail"),
    (Budgets(latency=LatencyBudget(max_ms=9)), summary(), None, "fail"),
    (Budgets(latency=LatencyBudget(max_ms=9, missing="skip")), summary(), None, "skip"),
    (Budgets(latency=LatencyBudget(max_ms=9, unit="cpu")), summary(latency=(latency(),)), None, "fail"),
    (Budgets(latency=LatencyBudget(max_ms=9, device="iPhone14,7")), summary(latency=(latency(),)), None, "pass"),
    (Budgets(latency=LatencyBudget(max_ms=9, device="iPhone15,2")), summary(latency=(latency(),)), None, "fail"),
    (
        Budgets(latency=LatencyBudget(max_ratio=1.1)),
        summary(latency=(latency(1.64),)),
        summary(latency=(latency(1.5),)),
        "pass",
    ),
    (
        Budgets(latency=LatencyBudget(max_ratio=1.1)),
        summary(latency=(latency(1.66),)),
        summary(latency=(latency(1.5),)),
        "fail",
    ),
    (
        Budgets(latency=LatencyBudget(max_ratio=1.1)),
        summary(latency=(latency(9.0),)),
        summary(latency=(latency(1.5, unit="cpu"),)),
        "skip",
    ),
]


@pytest.mark.parametrize(("budgets", "now", "before", "verdict"), CASES)
def test_each_budget(budgets, now, before, verdict):
    (check,) = check_budgets(budgets, now, before)
    assert check.verdict == verdict, check
    assert check.name.startswith("budget.")
    assert check.message
    assert check.exit_code == (6 if verdict == "fail" else 0)


def test_a_drift_leg_of_its_own_counts_before_the_outputs():
    now = summary(parity=legs(outputs=99.0).__class__(subject="a", precision="fp16", gate_db=50.0, legs=()))
    (check,) = check_budgets(Budgets(drift=DecibelBudget(min=1)), now, None)
    assert (check.verdict, check.message) == ("fail", "it was not measured")


def test_no_budget_no_check():
    assert check_budgets(Budgets(), summary(), summary()) == ()


def test_a_message_says_both_figures():
    (check,) = check_budgets(Budgets(size=SizeBudget(max="4 MB")), summary(4_120_000), None)
    assert (check.message, check.value, check.limit) == ("4.120 MB, at most 4 MB", 4_120_000, 4_000_000)
    (check,) = check_budgets(Budgets(size=SizeBudget(max_ratio=1.02)), summary(900_000), summary(800_000))
    assert check.message == "0.900 MB, at most 1.02 times the baseline's 0.800 MB"
    assert check.limit == 816_000
