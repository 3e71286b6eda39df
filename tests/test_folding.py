"""coremltools' passes that fold weights: kept out in the block, and there again after it."""

import numpy as np
import pytest
import torch
from torch import nn

from swiftdeploy import folding


class Scaled(nn.Module):
    """A convolution and a factor a channel, which coremltools makes one convolution of."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 8, 3)
        self.factor = nn.Parameter(torch.linspace(0.5, 2.0, 8).reshape(1, 8, 1, 1))

    def forward(self, x):
        return self.layer(x) * self.factor


@pytest.fixture
def kinds(ct, convert):
    """kinds() are the ops of the network as coremltools' default pipeline leaves them."""
    inputs = [ct.TensorType(name="x", shape=(1, 3, 8, 8), dtype=np.float32)]

    def run():
        package = convert(Scaled(), torch.rand(1, 3, 8, 8), inputs=inputs)
        program = ct.utils.load_spec(str(package)).mlProgram
        (block,) = program.functions["main"].block_specializations.values()
        return {operation.type for operation in block.operations}

    return run


def test_weights_stay_apart_in_the_block_alone(kinds):
    assert "mul" not in kinds()
    with folding.unfolded():
        assert "mul" in kinds()
    assert "mul" not in kinds()


def test_a_failure_in_the_block_leaves_the_passes_as_they_were(kinds):
    with pytest.raises(KeyError), folding.unfolded():
        raise KeyError("a bug")
    assert "mul" not in kinds()
