"""ONNX Runtime latency of 8-bit files against the plain fp32 export of the same model, paired and interleaved.

The plain export is timm's where timm imports, and otherwise our own eager module's, as in onnx_latency.py. With
`--clock cpu` the seconds are the process's own, which a busy machine disturbs less. The weights are stress weights, as
no trained ones ship: their classes lie close together, so the agreement on top-1 is a floor, not an accuracy.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from onnx_latency import baseline, plain_export
from pairs import interleave, milliseconds, ratio

from swiftdeploy import catalog, checkpoint
from swiftdeploy.capture import capture, freeze
from swiftdeploy.fuse import fuse
from swiftdeploy.parity import quantized
from swiftdeploy.parity.samples import natural_image, to_input
from swiftdeploy.parity.stress import stress_
from swiftdeploy.quantization import Int8Options
from swiftdeploy.runtimes import run_samples
from swiftdeploy.runtimes.onnx import open_model
from swiftdeploy.spec import Preprocessing
from swiftdeploy.targets import onnx as target
from swiftdeploy.targets import onnx_int8

FORMS = ("auto", "exact", "tanh", "sigmoid")


def images(count: int, seed: int) -> NDArray[np.float32]:
    """Seeded images of natural statistics, normalised, (count, 3, 224, 224)."""
    generator = np.random.Generator(np.random.PCG64(seed))
    scenes = [natural_image((224, 224, 3), generator) for _ in range(count)]
    return to_input(scenes, Preprocessing(resize=224, crop=224), "tensor")


def write(name: str, folder: Path, calibration: NDArray[np.float32]) -> tuple[dict[str, Path], str]:
    """Every contender's file by its kind, and what the baseline is."""
    module = checkpoint.build_untrained(catalog.find(name), 0, attention="token_l2").module
    stress_(module, torch.from_numpy(calibration[:4]))
    paths = {kind: folder / f"{name}-{kind}.onnx" for kind in ("plain", "fp32", *FORMS)}
    example = torch.rand(1, 3, 224, 224)
    other, what = baseline(name, module)
    plain_export(other, example, paths["plain"])
    program = freeze(fuse(capture(module, example), example).graph, example, input_name="image")
    target.convert(program, paths["fp32"], precision="fp32", opset=20)
    for form in FORMS:
        onnx_int8.static(paths["fp32"], paths[form], calibration, Int8Options(gelu=form))
    return paths, what


def measure(name: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Ratios and agreement for one model."""
    paths, what = write(name, folder, images(8, 1))
    models = {kind: open_model(path, threads=options.threads) for kind, path in paths.items()}
    one, held_out = images(1, 2), images(options.images, 3)
    clock = time.process_time if options.clock == "cpu" else time.perf_counter
    contenders = {kind: lambda m=model: m.run({"image": one}) for kind, model in models.items()}
    seconds = interleave(contenders, rounds=options.rounds, warm_up=5, clock=clock)
    reference = run_samples(models["fp32"], held_out)
    samples = [str(i) for i in range(len(held_out))]
    drift = {
        form: quantized.drift(reference, run_samples(models[form], held_out), samples=samples, least_db=0.0)[0]
        for form in FORMS
    }
    return {
        "baseline": what,
        "milliseconds": milliseconds(seconds),
        "plain_over": {kind: ratio(seconds, "plain", kind) for kind in ("fp32", *FORMS)},
        "bytes": {kind: path.stat().st_size for kind, path in paths.items()},
        "drift": {form: {"top1": d.top1, "top5": d.top5, "psnr_db": d.psnr_db} for form, d in drift.items()},
    }


def main() -> None:
    """Print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--model", action="append")
    options = parser.parse_args()
    names = options.model or ["swiftformer_xs", "swiftformer_s", "swiftformer_l1"]
    with tempfile.TemporaryDirectory() as folder:
        found = {name: measure(name, Path(folder), options) for name in names}
    means = {
        kind: round(math.exp(sum(math.log(f["plain_over"][kind]["median"]) for f in found.values()) / len(found)), 4)
        for kind in ("fp32", *FORMS)
    }
    what = "ONNX Runtime, batch 1, 224 px, int8 against the plain fp32 export, by the form of GELU; auto is the default"
    document = {"what": what, "threads": options.threads, "clock": options.clock, "models": found}
    print(json.dumps({**document, "geometric_mean": means, "goal": 2.0}, indent=2))


if __name__ == "__main__":
    main()
