"""The three legs of parity for one artifact, and the check of the fused graph that precedes them."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from swiftdeploy.parity import compare
from swiftdeploy.parity.locate import Value, first_divergence
from swiftdeploy.parity.metrics import psnr_db
from swiftdeploy.parity.samples import Sample, to_input
from swiftdeploy.parity.stress import stress_
from swiftdeploy.pipeline.program import PROBABILITIES, Built, intermediates
from swiftdeploy.report import Leg, OutputParity, ParityReport, Verdict
from swiftdeploy.runtimes import Runtime, open_artifact, run_samples
from swiftdeploy.spec import InputKind, Preprocessing

Arrays = Mapping[str, NDArray[Any]]
_DRAWS, _TRIES = 4, 3
_WELL_CONDITIONED_DB = 52.0  # above the fp16 gate of 50, since arithmetic rounds too


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """What one oracle answers: model inputs (N, C, H, W) as the artifact takes them, and outputs by name."""

    samples: tuple[str, ...]
    inputs: NDArray[np.float32]
    outputs: Arrays
    built: Built


def answers(
    oracle: nn.Module, samples: Sequence[Sample], names: Sequence[str], preprocessing: Preprocessing, batch: int
) -> dict[str, NDArray[Any]]:
    """The eager oracle's outputs over all samples, sample axis first, in fp32."""
    inputs = torch.from_numpy(to_input([s.image for s in samples], preprocessing, "tensor"))
    return run_oracle(oracle, inputs, names, batch=batch)


def run_oracle(oracle: nn.Module, inputs: torch.Tensor, names: Sequence[str], *, batch: int) -> dict[str, NDArray[Any]]:
    """The eager oracle's outputs by name for inputs (N, C, H, W), `batch` at a time, in fp32."""
    parts: list[tuple[torch.Tensor, ...]] = []
    with torch.no_grad():
        for start in range(0, len(inputs), batch):
            parts.append(_tuple(oracle(inputs[start : start + batch])))
    return {name: torch.cat([p[i] for p in parts]).numpy() for i, name in enumerate(names)}


def reference(
    oracle: nn.Module, built: Built, samples: Sequence[Sample], *, kind: InputKind, preprocessing: Preprocessing
) -> Reference:
    """The oracle's answers beside the inputs that an artifact of `built` takes for the same images."""
    names = [output.name for output in built.program.outputs]
    return Reference(
        samples=tuple(s.name for s in samples),
        inputs=to_input([s.image for s in samples], preprocessing, kind),
        outputs=answers(oracle, samples, names, preprocessing, built.program.example.shape[0]),
        built=built,
    )


def stressed(oracle: nn.Module, images: torch.Tensor, *, seed: int) -> nn.Module:
    """A copy of the oracle with stress weights, the first draw of several on which fp16 can be told from a wrong graph.

    Some draws sit on an edge: an attention over a single token normalises one number to its sign, and next to 0 any
    rounding flips it. What rounding the weights alone does to the eager module shows that, without any artifact.
    """
    best, best_db = None, -math.inf
    for draw in range(_DRAWS):
        candidate = stress_(copy.deepcopy(oracle), images, seed=seed + draw).eval().requires_grad_(False)
        with torch.no_grad():
            quality = _conditioning_db(candidate, images)
        if best is None or quality > best_db:
            best, best_db = candidate, quality
        if quality >= _WELL_CONDITIONED_DB:
            break
    if best is None:
        raise AssertionError("no stress weights were drawn")
    return best


def _conditioning_db(module: nn.Module, images: torch.Tensor) -> float:
    """PSNR of the eager module against itself when every layer's output is off by fp16's rounding step, at random.

    The worst of outputs, images and a few tries: near an edge, one try may land on the right side of it by luck.
    """
    exact = _tuple(module(images))
    return min(_worst_db(exact, _tuple(_disturbed(module, seed)(images))) for seed in range(_TRIES))


def _disturbed(module: nn.Module, seed: int) -> nn.Module:
    copied = copy.deepcopy(module)
    generator = torch.Generator().manual_seed(seed)

    def disturb(_: nn.Module, __: Any, output: Any) -> Any:
        if not isinstance(output, torch.Tensor):
            return output
        noise = torch.empty_like(output).uniform_(-(2.0**-11), 2.0**-11, generator=generator)
        return output * (1.0 + noise)

    for part in copied.modules():
        if not list(part.children()):
            part.register_forward_hook(disturb)
    return copied


def _worst_db(exact: tuple[torch.Tensor, ...], near: tuple[torch.Tensor, ...]) -> float:
    worst = math.inf
    for expected, candidate in zip(exact, near, strict=True):
        peak = float(expected.abs().max())
        rows = zip(expected.numpy(), candidate.numpy(), strict=True)
        worst = min(worst, *(psnr_db(r, c, peak=peak) for r, c in rows))
    return worst


