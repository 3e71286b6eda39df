"""Compressed Core ML artifacts: made from a verified fp16 package, and verified against what their weights are worth.

The reference of an artifact is the fused module with coremltools' own decompression of its weights, so that its outputs
are held to the gate of what it computes in. What compression itself costs is drift from the oracle: reported, and
judged only where a budget was given.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from swiftdeploy import bundle, compress, console
from swiftdeploy.errors import ConversionError
from swiftdeploy.parity import compare
from swiftdeploy.pipeline import parity
from swiftdeploy.pipeline.drift import measure
from swiftdeploy.pipeline.program import Built
from swiftdeploy.recipe import Recipe
from swiftdeploy.report import CalibrationRecord, CompressionRecord, Drift, KeptTensor, Leg, ParityReport, WeightParity
from swiftdeploy.runtimes import Runtime, open_artifact, run_samples
from swiftdeploy.spec import ExportOptions

Arrays = Mapping[str, NDArray[Any]]
Places = Mapping[str, tuple[Tensor, ...]]  # by the package's tensor: the module's, which it is written into


@dataclass(frozen=True, kw_only=True, slots=True)
class Base:
    """An fp16 package that is compressed. `constants` are its float tensors by name, as coremltools reads them."""

    path: Path
    weights: tuple[compress.Weight, ...]
    constants: Arrays


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """A compressed package beside the module that it must answer as. `dense` are its tensors, decompressed.

    `weights` and `plan` say how each tensor is stored, `before` what it was; `limits` is the gate of the outputs.
    """

    path: Path
    truth: parity.Reference
    weights: tuple[compress.Weight, ...]
    plan: compress.Plan
    before: Arrays
    dense: Arrays
    limits: compare.Gate


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """A compressed artifact: its record for the manifest, and its parity (None without verification)."""

    path: Path
    compression: CompressionRecord
    report: ParityReport | None


def open_base(path: Path) -> Base:
    """The package at `path` as something to compress. Raises ArtifactError where it does not read."""
    return Base(path=path, weights=compress.read_weights(path), constants=compress.dense_weights(path))


def weights_variant(base: Base, truth: parity.Reference, recipe: Recipe, destination: Path) -> Variant:
    """Compress the weights of `base`, which was made of `truth`, as `destination`.

    Raises UsageError for a recipe that fits nothing, DependencyError, or ConversionError with coremltools' reason.
    """
    plan = compress.plan_weights(base.weights, recipe)
    compress.compress(base.path, destination, plan, base.weights)
    return planned_variant(destination, truth, base, recipe)


def planned_variant(path: Path, truth: parity.Reference, base: Base, recipe: Recipe) -> Variant:
    """The compressed package at `path` beside the module of `truth` with its decompressed weights."""
    dense = compress.dense_weights(path)
    plan = compress.plan_weights(base.weights, recipe)
    changed = {name: value for name, value in dense.items() if name in plan.schemes}
    built = dataclasses.replace(truth.built, module=with_weights(truth.built, base.constants, changed))
    answered = dataclasses.replace(truth, outputs=parity.graph_answers(built, truth.inputs), built=built)
    return Variant(
        path=path,
        truth=answered,
        weights=base.weights,
        plan=plan,
        before=base.constants,
        dense=dense,
        limits=compare.GATES["fp16"],
    )


def report(
    variant: Variant, twin: Variant | None, oracle: Arrays, *, own: int, precision: str, options: ExportOptions
) -> ParityReport:
    """All legs of a variant, and its drift from the oracle's outputs; `own` counts the samples that are ours."""
    runtime = open_artifact(variant.path)
    found = run_samples(runtime, variant.truth.inputs)
    legs = [_outputs("outputs", runtime, variant, precision, found)]
    if twin is not None:
        legs.append(_outputs("stress", open_artifact(twin.path), twin, precision, None))
    legs.append(weights_leg(variant))
    return ParityReport(
        subject=variant.path.name,
        precision=precision,
        gate_db=variant.limits.passes,
        legs=tuple(legs),
        drift=drift_of(variant, oracle, found, own=own, options=options),
    )


def drift_of(variant: Variant, oracle: Arrays, found: Arrays, *, own: int, options: ExportOptions) -> Drift:
    """The drift of what an artifact answered, `found`, from what the oracle does.

    A classifier's probabilities hide it: where one class has nearly all, logits may be far apart. Its drift is that of
    the module that it was just found to agree with, in logits.
    """
    answered = found if set(found) == set(oracle) else variant.truth.outputs
    return measure(oracle, answered, own=own, options=options)


def weights_leg(variant: Variant) -> Leg:
    """Leg 3: compressed tensors within the bound that their scheme implies, all others equal to the bit."""
    problems = compress.check_weights(variant.path, variant.weights, variant.plan, variant.before, variant.dense)
    count = len(variant.before)
    parity_ = WeightParity(tensors=count, equal=max(count - len(problems), 0), problems=tuple(problems))
    return Leg(name="weights", verdict="fail" if problems or not count else "pass", weights=parity_)


