"""Oracles: torch's LSTM, GRU and RNN with remapped gates, ONNX Runtime's LSTM for peepholes and clipping."""

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from swiftdeploy.mil.kernels import recurrent as ops

S, B, I, H = 5, 3, 4, 6


def tensor(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def reordered(weight, order):
    """torch's stacked gates in the order that MIL wants."""
    gates = weight.detach().chunk(len(order))
    return torch.cat([gates[k] for k in order])


def torch_layer(kind, **options):
    torch.manual_seed(7)
    return kind(I, H, **options)


def weights(layer, order, suffix=""):
    parts = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    return (reordered(getattr(layer, f"{part}_l0{suffix}"), order) for part in parts)


LSTM_ORDER = (0, 1, 3, 2)  # torch i f g o, MIL i f o g
GRU_ORDER = (0, 2, 1)  # torch r z n, MIL r n z


@pytest.mark.parametrize("output_sequence", [True, False])
@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_lstm_equals_torch(direction, output_sequence):
    layer = torch_layer(torch.nn.LSTM)
    w_ih, w_hh, b_ih, b_hh = weights(layer, LSTM_ORDER)
    x, h, c = tensor(S, B, I), tensor(B, H, seed=1), tensor(B, H, seed=2)
    steps = x if direction == "forward" else x.flip(0)
    expected, (h_last, c_last) = layer(steps, (h[None], c[None]))
    found = ops.lstm(x, h, c, w_ih, w_hh, b_ih + b_hh, direction=direction, output_sequence=output_sequence)
    for ours, theirs in zip(found, (expected if output_sequence else expected[-1:], h_last[0], c_last[0]), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("output_sequence", [True, False])
def test_bidirectional_lstm_equals_torch(output_sequence):
    layer = torch_layer(torch.nn.LSTM, bidirectional=True)
    w_ih, w_hh, b_ih, b_hh = weights(layer, LSTM_ORDER)
    v_ih, v_hh, d_ih, d_hh = weights(layer, LSTM_ORDER, "_reverse")
    x, h, c = tensor(S, B, I), tensor(2, B, H, seed=1), tensor(2, B, H, seed=2)
    expected, (h_last, c_last) = layer(x, (h, c))
    if not output_sequence:
        expected = torch.cat((expected[-1:, :, :H], expected[:1, :, H:]), dim=2)
    found = ops.lstm(
        x,
        torch.cat((h[0], h[1]), dim=1),
        torch.cat((c[0], c[1]), dim=1),
        w_ih,
        w_hh,
        b_ih + b_hh,
        weight_ih_back=v_ih,
        weight_hh_back=v_hh,
        bias_back=d_ih + d_hh,
        direction="bidirectional",
        output_sequence=output_sequence,
    )
    joined = (expected, torch.cat((h_last[0], h_last[1]), dim=1), torch.cat((c_last[0], c_last[1]), dim=1))
    for ours, theirs in zip(found, joined, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def onnx_lstm(x, w, r, bias, peephole, activations):
    """ONNX stacks i o f c, its peepholes i o f; ours are i f o c and i f o."""

    def moved(value, order):
        return torch.cat([value.chunk(len(order))[k] for k in order]).numpy()[None]

    arrays = {
        "w": moved(w, (0, 2, 1, 3)),
        "r": moved(r, (0, 2, 1, 3)),
        "b": np.concatenate((moved(bias, (0, 2, 1, 3)), np.zeros((1, 4 * H), np.float32)), axis=1),
        "p": moved(peephole, (0, 2, 1)),
    }
    initial = [helper.make_tensor(k, TensorProto.FLOAT, v.shape, v.reshape(-1).tolist()) for k, v in arrays.items()]
    node = helper.make_node(
        "LSTM", ["x", "w", "r", "b", "", "", "", "p"], ["y", "h", "c"], hidden_size=H, activations=activations
    )
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("y", "h", "c")]
    graph = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [S, B, I])], info, initial
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    y, h, c = (torch.from_numpy(value) for value in session.run(None, {"x": x.numpy()}))
    return y[:, 0], h[0], c[0]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (("sigmoid", "tanh", "tanh"), ("Sigmoid", "Tanh", "Tanh")),
        (("hard_sigmoid", "relu", "tanh"), ("HardSigmoid", "Relu", "Tanh")),
        (("sigmoid", "scaled_tanh", "tanh"), ("Sigmoid", "Tanh", "Tanh")),
    ],
)
def test_lstm_with_peepholes_and_activations_equals_onnx(ours, theirs):
    x, w, r = tensor(S, B, I), tensor(4 * H, I, seed=1) * 0.3, tensor(4 * H, H, seed=2) * 0.3
    bias, peephole = tensor(4 * H, seed=3), tensor(3 * H, seed=4)
    zero = torch.zeros(B, H)
    found = ops.lstm(
        x,
        zero,
        zero,
        w,
        r,
        bias,
        peephole,
        output_sequence=True,
        recurrent_activation=ours[0],
        cell_activation=ours[1],
        activation=ours[2],
    )
    for got, expected in zip(found, onnx_lstm(x, w, r, bias, peephole, theirs), strict=True):
        torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)


