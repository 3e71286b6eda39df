"""Whole models: what `predict` takes, gives and refuses. The oracle is the torch module that was converted."""

import concurrent.futures
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from swiftdeploy.errors import ArtifactError, ModelError
from swiftdeploy.mil import load_program


class Net(nn.Module):
    """Convolutions with norms and groups, attention with a normalised query, pooling and a head."""

    def __init__(self, classes=7):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, 2, 1, groups=16), nn.GELU()
        )
        self.norm, self.qkv, self.head = nn.LayerNorm(16), nn.Linear(16, 48), nn.Linear(16, classes)
        self.stem[1].running_mean.normal_()
        self.stem[1].running_var.uniform_(0.5, 2.0)

    def forward(self, x):
        x = self.stem(x)
        batch, channels, height, width = x.shape
        q, k, v = self.qkv(self.norm(x.permute(0, 2, 3, 1).reshape(batch, height * width, channels))).chunk(3, -1)
        q = nn.functional.normalize(q, dim=-1)
        mixed = torch.softmax(q @ k.transpose(1, 2), -1) @ v
        x = x + mixed.transpose(1, 2).reshape(batch, channels, height, width)
        return self.head(nn.functional.avg_pool2d(x, 2).mean((2, 3)))


class Double(nn.Module):
    def forward(self, x):
        return x * 2


class Planes(nn.Module):
    """Each channel's mean by a weight of its own, so that swapped channels show."""

    def forward(self, x):
        return x.mean((2, 3)) * torch.arange(1, x.shape[1] + 1)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net().eval()


IMAGE = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
PIXELS = (IMAGE[0].permute(1, 2, 0) * 255).round().numpy().astype(np.uint8)


def tensor(ct, *, name="x", shape=(1, 3, 32, 32), **keywords):
    return ct.TensorType(name=name, shape=shape, **keywords)


@pytest.mark.parametrize(
    ("ios", "half", "limit"), [(15, True, 5e-3), (16, False, 1e-5), (17, False, 1e-5), (18, True, 5e-3)]
)
def test_a_converted_net_equals_the_module(ct, convert, net, half, limit, ios):
    loaded = load_program(
        convert(net, IMAGE, ios=ios, half=half, inputs=[tensor(ct)], outputs=[ct.TensorType(name="y")])
    )
    found = loaded.predict({"x": IMAGE.numpy()})["y"]
    assert found.dtype == np.float32
    assert found.shape == (1, 7)
    assert np.abs(found - net(IMAGE).detach().numpy()).max() < limit


def test_half_precision_is_rounded_after_each_op_and_only_there(save):
    """y = (a·b) + c in the program's own steps, by numpy's float16, which also computes wide and rounds once."""
    rng = np.random.default_rng(0)
    a, b, c = (rng.standard_normal(500).astype(np.float16) for _ in range(3))
    path = save(lambda mb, a, b, c: mb.add(x=mb.mul(x=a, y=b), y=c), [a, b, c], ios=16, half=True)
    found = next(iter(load_program(path).predict({"a": a, "b": b, "c": c}).values()))
    assert found.dtype == np.float32
    assert np.array_equal(found.astype(np.float16), a * b + c)
    assert not np.array_equal(found, a.astype(np.float32) * b.astype(np.float32) + c.astype(np.float32))


def test_inputs_come_as_arrays_tensors_lists_and_numbers(ct, convert):
    loaded = load_program(convert(Double(), torch.ones(1), inputs=[tensor(ct, shape=(1,))]))
    name = loaded.outputs[0].name
    for given in (np.float32([3]), np.array(3.0), 3, 3.0, [3], torch.tensor([3.0]), torch.tensor(3), np.float16([3])):
        assert loaded.predict({"x": given})[name].tolist() == [6.0]


@pytest.mark.parametrize(
    ("given", "fact"),
    [
        ({}, "the input 'image' is missing"),
        ({"imge": IMAGE.numpy()}, "there is no input 'imge'"),
        ({"image": IMAGE.numpy(), "other": 1}, "there is no input 'other'"),
        ({"image": IMAGE.numpy()[0]}, r"given with shape \(3, 32, 32\)"),
        ({"image": IMAGE.numpy().astype(str)}, "not as numbers"),
        ({"image": [[1], [1, 2]]}, "is no array"),
        ({"image": None}, "not as numbers"),
    ],
)
def test_an_input_that_does_not_fit_is_named(ct, convert, given, fact):
    loaded = load_program(convert(Double(), IMAGE, inputs=[tensor(ct, name="image")]))
    with pytest.raises(ModelError, match=fact) as raised:
        loaded.predict(given)
    assert raised.value.exit_code == 4
    assert "image" in raised.value.hint or "float32 array" in raised.value.hint


