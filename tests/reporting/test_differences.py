"""Differences to the baseline: every figure that both have, with its sign."""

import dataclasses

from swiftdeploy.reporting.differences import differences


def of(job):
    return {(found.artifact, found.figure): found for found in differences(job)}


def test_what_grew_and_what_fell(red):
    found = of(red.job("swiftformer_s"))
    size = found["swiftformer_s-fp32.onnx", "size"]
    assert size.after - size.before == int(6_092_128 * 4 * 1.08) - 6_092_128 * 4
    assert size.change == "+1.949 MB"
    assert found["swiftformer_s-fp16.mlpackage", "top-1"].change == "\u22121.40 pt"
    assert found["oracle", "top-1"].was == "78.50 %"
    assert found["swiftformer_s-fp16.mlpackage", "median on iPhone14,7, iOS 18.1 (22B83), cpuOnly"].change == "="
    assert found["", "parameters"].changed is False


def test_equal_bundles_differ_in_nothing(green):
    job = dataclasses.replace(green.jobs[0], baseline=green.jobs[0].summary)
    assert differences(job)
    assert not any(found.changed for found in differences(job))
    assert {found.change for found in differences(job)} == {"="}


def test_from_exact_to_something_is_a_change(green):
    job = green.jobs[0]
    half, full, *rest = job.summary.artifacts
    old = dataclasses.replace(half, parity=full.parity)
    before = dataclasses.replace(job.summary, artifacts=(old, full, *rest))
    found = of(dataclasses.replace(job, baseline=before))[half.path, "worst PSNR"]
    assert (found.was, found.now, found.change, found.changed) == ("exact", "67.7 dB", "—", True)


def test_what_the_baseline_lacks_is_no_difference(green, red):
    job = green.jobs[0]
    assert differences(job) == ()
    assert differences(red.job("mobilevitv2_050")) == ()
    before = dataclasses.replace(job.summary, artifacts=(), accuracy=(), latency=())
    assert {figure for _, figure in of(dataclasses.replace(job, baseline=before))} == {
        "bundle size",
        "parameters",
        "calls after fusing",
    }
