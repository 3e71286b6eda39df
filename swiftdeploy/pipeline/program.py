"""A module becomes the programs that targets convert: prelude, capture, fusing, freezing.

Also what parity needs of it: the fused graph's constants and, on demand, its intermediate values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from swiftdeploy.capture import Program, capture, freeze, op_name, origin
from swiftdeploy.fuse import constants, fuse
from swiftdeploy.parity.locate import INPUT, Value
from swiftdeploy.report import RewriteRecord
from swiftdeploy.spec import InputKind, Preprocessing

INPUT_NAME = "image"
PROBABILITIES = "classLabel_probs"


@dataclass(frozen=True, kw_only=True, slots=True)
class Built:
    """One module, ready to convert.

    `classifier` is the same program ending in softmax, where labels were given; `recurrent` are the constants that
    belong to LSTM, GRU and RNN layers.
    """

    module: nn.Module
    program: Program
    classifier: Program | None
    constants: Mapping[str, NDArray[Any]]
    recurrent: frozenset[str]
    ledger: tuple[RewriteRecord, ...]
    ops_before: Mapping[str, int]
    ops_after: Mapping[str, int]


class PixelInput(nn.Module):
    """Pixels 0 to 255 in, normalised inside: (x - 255 mean) * 1 / (255 std), each channel by its own numbers.

    Subtracting before the first convolution keeps its zero padding what training saw; the factor folds into weights.
    """

    pixel_mean: Tensor
    pixel_factor: Tensor

    def __init__(self, module: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.module = module
        mean = torch.tensor(preprocessing.mean, dtype=torch.float64) * 255.0
        factor = 1.0 / (torch.tensor(preprocessing.std, dtype=torch.float64) * 255.0)
        self.register_buffer("pixel_mean", mean.float().reshape(1, -1, 1, 1))
        self.register_buffer("pixel_factor", factor.float().reshape(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Any:
        """Pixels (N, C, H, W) to the module's outputs."""
        return self.module((x - self.pixel_mean) * self.pixel_factor)


class Classifier(nn.Module):
    """Logits become probabilities that sum to 1, which is what Core ML calls them."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        """The softmax over the module's one output (N, classes)."""
        return torch.softmax(self.module(x), dim=-1)


def build(
    oracle: nn.Module,
    example: Tensor,
    images: Tensor,
    *,
    input_kind: InputKind,
    preprocessing: Preprocessing,
    labelled: bool,
    fused: bool,
) -> Built:
    """Capture, fuse and freeze. `example` (B, C, H, W) fixes the shape; `images` are inputs that calibrate scales."""
    module = PixelInput(oracle, preprocessing).eval() if input_kind == "image" else oracle
    if not fused:
        return _unfused(module, example, labelled=labelled)
    graph = capture(module, example)
    before = histogram(graph)
    result = fuse(graph, images)
    program = freeze(result.graph, example, input_name=INPUT_NAME)
    classifier = freeze(_with_softmax(result.graph), example, input_name=INPUT_NAME) if labelled else None
    return Built(
        module=result.graph,
        program=program,
        classifier=classifier,
        constants={name: value.numpy() for name, value in constants(result.graph).items()},
        recurrent=_recurrent(module),
        ledger=result.ledger,
        ops_before=before,
        ops_after=histogram(result.graph),
    )


def _unfused(module: nn.Module, example: Tensor, *, labelled: bool) -> Built:
    program = freeze(module, example, input_name=INPUT_NAME)
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    return Built(
        module=module,
        program=program,
        classifier=freeze(Classifier(module).eval(), example, input_name=INPUT_NAME) if labelled else None,
        constants={
            name.replace(".", "_"): value.detach().numpy()
            for name, value in tensors.items()
            if not name.endswith("num_batches_tracked")
        },
        recurrent=_recurrent(module),
        ledger=(),
        ops_before={},
        ops_after={},
    )


def _recurrent(module: nn.Module) -> frozenset[str]:
    parts = ((path, part) for path, part in module.named_modules() if isinstance(part, nn.RNNBase))
    return frozenset(
        "_".join((*path.split("."), name)).strip("_") for path, part in parts for name, _ in part.named_parameters()
    )


def _with_softmax(graph: fx.GraphModule) -> fx.GraphModule:
    """The same graph with softmax at its end; constants are shared."""
    copied = fx.Graph()
    result = copied.graph_copy(graph.graph, val_map={})
    logits = result if isinstance(result, fx.Node) else result[0]  # type: ignore[index]
    copied.output(copied.call_function(torch.ops.aten.softmax.int, (logits, -1)))
    return fx.GraphModule(graph, copied)


def histogram(graph: fx.GraphModule) -> dict[str, int]:
    """How many calls of each ATen op a graph holds."""
    names = (op_name(n) for n in graph.graph.nodes if n.op == "call_function")
    return dict(sorted(Counter(names).items()))


class _Record(fx.Interpreter):
    """Runs a graph and keeps its input and every tensor that a call makes."""

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__(graph)
        self.values: list[Value] = []

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if n.op in ("placeholder", "call_function") and isinstance(result, Tensor):
            op = INPUT if n.op == "placeholder" else str(n.target).removesuffix(".default")
            self.values.append(Value(name=n.name, op=op, array=result.numpy(), place=origin(n)))
        return result


def intermediates(module: nn.Module, image: NDArray[np.float32]) -> list[Value]:
    """Every value that a captured graph computes for one input (N, C, H, W); none for a module without a graph."""
    if not isinstance(module, fx.GraphModule):
        return []
    recorder = _Record(module)
    with torch.no_grad():
        recorder.run(torch.from_numpy(image))
    return recorder.values
