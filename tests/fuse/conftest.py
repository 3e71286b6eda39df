"""One rewrite on one small module, with eager torch as the oracle of its numbers."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from swiftdeploy.capture import capture
from swiftdeploy.fuse import Outcome
from swiftdeploy.parity.stress import stress_

EXACT = 1e-6  # relative L2: what fp32 may lose over a few layers


def relative(found, expected):
    return float((found.double() - expected.double()).norm() / expected.double().norm())


def ops(graph):
    """The calls that are left, by name, in order."""
    calls = [node.target for node in graph.graph.nodes if node.op == "call_function"]
    return [t._schema.name.removeprefix("aten::") if hasattr(t, "_schema") else t.__name__ for t in calls]


@dataclass(frozen=True)
class Applied:
    graph: torch.fx.GraphModule
    ops: list[str]
    outcome: Outcome

    @property
    def fired(self):
        return list(self.outcome.fired)

    @property
    def declined(self):
        return dict(self.outcome.declined)


def tensors(value):
    return [value] if isinstance(value, torch.Tensor) else list(value)


@pytest.fixture
def apply():
    """apply(rewrites, module, images): the stressed module's graph after each of `rewrites`; numbers are compared."""

    def apply(rewrites, module, images, *, stressed=True):
        module.eval().requires_grad_(False)
        if stressed:
            stress_(module, images)
        before = {name: value.clone() for name, value in module.state_dict().items()}
        with torch.no_grad():
            expected = tensors(module(images.clone()))
        graph = capture(module, images)
        for rewrite in rewrites if isinstance(rewrites, list | tuple) else [rewrites]:
            outcome = rewrite(graph, images)
            graph.graph.eliminate_dead_code()
            graph.graph.lint()
        graph.recompile()
        with torch.no_grad():
            found = tensors(graph(images.clone()))
        for expected_one, found_one in zip(expected, found, strict=True):
            assert relative(found_one, expected_one) <= EXACT
        for name, value in module.state_dict().items():
            assert torch.equal(value, before[name]), f"{name} belongs to the oracle and was changed"
        return Applied(graph, ops(graph), outcome)

    return apply


@pytest.fixture(name="relative")
def relative_fixture():
    return relative


@pytest.fixture(name="ops")
def ops_fixture():
    return ops


@pytest.fixture
def images():
    return torch.randn(2, 6, 4, 5, generator=torch.Generator().manual_seed(0))


class Function(nn.Module):
    """Layers by name, and a forward that is written in the test."""

    def __init__(self, forward, **layers):
        super().__init__()
        self.body = forward
        for name, layer in layers.items():
            self.register_module(name, layer) if isinstance(layer, nn.Module) else self.register_buffer(name, layer)

    def forward(self, x):
        return self.body(self, x)


@pytest.fixture
def net():
    """net(lambda m, x: ..., layer=nn.Linear(..), scale=tensor) -> module."""
    return Function
