"""Oracles: torch's convolutions on explicitly padded input, and the definition as a sum in numpy."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from swiftdeploy.mil.kernels.conv import conv, conv_quantized, conv_transpose
from swiftdeploy.mil.kernels.padding import window_padding

RNG = np.random.default_rng(0)


def values(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def case(op, graph, oracle, *inputs, ios=15):
    return {"ops": (op,), "graph": graph, "inputs": inputs, "oracle": oracle, "ios": ios}


def t(function):
    return lambda *arrays: function(*(torch.from_numpy(array) for array in arrays)).numpy()


X1, X2, X3 = values(2, 4, 11), values(2, 4, 9, 10), values(1, 4, 5, 6, 7)
W1, W2, W3 = values(6, 4, 3), values(6, 4, 3, 2), values(6, 4, 2, 3, 2)
W2G, BIAS = values(8, 2, 3, 3), values(8)
T1, T2, T3 = values(4, 5, 3), values(4, 5, 3, 2), values(4, 5, 2, 2, 3)
T2G = values(4, 3, 4, 4)

STORED = RNG.integers(0, 256, (6, 2, 3, 2)).astype(np.uint8)
SCALE, OFFSET = values(6), values(6)
DENSE = STORED * SCALE.reshape(-1, 1, 1, 1) + OFFSET.reshape(-1, 1, 1, 1)


def quantized(mb, x, **more):
    given = {"quantization_type": "linear", "quant_scale": SCALE, "quant_bias": OFFSET, **more}
    return mb.conv_quantized(x=x, weight=STORED, groups=2, **given)


CONV = {
    "quantized, a scale a channel": case(
        "conv_quantized", quantized, t(lambda x: F.conv2d(x, torch.from_numpy(DENSE), groups=2)), X2
    ),
    "quantized, one scale for all, strides": case(
        "conv_quantized",
        lambda mb, x: quantized(mb, x, quant_scale=np.float32(0.5), quant_bias=np.float32(-3), strides=[2, 1]),
        t(lambda x: F.conv2d(x, torch.from_numpy(STORED * np.float32(0.5) - 3), stride=(2, 1), groups=2)),
        X2,
    ),
    "1d": case("conv", lambda mb, x: mb.conv(x=x, weight=W1), t(lambda x: F.conv1d(x, torch.from_numpy(W1))), X1),
    "2d": case("conv", lambda mb, x: mb.conv(x=x, weight=W2), t(lambda x: F.conv2d(x, torch.from_numpy(W2))), X2),
    "3d": case("conv", lambda mb, x: mb.conv(x=x, weight=W3), t(lambda x: F.conv3d(x, torch.from_numpy(W3))), X3),
    "3d with strides, dilations and uneven padding": case(
        "conv",
        lambda mb, x: mb.conv(
            x=x, weight=W3, strides=[2, 1, 3], pad_type="custom", pad=[1, 0, 2, 1, 0, 3], dilations=[1, 2, 1]
        ),
        t(lambda x: F.conv3d(F.pad(x, (0, 3, 2, 1, 1, 0)), torch.from_numpy(W3), stride=(2, 1, 3), dilation=(1, 2, 1))),
        X3,
    ),
    "groups, bias, even padding": case(
        "conv",
        lambda mb, x: mb.conv(x=x, weight=W2G, bias=BIAS, groups=2, pad_type="custom", pad=[1, 1, 1, 1]),
        t(lambda x: F.conv2d(x, torch.from_numpy(W2G), torch.from_numpy(BIAS), padding=1, groups=2)),
        X2,
    ),
    "depthwise": case(
        "conv",
        lambda mb, x: mb.conv(x=x, weight=W2G[:4, :1], groups=4),
        t(lambda x: F.conv2d(x, torch.from_numpy(W2G[:4, :1]), groups=4)),
        X2,
    ),
    "same puts the odd pixel last": case(
        "conv",
        lambda mb, x: mb.conv(x=x, weight=W2, pad_type="same", strides=[2, 2]),
        t(lambda x: F.conv2d(F.pad(x, (0, 0, 1, 1)), torch.from_numpy(W2), stride=2)),
        X2,
    ),
    "same of an even window": case(
        "conv",
        lambda mb, x: mb.conv(x=x, weight=W2, pad_type="same"),
        t(lambda x: F.conv2d(F.pad(x, (0, 1, 1, 1)), torch.from_numpy(W2))),
        X2,
    ),
    "same_lower puts it first": case(
        "conv",
        lambda mb, x: mb.conv(x=x, weight=W2, pad_type="same_lower"),
        t(lambda x: F.conv2d(F.pad(x, (1, 0, 1, 1)), torch.from_numpy(W2))),
        X2,
        ios=16,
    ),
    "dynamic weight": case("conv", lambda mb, x, w: mb.conv(x=x, weight=w), t(F.conv2d), X2, W2),
    "dynamic weight and bias": case(
        "conv",
        lambda mb, x, w, b: mb.conv(x=x, weight=w, bias=b, groups=2),
        t(lambda x, w, b: F.conv2d(x, w, b, groups=2)),
        X2,
        W2G,
        BIAS,
        ios=17,
    ),
}


@pytest.mark.parametrize("name", CONV)
def test_conv(agree, name):
    agree(CONV[name], rtol=1e-4, atol=1e-5)


TRANSPOSE = {
    "1d": case(
        "conv_transpose",
        lambda mb, x: mb.conv_transpose(x=x, weight=T1, strides=[2]),
        t(lambda x: F.conv_transpose1d(x, torch.from_numpy(T1), stride=2)),
        X1,
    ),
    "2d with bias": case(
        "conv_transpose",
        lambda mb, x: mb.conv_transpose(x=x, weight=T2, bias=BIAS[:5], strides=[2, 3]),
        t(lambda x: F.conv_transpose2d(x, torch.from_numpy(T2), torch.from_numpy(BIAS[:5]), stride=(2, 3))),
        X2,
    ),
    "3d with dilations": case(
        "conv_transpose",
        lambda mb, x: mb.conv_transpose(x=x, weight=T3, dilations=[1, 2, 1]),
        t(lambda x: F.conv_transpose3d(x, torch.from_numpy(T3), dilation=(1, 2, 1))),
        X3,
    ),
    "custom padding": case(
        "conv_transpose",
        lambda mb, x: mb.conv_transpose(x=x, weight=T2G, strides=[2, 2], pad_type="custom", pad=[1, 1, 1, 1], groups=2),
        t(lambda x: F.conv_transpose2d(x, torch.from_numpy(T2G), stride=2, padding=1, groups=2)),
        X2,
    ),
    "uneven custom padding": case(
        "conv_transpose",
        lambda mb, x: mb.conv_transpose(x=x, weight=T2, strides=[2, 2], pad_type="custom", pad=[1, 0, 0, 2]),
        t(lambda x: F.conv_transpose2d(x, torch.from_numpy(T2), stride=2)[:, :, 1:, :-2]),
        X2,
    ),
    "same": case(
        "conv_transpose",
        lambda mb, x: mb.conv_transpose(x=x, weight=T2G, strides=[2, 2], pad_type="same", groups=2),
        t(lambda x: F.conv_transpose2d(x, torch.from_numpy(T2G), stride=2, padding=1, groups=2)),
        X2,
    ),
    "output_shape that output_padding asks for": case(
        "conv_transpose",
        lambda mb, x: mb.conv_transpose(
            x=x,
            weight=T2,
            bias=BIAS[:5],
            strides=[2, 2],
            pad_type="custom",
            pad=[1, 1, 0, 0],
            output_shape=[2, 5, 18, 21],
        ),
        t(
            lambda x: F.conv_transpose2d(
                x, torch.from_numpy(T2), torch.from_numpy(BIAS[:5]), stride=2, padding=(1, 0), output_padding=(1, 1)
            )
        ),
        X2,
    ),
    "dynamic weight": case(
        "conv_transpose", lambda mb, x, w: mb.conv_transpose(x=x, weight=w), t(F.conv_transpose2d), X2, T2, ios=17
    ),
}


@pytest.mark.parametrize("name", TRANSPOSE)
def test_conv_transpose(agree, name):
    agree(TRANSPOSE[name], rtol=1e-4, atol=1e-5)


def test_conv_by_its_definition(predict):
    x, w = values(1, 2, 4, 4), values(3, 2, 2, 2)
    found = predict(lambda mb, x: mb.conv(x=x, weight=w, strides=[2, 1]), [x])[0]
    for o, i, j in itertools.product(range(3), range(2), range(3)):
        assert found[0, o, i, j] == pytest.approx((x[0, :, 2 * i : 2 * i + 2, j : j + 2] * w[o]).sum(), abs=1e-5)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: conv(x, x, pad_type="custom", pad=(1 << 30, 0, 0, 0)),
        lambda x: conv(x, x, pad_type="custom", pad=(1 << 20, 1 << 20, 1 << 20, 1 << 20)),
        lambda x: conv_transpose(x, x, strides=(1 << 20, 1 << 20)),
        lambda x: conv_transpose(x, x, output_shape=(1, 1, 1 << 20, 1 << 20)),
    ],
)
def test_results_of_absurd_size_are_refused(call):
    with pytest.raises(ValueError, match="more than this runtime makes"):
        call(torch.ones(1, 1, 4, 4))


@pytest.mark.parametrize(
    ("pad_type", "pad", "message"),
    [("custom", (1, 1, 1), "does not fit"), ("custom", (-1, 0, 0, 0), "does not fit"), ("best", None, "no pad_type")],
)
def test_padding_that_means_nothing_is_refused(pad_type, pad, message):
    with pytest.raises(ValueError, match=message):
        window_padding(pad_type, pad, sizes=(4, 4), windows=(2, 2), strides=(1, 1))


@pytest.mark.parametrize(("changes", "reason"), [({"quantization_type": "lut"}, "no table"), ({"nbits": 4}, "4 bits")])
def test_a_quantized_convolution_that_means_nothing_is_refused(changes, reason):
    given = {"quantization_type": "linear", "quant_scale": torch.ones(1), "quant_bias": torch.zeros(1), **changes}
    with pytest.raises(ValueError, match=reason):
        conv_quantized(torch.zeros(1, 1, 4, 4), torch.full((1, 1, 2, 2), 200, dtype=torch.int32), **given)
