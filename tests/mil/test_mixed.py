"""Oracle: the package that coremltools writes with the same ops in half precision, and torch's own half arithmetic."""

import numpy as np
import pytest
import torch
from torch import nn

from swiftdeploy.mil import load_program
from swiftdeploy.mil.mixed import halved, op_names


def first(program, **inputs):
    return next(iter(program.predict(inputs).values()))


@pytest.fixture
def pair(save):
    """A program in fp32, and the same one as coremltools halves it."""

    def pair(graph, x, *, ios=16):
        return load_program(save(graph, [x], ios=ios, optimise=True, name="whole")), load_program(
            save(graph, [x], ios=ios, half=True, name="half")
        )

    return pair


def test_all_in_half_is_what_the_converter_writes(pair):
    x = np.random.default_rng(0).normal(0, 3, (1, 6, 5, 5)).astype(np.float32)
    weight = np.random.default_rng(1).normal(0, 1, (4, 6, 3, 3)).astype(np.float32)

    def graph(mb, a):
        y = mb.conv(x=a, weight=weight)
        y = mb.gelu(x=y, mode="EXACT")
        return mb.softmax(x=mb.mul(x=y, y=np.float32(0.3)), axis=1)

    whole, half = pair(graph, x)
    expected, found = first(half, a=x), first(halved(whole, keep=()), a=x)
    assert np.array_equal(found.astype(np.float16), expected.astype(np.float16))
    assert not np.array_equal(found, first(whole, a=x))


def test_what_is_kept_is_not_rounded(save):
    x = np.array([300.0], np.float32)
    whole = load_program(save(lambda mb, a: mb.sqrt(x=mb.square(x=a)), [x]))
    square, root = op_names(whole.plan)
    answers = {keep: first(halved(whole, keep=keep), a=x).item() for keep in ((), (square,), (root,), (square, root))}
    # 90,000 overflows as the output of the one op and as the input of the other.
    assert answers == {(): np.inf, (square,): np.inf, (root,): np.inf, (square, root): 300.0}


def test_the_border_is_half_unless_it_is_left_alone(save):
    x = np.array([1.0 + 2**-12], np.float32)
    whole = load_program(save(lambda mb, a: mb.mul(x=a, y=np.float32(4096)), [x]))
    names = op_names(whole.plan)
    rounded = first(halved(whole, keep=names), a=x)
    exact = first(halved(whole, keep=names, interface=False), a=x)
    assert (rounded.item(), exact.item()) == (4096.0, 4097.0)


def test_integers_and_truths_stay_what_they_are(save):
    x = np.array([70000.0, 2.0], np.float32)

    def graph(mb, a):
        large = mb.greater(x=mb.cast(x=a, dtype="int32"), y=np.int32(5))
        return mb.select(cond=large, a=mb.sign(x=a), b=a)

    whole = load_program(save(graph, [x]))
    assert "cast" not in " ".join(op_names(whole.plan))
    assert first(halved(whole, keep=(), interface=False), a=x).tolist() == [1.0, 2.0]


def test_a_whole_network_in_half_agrees_with_its_half_package(ct, convert):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.GELU(), nn.Flatten(), nn.Linear(8 * 36, 10))
    x = torch.randn(1, 3, 8, 8)
    inputs = [ct.TensorType(name="x", shape=x.shape)]
    whole, half = (load_program(convert(net, x, name=f"net{half}", half=half, inputs=inputs)) for half in (False, True))
    expected, found = first(half, x=x.numpy()), first(halved(whole, keep=()), x=x.numpy())
    assert np.abs(found - expected.astype(np.float32)).max() <= 2**-10 * np.abs(expected).max()
