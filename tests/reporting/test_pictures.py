"""Geometry of the pictures, by hand."""

import itertools

import pytest

from swiftdeploy.report import Segment
from swiftdeploy.reporting.pictures import OPS_SHOWN, bars, scatter, strip


def segment(verdict, ops):
    return Segment(verdict=verdict, first="a", last="b", ops=ops)


def test_right_is_larger_and_up_is_better():
    plot = scatter([(10.0, 70.0, 0), (40.0, 80.0, 1)])
    small, large = plot.marks
    assert small.left == pytest.approx(100 * 10 / 42, abs=1e-3)
    assert small.left < large.left
    assert small.top > large.top
    assert [tick for _, tick in plot.horizontal] == [0, 20, 40]
    assert all(0 <= mark.top <= 100 for mark in plot.marks)


def test_marks_that_would_cover_each_other_share_one():
    plot = scatter([(10.0, 70.0, 0), (10.1, 70.1, 2), (40.0, 80.0, 1), (10.0, 79.0, 3)])
    assert [mark.label for mark in plot.marks] == ["1, 2", "3", "4"]
    assert [mark.colour for mark in plot.marks] == [0, 1, 3]


def test_one_point_alone_lies_in_the_middle():
    plot = scatter([(10.0, 70.0, 0)])
    assert plot.marks[0].top == pytest.approx(50)
    assert [tick for _, tick in plot.vertical] == [69, 69.5, 70, 70.5, 71]


def test_no_tick_says_more_than_all():
    plot = scatter([(10.0, 100.0, 0), (20.0, 100.0, 0)])
    assert [tick for _, tick in plot.vertical] == [99, 99.5, 100]
    assert plot.marks[0].top == pytest.approx(50)


def test_the_most_frequent_ops_come_first_and_the_rest_share_a_bar():
    found = bars({"conv": 10, "add": 4, "norm": 6}, {"conv": 10, "add": 2})
    assert [(bar.op, bar.before, bar.after) for bar in found] == [("conv", 10, 10), ("norm", 6, 0), ("add", 4, 2)]
    assert [(bar.before_width, bar.after_width) for bar in found] == [(100, 100), (60, 0), (40, 20)]
    many = bars({f"op{i:02}": 1 for i in range(OPS_SHOWN + 5)}, {})
    assert len(many) == OPS_SHOWN + 1
    assert (many[-1].op, many[-1].before) == ("5 others", 5)
    assert bars({}, {}) == ()


def test_segments_lie_end_to_end():
    pieces = sorted(
        strip([segment("eligible", 50), segment("risky", 30), segment("ineligible", 20)]), key=lambda p: p.left
    )
    assert [(p.left, p.width, p.height) for p in pieces] == [(0, 50, 40), (50, 30, 70), (80, 20, 100)]
    assert all(a.left + a.width == pytest.approx(b.left) for a, b in itertools.pairwise(pieces))


def test_a_single_op_among_thousands_is_seen_and_on_top():
    pieces = strip([segment("eligible", 5000), segment("ineligible", 1)])
    assert pieces[-1].segment.verdict == "ineligible"
    assert pieces[-1].width == 0.6
    assert pieces[-1].left + pieces[-1].width <= 100
    assert strip([]) == ()
