"""Each bound can fail: what a wrong package would hold is written by hand, and named."""

import numpy as np
import pytest
from coremltools.models import MLModel
from coremltools.optimize import coreml as cto

from swiftdeploy import compress, console
from swiftdeploy.compress import Plan, Weight
from swiftdeploy.compress.check import scheme_problem
from swiftdeploy.recipe import Recipe, parse_scheme


@pytest.fixture
def weight():
    value = np.random.default_rng(1).standard_normal((8, 16, 3, 3)).astype(np.float16)
    return Weight(name="w", constant="w_to_fp16", value=value, output_axis=0, input_axis=1)


def quantised(value, steps, axes=(1, 2, 3)):
    """Symmetric, one scale for each index that is left, as textbooks have it."""
    wide = value.astype(np.float64)
    scale = np.abs(wide).max(axis=axes, keepdims=True) / steps
    return np.round(wide / scale) * scale


def tabled(value, bits, seed=0):
    """Lloyd's iterations on all values; (table, index of each value)."""
    wide = value.astype(np.float64).ravel()
    table = np.quantile(wide, (np.arange(2**bits) + 0.5) / 2**bits)
    for _ in range(20):
        index = np.abs(wide[:, None] - table).argmin(1)
        table = np.array([wide[index == i].mean() if (index == i).any() else table[i] for i in range(len(table))])
    return table, np.abs(wide[:, None] - table).argmin(1).reshape(value.shape)


def problem(scheme, weight, found, mask=None):
    return scheme_problem(parse_scheme(scheme), weight.value, np.asarray(found, np.float16), weight, mask)


def test_int8_within_half_a_step(weight):
    good = quantised(weight.value, 127)
    assert problem("int8", weight, good) == ""
    assert "more than half a step" in problem("int8", weight, good * 1.02)
    moved = good.copy()
    moved[3, 2, 1, 1] += 0.9 * np.abs(weight.value[3]).max() / 127
    assert "(1 values)" in problem("int8", weight, moved)


def test_int8_has_its_own_scale_for_each_channel(weight):
    """One scale for all channels is what a converter that ignores the axis writes."""
    uneven = weight.value * np.array([1, 100, 1, 1, 1, 1, 1, 1], np.float16).reshape(-1, 1, 1, 1)
    other = Weight(name="w", constant="w", value=uneven, output_axis=0, input_axis=1)
    assert problem("int8", other, quantised(uneven, 127)) == ""
    assert "more than half a step" in problem("int8", other, quantised(uneven, 127, axes=(0, 1, 2, 3)))


def test_scales_run_along_the_layers_output_channels():
    value = np.random.default_rng(2).standard_normal((16, 8)).astype(np.float16) * np.logspace(0, 3, 8)
    turned = Weight(name="w", constant="w", value=value.astype(np.float16), output_axis=1, input_axis=0)
    assert problem("int8", turned, quantised(turned.value, 127, axes=(0,))) == ""
    assert problem("int8", turned, quantised(turned.value, 127, axes=(1,))) != ""


def test_int4_within_half_a_step_of_its_block(weight):
    scheme = parse_scheme("int4")
    blocks = weight.value.reshape(8, 2, 8, 3, 3)
    good = quantised(blocks, 7, axes=(2, 3, 4)).reshape(weight.value.shape).astype(np.float16)
    from dataclasses import replace

    assert scheme_problem(replace(scheme, group=8), weight.value, good, weight, None) == ""
    assert scheme_problem(replace(scheme, group=8), weight.value, good * np.float16(1.1), weight, None) != ""
    whole = quantised(weight.value, 7).astype(np.float16)
    assert scheme_problem(replace(scheme, group=4), weight.value, whole, weight, None) != ""


def test_tables_give_the_nearest_entry(weight):
    table, index = tabled(weight.value, 4)
    assert problem("pal4", weight, table[index]) == ""
    flipped = table.copy()
    flipped[5] = -flipped[5]
    assert "another entry of the table is nearer" in problem("pal4", weight, flipped[index])
    swapped = index.copy()
    swapped[0, 0, 0, 0] = (swapped[0, 0, 0, 0] + 7) % 16
    assert "(1 values)" in problem("pal4", weight, table[swapped])
    finer, places = tabled(weight.value, 5)
    assert "32 different values, a table of 4 bits has 16" in problem("pal4", weight, finer[places])


def test_each_group_has_a_table_of_its_own(weight):
    from dataclasses import replace

    parts = [tabled(part, 3) for part in np.split(weight.value, 2)]
    good = np.concatenate([table[index] for table, index in parts]).astype(np.float16)
    scheme = replace(parse_scheme("pal3g4"), group=4)
    assert scheme_problem(scheme, weight.value, good, weight, None) == ""
    assert "different values" in problem("pal3", weight, good)


