"""ONNX Runtime latency of our fused export against the plain export of the same model, paired and interleaved.

The baseline is `torch.onnx.export` (opset 20) of timm's model where timm imports, and otherwise of our own module in
eager form, which computes the same to the bit; the document says which it was.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pairs import interleave, milliseconds, ratio
from torch import nn

from swiftdeploy import catalog, checkpoint
from swiftdeploy.capture import capture, freeze
from swiftdeploy.fuse import fuse
from swiftdeploy.parity.stress import stress_
from swiftdeploy.runtimes.onnx import open_model
from swiftdeploy.targets import onnx as target


def plain_export(module: nn.Module, example: torch.Tensor, path: Path) -> None:
    """What a person would write: torch.onnx.export with its defaults and opset 20."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (example,),
            str(path),
            opset_version=20,
            dynamo=False,
            input_names=["image"],
            output_names=["logits"],
        )


def baseline(name: str, own: nn.Module) -> tuple[nn.Module, str]:
    """Timm's module of that name, or our own eager one."""
    try:
        import timm

        return timm.create_model(name, pretrained=False).eval(), f"timm {timm.__version__}"
    except Exception as error:  # noqa: BLE001 - timm fails in several ways beside a torchvision that does not fit
        return own, f"our own eager module, bit-equal to timm's (timm does not import here: {type(error).__name__})"


def measure(name: str, *, rounds: int, threads: int, folder: Path) -> dict[str, Any]:
    """Ratios for one model."""
    module = checkpoint.build_untrained(catalog.find(name), 0, attention="token_l2").module
    example = torch.rand(1, 3, 224, 224)
    stress_(module, torch.rand(2, 3, 224, 224))
    other, what = baseline(name, module)
    plain_export(other, example, folder / f"{name}-plain.onnx")
    program = freeze(fuse(capture(module, example), example).graph, example, input_name="image")
    target.convert(program, folder / f"{name}-ours.onnx", precision="fp32", opset=20)
    image = np.random.default_rng(0).random((1, 3, 224, 224), np.float32)
    models = {kind: open_model(folder / f"{name}-{kind}.onnx", threads=threads) for kind in ("plain", "ours")}
    seconds = interleave(
        {kind: lambda m=model: m.run({"image": image}) for kind, model in models.items()}, rounds=rounds, warm_up=10
    )
    speedup = ratio(seconds, "plain", "ours")
    return {"baseline": what, "milliseconds": milliseconds(seconds), "plain_over_ours": speedup}


def main() -> None:
    """Print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--model", action="append")
    options = parser.parse_args()
    names = options.model or ["swiftformer_xs", "swiftformer_s", "swiftformer_l1"]
    with tempfile.TemporaryDirectory() as folder:
        found = {
            name: measure(name, rounds=options.rounds, threads=options.threads, folder=Path(folder)) for name in names
        }
    goals = {"swiftformer_xs": 1.25, "swiftformer_s": 1.1, "swiftformer_l1": 1.1}
    print(
        json.dumps(
            {"what": "ONNX Runtime, batch 1, 224 px, fp32", "threads": options.threads, "models": found, "goal": goals},
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
