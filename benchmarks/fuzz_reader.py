"""Damages real packages in every way that comes to mind, and counts what the reference runtime makes of them.

    python benchmarks/fuzz_reader.py --count 20000 --seed 0 [--keep DIR]

Each input is one of a few small packages with some bytes, fields or files changed; it is loaded, and run on random
inputs if it still loads. A find is any exception that is not a SwiftdeployError, a crash, a hang or memory without
bound. Prints one JSON document; the finds are in it, and with --keep their packages in DIR.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

MODEL = "Data/com.apple.CoreML/model.mlmodel"
WEIGHTS = "Data/com.apple.CoreML/weights/weight.bin"
MANIFEST = "Manifest.json"
SECONDS_EACH = 60
MEMORY = 8 << 30
HOSTILE_TEXTS = ("", "..", "../../../../etc/passwd", "/etc/passwd", "a" * 5000, "\0", "x", "main", "CoreML9", "é" * 40)
HOSTILE_NUMBERS = (0, 1, -1, 2, 3, 7, 63, 64, 65, 255, 4096, 2**31 - 1, -(2**31), 2**31, 2**32, 2**62, 2**63 - 1)


def build_packages(folder: Path) -> list[Path]:
    """Small packages that between them hold every kind of thing that a package can hold."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _build_packages(folder)


def _build_packages(folder: Path) -> list[Path]:
    import coremltools as ct
    import coremltools.optimize.coreml as cto
    import numpy as np
    import torch
    from coremltools.converters.mil import Builder
    from torch import nn

    mb = Builder  # what everybody calls it
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.GELU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 6)
    ).eval()
    image = torch.rand(1, 3, 16, 16)
    traced = torch.jit.trace(net, image)

    def convert(ios: str, **keywords: Any) -> Any:
        keywords.setdefault("inputs", [ct.TensorType(name="x", shape=image.shape)])
        target = getattr(ct.target, ios)
        return ct.convert(traced, minimum_deployment_target=target, skip_model_load=True, **keywords)

    half = convert("iOS16")
    models = {
        "half": half,
        "single": convert("iOS15", compute_precision=ct.precision.FLOAT32),
        "classifier": convert(
            "iOS17",
            inputs=[ct.ImageType(name="x", shape=image.shape)],
            classifier_config=ct.ClassifierConfig([f"class {i}" for i in range(6)]),
        ),
        "palette": cto.palettize_weights(
            half, cto.OptimizationConfig(cto.OpPalettizerConfig(mode="uniform", nbits=4, weight_threshold=10))
        ),
        "blockwise": cto.linear_quantize_weights(
            convert("iOS18"),
            cto.OptimizationConfig(
                cto.OpLinearQuantizerConfig(granularity="per_block", block_size=8, dtype="int4", weight_threshold=10)
            ),
        ),
    }

    @mb.program(input_specs=[mb.TensorSpec((2, 3)), mb.TensorSpec((1,))], opset_version=ct.target.iOS17)
    def control(a: Any, b: Any) -> Any:
        turns = mb.squeeze(x=mb.cast(x=b, dtype="int32"))
        looped = mb.while_loop(
            _cond=lambda i, _: mb.less(x=i, y=turns),
            _body=lambda i, x: (mb.add(x=i, y=np.int32(1)), mb.add(x=x, y=np.float32(0.5))),
            loop_vars=(np.int32(0), a),
        )[1]
        chosen = mb.cond(
            pred=mb.greater(x=turns, y=np.int32(2)),
            _true_fn=lambda: mb.tile(x=looped, reps=[1, 2]),
            _false_fn=lambda: mb.concat(values=(looped, a), axis=1),
        )
        picked = mb.gather(x=chosen, indices=np.array([0, 2], np.int32), axis=1)
        return mb.slice_by_index(x=picked, begin=[0, 0], end=[2, 1], stride=[1, 1]), mb.topk(x=chosen, k=2, axis=1)[0]

    models["control"] = ct.convert(
        control, convert_to="mlprogram", minimum_deployment_target=ct.target.iOS17, skip_model_load=True
    )
    models["families"] = ct.convert(
        _families(), convert_to="mlprogram", minimum_deployment_target=ct.target.iOS17, skip_model_load=True
    )
    models["stateful"] = _stateful()
    paths = []
    for name, model in models.items():
        paths.append(folder / f"{name}.mlpackage")
        model.save(str(paths[-1]))
    return paths


