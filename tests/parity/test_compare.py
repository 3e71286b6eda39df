import dataclasses
import math

import numpy as np
import pytest

from swiftdeploy.parity import compare
from swiftdeploy.report import OutputParity
from swiftdeploy.spec import from_plain, to_plain

NAMES = ("natural_0", "natural_1", "white_noise")


@pytest.fixture
def reference():
    generator = np.random.default_rng(0)
    return {
        "logits": generator.standard_normal((3, 10)).astype(np.float32),
        "features_0": generator.standard_normal((3, 4, 5, 5)).astype(np.float32),
    }


def verdicts(reference, candidate, precision="fp32"):
    found = compare.outputs(reference, candidate, precision=precision, samples=NAMES)
    return {output.name: output for output in found}


def changed(reference, **new):
    return {**{name: value.copy() for name, value in reference.items()}, **new}


def noisy(value, db, seed=1):
    """The value with noise at so many dB below its peak, in every sample."""
    noise = np.random.default_rng(seed).standard_normal(value.shape)
    noise /= np.sqrt((noise**2).mean(axis=tuple(range(1, value.ndim)), keepdims=True))
    return (value + noise * np.abs(value).max() * 10 ** (-db / 20)).astype(np.float32)


def test_equal_outputs_pass_to_the_bit(reference):
    found = verdicts(reference, changed(reference))
    assert {output.verdict for output in found.values()} == {"pass"}
    assert found["logits"].psnr_db is None
    assert (found["logits"].top1, found["logits"].top5) == (1.0, 1.0)
    assert (found["features_0"].top1, found["features_0"].top5) == (None, None)
    assert found["logits"].samples == 3


@pytest.mark.parametrize(
    ("precision", "db", "verdict"),
    [
        ("fp32", 110, "pass"),
        ("fp32", 95, "fail"),
        ("fp16", 60, "pass"),
        ("fp16", 45, "warn"),
        ("fp16", 35, "fail"),
    ],
)
def test_gates(reference, precision, db, verdict):
    found = verdicts(reference, changed(reference, features_0=noisy(reference["features_0"], db)), precision)
    assert found["features_0"].verdict == verdict
    assert found["features_0"].psnr_db == pytest.approx(db, abs=0.5)
    assert found["logits"].verdict == "pass"
    assert bool(found["features_0"].reason) is (verdict != "pass")


def test_the_gates_are_the_contract():
    assert {name: (gate.passes, gate.fails) for name, gate in compare.GATES.items()} == {
        "fp32": (100.0, 100.0),
        "fp16": (50.0, 40.0),
    }


def test_one_bad_sample_of_many_is_not_averaged_away(reference):
    broken = reference["features_0"].copy()
    broken[1] *= 1.1
    found = verdicts(reference, changed(reference, features_0=broken), "fp16")["features_0"]
    assert found.verdict == "fail"
    assert found.worst_sample == "natural_1"
    assert "natural_1" in found.reason


def test_a_missing_output_fails(reference):
    found = verdicts(reference, {"logits": reference["logits"]})
    assert found["features_0"].verdict == "fail"
    assert found["features_0"].reason == "the artifact does not return it"


def test_an_extra_output_fails(reference):
    found = verdicts(reference, changed(reference, aux=reference["logits"]))
    assert (found["aux"].verdict, found["aux"].reason) == ("fail", "the oracle has no such output")


def test_a_renamed_output_fails_on_both_sides(reference):
    candidate = {"Logits" if name == "logits" else name: value for name, value in reference.items()}
    found = verdicts(reference, candidate)
    assert (found["logits"].verdict, found["Logits"].verdict) == ("fail", "fail")


@pytest.mark.parametrize("shape", [(3, 10, 1), (3, 2, 5), (30,), (10, 3)], ids=str)
def test_a_shape_fails_even_with_the_same_values(reference, shape):
    found = verdicts(reference, changed(reference, logits=reference["logits"].reshape(shape)))
    assert found["logits"].verdict == "fail"
    assert str(shape) in found["logits"].reason


def test_a_lost_sample_fails(reference):
    assert verdicts(reference, changed(reference, logits=reference["logits"][:2]))["logits"].verdict == "fail"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf], ids=str)
def test_values_that_are_not_finite_fail_by_name(reference, value):
    broken = reference["features_0"].copy()
    broken[2, 3, 4, 4] = value
    found = verdicts(reference, changed(reference, features_0=broken), "fp16")["features_0"]
    assert (found.verdict, found.reason) == ("fail", "NaN or Inf on white_noise")
    oracle = verdicts({"features_0": broken}, {"features_0": broken})["features_0"]
    assert (oracle.verdict, oracle.reason) == ("fail", "the oracle's own value is not finite")


def test_two_equal_shaped_outputs_that_are_swapped_fail():
    a, b = (np.random.default_rng(seed).standard_normal((3, 8)).astype(np.float32) for seed in (1, 2))
    found = verdicts({"a": a, "b": b}, {"a": b, "b": a}, "fp16")
    assert {found["a"].verdict, found["b"].verdict} == {"fail"}


