"""Recurrent layers: Apple's `recurrent` family.

In: sequences [s, b, I], states and stacked gate weights, float32. Out: hidden states of every step [s, b, H] or of the
last one [1, b, H], then the final states [b, H]. Everything inside a layer is float32; only its outputs are rounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from swiftdeploy.mil.kernels.registry import kernel

# Each with the standard parameters of the activation op of that name; the recurrent ops cannot set any.
_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "scaled_tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "hard_sigmoid": lambda x: torch.clamp(0.2 * x + 0.5, 0.0, 1.0),
    "sigmoid_hard": lambda x: torch.clamp(0.2 * x + 0.5, 0.0, 1.0),
    "relu": torch.relu,
    "linear": lambda x: x,
}


def rnn(
    x: Tensor,
    initial_h: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor | None = None,
    direction: str = "forward",
    output_sequence: bool = False,
    activation: str = "tanh",
) -> tuple[Tensor, Tensor]:
    """The hidden states, and the final one, of activation(W_ih·x + W_hh·h + bias) stepped through `x`."""
    act = _ACTIVATIONS[activation]
    inputs = _project(x, weight_ih, bias)
    h, states = initial_h, []
    for step in _order(inputs, direction):
        h = act(step + h @ weight_hh.T)
        states.append(h)
    return _sequence(states, output_sequence=output_sequence), h


def gru(
    x: Tensor,
    initial_h: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor | None = None,
    direction: str = "forward",
    output_sequence: bool = False,
    recurrent_activation: str = "sigmoid",
    activation: str = "tanh",
    reset_after: bool = False,
    input_bias: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Gated recurrent unit: the hidden states and the final one.

    Weights and biases stack the gates reset, output, update. The reference writes r·(W_ho·h), its tests compute
    W_ho·(r·h): that is what runs unless `reset_after` (since iOS18) is set. Then r·(W_ho·h + b) with the output part
    of `bias` inside, as in PyTorch, and the input's own bias is `input_bias`.
    """
    gate, act = _ACTIVATIONS[recurrent_activation], _ACTIVATIONS[activation]
    hidden = weight_hh.shape[1]
    recurrent_bias = bias if bias is not None else weight_hh.new_zeros(3 * hidden)
    w_reset, w_output, w_update = weight_hh.T.split(hidden, dim=1)
    b_reset, b_output, b_update = recurrent_bias.split(hidden)
    h, states = initial_h, []
    for step in _order(_project(x, weight_ih, input_bias), direction):
        in_reset, in_output, in_update = step.split(hidden, dim=1)
        reset = gate(in_reset + h @ w_reset + b_reset)
        update = gate(in_update + h @ w_update + b_update)
        recurrent = reset * (h @ w_output + b_output) if reset_after else (reset * h) @ w_output + b_output
        h = (1 - update) * act(in_output + recurrent) + update * h
        states.append(h)
    return _sequence(states, output_sequence=output_sequence), h


def lstm(
    x: Tensor,
    initial_h: Tensor,
    initial_c: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor | None = None,
    peephole: Tensor | None = None,
    weight_ih_back: Tensor | None = None,
    weight_hh_back: Tensor | None = None,
    bias_back: Tensor | None = None,
    peephole_back: Tensor | None = None,
    direction: str = "forward",
    output_sequence: bool = False,
    recurrent_activation: str = "sigmoid",
    cell_activation: str = "tanh",
    activation: str = "tanh",
    clip: float | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Long short-term memory: the hidden states, the final hidden state and the final cell state.

    Weights and biases stack the gates input, forget, output, cell; peepholes input, forget, output. `clip` bounds the
    new cell state, before the output gate's peephole sees it. Bidirectional states join both directions along their
    last axis; without `output_sequence` each half is its own direction's last step. Of an initial state with more rows
    than the batch the first ones count: coremltools writes such programs for packed sequences, and Core ML runs them.
    """
    initial_h, initial_c = initial_h[: x.shape[1]], initial_c[: x.shape[1]]
    acts = (_ACTIVATIONS[recurrent_activation], _ACTIVATIONS[cell_activation], _ACTIVATIONS[activation])
    if direction != "bidirectional":
        states, h, c = _lstm(x, initial_h, initial_c, weight_ih, weight_hh, bias, peephole, direction, acts, clip)
        return _sequence(states, output_sequence=output_sequence), h, c
    if weight_ih_back is None or weight_hh_back is None:
        raise ValueError("a bidirectional lstm needs weight_ih_back and weight_hh_back")
    h_there, h_back = initial_h.chunk(2, dim=1)
    c_there, c_back = initial_c.chunk(2, dim=1)
    there, h0, c0 = _lstm(x, h_there, c_there, weight_ih, weight_hh, bias, peephole, "forward", acts, clip)
    back, h1, c1 = _lstm(
        x, h_back, c_back, weight_ih_back, weight_hh_back, bias_back, peephole_back, "reverse", acts, clip
    )
    back_sequence = _sequence(back, output_sequence=output_sequence)
    # Alone, a reverse layer answers in the order of its own steps; beside a forward one, in the input's.
    sequences = (_sequence(there, output_sequence=output_sequence), back_sequence.flip(0))
    return torch.cat(sequences, dim=2), torch.cat((h0, h1), dim=1), torch.cat((c0, c1), dim=1)


def _lstm(
    x: Tensor,
    h: Tensor,
    c: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor | None,
    peephole: Tensor | None,
    direction: str,
    acts: tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]],
    clip: float | None,
) -> tuple[list[Tensor], Tensor, Tensor]:
    gate, cell, act = acts
    hidden = weight_hh.shape[1]
    p_input, p_forget, p_output = peephole.split(hidden) if peephole is not None else (0.0, 0.0, 0.0)
    states = []
    for step in _order(_project(x, weight_ih, bias), direction):
        to_input, to_forget, to_output, to_cell = (step + h @ weight_hh.T).split(hidden, dim=1)
        kept = gate(to_forget + c * p_forget) * c
        c = kept + gate(to_input + c * p_input) * cell(to_cell)
        c = c if clip is None else c.clamp(-clip, clip)
        h = gate(to_output + c * p_output) * act(c)
        states.append(h)
    return states, h, c


def _project(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.nn.functional.linear(x, weight, bias)


def _order(steps: Tensor, direction: str) -> Iterable[Tensor]:
    if direction not in ("forward", "reverse"):
        raise ValueError(f"unknown direction {direction!r}")
    return steps.unbind(0) if direction == "forward" else steps.flip(0).unbind(0)


def _sequence(states: list[Tensor], *, output_sequence: bool) -> Tensor:
    return torch.stack(states) if output_sequence else states[-1].unsqueeze(0)


KERNELS = (kernel(rnn), kernel(gru), kernel(lstm))
