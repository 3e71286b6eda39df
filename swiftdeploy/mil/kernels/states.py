"""State that outlives a prediction: Apple's `states` family.

In: a `Cell`, which is the state itself. Out: its content, as a value of its own. What programs call
`coreml_update_state` is stored in a package as `write_state` followed by `read_state`; all three run.
"""

from __future__ import annotations

from torch import Tensor

from swiftdeploy.mil.kernels.registry import Cell, kernel


def read_state(input: Cell) -> Tensor:
    """The state's content. A later write replaces the content and leaves this value alone."""
    return input.value


def write_state(input: Cell, data: Tensor) -> tuple[()]:
    """Nothing; `data` becomes the state's content."""
    input.value = data
    return ()


def coreml_update_state(state: Cell, value: Tensor) -> Tensor:
    """`value`, which becomes the state's content."""
    state.value = value
    return value


KERNELS = (
    kernel(read_state, since="CoreML8", exact=True),
    kernel(write_state, since="CoreML8", exact=True),
    kernel(coreml_update_state, since="CoreML8", exact=True),
)