def test_the_nearest_name_is_in_the_hint(ct, convert):
    loaded = load_program(convert(Double(), IMAGE, inputs=[tensor(ct, name="image")]))
    with pytest.raises(ModelError) as raised:
        loaded.predict({"imgae": IMAGE.numpy()})
    assert "did you mean 'image'" in raised.value.hint


def test_whole_numbers_may_come_as_floats_and_others_may_not(save):
    loaded = load_program(save(lambda mb, a: mb.add(x=a, y=np.int32(1)), [np.zeros(2, np.int32)]))
    name = loaded.outputs[0].name
    assert loaded.predict({"a": np.array([2.0, -3.0])})[name].tolist() == [3, -2]
    assert loaded.predict({"a": np.array([True, False])})[name].dtype == np.int32
    for bad in (0.5, np.nan, np.inf):
        with pytest.raises(ModelError, match="whole numbers"):
            loaded.predict({"a": np.array([bad, 1.0])})


def test_int8_goes_in_and_out_since_ios26(save):
    def graph(mb, a):
        return mb.cast(x=mb.add(x=mb.cast(x=a, dtype="int32"), y=np.int32(100)), dtype="int8")

    loaded = load_program(save(graph, [np.zeros(3, np.int8)], ios=26))
    found = loaded.predict({"a": np.array([-100, 0, 27], np.int8)})[loaded.outputs[0].name]
    assert found.dtype == np.int8
    assert found.tolist() == [0, 100, 127]


def test_a_scalar_comes_back_with_one_axis(save):
    loaded = load_program(save(lambda mb, a: mb.reduce_sum(x=a), [np.ones((2, 3), np.float32)]))
    found = loaded.predict({"a": np.ones((2, 3), np.float32)})
    assert {name: (value.shape, value.tolist()) for name, value in found.items()} == {
        loaded.outputs[0].name: ((1,), [6.0])
    }


def test_the_answer_is_a_copy(save):
    loaded = load_program(save(lambda mb, a: mb.identity(x=a), [np.ones(3, np.float32)]))
    given = np.ones(3, np.float32)
    found = loaded.predict({"a": given})[loaded.outputs[0].name]
    found += 1
    assert given.tolist() == [1, 1, 1]
    assert loaded.predict({"a": given})[loaded.outputs[0].name].tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("size", "refused"), [((1, 3, 16, 20), False), ((1, 3, 40, 8), False), ((1, 3, 4, 8), True), ((2, 3, 16, 16), True)]
)
def test_a_range_of_sizes(ct, convert, size, refused):
    shape = ct.Shape((1, 3, ct.RangeDim(8, 48, default=16), ct.RangeDim(8, 48, default=16)))
    loaded = load_program(convert(Double(), torch.ones(1, 3, 16, 16), inputs=[tensor(ct, shape=shape)]))
    if refused:
        with pytest.raises(ModelError, match="given with shape") as raised:
            loaded.predict({"x": np.ones(size)})
        assert "8..48" in raised.value.hint
    else:
        assert loaded.predict({"x": np.ones(size)})[loaded.outputs[0].name].shape == size


def test_enumerated_shapes(ct, convert):
    shape = ct.EnumeratedShapes([(1, 3, 16, 16), (1, 3, 24, 24)], default=(1, 3, 16, 16))
    loaded = load_program(convert(Double(), torch.ones(1, 3, 16, 16), inputs=[tensor(ct, shape=shape)]))
    for side in (16, 24):
        given = np.ones((1, 3, side, side))
        assert loaded.predict({"x": given})[loaded.outputs[0].name].shape == given.shape
    with pytest.raises(ModelError, match="given with shape") as raised:
        loaded.predict({"x": np.ones((1, 3, 16, 24))})
    assert "(1, 3, 24, 24)" in raised.value.hint


def test_an_optional_input_has_its_default(ct, convert):
    inputs = [tensor(ct, shape=(2,), default_value=np.array([3.0, 3.0], np.float32))]
    loaded = load_program(convert(Double(), torch.ones(2), inputs=inputs))
    assert loaded.inputs[0].optional
    assert loaded.predict({})[loaded.outputs[0].name].tolist() == [6.0, 6.0]
    assert loaded.predict({"x": [1, 2]})[loaded.outputs[0].name].tolist() == [2.0, 4.0]


COLORS = {
    "RGB": ("RGB", [0, 1, 2]),
    "BGR": ("RGB", [2, 1, 0]),
    "GRAYSCALE": ("L", None),
    "GRAYSCALE_FLOAT16": ("F", None),
}


