"""Oracles: torch's module of the same name, or the written definition in numpy."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

RNG = np.random.default_rng(0)
X = (RNG.standard_normal((2, 3, 4, 5)) * 4).astype(np.float32)
CHANNELS = np.array([0.1, -0.5, 2.0], dtype=np.float32)
FOURTH = (1, 3, 1, 1)


def case(op, graph, oracle, *, x=X, ios=15):
    return {"ops": (op,), "graph": graph, "inputs": (x,), "oracle": oracle, "ios": ios}


def t(function, *arguments, **keywords):
    return lambda x: function(torch.from_numpy(x), *arguments, **keywords).numpy()


CASES = {
    "clamped_relu": case(
        "clamped_relu",
        lambda mb, x: mb.clamped_relu(x=x, alpha=0.5, beta=1.5),
        lambda x: np.where(x >= 0, np.minimum(x, 1.5), np.minimum(0.5 * x, 1.5)),
    ),
    "clamped_relu with a negative slope": case(
        "clamped_relu",
        lambda mb, x: mb.clamped_relu(x=x, alpha=-2.0, beta=1.5),
        lambda x: np.minimum(np.where(x >= 0, x, -2.0 * x), 1.5),
    ),
    "elu": case("elu", lambda mb, x: mb.elu(x=x, alpha=0.7), t(F.elu, alpha=0.7)),
    "gelu exact": case("gelu", lambda mb, x: mb.gelu(x=x), t(F.gelu)),
    "gelu tanh": case("gelu", lambda mb, x: mb.gelu(x=x, mode="TANH_APPROXIMATION"), t(F.gelu, approximate="tanh")),
    "gelu sigmoid": case(
        "gelu", lambda mb, x: mb.gelu(x=x, mode="SIGMOID_APPROXIMATION"), lambda x: x / (1 + np.exp(-1.702 * x))
    ),
    "leaky_relu": case("leaky_relu", lambda mb, x: mb.leaky_relu(x=x, alpha=0.1), t(F.leaky_relu, 0.1)),
    "linear_activation": case(
        "linear_activation", lambda mb, x: mb.linear_activation(x=x, alpha=2.0, beta=-3.0), lambda x: 2 * x - 3
    ),
    "prelu": case(
        "prelu",
        lambda mb, x: mb.prelu(x=x, alpha=CHANNELS),
        lambda x: np.where(x > 0, x, CHANNELS.reshape(FOURTH) * x),
    ),
    "relu": case("relu", lambda mb, x: mb.relu(x=x), lambda x: np.maximum(x, 0)),
    "relu6": case("relu6", lambda mb, x: mb.relu6(x=x), t(F.relu6)),
    "scaled_tanh": case(
        "scaled_tanh", lambda mb, x: mb.scaled_tanh(x=x, alpha=1.7, beta=0.6), lambda x: 1.7 * np.tanh(0.6 * x)
    ),
    "sigmoid": case("sigmoid", lambda mb, x: mb.sigmoid(x=x), lambda x: 1 / (1 + np.exp(-x))),
    "sigmoid_hard": case("sigmoid_hard", lambda mb, x: mb.sigmoid_hard(x=x, alpha=1 / 6, beta=0.5), t(F.hardsigmoid)),
    "silu": case("silu", lambda mb, x: mb.silu(x=x), t(F.silu)),
    "softplus": case("softplus", lambda mb, x: mb.softplus(x=x), t(F.softplus)),
    "softplus of large values": case(
        "softplus",
        lambda mb, x: mb.softplus(x=x),
        lambda x: np.logaddexp(0, x.astype(np.float64)).astype(np.float32),
        x=np.array([-1e4, -90, 0, 25, 1e4], dtype=np.float32),
    ),
    "softplus_parametric": case(
        "softplus_parametric",
        lambda mb, x: mb.softplus_parametric(x=x, alpha=CHANNELS, beta=CHANNELS),
        lambda x: CHANNELS.reshape(FOURTH) * np.log(1 + np.exp(CHANNELS.reshape(FOURTH) * x)),
    ),
    "softmax of the last axis": case("softmax", lambda mb, x: mb.softmax(x=x), t(torch.softmax, -1)),
    "softmax of the channels": case("softmax", lambda mb, x: mb.softmax(x=x, axis=1), t(torch.softmax, 1)),
    "softmax of large values": case(
        "softmax", lambda mb, x: mb.softmax(x=x), t(torch.softmax, -1), x=np.array([[1e4, 1e4 + 1]], dtype=np.float32)
    ),
    "softsign": case("softsign", lambda mb, x: mb.softsign(x=x), lambda x: x / (1 + np.abs(x))),
    "thresholded_relu": case(
        "thresholded_relu", lambda mb, x: mb.thresholded_relu(x=x, alpha=1.0), lambda x: np.where(x >= 1, x, 0)
    ),
    "relu since iOS17": case("relu", lambda mb, x: mb.relu(x=x), lambda x: np.maximum(x, 0), ios=17),
}


@pytest.mark.parametrize("name", CASES)
def test_activation(agree, name):
    agree(CASES[name])


def test_a_mode_that_gelu_does_not_have_is_refused():
    from swiftdeploy.mil.kernels.activation import gelu

    with pytest.raises(ValueError, match="no mode"):
        gelu(torch.zeros(1), mode="QUICK")