def _tuple(result: Any) -> tuple[torch.Tensor, ...]:
    return (result,) if isinstance(result, torch.Tensor) else tuple(result)


def fusion_report(truth: Reference) -> ParityReport:
    """The fused graph against the oracle, at the fp32 gate."""
    found = graph_answers(truth.built, truth.inputs)
    outputs = compare.outputs(truth.outputs, found, precision="fp32", samples=truth.samples)
    leg = Leg(name="fusion", verdict=compare.worst([o.verdict for o in outputs]), outputs=outputs)
    return ParityReport(subject="fused graph", precision="fp32", gate_db=compare.GATES["fp32"].passes, legs=(leg,))


def graph_answers(built: Built, inputs: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """What the module of `built` answers to inputs (N, C, H, W) as an artifact takes them, sample axis first."""
    batch, count = built.program.example.shape[0], len(inputs)
    # The graph's batch is fixed, so a last, short one is filled up; what it answers to the filling is dropped.
    filled = np.concatenate([inputs, np.repeat(inputs[:1], -count % batch, axis=0)])
    parts = []
    with torch.no_grad():
        for start in range(0, len(filled), batch):
            parts.append(_tuple(built.module(torch.from_numpy(filled[start : start + batch]))))
    names = [output.name for output in built.program.outputs]
    return {name: torch.cat([p[i] for p in parts]).numpy()[:count] for i, name in enumerate(names)}


def artifact_report(
    path: Path, truth: Reference, stress_path: Path, stress: Reference, *, precision: str, subject: str
) -> ParityReport:
    """All three legs for the artifact at `path`; `stress_path` is its twin, made of the stress module."""
    runtime = open_artifact(path)
    legs = (
        outputs_leg("outputs", runtime, truth, precision=precision),
        outputs_leg("stress", open_artifact(stress_path), stress, precision=precision),
        weights_leg(runtime, truth.built, precision=precision),
    )
    return ParityReport(subject=subject, precision=precision, gate_db=compare.gate(precision).passes, legs=legs)


def outputs_leg(
    name: Any,
    runtime: Runtime,
    truth: Reference,
    *,
    precision: str,
    limits: compare.Gate | None = None,
    found: Arrays | None = None,
) -> Leg:
    """Leg 1 or 2: the artifact's outputs against the oracle's. A failure names the first op that diverges.

    `found` are its outputs where it has run already, `limits` its gate where that is not its precision's.
    """
    expected = expected_outputs(truth.outputs, runtime.outputs)
    answered = run_samples(runtime, truth.inputs) if found is None else found
    outputs = compare.outputs(expected, answered, precision=precision, samples=truth.samples, limits=limits)
    verdict = compare.worst([o.verdict for o in outputs])
    divergence = _locate(runtime, truth, outputs, precision) if verdict == "fail" else ""
    return Leg(name=name, verdict=verdict, outputs=outputs, divergence=divergence)


def expected_outputs(outputs: Arrays, names: Sequence[str]) -> Arrays:
    """The oracle's outputs as an artifact names them: a classifier answers with probabilities instead of logits."""
    if PROBABILITIES not in names or PROBABILITIES in outputs or len(outputs) != 1:
        return outputs
    logits = torch.from_numpy(next(iter(outputs.values())))
    return {PROBABILITIES: torch.softmax(logits, dim=-1).numpy()}


def weights_leg(runtime: Runtime, built: Built, *, precision: str) -> Leg:
    """Leg 3: every stored weight is the module's, rounded once."""
    result = compare.weights(built.constants, runtime.tensors(), precision=precision, recurrent=built.recurrent)
    verdict: Verdict = "fail" if result.problems or not result.tensors else "pass"
    return Leg(name="weights", verdict=verdict, weights=result)


def _locate(runtime: Runtime, truth: Reference, outputs: Sequence[OutputParity], precision: str) -> str:
    worst = next((o.worst_sample for o in outputs if o.verdict == "fail" and o.worst_sample), truth.samples[0])
    index = truth.samples.index(worst)
    batch = truth.built.program.example.shape[0]
    image = np.repeat(truth.inputs[index : index + 1], batch, axis=0)
    graph_values = intermediates(truth.built.module, image)
    if not graph_values:
        return ""
    observed = [
        Value(name=name, op=op, array=array)
        for name, op, array in runtime.intermediates({runtime.inputs[0].name: image})
    ]
    return first_divergence(graph_values, observed, gate_db=compare.gate(precision).fails)
