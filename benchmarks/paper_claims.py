"""The seed paper's claims, on this host: attention that is linear in the number of tokens, and a network twice as fast.

Time and peak memory of efficient additive attention and of multi-head self-attention as resolution grows, with the
exponent of a power law fitted to the larger half of the sizes; and SwiftFormer-S against MobileViT-v2 x1.0, each at its
own input size, through ONNX Runtime and the same exporter.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pairs import interleave, milliseconds, ratio
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from swiftdeploy import catalog, checkpoint
from swiftdeploy.capture import capture, freeze
from swiftdeploy.fuse import fuse
from swiftdeploy.parity.stress import stress_
from swiftdeploy.runtimes.onnx import open_model
from swiftdeploy.targets import onnx as target

CHANNELS = 64
SIDES = (16, 24, 32, 48, 64, 96)


class Additive(nn.Module):
    """Efficient additive attention over tokens (B, N, C), as the paper's equations 4 to 6 with L2 weights."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(channels, channels), nn.Linear(channels, channels)
        self.projection, self.final = nn.Linear(channels, channels), nn.Linear(channels, channels)
        self.weighting = nn.Linear(channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, N, C) to tokens."""
        query, key = F.normalize(self.query(x), dim=-1), F.normalize(self.key(x), dim=-1)
        weights = F.normalize(self.weighting(query), dim=1)
        context = (weights * query).sum(dim=1, keepdim=True)
        return self.final(self.projection(context * key) + query)


class SelfAttention(nn.Module):
    """Multi-head self-attention (four heads) with the score matrix written out, as in the original transformer."""

    def __init__(self, channels: int, heads: int = 4) -> None:
        super().__init__()
        self.heads, self.width = heads, channels // heads
        self.joint, self.out = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, N, C) to tokens."""
        batch, tokens, channels = x.shape
        joint = self.joint(x).view(batch, tokens, 3, self.heads, self.width).permute(2, 0, 3, 1, 4)
        query, key, value = joint[0], joint[1], joint[2]
        scores = (query @ key.transpose(-2, -1) * self.width**-0.5).softmax(dim=-1)
        return self.out((scores @ value).transpose(1, 2).reshape(batch, tokens, channels))


class LiveBytes(TorchDispatchMode):
    """Bytes of the storages that ops have made and nobody has dropped yet, and the most there ever were."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: dict[int, int] = {}
        self.level = self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the op and account for its results."""
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(value, Tensor):
                self._count(value)
        return result

    def _count(self, value: Tensor) -> None:
        storage = value.untyped_storage()
        key, size = storage.data_ptr(), storage.nbytes()
        if key not in self.readers:
            self.level += size
            self.peak = max(self.peak, self.level)
        self.readers[key] = self.readers.get(key, 0) + 1
        weakref.finalize(value, self._drop, key, size)

    def _drop(self, key: int, size: int) -> None:
        self.readers[key] -= 1
        if not self.readers[key]:
            del self.readers[key]
            self.level -= size


def peak_bytes(module: nn.Module, x: Tensor) -> int:
    """The most bytes of intermediate tensors that live at once during one forward pass."""
    with LiveBytes() as live:
        module(x)
    return live.peak


def exponent(tokens: list[int], values: list[float]) -> float:
    """Slope of log(value) over log(tokens), over the larger half of the sizes, where fixed costs no longer count."""
    half = len(tokens) // 2
    return round(float(np.polyfit(np.log(tokens[half:]), np.log(values[half:]), 1)[0]), 3)


def scaling(rounds: int) -> dict[str, Any]:
    """Time and memory of both attentions over the token counts."""
    modules = {"efficient_additive": Additive(CHANNELS).eval(), "self_attention": SelfAttention(CHANNELS).eval()}
    tokens = [side * side for side in SIDES]
    times: dict[str, list[float]] = {name: [] for name in modules}
    memory: dict[str, list[float]] = {name: [] for name in modules}
    with torch.no_grad():
        for count in tokens:
            x = torch.rand(1, count, CHANNELS)
            runs = {name: lambda m=module, x=x: m(x) for name, module in modules.items()}
            for name, value in milliseconds(interleave(runs, rounds=rounds, warm_up=2)).items():
                times[name].append(value)
            for name, module in modules.items():
                memory[name].append(float(peak_bytes(module, x)))
    return {
        "tokens": tokens,
        "milliseconds": times,
        "peak_bytes": memory,
        "time_exponent": {name: exponent(tokens, values) for name, values in times.items()},
        "memory_exponent": {name: exponent(tokens, values) for name, values in memory.items()},
    }


def networks(rounds: int, threads: int, folder: Path) -> dict[str, Any]:
    """SwiftFormer-S against MobileViT-v2 x1.0."""
    models, images = {}, {}
    for name in ("swiftformer_s", "mobilevitv2_100"):
        spec = catalog.find(name)
        module = checkpoint.build_untrained(spec, 0, attention="token_l2" if spec.attention else None).module
        example = torch.rand(1, 3, spec.input_size, spec.input_size)
        stress_(module, example)
        program = freeze(fuse(capture(module, example), example).graph, example, input_name="image")
        target.convert(program, folder / f"{name}.onnx", precision="fp32", opset=20)
        models[name], images[name] = open_model(folder / f"{name}.onnx", threads=threads), example.numpy()
    runs = {name: lambda m=model, x=images[name]: m.run({"image": x}) for name, model in models.items()}
    seconds = interleave(runs, rounds=rounds, warm_up=5)
    return {
        "milliseconds": milliseconds(seconds),
        "mobilevitv2_over_swiftformer": ratio(seconds, "mobilevitv2_100", "swiftformer_s"),
        "goal": 2.0,
    }


def main() -> None:
    """Print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        document = {
            "threads": options.threads,
            "attention": scaling(options.rounds),
            "networks": networks(options.rounds, options.threads, Path(folder)),
        }
    print(json.dumps(document, indent=2))


if __name__ == "__main__":
    main()
