"""Plans as values: their order of states, their pairs and their schedule."""

import dataclasses
import itertools
import json

import numpy as np
import pytest

from swiftdeploy.errors import UsageError
from swiftdeploy.harness.plan import COMPUTE_UNITS, THERMAL_STATES, Plan, hotter
from swiftdeploy.harness.render import plan_json
from swiftdeploy.spec import from_plain


def test_thermal_states_rise():
    for (i, a), (j, b) in itertools.product(enumerate(THERMAL_STATES), repeat=2):
        assert hotter(a, b) == (i > j)


def test_pairs_have_models_outermost(make_plan):
    plan = make_plan("a", "b")
    assert [(m.label, u) for m, u in plan.pairs] == [
        ("a-fp16", "all"), ("a-fp16", "cpuOnly"), ("b-fp16", "all"), ("b-fp16", "cpuOnly"),
    ]  # fmt: skip


def test_a_plan_survives_its_file(make_plan):
    plan = make_plan("a", "b", seed=2**64 - 1)
    assert from_plain(Plan, json.loads(plan_json(plan))) == plan


def test_every_round_takes_every_pair_once(make_plan):
    plan = make_plan("a", "b", "c", rounds=50)
    schedule = plan.schedule()
    assert len(schedule) == 50
    assert all(sorted(order) == list(range(6)) for order in schedule)


def test_each_pair_gets_each_place_about_as_often(make_plan):
    plan = make_plan("a", "b", rounds=4000)
    places = np.array([[order.index(pair) for pair in range(4)] for order in plan.schedule()])
    for pair in range(4):
        counts = np.bincount(places[:, pair], minlength=4)
        assert abs(counts - 1000).max() < 120  # four standard deviations


def test_the_seed_alone_decides_the_order(make_plan):
    first, other = make_plan("a", "b", seed=1), make_plan("c", "d", seed=2)
    assert first.schedule() == first.schedule()
    assert first.schedule() == dataclasses.replace(other, seed=1).schedule()
    assert first.schedule() != other.schedule()


def test_one_pair_needs_no_shuffling(make_plan):
    assert make_plan("a", compute_units=("all",), rounds=3).schedule() == ((0,), (0,), (0,))


def test_defaults_measure_every_unit_in_the_order_of_the_paper():
    assert Plan().compute_units == COMPUTE_UNITS
    assert COMPUTE_UNITS[0] == "all"
    assert Plan().warm_up.minimum >= 20


@pytest.mark.parametrize("percent", [0, 100, -5])
def test_confidence_is_a_share(percent):
    with pytest.raises(UsageError, match="confidence"):
        Plan(bootstrap=dataclasses.replace(Plan().bootstrap, confidence_percent=percent))
