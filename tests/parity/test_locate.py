import numpy as np
import pytest

from swiftdeploy.parity.locate import INPUT, Value, first_divergence


def value(name, op, seed, shape=(1, 4, 8), place=""):
    array = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return Value(name=name, op=op, array=array, place=place)


GRAPH = (
    value("conv2d", "aten.conv2d", 1, place="stem"),
    value("gelu", "aten.gelu", 2, place="stage.act"),
    value("conv2d_1", "aten.conv2d", 3, (1, 2, 8), place="stage.pw"),
    value("add", "aten.add", 4, place="stage"),
)


def written(changed=(), renamed=str, noise=0.0):
    """The graph as an artifact computes it: other names, perhaps fp16, perhaps wrong from one op on."""
    values = []
    for index, v in enumerate(GRAPH):
        array = v.array + noise * np.random.default_rng(9).standard_normal(v.array.shape)
        if index in changed:
            array = array * 1.5 + 0.3
        values.append(Value(name=renamed(v.name), op=v.op.split(".")[1], array=array.astype(np.float16)))
    return values


def test_nothing_diverges():
    assert first_divergence(GRAPH, written(), gate_db=40.0) == ""


@pytest.mark.parametrize(
    ("wrong", "op", "around", "place"),
    [
        ((0, 1, 2, 3), "conv2d conv2d ", "conv2d", "stem"),
        ((1, 2, 3), "gelu gelu ", "gelu", "stage.act"),
        ((2, 3), "conv2d conv2d_1 ", "conv2d_1", "stage.pw"),
        ((3,), "add add ", "add", "stage"),
    ],
)
def test_the_first_wrong_op_is_named(wrong, op, around, place):
    found = first_divergence(GRAPH, written(wrong), gate_db=40.0)
    assert found == f"first at {op}(around {around}, in {place})"


def test_names_do_not_matter():
    found = first_divergence(GRAPH, written((1, 2, 3), renamed=lambda name: f"var_{len(name)}_cast"), gate_db=40.0)
    assert found.startswith("first at gelu var_4_cast (around gelu")


def test_noise_below_the_gate_is_none():
    assert first_divergence(GRAPH, written(noise=1e-3), gate_db=40.0) == ""
    assert first_divergence(GRAPH, written(noise=1e-1), gate_db=40.0).startswith("first at conv2d conv2d")


def test_the_converters_detours_are_passed_over():
    artifact = written((3,))
    artifact.insert(1, value("pad", "pad", 77, (1, 4, 10)))
    artifact.insert(2, Value(name="axes", op="const", array=np.arange(32)))
    artifact.insert(3, Value(name="epsilon", op="const", array=np.float32(1.0).reshape(1)))
    assert "first at add add" in first_divergence(GRAPH, artifact, gate_db=40.0)


def test_merged_and_reordered_ops_are_no_divergence():
    artifact = written()
    assert first_divergence(GRAPH, [artifact[1], artifact[0], artifact[3]], gate_db=40.0) == ""


def test_nan_is_a_divergence():
    artifact = written()
    artifact[1].array[0, 0, 0] = np.nan
    assert first_divergence(GRAPH, artifact, gate_db=40.0).startswith("first at gelu")


def test_an_infinity_in_fp16_is_a_divergence():
    artifact = written()
    artifact[3].array[0, 0, 0] = np.inf
    assert first_divergence(GRAPH, artifact, gate_db=40.0).startswith("first at add")


def test_a_cast_of_the_input_is_none():
    image = value("image", INPUT, 42)
    artifact = [Value(name="image_to_fp16", op="cast", array=image.array.astype(np.float16)), *written((0, 1, 2, 3))]
    assert first_divergence((image, *GRAPH), artifact[:1], gate_db=40.0) == ""
    assert first_divergence((image, *GRAPH), artifact, gate_db=40.0).startswith("first at conv2d conv2d (around conv2d")


def test_the_input_is_never_what_went_wrong():
    """An artifact without a cast shows no value that is the input; its first op is still put beside the first op."""
    found = first_divergence((value("image", INPUT, 42), *GRAPH), written((0, 1, 2, 3)), gate_db=40.0)
    assert found == "first at conv2d conv2d (around conv2d, in stem)"


def test_a_value_past_the_last_one_is_put_beside_it():
    artifact = [*written(), value("softmax", "softmax", 55)]
    assert "around add" in first_divergence(GRAPH, artifact, gate_db=40.0)
