"""Places and paths of the report's charts, against numpy and by hand."""

import numpy as np
import pytest

from swiftdeploy.axis import Axis
from swiftdeploy.harness.charts import deviation_axis, histogram_path, line_path, sample_axis


def test_histogram_heights_are_counts():
    samples = [0.5, 0.5, 1.5, 2.5, 2.5, 2.5, 2.5, 99]
    path = histogram_path(samples, Axis(low=0, high=4), bins=4)
    assert path == "M0 100V50.00H25.00V75.00H50.00V0.00H75.00V100.00H100.00V100Z"


def test_a_line_goes_up_with_its_values():
    path = line_path([0, 1, 2], [-5, 0, 5], Axis(low=0, high=2), Axis(low=-5, high=5))
    assert path == "M0.00 100.00L50.00 50.00L100.00 0.00"
    assert line_path([], [], Axis(low=0, high=1), Axis(low=0, high=1)) == ""


def test_sample_axis_leaves_the_tail_out():
    body = np.linspace(1, 2, 1000).tolist()
    axis = sample_axis([[*body, 50.0, 60.0], [2.5] * 10])
    assert axis.low < 1.02
    assert 2.5 < axis.high < 3
    assert sample_axis([[1.0] * 5]).high > 1


def test_deviations_are_symmetric_and_never_too_close():
    assert deviation_axis([[0.1, -0.2]]) == Axis(low=-5.0, high=5.0)
    assert deviation_axis([[20.0], [-40.0]]).low == pytest.approx(-44)
    assert deviation_axis([]).high == 5.0
