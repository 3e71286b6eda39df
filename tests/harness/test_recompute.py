"""Device parity by definition, and what a measurement's facts amount to."""

import dataclasses
import math

import numpy as np
import pytest

from swiftdeploy.harness.measurement import DeviceParity, SampleParity
from swiftdeploy.harness.recompute import check_consistency, parity_verdict, psnr_db, spoiling_facts, worst_psnr_db
from swiftdeploy.harness.results import ALLOWANCES


def sample_of(reference, answer):
    error = answer.astype(np.float64) - reference
    return SampleParity(
        max_abs_reference=float(np.abs(reference).max()),
        squared_error=float(np.square(error).sum()),
        max_abs=float(np.abs(error).max()),
        non_finite=0,
        top1=True,
        top5=True,
    )


def parity(*samples, count=100):
    return DeviceParity(output="y", count=count, verdict="pass", samples=samples)


@pytest.mark.parametrize("noise", [1e-1, 1e-3, 1e-6])
def test_psnr_follows_its_definition(noise):
    rng = np.random.default_rng(0)
    reference = rng.standard_normal(100)
    answer = reference + noise * rng.standard_normal(100)
    expected = 20 * np.log10(np.abs(reference).max() / np.sqrt(np.mean((answer - reference) ** 2)))
    assert psnr_db(sample_of(reference, answer), 100) == pytest.approx(expected, rel=1e-12)


def test_equal_answers_have_no_finite_psnr():
    sample = sample_of(np.ones(100), np.ones(100))
    assert psnr_db(sample, 100) is None
    assert worst_psnr_db(parity(sample)) is None
    assert parity_verdict(parity(sample), 50) == "pass"


def test_a_reference_of_zeros_passes_nothing():
    assert psnr_db(sample_of(np.zeros(100), np.full(100, 1e-9)), 100) == 0


def at_db(db):
    return SampleParity(max_abs_reference=1.0, squared_error=100 * 10 ** (-db / 10), max_abs=0.1, non_finite=0)


@pytest.mark.parametrize(
    ("db", "verdict"), [(60, "pass"), (50.001, "pass"), (49.999, "warn"), (40.001, "warn"), (39.999, "fail")]
)
def test_the_gate_and_its_band(db, verdict):
    assert parity_verdict(parity(at_db(90), at_db(db), at_db(90)), 50) == verdict
    assert worst_psnr_db(parity(at_db(90), at_db(db))) == pytest.approx(db)


@pytest.mark.parametrize("change", [{"non_finite": 1}, {"top1": False}])
def test_what_no_psnr_can_excuse(change):
    assert parity_verdict(parity(dataclasses.replace(at_db(200), **change)), 50) == "fail"


def test_no_sample_is_a_failure():
    assert parity_verdict(parity(), 50) == "fail"


def test_a_sound_measurement_has_nothing_to_say(make_plan, measure):
    made = measure(make_plan("a", "b"))
    assert list(check_consistency(made)) == []
    assert spoiling_facts(made) == ()


def test_every_fact_is_named_in_one_order(make_plan, measure):
    made = measure(make_plan("a"))
    power = dataclasses.replace(made.power, before=dataclasses.replace(made.power.before, low_power_mode=True))
    hot = tuple(dataclasses.replace(r, thermal="critical") for r in made.pairs[0].rounds)
    spoilt = dataclasses.replace(
        made,
        process=dataclasses.replace(made.process, debug_build=True, debugger_attached=True),
        device=dataclasses.replace(made.device, kind="simulated"),
        power=power,
        pairs=(dataclasses.replace(made.pairs[0], rounds=hot), *made.pairs[1:]),
    )
    assert spoiling_facts(spoilt) == ALLOWANCES


def test_a_mac_and_a_host_are_no_simulators(make_plan, measure):
    made = measure(make_plan("a"))
    for kind in ("mac", "host"):
        assert spoiling_facts(dataclasses.replace(made, device=dataclasses.replace(made.device, kind=kind))) == ()


def test_problems_name_the_pair(make_plan, measure):
    made = measure(make_plan("a"))
    wrong = dataclasses.replace(made.pairs[1].statistics, p50_ms=math.pi)
    broken = dataclasses.replace(made, pairs=(made.pairs[0], dataclasses.replace(made.pairs[1], statistics=wrong)))
    (problem,) = check_consistency(broken)
    assert problem.startswith("states p50_ms 3.14159")
    assert problem.endswith("(a-fp16 on cpuOnly)")
