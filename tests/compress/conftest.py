"""One small network with every kind of weight, written once for each system."""

import numpy as np
import pytest
import torch
from torch import nn

from swiftdeploy.capture import freeze
from swiftdeploy.targets import coreml


class Net(nn.Module):
    """Weights by name: stem (48, 24, 3, 3), depth (288, 1, 3, 3), wide (288, 48, 1, 1), up, head, and a shared one."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(24, 48, 3, padding=1)
        self.wide = nn.Conv2d(48, 288, 1)
        self.depth = nn.Conv2d(288, 288, 3, padding=1, groups=288)
        self.narrow = nn.Conv2d(288, 32, 1, bias=False)
        self.up = nn.ConvTranspose2d(32, 70, 2, stride=2)
        self.head = nn.Linear(70, 64)
        self.small = nn.Linear(64, 10)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        x = self.narrow(torch.relu(self.depth(self.wide(x))))
        x = torch.relu(self.up(x)).mean((2, 3))
        return self.small(torch.relu(self.head(x)))


@pytest.fixture(scope="session")
def net():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    return Net().eval().requires_grad_(False)


@pytest.fixture(scope="session")
def package(net, tmp_path_factory):
    """package(min_ios) is the network's fp16 package, written once."""
    made = {}

    def write(min_ios):
        if min_ios not in made:
            program = freeze(net, torch.zeros(1, 24, 8, 8), input_name="image")
            path = tmp_path_factory.mktemp(f"ios{min_ios}") / "net.mlpackage"
            coreml.convert(program, path, precision="fp16", min_ios=min_ios)
            made[min_ios] = path
        return made[min_ios]

    return write


@pytest.fixture(scope="session")
def inputs():
    return np.random.default_rng(0).standard_normal((1, 24, 8, 8)).astype(np.float32)
