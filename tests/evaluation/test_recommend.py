"""The rule by which an artifact is recommended, at its edges."""

import pytest

from swiftdeploy.evaluation.recommend import Contender, recommend


def contender(name, size, right, suffix="mlpackage"):
    return Contender(name=f"{name}.{suffix}", bytes=size, right=right)


LADDER = (
    contender("fp16", 800, 990),
    contender("int8", 500, 989),
    contender("pal4", 330, 986),
    contender("pal3", 290, 985),
    contender("pal2", 250, 900),
)


def ask(contenders=LADDER, *, right=990, images=1000, **more):
    return recommend(contenders, reference="the oracle", right=right, images=images, **more)


@pytest.mark.parametrize(
    ("tolerance", "name"), [(0.0, "fp16"), (0.1, "int8"), (0.39, "int8"), (0.4, "pal4"), (0.5, "pal3"), (9.0, "pal2")]
)
def test_the_smallest_within_the_tolerance(tolerance, name):
    assert ask(tolerance=tolerance).artifact == f"{name}.mlpackage"


def test_half_a_point_unless_said_otherwise():
    assert ask() == ask(tolerance=0.5)
    assert ask().tolerance == 0.5


def test_the_reason_says_size_interval_and_reference():
    reason = ask().reason
    assert reason.startswith("the smallest of 5 Core ML artifacts within 0.5 points of the oracle's top-1: 290 bytes, ")
    assert "98.50 % (95 %: 97.5 to 99.1), the oracle 99.00 %" in reason
    assert "more of them" not in reason


def test_too_few_images_are_admitted():
    found = ask([contender("fp16", 800, 16), contender("int8", 500, 16)], right=16, images=16)
    assert found.artifact == "int8.mlpackage"
    assert "one image of 16 is 6.2 points" in found.reason
    assert "(95 %: 80.6 to 100.0)" in found.reason


def test_where_nothing_qualifies_the_closest_is_named_and_not_recommended():
    found = ask([contender("pal3", 290, 900), contender("pal2", 250, 980)], tolerance=0.5)
    assert found.artifact == ""
    assert found.reason.startswith(
        "none of 2 Core ML artifacts is within 0.5 points of the oracle's top-1: the closest, "
    )
    assert "pal2.mlpackage, has 98.00 %" in found.reason


def test_more_often_right_than_the_reference_qualifies():
    assert ask([contender("int8", 500, 995)], tolerance=0.0).artifact == "int8.mlpackage"


def test_of_equal_sizes_the_better_one():
    assert ask([contender("a", 500, 986), contender("b", 500, 990)]).artifact == "b.mlpackage"


def test_core_ml_is_not_compared_with_onnx():
    mixed = [contender("fp16", 800, 990), contender("int8", 200, 990, "onnx"), contender("fp32", 1600, 990, "onnx")]
    assert ask(mixed).artifact == "fp16.mlpackage"
    assert ask(mixed[1:]).artifact == "int8.onnx"
    assert "the smallest of 2 artifacts within" in ask(mixed[1:]).reason
