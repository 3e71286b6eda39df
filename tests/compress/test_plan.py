import dataclasses

import numpy as np
import pytest

from swiftdeploy.compress import Weight, plan_weights
from swiftdeploy.compress.plan import stored_bytes
from swiftdeploy.errors import UsageError
from swiftdeploy.recipe import Override, Recipe, parse_scheme


def weight(name="a_weight", shape=(64, 64, 3, 3), axes=(0, 1)):
    value = np.random.default_rng(0).standard_normal(shape).astype(np.float16)
    return Weight(name=name, constant=f"{name}_to_fp16", value=value, output_axis=axes[0], input_axis=axes[1])


def reason(scheme, **given):
    found = plan_weights([weight(**given)], Recipe(name=scheme, default=scheme))
    return found.reasons.get("a_weight", "")


@pytest.mark.parametrize("scheme", ["int8", "int4", "pal8", "pal4", "pal2", "pal4g16", "sparse75", "sparse75+pal4"])
def test_a_large_weight_is_compressed(scheme):
    assert reason(scheme) == ""


def test_reasons_to_leave_a_weight_alone():
    assert reason("fp16") == "the recipe keeps it in fp16"
    assert reason("int8", shape=(64, 32, 1, 1)) == "it has 2048 values, no more than 2048"
    assert "disagree on its channels" in reason("int8", axes=(None, None))
    assert "divide into no groups" in reason("pal4g16", shape=(127, 64, 1, 1))
    assert "input channels divide" in reason("int4", shape=(64, 127, 1, 1))
    grows = reason("pal8g4", shape=(512, 1, 3, 3))
    assert grows.startswith("the tensor of a depthwise layer would take ")
    assert grows.endswith(" bytes instead of 9280")


@pytest.mark.parametrize("value", [0.0, 0.5, -0.5])
def test_a_weight_that_pruning_would_leave_nothing_of_stays(value):
    """Ties are all pruned, and coremltools makes one constant of two weights that are all zeros."""
    even = dataclasses.replace(weight(), value=np.full((64, 64, 3, 3), value, np.float16))
    found = plan_weights([even], Recipe(name="sparse50+pal4", default="sparse50+pal4"))
    assert found.reasons["a_weight"].startswith("50 % sparse it would be all zeros")
    assert plan_weights([even], Recipe(name="pal4", default="pal4")).reasons == {}
    even.value[0, 0, 0, 0] = 2.0
    assert plan_weights([even], Recipe(name="sparse50", default="sparse50")).reasons == {}


def test_a_weight_in_a_loop_stays():
    inside = dataclasses.replace(weight(), nested=True)
    assert "body of a loop" in plan_weights([inside], Recipe(name="int8", default="int8")).reasons["a_weight"]


@pytest.mark.parametrize(
    ("scheme", "shape", "group"),
    [
        ("int4", (64, 96, 1, 1), 32),
        ("int4", (64, 48, 1, 1), 24),
        ("int4", (64, 220, 1, 1), 22),
        ("pal4g16", (96, 64, 1, 1), 16),
        ("pal4g16", (56, 64, 1, 1), 14),
        ("int8", (64, 48, 1, 1), 0),
    ],
)
def test_groups_divide_the_channels(scheme, shape, group):
    found = plan_weights([weight(shape=shape)], Recipe(name=scheme, default=scheme))
    assert found.schemes["a_weight"].group == group


def test_a_pattern_that_names_nothing_is_refused_with_the_nearest_name():
    weights = [weight("network_0_proj_weight"), weight("head_weight")]
    recipe = Recipe(name="r", default="pal6", overrides=(Override(weights="network_0_projj_weight", scheme="int8"),))
    with pytest.raises(UsageError, match="'network_0_projj_weight' is no weight") as caught:
        plan_weights(weights, recipe)
    assert "network_0_proj_weight" in caught.value.hint


def test_one_recipe_serves_tensors_and_pixels():
    recipe = Recipe(name="r", default="fp16", overrides=(Override(weights="head_*", scheme="int8"),))
    for name in ("head_weight", "module_head_weight"):
        assert list(plan_weights([weight(name)], recipe).schemes) == [name]


@pytest.mark.parametrize(
    ("scheme", "shape", "expected"),
    [
        ("int8", (64, 64, 1, 1), 64 + 4096 + 64 + 128),
        ("pal4", (64, 64, 1, 1), 64 + 2048 + 64 + 64),
        ("pal4g16", (64, 64, 1, 1), 64 + 2048 + 64 + 128),
        ("int4", (64, 64, 1, 1), 64 + 2048 + 64 + 256),
        ("sparse75", (64, 64, 1, 1), 64 + 512 + 64 + 2048),
    ],
)
def test_predicted_bytes(scheme, shape, expected):
    fitted = dataclasses.replace(parse_scheme(scheme), group={"int4": 32, "pal4g16": 16}.get(scheme, 0))
    assert stored_bytes(fitted, shape) == expected
