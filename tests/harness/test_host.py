"""The plan on this machine, on a clock that the test moves."""

import dataclasses
import itertools

import numpy as np
import pytest

from swiftdeploy.errors import UsageError
from swiftdeploy.harness.compare import compare_units
from swiftdeploy.harness.host import HostRunner, measure_here, this_host, warm_up
from swiftdeploy.harness.measurement import DeviceParity, SampleParity
from swiftdeploy.harness.plan import WarmUpPlan
from swiftdeploy.harness.results import read_result, sealed

UNITS = ("onnxruntime", "onnxruntime-again", "eager")


class World:
    """A clock in nanoseconds; what predicts or sleeps moves it."""

    def __init__(self):
        self.now, self.slept, self.rng, self.calls = 0, 0.0, np.random.default_rng(5), []

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.slept += seconds
        self.now += int(seconds * 1e9)

    def runner(self, name, median_ms):
        sample = SampleParity(max_abs_reference=1.0, squared_error=0.0, max_abs=0.0, non_finite=0)

        def predict():
            self.calls.append(name)
            self.now += int(median_ms * 1e6 * np.exp(0.02 * self.rng.standard_normal()))

        parity = (DeviceParity(output="logits", count=7, verdict="pass", samples=(sample,)),)
        return HostRunner(predict=predict, parity=parity, load_ns=1000)


@pytest.fixture
def world():
    return World()


@pytest.fixture
def plan(make_plan):
    return make_plan("xs", rounds=8, predictions_per_round=10, compute_units=UNITS)


def runners(world, medians=(1.0, 1.0, 3.0)):
    return {("xs-fp16", unit): world.runner(unit, m) for unit, m in zip(UNITS, medians, strict=True)}


def test_what_it_writes_can_be_imported(plan, world, tmp_path):
    made = measure_here(plan, runners(world), clock=world.clock, sleep=world.sleep)
    path = tmp_path / "host.json"
    path.write_bytes(sealed(made))
    read = read_result(path, plan=plan)
    assert dataclasses.replace(read, seal="") == dataclasses.replace(made, seal="")
    assert read.device.kind == "host"
    for pair, truth in zip(read.pairs, (1.0, 1.0, 3.0), strict=True):
        assert pair.statistics.estimate_ms == pytest.approx(truth, rel=0.01)
        assert all(r.warm_up.predictions >= 20 for r in pair.rounds)
    assert world.slept == pytest.approx(8 * 3 * plan.thermal.pause_milliseconds / 1000)


def test_rounds_interleave_in_the_order_of_the_seed(plan, world):
    measure_here(plan, runners(world), clock=world.clock, sleep=world.sleep)
    turns = [name for name, _ in itertools.groupby(world.calls[3:])]
    wanted = [UNITS[pair] for order in plan.schedule() for pair in order]
    assert turns == [name for name, _ in itertools.groupby(wanted)]


def test_one_runtime_under_two_names_shows_the_noise(plan, world):
    made = [measure_here(plan, runners(world), clock=world.clock, sleep=world.sleep)]
    noise = compare_units(made, "xs-fp16", UNITS[0], UNITS[1])
    assert noise.paired
    assert noise.unit == "onnxruntime-again / onnxruntime"
    assert noise.ratio == pytest.approx(1, abs=0.02)
    real = compare_units(made, "xs-fp16", UNITS[0], UNITS[2])
    assert real.verdict == "slower"
    assert real.ratio == pytest.approx(3, rel=0.02)


def test_units_that_were_not_measured_are_refused(plan, world):
    made = [measure_here(plan, runners(world), clock=world.clock, sleep=world.sleep)]
    with pytest.raises(UsageError, match="not measured on npu"):
        compare_units(made, "xs-fp16", UNITS[0], "npu")


def test_a_pair_without_a_runner_is_refused_before_anything_runs(plan, world):
    given = runners(world)
    del given["xs-fp16", "eager"]
    with pytest.raises(UsageError, match="xs-fp16 on eager"):
        measure_here(plan, given, clock=world.clock, sleep=world.sleep)
    assert world.calls == []


def test_a_call_too_short_for_the_clock_still_took_time(plan, world):
    still = dataclasses.replace(world.runner("x", 1.0), predict=lambda: None)
    made = measure_here(plan, dict.fromkeys(runners(world), still), clock=world.clock, sleep=world.sleep)
    assert {ns for pair in made.pairs for r in pair.rounds for ns in r.samples_ns} == {1}


def test_warm_up_ends_when_latency_settles_or_at_its_maximum():
    ramp = iter([int(1e6 * (1 + 2 * 0.9**i)) for i in range(1000)])
    found = warm_up(WarmUpPlan(), lambda: next(ramp))
    assert found.settled
    assert 30 < found.predictions < 80
    rising = iter(int(1e6 * 1.05**i) for i in range(1000))
    assert warm_up(WarmUpPlan(maximum=60), lambda: next(rising)) == dataclasses.replace(
        found, predictions=60, settled=False
    )


def test_this_host_has_a_name_and_processors():
    host = this_host()
    assert host.model
    assert host.processors > 0
    assert host.memory_bytes > 0