def scores(*rows):
    return np.tile(np.array(rows, np.float32), (3, 1))[:3]


def test_another_class_within_the_error_is_none():
    """Two scores closer than the error may change places: the gate on dB is what judges them."""
    found = verdicts({"logits": scores([100.0, 99.99, 0.0])}, {"logits": scores([99.99, 100.0, 0.0])}, "fp16")
    assert (found["logits"].verdict, found["logits"].top1) == ("pass", 1.0)


def test_another_class_beyond_the_error_fails_whatever_the_ratio_says():
    reference = np.zeros((3, 1000), np.float32)
    reference[:, 0], reference[:, 1] = 100.0, 99.0
    candidate = reference.copy()
    candidate[1, 0], candidate[1, 1] = 99.4, 99.6
    found = verdicts({"logits": reference}, {"logits": candidate}, "fp16")["logits"]
    assert found.psnr_db > 50
    assert found.verdict == "fail"
    assert found.top1 == pytest.approx(2 / 3)
    assert "another class wins on natural_1" in found.reason


def test_all_zero_outputs_have_no_peak_to_hide_behind():
    zero = np.zeros((3, 4), np.float32)
    assert verdicts({"o": zero}, {"o": zero})["o"].verdict == "pass"
    assert verdicts({"o": zero}, {"o": zero + 1e-6})["o"].verdict == "fail"


def test_every_verdict_goes_through_json(reference):
    candidate = {"logits": reference["logits"], "extra": np.full((3, 2), math.inf)}
    for output in compare.outputs(reference, candidate, precision="fp16", samples=NAMES):
        assert from_plain(OutputParity, to_plain(output)) == output
        numbers = (v for v in dataclasses.astuple(output) if isinstance(v, float))
        assert all(math.isfinite(number) for number in numbers)


@pytest.mark.parametrize(
    ("several", "expected"),
    [
        ([], "fail"),
        (["pass"], "pass"),
        (["pass", "warn"], "warn"),
        (["warn", "fail", "pass"], "fail"),
    ],
)
def test_the_worst_verdict(several, expected):
    assert compare.worst(several) == expected


