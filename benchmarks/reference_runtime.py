"""The reference runtime against eager PyTorch on the same host: time, peak memory, and how long a large program loads.

    python benchmarks/reference_runtime.py [--models NAME ...] [--rounds 15] [--threads 2]

Each model is converted to an fp32 ML Program once. Time: eager and runtime take turns, round by round in random order,
and the ratio is the median of the rounds' ratios. Memory: each runs alone in a fresh process, and what counts is how
far the peak lies above the process with its imports done. Prints one JSON document and asserts nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import logging
import platform
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

MODELS = ("swiftformer_xs", "swiftformer_l1", "mobilevitv2_100", "efficientnet_lite0")
ROUNDS = 15
CHAIN = 3000


def make_module(name: str, *, norms: bool = True) -> tuple[Any, tuple[int, ...]]:
    """The catalog's model `name` with seeded weights and, on request, norm statistics, and the shape of its input."""
    import torch
    from swiftdeploy_models import catalog

    spec = next(spec for spec in catalog.MODELS if spec.name == name)
    module_name, function = spec.factory.split(":")
    torch.manual_seed(0)
    module = getattr(importlib.import_module(module_name), function)()
    shape = (spec.channels, spec.input_size, spec.input_size)
    # With the statistics that a norm starts from, a deep network's signal dies and any graph would agree.
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = 1.0
    if norms:
        with torch.no_grad():
            module.train()(torch.rand(2, *shape))
    return module.eval(), (1, *shape)


def convert(name: str, path: Path) -> None:
    """Write the model as an fp32 ML Program. Noise of the converter is dropped."""
    import coremltools as ct
    import torch

    module, shape = make_module(name)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        traced = torch.jit.trace(module, torch.rand(shape))
        ct.convert(
            traced,
            inputs=[ct.TensorType(name="x", shape=shape)],
            minimum_deployment_target=ct.target.iOS16,
            compute_precision=ct.precision.FLOAT32,
            skip_model_load=True,
        ).save(str(path))


def write_chain(path: Path) -> None:
    """A program of `CHAIN` ops, each with a constant of its own."""
    import coremltools as ct
    import numpy as np
    from coremltools.converters.mil import Builder

    @Builder.program(input_specs=[Builder.TensorSpec((1, 64))], opset_version=ct.target.iOS16)
    def chain(x: Any) -> Any:
        for index in range(CHAIN // 3):
            weight = np.eye(64, dtype=np.float32) * np.float32(1 + index / CHAIN)
            x = Builder.linear(x=x, weight=weight)
            x = Builder.relu(x=x)
            x = Builder.add(x=x, y=np.float32(index))
        return x

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        ct.convert(
            chain,
            convert_to="mlprogram",
            minimum_deployment_target=ct.target.iOS16,
            compute_precision=ct.precision.FLOAT32,
            pass_pipeline=ct.PassPipeline.EMPTY,
            skip_model_load=True,
        ).save(str(path))


def runners(name: str, path: Path) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """One prediction by eager PyTorch and one by the runtime, on the same image."""
    import torch

    from swiftdeploy.mil import load_program

    module, shape = make_module(name)
    image = torch.rand(shape, generator=torch.Generator().manual_seed(1))
    loaded = load_program(path)
    array = image.numpy()

    def eager() -> Any:
        with torch.inference_mode():
            return module(image).numpy()

    def runtime() -> Any:
        return loaded.predict({"x": array})[loaded.outputs[0].name]

    return eager, runtime


def measure_time(name: str, path: Path, rounds: int) -> dict[str, Any]:
    """Paired, interleaved ratios of wall time, and how far the answers are apart."""
    import numpy as np

    eager, runtime = runners(name, path)
    reference = eager()
    apart = float(np.abs(reference - runtime()).max() / np.abs(reference).max())
    dice = random.Random(0)
    seconds: dict[str, list[float]] = {"eager": [], "runtime": []}
    for _ in range(rounds):
        turn = [("eager", eager), ("runtime", runtime)]
        dice.shuffle(turn)
        for key, run in turn:
            started = time.perf_counter()
            run()
            seconds[key].append(time.perf_counter() - started)
    ratios = sorted(r / e for e, r in zip(seconds["eager"], seconds["runtime"], strict=True))
    return {
        "time_ratio_median": round(statistics.median(ratios), 3),
        "time_ratio_quartiles": [round(ratios[len(ratios) // 4], 3), round(ratios[3 * len(ratios) // 4], 3)],
        "eager_ms": round(1000 * statistics.median(seconds["eager"]), 2),
        "runtime_ms": round(1000 * statistics.median(seconds["runtime"]), 2),
        "relative_difference": apart,
    }


def peak_of(what: str, name: str, path: Path, threads: int) -> dict[str, float]:
    """Seconds to make ready, and MiB above the imports, of one of the two in a process of its own."""
    command = [sys.executable, __file__, "--child", what, name, str(path), "--threads", str(threads)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(answer.stdout)


def peak_memory() -> float:
    """The peak of resident memory of this process, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss of a child starts at its parent's peak on Linux, this starts at zero
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 / 1024


def child(what: str, name: str, path: Path) -> None:
    """Run one of the two alone and print what it took."""
    import torch

    from swiftdeploy.mil import load_program, messages, model  # noqa: F401 - imports are not what is measured

    messages.load("Model_pb2")
    before = peak_memory()
    started = time.perf_counter()
    if what == "eager":
        module, shape = make_module(name, norms=False)
        image = torch.rand(shape)
        ready = time.perf_counter() - started
        for _ in range(3):
            with torch.inference_mode():
                module(image)
    else:
        loaded = load_program(path)
        ready = time.perf_counter() - started
        for _ in range(3):
            loaded.predict({feature.name: torch.rand(feature.shape) for feature in loaded.inputs})
    print(json.dumps({"ready_seconds": round(ready, 3), "peak_mib": round(peak_memory() - before, 1)}))


def main() -> int:
    """Convert, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS, help="names of the catalog")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="paired rounds a model")
    parser.add_argument("--threads", type=int, default=2, help="threads that both may use")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    import torch

    torch.set_num_threads(options.threads)
    if options.child:
        child(options.child[0], options.child[1], Path(options.child[2]))
        return 0
    document: dict[str, Any] = {
        "host": {"machine": platform.machine(), "torch": torch.__version__, "threads": options.threads},
        "rounds": options.rounds,
        "models": {},
    }
    with tempfile.TemporaryDirectory() as folder:
        for name in options.models:
            path = Path(folder) / f"{name}.mlpackage"
            convert(name, path)
            alone = {what: peak_of(what, name, path, options.threads) for what in ("eager", "runtime")}
            ratio = alone["runtime"]["peak_mib"] / alone["eager"]["peak_mib"]
            document["models"][name] = {
                **measure_time(name, path, options.rounds),
                "peak_ratio": round(ratio, 3),
                "peak_mib": {what: figures["peak_mib"] for what, figures in alone.items()},
                "load_seconds": alone["runtime"]["ready_seconds"],
            }
        path = Path(folder) / "chain.mlpackage"
        write_chain(path)
        document["chain"] = {
            "ops": CHAIN,
            "load_seconds": peak_of("runtime", "chain", path, options.threads)["ready_seconds"],
        }
    print(json.dumps(document, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
