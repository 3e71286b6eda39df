"""Verdicts against known truths: real differences are found, chance is not, and phones stay apart."""

import json

import numpy as np
import pytest

from swiftdeploy.errors import UsageError
from swiftdeploy.harness.compare import LAUNCH_MARGIN, Comparison, Table, compare, tabulate
from swiftdeploy.spec import Published, from_plain, to_plain

A, B = "a-fp16", "b-fp16"


@pytest.fixture
def plan(make_plan):
    return make_plan("a", "b", rounds=16, predictions_per_round=20)


def at(a, b):
    return {(A, "all"): a, (A, "cpuOnly"): 4 * a, (B, "all"): b, (B, "cpuOnly"): 4 * b}


@pytest.mark.parametrize(("truth", "verdict"), [(0.8, "faster"), (1.25, "slower")])
def test_a_real_difference_is_found_in_one_run(plan, measure, truth, verdict):
    run = [measure(plan, at(1.0, truth))]
    (found,) = compare(run, run, model_a=A, model_b=B)
    assert [row.unit for row in found.rows] == ["all", "cpuOnly"]
    for row in found.rows:
        assert row.paired
        assert row.verdict == verdict
        assert row.ratio == pytest.approx(truth, rel=0.03)
        assert row.ratio_interval.low <= truth <= row.ratio_interval.high


def test_chance_is_no_evidence(plan, measure):
    wrong = 0
    for seed in range(40):
        run = [measure(plan, at(1.0, 1.0), seed=seed)]
        (found,) = compare(run, run, model_a=A, model_b=B)
        wrong += sum(row.verdict != "no evidence" for row in found.rows)
    assert wrong <= 10  # 80 intervals at 95 %; the small-sample bootstrap runs a little narrow


def test_pairing_cancels_what_both_sides_share(plan, measure):
    drifting = [measure(plan, at(1.0, 1.05), sigma=0.01, common=1.0)]
    (paired,) = compare(drifting, drifting, model_a=A, model_b=B)
    assert paired.rows[0].verdict == "slower"
    other = [measure(plan, at(1.0, 1.05), sigma=0.01, common=1.0, launch="launch-2", seed=1)]
    (apart,) = compare(drifting, other, model_a=A, model_b=B)
    assert not apart.rows[0].paired
    assert apart.rows[0].verdict == "no evidence"
    width = [row.ratio_interval.high - row.ratio_interval.low for row in (paired.rows[0], apart.rows[0])]
    assert width[0] < width[1] / 5


def test_the_ratio_is_the_median_of_paired_ratios(plan, measure):
    run = measure(plan, at(1.0, 1.3))
    (found,) = compare([run], [run], model_a=A, model_b=B)
    medians = {label: [np.median(r.samples_ns) for r in run.pair(label, "all").rounds] for label in (A, B)}
    expected = np.exp(np.median(np.log(np.array(medians[B]) / np.array(medians[A]))))
    assert found.rows[0].ratio == pytest.approx(expected, rel=1e-12)
    assert found.rows[0].a.ms == pytest.approx(np.median(medians[A]) / 1e6, rel=1e-12)


def test_one_launch_each_needs_more_than_the_launch_margin(plan, measure):
    first = [measure(plan, at(1.0, 1.0), sigma=0.005)]
    near = [measure(plan, at(1 + LAUNCH_MARGIN / 2, 1.0), sigma=0.005, launch="launch-2", seed=2)]
    far = [measure(plan, at(1 + 3 * LAUNCH_MARGIN, 1.0), sigma=0.005, launch="launch-2", seed=2)]
    assert compare(first, near, model_a=A)[0].rows[0].verdict == "no evidence"
    row = compare(first, far, model_a=A)[0].rows[0]
    assert row.verdict == "slower"
    assert "launches" in row.reason


def test_three_launches_each_need_no_margin(plan, measure):
    def side(median, name):
        return [measure(plan, at(median, 1), sigma=0.005, launch=f"{name}-{i}", seed=i) for i in range(3)]

    row = compare(side(1.0, "x"), side(1.03, "y"), model_a=A)[0].rows[0]
    assert (row.verdict, row.reason) == ("slower", "")
    assert row.a.launches == 3


def test_launches_that_differ_widen_the_interval(plan, measure):
    def side(medians, name):
        return [measure(plan, at(m, 1), sigma=0.005, launch=f"{name}-{m}", seed=i) for i, m in enumerate(medians)]

    steady = compare(side([1, 1.001, 1.002], "x"), side([1.02, 1.021, 1.022], "y"), model_a=A)[0].rows[0]
    shaky = compare(side([1, 1.1, 0.9], "x"), side([1.02, 1.12, 0.92], "y"), model_a=A)[0].rows[0]
    assert steady.verdict == "slower"
    assert shaky.verdict == "no evidence"