def record(
    variant: Variant, recipe: Recipe, *, base: Path, golden: str, calibration: CalibrationRecord | None = None
) -> CompressionRecord:
    """How the artifact's weights are stored, for the manifest."""
    return CompressionRecord(
        recipe=recipe,
        base_bytes=bundle.artifact_digest(base)[0],
        tensors=compress.tensor_records(variant.path, variant.weights, variant.plan, variant.dense),
        kept=tuple(_kept(variant)),
        golden=golden,
        passes_db=variant.limits.passes,
        fails_db=variant.limits.fails,
        calibration=calibration,
    )


def save_golden(variant: Variant, folder: Path, name: str, samples: Sequence[str]) -> None:
    """Write what the variant's module answers to these samples as `name` below the bundle's `folder`."""
    rows = [variant.truth.samples.index(sample) for sample in samples]
    outputs = {key: value[rows] for key, value in variant.truth.outputs.items()}
    outputs.update(parity.expected_outputs(outputs, open_artifact(variant.path).outputs))
    (folder / name).parent.mkdir(exist_ok=True)
    bundle.save_arrays(outputs, folder / name)


def with_weights(built: Built, before: Arrays, changed: Arrays) -> nn.Module:
    """A copy of the module of `built` in which every constant that the package stores as `changed` has that value.

    `before` are the uncompressed package's tensors, by which a constant is found where the converter renamed or merged
    it. Raises ConversionError for a tensor of the package that no constant of the module is.
    """
    with console.quiet():  # a graph's copy warns of what torch deprecates in itself
        module = copy.deepcopy(built.module)
    _write(places(module, built, before), before, changed)
    return module


def places(module: nn.Module, built: Built, before: Arrays) -> Places:
    """Where `module`, that of `built` or its copy, holds each tensor of the uncompressed package."""
    homes = _homes(built.constants, before)
    found: dict[str, tuple[Tensor, ...]] = {}
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        home = homes.get(name.replace(".", "_"))
        if home is not None:
            found[home] = (*found.get(home, ()), tensor)
    return found


@contextlib.contextmanager
def swapped(where: Places, before: Arrays, changed: Arrays) -> Iterator[None]:
    """The module behind `where` computes with `changed` inside the block. Raises as `with_weights` does.

    In place, since a copy of the module for each tensor of each scheme would take longer than running it.
    """
    tensors = [tensor for name in changed for tensor in where.get(name, ())]
    kept = [tensor.clone() for tensor in tensors]
    try:
        _write(where, before, changed)
        yield
    finally:
        with torch.no_grad():
            for tensor, value in zip(tensors, kept, strict=True):
                tensor.copy_(value)


def _write(where: Places, before: Arrays, changed: Arrays) -> None:
    missing = set(changed) - set(where)
    if missing:
        raise ConversionError(
            f"{min(missing)} is compressed, and no constant of the module has its values",
            hint="name it in a recipe file as fp16; please report it with the model",
        )
    with torch.no_grad():
        for name, value in changed.items():
            for tensor in where[name]:
                laid = _laid_out(value, before[name], tensor.numpy())
                tensor.copy_(torch.from_numpy(laid.astype(np.float32)))


def _outputs(name: str, runtime: Runtime, variant: Variant, precision: str, found: Arrays | None) -> Leg:
    return parity.outputs_leg(name, runtime, variant.truth, precision=precision, limits=variant.limits, found=found)


def _kept(variant: Variant) -> list[KeptTensor]:
    return list(compress.kept(variant.weights, variant.plan))


def _homes(constants: Arrays, before: Arrays) -> dict[str, str]:
    """Which tensor of the package holds each constant of the module: that of its name, or one with its values."""
    by_value = {_fingerprint(value): name for name, value in before.items()}
    homes = {}
    for name, value in constants.items():
        if value.dtype.kind != "f" or value.size < 2:
            continue
        with np.errstate(over="ignore"):
            stored = value.astype(np.float16)
        found = name if name in before and before[name].size == value.size else by_value.get(_fingerprint(stored))
        if found is not None:
            homes[name] = found
    return homes


def _fingerprint(value: NDArray[Any]) -> bytes:
    return np.sort(value.astype(np.float32), axis=None).tobytes()


def _laid_out(changed: NDArray[Any], before: NDArray[Any], constant: NDArray[Any]) -> NDArray[Any]:
    """`changed`, laid out as `before` is, in the layout of the module's constant."""
    if changed.shape == constant.shape:
        return changed
    with np.errstate(over="ignore"):
        stored = constant.astype(before.dtype)
    if np.array_equal(before.ravel(), stored.ravel()):
        return changed.reshape(constant.shape)
    if np.array_equal(before.T.ravel(), stored.ravel()):
        return changed.T.reshape(constant.shape)
    raise ConversionError(
        f"a compressed tensor of shape {changed.shape} is a constant of shape {constant.shape}, laid out otherwise",
        hint="name it in a recipe file as fp16; please report it with the model",
    )
