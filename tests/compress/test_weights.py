import numpy as np

from swiftdeploy.compress import read_weights


def test_every_weight_with_its_axes(package, net):
    found = {weight.name: weight for weight in read_weights(package(16))}
    assert list(found) == [f"{n}_weight" for n in ("stem", "wide", "depth", "narrow", "up", "head", "small")]
    axes = {name: (weight.output_axis, weight.input_axis) for name, weight in found.items()}
    assert axes.pop("up_weight") == (1, 0)
    assert set(axes.values()) == {(0, 1)}
    assert [name for name, weight in found.items() if weight.depthwise] == ["depth_weight"]
    for name, weight in found.items():
        expected = net.get_parameter(name.replace("_weight", ".weight")).half().numpy()
        assert np.array_equal(weight.value, expected)
        assert weight.constant.startswith(name)