@pytest.mark.parametrize("color", COLORS)
def test_image_inputs(ct, convert, color):
    image_module = pytest.importorskip("PIL.Image")
    mode, order = COLORS[color]
    channels = 3 if order else 1
    layout = getattr(ct.colorlayout, color)
    inputs = [ct.ImageType(name="x", shape=(1, channels, 32, 32), color_layout=layout)]
    loaded = load_program(convert(Planes(), torch.ones(1, channels, 32, 32), inputs=inputs))
    picture = image_module.fromarray(PIXELS).convert(mode)
    array = np.asarray(picture, dtype=np.float64)
    planes = array[..., order] if order else array[..., None]
    wanted = planes.mean((0, 1)) * np.arange(1, channels + 1)
    for given in (picture, np.asarray(picture)):
        np.testing.assert_allclose(loaded.predict({"x": given})[loaded.outputs[0].name][0], wanted, rtol=1e-3)


@pytest.mark.parametrize(
    ("given", "fact"),
    [
        (PIXELS[:, :31], "31 wide and 32 high"),
        (PIXELS.astype(np.float32), "given as float32"),
        (PIXELS[..., 0], r"given with shape \(32, 32\)"),
        (PIXELS.transpose(2, 0, 1), r"given with shape \(3, 32, 32\)"),
    ],
)
def test_an_image_that_does_not_fit_is_refused(ct, convert, given, fact):
    image_module = pytest.importorskip("PIL.Image")
    loaded = load_program(convert(Planes(), IMAGE, inputs=[ct.ImageType(name="x", shape=(1, 3, 32, 32))]))
    with pytest.raises(ModelError, match=fact):
        loaded.predict({"x": given})
    with pytest.raises(ModelError, match="has mode L"):
        loaded.predict({"x": image_module.fromarray(PIXELS).convert("L")})


def test_image_scale_and_bias_are_in_the_program(ct, convert):
    inputs = [ct.ImageType(name="x", shape=(1, 3, 32, 32), scale=1 / 127.5, bias=[-1, -0.9, -0.8])]
    loaded = load_program(convert(Planes(), IMAGE, inputs=inputs))
    wanted = (PIXELS / 127.5 + [-1, -0.9, -0.8]).mean((0, 1)) * [1, 2, 3]
    np.testing.assert_allclose(loaded.predict({"x": PIXELS})[loaded.outputs[0].name][0], wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("color", "mode"), [("RGB", "RGBA"), ("BGR", "RGBA"), ("GRAYSCALE", "L"), ("GRAYSCALE_FLOAT16", "F")]
)
def test_image_outputs(ct, convert, color, mode):
    pytest.importorskip("PIL.Image")
    layout = getattr(ct.colorlayout, color)
    channels = 3 if mode == "RGBA" else 1
    inputs = [ct.ImageType(name="x", shape=(1, channels, 32, 32), color_layout=layout)]
    outputs = [ct.ImageType(name="y", color_layout=layout)]
    module = nn.Hardtanh(0.0, 200.0)
    loaded = load_program(convert(module, torch.ones(1, channels, 32, 32), inputs=inputs, outputs=outputs))
    given = PIXELS if channels == 3 else PIXELS[..., 0]
    given = given.astype(np.float32) if mode == "F" else given
    picture = loaded.predict({"x": given})["y"]
    assert picture.mode == mode
    assert picture.size == (32, 32)
    found = np.asarray(picture)
    assert np.array_equal(found[..., :3] if channels == 3 else found, np.minimum(given, 200))
    if channels == 3:
        assert (found[..., 3] == 255).all()


@pytest.mark.parametrize(
    "labels", [[f"class {i}" for i in range(7)], list(range(10, 17)), [2**40 + i for i in range(7)]]
)
def test_a_classifier_answers_with_a_label_and_all_probabilities(ct, convert, labels):
    torch.manual_seed(0)
    module = nn.Sequential(nn.AvgPool2d(16), nn.Flatten(), nn.Linear(12, 7), nn.Softmax(-1))
    path = convert(module, IMAGE, inputs=[tensor(ct)], classifier_config=ct.ClassifierConfig(labels))
    found = load_program(path).predict({"x": IMAGE.numpy()})
    wanted = module(IMAGE)[0].detach().numpy()
    assert found["classLabel"] == labels[int(wanted.argmax())]
    assert list(found["classLabel_probs"]) == labels
    np.testing.assert_allclose(list(found["classLabel_probs"].values()), wanted, rtol=1e-4)
    assert sum(found["classLabel_probs"].values()) == pytest.approx(1, abs=1e-5)