def test_the_same_model_on_two_phones_has_two_columns(plan, measure, phone):
    old = [measure(plan, at(1.0, 1.7))]
    new = [measure(plan, at(0.6, 1.0), device=phone("iPhone17,1", "18.1", "22B83"), launch="launch-2")]
    found = compare(old, new)
    assert [(c.label_a, c.label_b) for c in found] == [(A, A), (B, B)]
    assert found[0].column_a == "iPhone14,7, iOS 16.0 (20A362)"
    assert found[0].column_b == "iPhone17,1, iOS 18.1 (22B83)"
    assert {row.verdict for c in found for row in c.rows} == {"faster"}


def test_one_side_never_mixes_phones_or_systems(plan, measure, phone):
    first = measure(plan, at(1, 1))
    for other in (phone("iPhone17,1"), phone(version="16.1", build="20B82")):
        with pytest.raises(UsageError, match="2 phones or systems"):
            compare([first, measure(plan, at(1, 1), device=other, launch="launch-2")], [first])


def test_what_cannot_be_matched_is_refused(plan, measure, make_plan):
    run = [measure(plan, at(1, 1))]
    with pytest.raises(UsageError, match="not clear"):
        compare(run, run)
    with pytest.raises(UsageError, match="'c-fp16' was not measured"):
        compare(run, run, model_a="c-fp16", model_b=B)
    with pytest.raises(UsageError, match="'a-fp16' was not measured"):
        compare(run, [measure(make_plan("z"), launch="launch-2")], model_a=A)
    with pytest.raises(UsageError, match="no compute unit in common"):
        compare(run, [measure(make_plan("q", compute_units=("cpuAndGPU",)))], model_a=A, model_b="q-fp16")
    with pytest.raises(UsageError, match="0 phones"):
        compare([], run)


def test_single_models_need_no_name(make_plan, measure):
    a, b = measure(make_plan("m")), measure(make_plan("n"), launch="launch-2")
    assert (compare([a], [b])[0].label_a, compare([a], [b])[0].label_b) == ("m-fp16", "n-fp16")


PUBLISHED = {
    "a": (
        Published(metric="latency_ms", value=0.7, source="paper, table 1", device="iPhone 14, iOS 16"),
        Published(metric="top1_percent", value=75.7, source="paper, table 1"),
    )
}


def test_published_figures_stand_beside_and_are_marked(plan, measure):
    run = [measure(plan, at(1.0, 1.7))]
    (found,) = compare(run, run, model_a=A, model_b=B, published=PUBLISHED)
    assert [p.value for p in found.published_a] == [0.7]
    assert found.published_b == ()
    table = tabulate(run, published=PUBLISHED)
    assert table.columns == ("iPhone14,7, iOS 16.0 (20A362)", "iPhone 14, iOS 16 (published)")
    cell = table.cell(A, "all", table.columns[1])
    assert (cell.ms, cell.published, cell.interval, cell.source) == (0.7, True, None, "paper, table 1")
    assert table.cell(A, "cpuOnly", table.columns[1]) is None


def test_a_table_keeps_phones_and_systems_in_columns_of_their_own(plan, measure, phone):
    runs = [
        measure(plan, at(1.0, 1.7)),
        measure(plan, at(1.02, 1.72), launch="launch-2", seed=1),
        measure(plan, at(0.8, 1.4), device=phone(version="17.0", build="21A329"), launch="launch-3"),
    ]
    table = tabulate(runs)
    assert len(table.columns) == 2
    assert table.rows == ((A, "all"), (A, "cpuOnly"), (B, "all"), (B, "cpuOnly"))
    assert table.cell(A, "all", table.columns[0]).ms == pytest.approx(1.01, abs=0.01)
    assert table.cell(A, "all", table.columns[1]).ms == pytest.approx(0.8, abs=0.01)
    assert not any(cell.published for cell in table.cells)


def test_tables_and_comparisons_have_a_json_form(plan, measure):
    run = [measure(plan, at(1.0, 1.7))]
    table = tabulate(run, published=PUBLISHED)
    assert from_plain(Table, json.loads(json.dumps(to_plain(table)))) == table
    (found,) = compare(run, run, model_a=A, model_b=B, published=PUBLISHED)
    assert from_plain(Comparison, json.loads(json.dumps(to_plain(found)))) == found
