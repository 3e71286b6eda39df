"""Oracle: the definition. A state changes in place; what was read from it before does not."""

import torch

from swiftdeploy.mil.kernels import states as ops
from swiftdeploy.mil.kernels.registry import Cell


def test_write_then_read():
    cell = Cell(value=torch.zeros(2))
    before = ops.read_state(cell)
    assert ops.write_state(cell, torch.ones(2)) == ()
    assert ops.read_state(cell).tolist() == [1.0, 1.0]
    assert before.tolist() == [0.0, 0.0]


def test_update_answers_with_the_new_value():
    cell = Cell(value=torch.zeros(2))
    assert ops.coreml_update_state(cell, torch.full((2,), 3.0)).tolist() == [3.0, 3.0]
    assert cell.value.tolist() == [3.0, 3.0]