class Counter(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("total", torch.zeros(3))

    def forward(self, x):
        self.total.add_(x)
        return self.total * 2


@pytest.fixture
def stateful(ct, convert):
    states = [ct.StateType(wrapped_type=ct.TensorType(shape=(3,), dtype=np.float16), name="total")]
    inputs = [ct.TensorType(name="x", shape=(3,), dtype=np.float16)]
    return load_program(convert(Counter(), torch.ones(3), ios=18, half=True, inputs=inputs, states=states))


def test_a_state_keeps_its_value_between_predictions(stateful):
    state, other, name = stateful.make_state(), stateful.make_state(), stateful.outputs[0].name
    assert state.read_state("total").tolist() == [0, 0, 0]
    assert stateful.predict({"x": [1, 2, 3]}, state)[name].tolist() == [2, 4, 6]
    assert stateful.predict({"x": [1, 2, 3]}, state)[name].tolist() == [4, 8, 12]
    assert stateful.predict({"x": [1, 1, 1]}, other)[name].tolist() == [2, 2, 2]
    assert state.read_state("total").tolist() == [2, 4, 6]
    state.write_state("total", [0.1, 0, 0])
    assert state.read_state("total")[0] == np.float16(0.1)


def test_states_that_do_not_fit_are_refused(stateful, save):
    with pytest.raises(ModelError, match="needs a state"):
        stateful.predict({"x": [1, 2, 3]})
    state = stateful.make_state()
    with pytest.raises(ModelError, match="no state 'sum'"):
        state.read_state("sum")
    with pytest.raises(ModelError, match=r"shape \(2,\)"):
        state.write_state("total", [1, 2])
    plain = load_program(save(lambda mb, a: mb.relu(x=a), [np.ones(3, np.float32)]))
    with pytest.raises(ModelError, match="keeps no state"):
        plain.make_state()
    with pytest.raises(ModelError, match="another function"):
        plain.predict({"a": np.ones(3)}, state)


def test_functions_of_one_package(ct, convert, tmp_path):
    paths = {"twice": convert(Double(), torch.ones(2), name="a", inputs=[tensor(ct, shape=(2,))])}
    paths["rest"] = convert(nn.ReLU(), torch.ones(2), name="b", inputs=[tensor(ct, shape=(2,))])
    descriptor = ct.utils.MultiFunctionDescriptor()
    for name, path in paths.items():
        descriptor.add_function(str(path), src_function_name="main", target_function_name=name)
    descriptor.default_function_name = "rest"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a temporary folder that the library leaves to the collector
        ct.utils.save_multifunction(descriptor, str(tmp_path / "both.mlpackage"))
    given = {"x": [-1, 3]}
    for name, wanted in (("twice", [-2, 6]), ("rest", [0, 3]), (None, [0, 3])):
        loaded = load_program(tmp_path / "both.mlpackage", name)
        assert loaded.function_name == name or name is None
        assert loaded.predict(given)[loaded.outputs[0].name].tolist() == wanted
    with pytest.raises(ModelError, match="no function 'main'") as raised:
        load_program(tmp_path / "both.mlpackage", "main")
    assert "rest, twice" in raised.value.hint


def test_every_intermediate_value_can_be_seen(ct, convert, net):
    loaded = load_program(convert(net.stem, IMAGE, inputs=[tensor(ct)]))
    seen = []
    answer = loaded.predict(
        {"x": IMAGE.numpy()}, observe=lambda name, op, outputs: seen.append((name, op, dict(outputs)))
    )
    operations = [op for op in loaded.function.block.operations if op.type != "const"]
    assert [(name, op) for name, op, _ in seen] == [(operation.name, operation.type) for operation in operations]
    first = next(outputs for _, op, outputs in seen if op == "conv")
    norm = net.stem[1]
    folded = norm(net.stem[0](IMAGE))
    torch.testing.assert_close(next(iter(first.values())), folded.detach(), rtol=1e-4, atol=1e-5)
    last = seen[-1][2][loaded.outputs[0].name]
    assert np.array_equal(last.numpy(), answer[loaded.outputs[0].name])


def test_predictions_in_threads_do_not_mix(ct, convert, net):
    loaded = load_program(convert(net.stem, IMAGE, inputs=[tensor(ct)]))
    images = [torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(i)).numpy() for i in range(6)]
    name = loaded.outputs[0].name
    alone = [loaded.predict({"x": image})[name] for image in images]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda image: loaded.predict({"x": image})[name], images))
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


def test_an_answer_of_another_shape_than_declared_is_an_error(save, monkeypatch):
    from swiftdeploy.mil.kernels import reduction

    monkeypatch.setattr(reduction.torch, "amax", lambda x, axes, keep: x)
    loaded = load_program(save(lambda mb, a: mb.reduce_max(x=a, axes=[1]), [np.ones((2, 3), np.float32)]))
    with pytest.raises(ArtifactError, match=r"gives the shape \(2, 3\), the program says \(2,\)"):
        loaded.predict({"a": np.ones((2, 3))})