def test_lstm_clip_bounds_the_cell_before_the_output_gate():
    x, w, r = tensor(1, B, I), tensor(4 * H, I, seed=1), tensor(4 * H, H, seed=2)
    peephole = torch.cat((torch.zeros(2 * H), torch.full((H,), 3.0)))
    zero = torch.zeros(B, H)
    sequence, h, c = ops.lstm(x, zero, zero, w, r, peephole=peephole, clip=0.01)
    i, _, o, z = (x[0] @ w.T).chunk(4, dim=1)
    cell = (torch.sigmoid(i) * torch.tanh(z)).clamp(-0.01, 0.01)
    assert (cell.abs() == 0.01).any()
    torch.testing.assert_close(c, cell)
    torch.testing.assert_close(h, torch.sigmoid(o + 3.0 * cell) * torch.tanh(cell))
    assert torch.equal(sequence[0], h)


def test_lstm_ignores_surplus_rows_of_an_initial_state():
    x, w, r = tensor(S, B, I), tensor(4 * H, I, seed=1), tensor(4 * H, H, seed=2)
    h, c = tensor(B + 2, H, seed=3), tensor(B + 2, H, seed=4)
    for ours, theirs in zip(ops.lstm(x, h, c, w, r), ops.lstm(x, h[:B], c[:B], w, r), strict=True):
        assert torch.equal(ours, theirs)


def test_lstm_refuses_half_a_bidirectional_layer_and_an_unknown_direction():
    arguments = (tensor(S, B, I), tensor(B, 2 * H), tensor(B, 2 * H), tensor(4 * H, I), tensor(4 * H, H))
    with pytest.raises(ValueError, match="weight_ih_back"):
        ops.lstm(*arguments, direction="bidirectional")
    with pytest.raises(ValueError, match="sideways"):
        ops.lstm(*arguments, direction="sideways")


@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_gru_reset_after_equals_torch(direction):
    layer = torch_layer(torch.nn.GRU)
    w_ih, w_hh, b_ih, b_hh = weights(layer, GRU_ORDER)
    x, h = tensor(S, B, I), tensor(B, H, seed=1)
    expected, last = layer(x if direction == "forward" else x.flip(0), h[None])
    found = ops.gru(
        x, h, w_ih, w_hh, b_hh, direction=direction, output_sequence=True, reset_after=True, input_bias=b_ih
    )
    torch.testing.assert_close(found[0], expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found[1], last[0], atol=1e-5, rtol=1e-5)


def onnx_gru(x, h, w, r, bias):
    """ONNX stacks z r h; `linear_before_reset` 0 resets before the product, as MIL does by default."""

    def moved(value):
        reset, output, update = value.chunk(3)
        return torch.cat((update, reset, output)).numpy()[None]

    both = np.concatenate((moved(bias), np.zeros((1, 3 * H), np.float32)), axis=1)
    arrays = {"w": moved(w), "r": moved(r), "b": both, "h0": h.numpy()[None]}
    initial = [helper.make_tensor(k, TensorProto.FLOAT, v.shape, v.reshape(-1).tolist()) for k, v in arrays.items()]
    node = helper.make_node("GRU", ["x", "w", "r", "b", "", "h0"], ["y", "h"], hidden_size=H)
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("y", "h")]
    graph = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [S, B, I])], info, initial
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    y, last = (torch.from_numpy(value) for value in session.run(None, {"x": x.numpy()}))
    return y[:, 0], last[0]


def test_gru_resets_before_the_product_by_default_as_onnx_does():
    x, h, w, r, bias = tensor(S, B, I), tensor(B, H), tensor(3 * H, I, seed=1), tensor(3 * H, H, seed=2), tensor(3 * H)
    expected, last = onnx_gru(x, h, w, r, bias)
    found, state = ops.gru(x, h, w, r, bias, output_sequence=True)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(state, last, atol=1e-5, rtol=1e-5)
    lone, _ = ops.gru(x, h, w, r, bias)
    torch.testing.assert_close(lone, expected[-1:], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_rnn_equals_torch(activation, direction):
    layer = torch_layer(torch.nn.RNN, nonlinearity=activation)
    w_ih, w_hh, b_ih, b_hh = weights(layer, (0,))
    x, h = tensor(S, B, I), tensor(B, H, seed=1)
    expected, last = layer(x if direction == "forward" else x.flip(0), h[None])
    found = ops.rnn(x, h, w_ih, w_hh, b_ih + b_hh, direction=direction, output_sequence=True, activation=activation)
    torch.testing.assert_close(found[0], expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found[1], last[0], atol=1e-5, rtol=1e-5)
    with pytest.raises(KeyError):
        ops.rnn(x, h, w_ih, w_hh, activation="softsign")