def test_8_bit_tables_may_move_entries_by_half_a_step(weight):
    table, index = tabled(weight.value, 4)
    rounded = quantised(table, 127, axes=(0,))
    assert problem("pal4+int8", weight, rounded[index]) == ""
    assert problem("pal4+int8", weight, 1.2 * rounded[index]) != ""


def test_pruning_takes_the_smallest(weight):
    wide = weight.value.astype(np.float64)
    mask = np.abs(wide) > np.quantile(np.abs(wide), 0.75)
    good = np.where(mask, wide, 0.0)
    assert problem("sparse75", weight, good, mask) == ""
    assert "no mask" in problem("sparse75", weight, good)
    changed = good.copy()
    changed[np.unravel_index(np.abs(wide).argmax(), wide.shape)] *= 1.01
    assert "a value that was kept changed" in problem("sparse75", weight, changed, mask)
    lost = mask.copy()
    lost[np.unravel_index(np.abs(wide).argmax(), wide.shape)] = False
    assert "became 0" in problem("sparse75", weight, np.where(lost, wide, 0.0), lost)
    assert "leaves out is not 0" in problem("sparse75", weight, wide, mask)
    assert "90 % were wanted" in problem("sparse90", weight, good, mask)
    one_less = np.abs(wide) >= np.sort(np.abs(wide), axis=None)[-(-3 * wide.size // 4) - 1]
    assert "75 % were wanted" in problem("sparse75", weight, np.where(one_less, wide, 0.0), one_less)


def test_joint_schemes_are_held_to_both(weight):
    wide = weight.value.astype(np.float64)
    mask = np.abs(wide) > np.quantile(np.abs(wide), 0.75)
    good = np.where(mask, quantised(np.where(mask, wide, 0.0), 127), 0.0)
    assert problem("sparse75+int8", weight, good, mask) == ""
    assert "half a step" in problem("sparse75+int8", weight, good * 1.05, mask)
    assert "90 % were wanted" in problem("sparse90+int8", weight, good, mask)


def test_nothing_may_be_infinite(weight):
    broken = quantised(weight.value, 127)
    broken[0, 0, 0, 0] = np.inf
    assert problem("int8", weight, broken) == "NaN or Inf"


def test_lost_strange_and_misshapen_tensors(package):
    path = package(16)
    weights, before = compress.read_weights(path), compress.dense_weights(path)
    plan = compress.plan_weights(weights, Recipe(name="none", default="fp16"))
    assert compress.check_weights(path, weights, plan, before, before) == []
    lost = {name: value for name, value in before.items() if name != "head_bias"}
    assert compress.check_weights(path, weights, plan, before, lost) == ["head_bias: nothing where (64,) was"]
    stranger = {**before, "ghost": np.ones(3, np.float16)}
    assert compress.check_weights(path, weights, plan, before, stranger) == [
        "ghost: the uncompressed package has no such tensor"
    ]
    turned = {**before, "head_weight": before["head_weight"].T}
    assert "shape (70, 64) where (64, 70) was" in compress.check_weights(path, weights, plan, before, turned)[0]


def test_a_skipped_weight_that_was_changed_is_refused(package, tmp_path):
    """coremltools#2777: "Skipped this op" is said of a weight that has been divided by its scales in place.

    Tables with a scale a channel, and groups that do not divide the channels of `up` (70): nothing is compressed there,
    and everything is changed. Our own plans never ask for it; the check does not rely on that.
    """
    path, out = package(18), tmp_path / "out.mlpackage"
    options = cto.OpPalettizerConfig(
        nbits=4, granularity="per_grouped_channel", group_size=16, enable_per_channel_scale=True, weight_threshold=500
    )
    with console.quiet():
        config = cto.OptimizationConfig(global_config=None, op_name_configs={"up_weight_to_fp16": options})
        cto.palettize_weights(MLModel(str(path), skip_model_load=True), config).save(str(out))
    weights, before, after = compress.read_weights(path), compress.dense_weights(path), compress.dense_weights(out)
    assert not any(name.startswith("up_weight") for name in compress.stored_sizes(out)), "it was skipped"
    damage = np.abs(after["up_weight"].astype(np.float64) - before["up_weight"]).max()
    assert damage > 0.5, "the bug is gone from coremltools: read its change log, and what this check is for"
    plan = Plan(recipe=Recipe(name="r", default="pal4g16"), schemes={}, reasons={"up_weight": "coremltools skipped it"})
    problems = compress.check_weights(out, weights, plan, before, after)
    assert problems == ["up_weight: it changed, and should not have: coremltools skipped it (see coremltools#2777)"]