def _families() -> Any:
    """A program with an op of every family that a small image network does not have."""
    import coremltools as ct
    import numpy as np
    from coremltools.converters.mil import Builder

    mb = Builder  # what everybody calls it
    gates = np.linspace(-1, 1, 4 * 3 * 5, dtype=np.float32)

    @mb.program(input_specs=[mb.TensorSpec((1, 2, 6, 5))], opset_version=ct.target.iOS17)
    def families(a: Any) -> Any:
        bigger = mb.resize_bilinear(x=a, target_size_height=9, target_size_width=7, sampling_mode="ALIGN_CORNERS")
        cropped = mb.crop_resize(
            x=bigger, boxes=np.array([[0.1, 0.1, 0.9, 0.8]], np.float32), target_height=3, target_width=4
        )
        sequence = mb.reshape(x=a, shape=[6, 2, 5])
        remembered = mb.lstm(
            x=sequence,
            initial_h=np.zeros((2, 3), np.float32),
            initial_c=np.zeros((2, 3), np.float32),
            weight_ih=gates.reshape(12, 5),
            weight_hh=gates[:36].reshape(12, 3),
            output_sequence=True,
        )[0]
        narrow = mb.dequantize(
            input=mb.quantize(input=remembered, scale=np.float32(0.1), output_dtype="int8"), scale=np.float32(0.1)
        )
        scattered = mb.scatter(data=narrow, indices=np.array([2, 0], np.int32), updates=np.ones((2, 2, 3), np.float32))
        picked = mb.gather_nd(x=scattered, indices=np.array([[0, 1], [5, 0]], np.int32))
        noise = mb.random_uniform(shape=np.array([2, 3], np.int32), low=0.0, high=1.0, seed=3)
        kept = mb.list_gather(
            ls=mb.list_write(
                ls=mb.make_list(init_length=2, elem_shape=(2, 3), dtype="fp32"), index=np.int32(1), value=picked
            ),
            indices=np.array([1], np.int32),
        )
        pooled = mb.avg_pool(x=cropped, kernel_sizes=[2, 2], pad_type="same")
        return mb.add(x=mb.squeeze(x=kept, axes=[0]), y=noise), pooled, mb.non_zero(x=mb.cumsum(x=picked, axis=1))

    return families