@pytest.fixture
def module_weights():
    generator = np.random.default_rng(0)
    shapes = {"a_weight": (8, 4, 1, 1), "b_weight": (8, 4, 1, 1), "a_bias": (8,), "head_weight": (10, 8)}
    return {name: generator.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def stored(weights, dtype=np.float16, **new):
    return {**{name: value.astype(dtype) for name, value in weights.items()}, **new}


@pytest.mark.parametrize(("precision", "dtype"), [("fp16", np.float16), ("fp32", np.float32)])
def test_weights_rounded_once_are_equal(module_weights, precision, dtype):
    found = compare.weights(module_weights, stored(module_weights, dtype), precision=precision)
    assert (found.tensors, found.equal, found.problems) == (4, 4, ())


def test_one_percent_in_one_tensor_is_named(module_weights):
    artifact = stored(module_weights, b_weight=(module_weights["b_weight"] * 1.01).astype(np.float16))
    found = compare.weights(module_weights, artifact, precision="fp16")
    assert found.equal == 3
    assert found.problems[0].startswith("b_weight: stored values differ by 1.0")


def test_one_bit_in_one_value_is_named(module_weights):
    broken = module_weights["head_weight"].astype(np.float16)
    broken.view(np.uint16)[3, 3] ^= 1
    found = compare.weights(module_weights, stored(module_weights, head_weight=broken), precision="fp16")
    assert [p.split(":")[0] for p in found.problems] == ["head_weight"]


def test_two_tensors_of_one_shape_that_are_swapped_are_both_named(module_weights):
    a, b = (module_weights[name].astype(np.float16) for name in ("a_weight", "b_weight"))
    found = compare.weights(module_weights, stored(module_weights, a_weight=b, b_weight=a), precision="fp16")
    assert [p.split(":")[0] for p in found.problems] == ["a_weight", "b_weight"]


def test_a_tensor_rounded_to_the_wrong_dtype_is_named(module_weights):
    half = {name: value.astype(np.float16) for name, value in module_weights.items()}
    assert len(compare.weights(module_weights, half, precision="fp32").problems) == 4
    full = stored(module_weights, np.float32)
    assert len(compare.weights(module_weights, full, precision="fp16").problems) == 4


def test_a_missing_tensor_is_named(module_weights):
    artifact = stored(module_weights)
    del artifact["a_weight"]
    found = compare.weights(module_weights, artifact, precision="fp16")
    assert found.problems == ("a_weight: no tensor of the artifact has these values",)


@pytest.mark.parametrize(("value", "stray"), [(1, False), (0, False), (2, True)])
def test_what_a_converter_writes_that_changes_nothing_is_no_stray(module_weights, value, stray):
    artifact = stored(module_weights, other=np.full(5, value, np.float16))
    assert bool(compare.weights(module_weights, artifact, precision="fp16").problems) == stray


def test_a_stray_tensor_is_named(module_weights):
    artifact = stored(module_weights, other=np.arange(5, dtype=np.float16))
    found = compare.weights(module_weights, artifact, precision="fp16")
    assert found.problems == ("other: the module has no such tensor",)


def test_equal_tensors_may_be_merged_and_renamed(module_weights):
    module_weights["b_weight"] = module_weights["a_weight"].copy()
    artifact = stored(module_weights)
    del artifact["b_weight"]
    artifact["const_7"] = artifact.pop("head_weight")
    assert not compare.weights(module_weights, artifact, precision="fp16").problems


def test_a_layout_may_change_but_no_value(module_weights):
    turned = np.ascontiguousarray(module_weights["head_weight"].astype(np.float16).T)
    assert not compare.weights(module_weights, stored(module_weights, head_weight=turned), precision="fp16").problems
    turned[0, 0] += np.float16(0.5)
    assert compare.weights(module_weights, stored(module_weights, head_weight=turned), precision="fp16").problems


def test_another_number_of_values_is_named(module_weights):
    short = module_weights["a_bias"][:7].astype(np.float16)
    found = compare.weights(module_weights, stored(module_weights, a_bias=short), precision="fp16")
    assert "7 values stored, 8 expected" in found.problems[0]


def test_nan_in_a_weight_is_named(module_weights):
    broken = module_weights["a_bias"].astype(np.float16)
    broken[0] = np.nan
    assert compare.weights(module_weights, stored(module_weights, a_bias=broken), precision="fp16").problems


def test_values_beyond_fp16_become_inf_without_a_warning(module_weights):
    module_weights["a_bias"][0] = 1e6
    with np.errstate(over="ignore"):
        artifact = stored(module_weights)
    assert not compare.weights(module_weights, artifact, precision="fp16").problems


def test_single_numbers_are_left_to_the_outputs(module_weights):
    artifact = stored(module_weights, epsilon=np.float16(1e-5), axes=np.array([2, 3]), one=np.ones(1, np.float16))
    assert not compare.weights(module_weights, artifact, precision="fp16").problems


def test_slopes_that_are_all_equal_may_be_one_number(module_weights):
    slopes = {**module_weights, "slopes": np.full(48, 0.25, np.float32)}
    found = compare.weights(slopes, stored(module_weights), precision="fp16")
    assert (found.tensors, found.equal, found.problems) == (5, 5, ())
    slopes["slopes"][3] = 0.5
    found = compare.weights(slopes, stored(module_weights), precision="fp16")
    assert found.problems == ("slopes: no tensor of the artifact has these values",)


@pytest.fixture
def recurrent():
    """The tensors of a layer by PyTorch's names."""
    generator = np.random.default_rng(0)
    shapes = {
        "rnn_weight_ih_l0": (12, 5),
        "rnn_weight_hh_l0": (12, 4),
        "rnn_bias_ih_l0": (12,),
        "rnn_bias_hh_l0": (12,),
    }
    return {name: generator.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def gates(weights):
    """As a converter may write them: a tensor a gate, and the biases of all in one."""
    parts = {f"linear_{i}": weights["rnn_weight_ih_l0"][4 * i : 4 * i + 4] for i in range(3)}
    parts["joined"] = np.concatenate([weights["rnn_bias_hh_l0"], weights["rnn_bias_ih_l0"]])
    return parts | {"other": weights["rnn_weight_hh_l0"][::-1].copy()}


def summed(weights):
    """As Core ML's LSTM has them."""
    kept = {f"concat_{i}": value for i, value in enumerate(weights.values()) if value.ndim == 2}
    return kept | {"add_0": weights["rnn_bias_ih_l0"] + weights["rnn_bias_hh_l0"]}


@pytest.mark.parametrize("form", [gates, summed])
@pytest.mark.parametrize(("precision", "dtype"), [("fp32", np.float32), ("fp16", np.float16), ("fp16", np.float32)])
def test_what_a_recurrent_layer_was_taught_may_be_regrouped(recurrent, form, precision, dtype):
    """An LSTM of an fp16 program stays in fp32."""
    artifact = {name: value.astype(dtype) for name, value in form(recurrent).items()}
    found = compare.weights(recurrent, artifact, precision=precision, recurrent=set(recurrent))
    assert (found.tensors, found.equal, found.problems) == (4, 4, ())


@pytest.mark.parametrize("form", [gates, summed])
def test_a_regrouped_layer_is_compared_to_the_bit(recurrent, form):
    for name in form(recurrent):
        artifact = form(recurrent)
        artifact[name] = artifact[name].copy()
        artifact[name].view(np.uint32).flat[1] ^= 1
        assert compare.weights(recurrent, artifact, precision="fp32", recurrent=set(recurrent)).problems
        del artifact[name]
        assert compare.weights(recurrent, artifact, precision="fp32", recurrent=set(recurrent)).problems
    twice = {**form(recurrent), "again": form(recurrent)["joined" if form is gates else "add_0"]}
    assert compare.weights(recurrent, twice, precision="fp32", recurrent=set(recurrent)).problems


def test_no_other_layer_may_be_regrouped(recurrent):
    assert len(compare.weights(recurrent, gates(recurrent), precision="fp32").problems) == 7
