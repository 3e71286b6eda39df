"""Places on an axis and figures, by hand and against numpy."""

import re

import numpy as np
import pytest

from swiftdeploy.axis import Axis, number


def test_places_are_percent_and_clipped():
    axis = Axis(low=2.0, high=4.0)
    assert [axis.place(v) for v in (1, 2, 2.5, 4, 9)] == [0, 0, 25, 100, 100]
    assert Axis(low=3.0, high=3.0).place(3) == 50


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.61, 0.93), (3, 1700), (0, 1e-3), (-5, 5)])
def test_ticks_are_round_few_and_within(low, high):
    ticks = Axis(low=low, high=high).ticks()
    assert 2 <= len(ticks) <= 9
    assert all(low - 1e-12 <= t <= high + 1e-12 for t in ticks)
    steps = np.diff(ticks)
    np.testing.assert_allclose(steps, steps[0], rtol=1e-9)
    assert f"{steps[0]:.0e}"[0] in "125"


def test_an_axis_without_width_has_one_tick():
    assert Axis(low=1.0, high=1.0).ticks() == (1.0,)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.7012, "0.701"), (1.7, "1.70"), (12.345, "12.3"), (1234.5, "1234"), (0.001, "0.00100")],
)
def test_numbers_have_three_digits(value, text):
    assert number(value) == text
    assert not re.search("e", number(value))