def _stateful() -> Any:
    import coremltools as ct
    import numpy as np
    import torch
    from torch import nn

    class Sum(nn.Module):
        """Adds up what it is given."""

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("total", torch.zeros(2, 3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            """The sum so far, attending to itself."""
            self.total.add_(x)
            wide = self.total.reshape(1, 1, 2, 3)
            return nn.functional.scaled_dot_product_attention(wide, wide, wide)

    kind = ct.TensorType(shape=(2, 3), dtype=np.float16)
    return ct.convert(
        torch.jit.trace(Sum().eval(), torch.zeros(2, 3)),
        inputs=[ct.TensorType(name="x", shape=(2, 3), dtype=np.float16)],
        states=[ct.StateType(wrapped_type=kind, name="total")],
        minimum_deployment_target=ct.target.iOS18,
        skip_model_load=True,
    )


class Mutator:
    """One stream of damaged packages, the same for the same seed."""

    def __init__(self, paths: list[Path]) -> None:
        from swiftdeploy.mil import messages

        self.paths = paths
        names = (MODEL, WEIGHTS, MANIFEST)
        self.files = {path: {n: (path / n).read_bytes() for n in names if (path / n).exists()} for path in paths}
        self.message = messages.load("Model_pb2").Model

    def write(self, seed: int, target: Path) -> str:
        """Write damaged package number `seed` to `target` and say in a few words what was done to it."""
        dice = random.Random(seed)
        source = dice.choice(self.paths)
        files = dict(self.files[source])
        way = dice.choice(("bytes", "bytes", "fields", "fields", "fields", "fields", "metadata", "manifest", "missing"))
        if WEIGHTS not in files and way == "metadata":
            way = "fields"
        if way == "bytes":
            name = dice.choice((MODEL, MODEL, WEIGHTS if WEIGHTS in files else MODEL))
            files[name] = damage_bytes(files[name], dice)
        elif way == "fields":
            model = self.message.FromString(files[MODEL])
            for _ in range(dice.choice((1, 1, 1, 2, 4))):
                damage_fields(model, dice)
            files[MODEL] = model.SerializeToString()
        elif way == "metadata":
            files[WEIGHTS] = damage_metadata(files[WEIGHTS], dice)
        elif way == "manifest":
            files[MANIFEST] = damage_manifest(files[MANIFEST], dice)
        else:
            del files[dice.choice(sorted(files))]
        shutil.rmtree(target, ignore_errors=True)
        for name, data in files.items():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes(data)
        return f"{source.stem}: {way}"


def damage_bytes(data: bytes, dice: random.Random) -> bytes:
    """Bits flipped, bytes replaced, cut out, put in, doubled, or the end cut off."""
    if not data:
        return data
    changed = bytearray(data)
    place = dice.randrange(len(changed))
    length = dice.choice((1, 1, 2, 4, 8, 64))
    match dice.randrange(6):
        case 0:
            changed[place] ^= 1 << dice.randrange(8)
        case 1:
            changed[place : place + length] = dice.randbytes(length)
        case 2:
            del changed[place : place + length]
        case 3:
            changed[place:place] = dice.randbytes(length)
        case 4:
            changed[place:place] = changed[place : place + 64]
        case _:
            del changed[place:]
    return bytes(changed)


def damage_metadata(data: bytes, dice: random.Random) -> bytes:
    """One number of the header or of one blob's metadata replaced."""
    changed = bytearray(data)
    starts = [i for i in range(0, len(data) - 64, 64) if data[i : i + 4] == b"\xef\xbe\xad\xde"]
    start = dice.choice([*starts, 0])
    offset, size = dice.choice(((0, 4), (4, 4), (8, 8), (16, 8), (24, 8)))
    value = dice.choice((*HOSTILE_NUMBERS, dice.randrange(1 << 20), len(data))) % (1 << (8 * size))
    changed[start + offset : start + offset + size] = value.to_bytes(size, "little")
    return bytes(changed)


def damage_manifest(data: bytes, dice: random.Random) -> bytes:
    """A value of the manifest replaced by a hostile one, or its bytes damaged."""
    if dice.random() < 0.3:
        return damage_bytes(data, dice)
    plain = json.loads(data)
    value = dice.choice((*HOSTILE_TEXTS, None, 3, [], {}, [[]] * 50))
    if dice.random() < 0.3:
        plain[dice.choice(list(plain))] = value
    else:
        entry = plain["itemInfoEntries"][plain["rootModelIdentifier"]]
        entry[dice.choice(list(entry))] = value
    return json.dumps(plain).encode()


def damage_fields(message: Any, dice: random.Random) -> None:
    """Walk down to a random field of a protobuf message and change it."""
    for _ in range(30):
        fields = message.ListFields()
        if not fields:
            return
        field, value = dice.choice(fields)
        repeated = hasattr(value, "__len__") and not isinstance(value, str | bytes)
        is_map = repeated and hasattr(value, "keys")
        if is_map:
            key = dice.choice(sorted(value))
            if dice.random() < 0.08:
                del value[key]
                return
            if hasattr(value[key], "ListFields"):
                message = value[key]
                continue
            value[key] = dice.choice(HOSTILE_TEXTS)
            return
        if repeated:
            if dice.random() < 0.08 or not len(value):
                _damage_list(value, dice)
                return
            item = dice.choice(value)
            if hasattr(item, "ListFields"):
                message = item
                continue
            with contextlib.suppress(ValueError, TypeError):  # a number that the field cannot hold leaves it as it is
                value[dice.randrange(len(value))] = _other(item, dice)
            return
        if hasattr(value, "ListFields"):
            if dice.random() < 0.03:
                message.ClearField(field.name)
                return
            message = value
            continue
        try:
            setattr(message, field.name, _other(value, dice))
        except (ValueError, TypeError):
            message.ClearField(field.name)
        return


def _damage_list(value: Any, dice: random.Random) -> None:
    match dice.randrange(3):
        case 0:
            del value[dice.randrange(len(value)) :]
        case 1:
            del value[dice.randrange(len(value))]
        case _:
            item = dice.choice(value)
            value.append(item)


def _other(value: Any, dice: random.Random) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        operations = ("conv", "linear", "tile", "fill", "reshape", "pad", "gather", "while_loop", "const", "no_such_op")
        return dice.choice((*HOSTILE_TEXTS, *operations, value[:-1], value + "_0"))
    if isinstance(value, bytes):
        return damage_bytes(value, dice)
    if isinstance(value, float):
        return dice.choice((0.0, -1.0, 1e30, -1e30, float("nan"), float("inf")))
    number = dice.choice((*HOSTILE_NUMBERS, value + 1, value - 1, value * 2, dice.randrange(50)))
    return max(-(2**31), min(2**31 - 1, number)) if dice.random() < 0.7 else number


def try_package(path: Path, seed: int) -> str:
    """What the runtime makes of one package: "ran", or the name of the SwiftdeployError. Anything else propagates."""
    import numpy as np

    from swiftdeploy.errors import SwiftdeployError
    from swiftdeploy.mil import load_program

    random_numbers = np.random.default_rng(seed)
    try:
        loaded = load_program(path)
        inputs = {}
        for feature in loaded.inputs:
            if feature.kind == "image":
                shape = (max(0, min(feature.height, 512)), max(0, min(feature.width, 512)), 3)
                inputs[feature.name] = random_numbers.integers(0, 256, shape, dtype=np.uint8)
            elif all(0 <= size <= 4096 for size in feature.shape) and np.prod(feature.shape, dtype=float) < 1e6:
                inputs[feature.name] = random_numbers.random(feature.shape, dtype=np.float32) * 4
        loaded.predict(inputs, loaded.make_state() if loaded.interface.states else None)
    except SwiftdeployError as error:
        return type(error).__name__
    return "ran"


def work(paths: list[Path], first: int, last: int, at: Any, answers: Any, scratch: Path) -> None:
    """Try the packages `first` to `last`; `at` says which one is under way, should the process die."""
    import torch

    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    mutator = Mutator(paths)
    for seed in range(first, last):
        at.value = seed
        signal.alarm(SECONDS_EACH)
        what = mutator.write(seed, scratch)
        try:
            outcome, detail = try_package(scratch, seed), ""
        except Exception:  # noqa: BLE001 - an exception of any kind is what this looks for
            outcome, detail = "find", traceback.format_exc(limit=-4)[-2000:]
        signal.alarm(0)
        answers.put((seed, what, outcome, detail))
    answers.put((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, "", "peak", ""))


def fuzz(paths: list[Path], first: int, count: int, scratch: Path) -> tuple[list[tuple[int, str, str, str]], int]:
    """The outcome of every input, and the peak memory in KiB. After a process that died the next one goes on."""
    context = multiprocessing.get_context("spawn")
    outcomes: list[tuple[int, str, str, str]] = []
    peak, seed, last = 0, first, first + count
    while seed < last:
        at, answers = context.Value("q", seed), context.SimpleQueue()
        worker = context.Process(target=work, args=(paths, seed, last, at, answers, scratch))
        worker.start()
        while worker.is_alive() or not answers.empty():
            if answers.empty():
                time.sleep(0.01)
                continue
            answer = answers.get()
            if answer[2] == "peak":
                peak = max(peak, answer[0])
            else:
                outcomes.append(answer)
        worker.join()
        if worker.exitcode == 0:
            break
        if worker.exitcode == 1:
            raise RuntimeError("the fuzzer itself failed; its traceback is above")
        how = "hangs" if worker.exitcode == -signal.SIGALRM else f"the process died with {worker.exitcode}"
        outcomes.append((at.value, "", "find", how))
        seed = at.value + 1
    return outcomes, peak


def main() -> int:
    """Build, damage, try, count, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000, help="how many damaged packages to try")
    parser.add_argument("--seed", type=int, default=0, help="number of the first one")
    parser.add_argument("--keep", type=Path, help="folder that the finds' packages are written to")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as silence:  # noqa: PTH123
        stdout, sys.stdout = sys.stdout, silence
        paths = build_packages(Path(folder))
        sys.stdout = stdout
        started = time.perf_counter()
        outcomes, peak = fuzz(paths, options.seed, options.count, Path(folder) / "damaged.mlpackage")
        seconds = time.perf_counter() - started
        finds = [outcome for outcome in outcomes if outcome[2] == "find"]
        if options.keep:
            mutator = Mutator(paths)
            for seed, _, _, _ in finds:
                mutator.write(seed, options.keep / f"{seed}.mlpackage")
    document = {
        "inputs": len(outcomes),
        "first_seed": options.seed,
        "outcomes": dict(sorted(collections.Counter(outcome for _, _, outcome, _ in outcomes).items())),
        "seconds": round(seconds, 1),
        "peak_memory_mib": peak // 1024,
        "finds": [{"seed": seed, "what": what, "detail": detail} for seed, what, _, detail in finds],
    }
    print(json.dumps(document, indent=2))
    return 1 if finds else 0


if __name__ == "__main__":
    sys.exit(main())
