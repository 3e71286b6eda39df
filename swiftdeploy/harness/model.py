"""What the harness is given: packages with their golden data, checked before anything is written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.numpy
from safetensors import SafetensorError

from swiftdeploy.errors import ArtifactError, ModelError, UsageError
from swiftdeploy.harness.digest import file_sha256, tree_sha256
from swiftdeploy.harness.plan import ModelPlan, TensorPlan

Arrays = Mapping[str, npt.NDArray[Any]]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")


@dataclass(frozen=True, kw_only=True, slots=True)
class HarnessModel:
    """One Core ML package to measure.

    `package` is the .mlpackage folder and `sha256` its `digest.tree_sha256`. Golden data is a safetensors file or
    arrays by name, float or integer, every tensor with a leading sample axis before the shape that the specs give;
    outputs are the oracle's answers to the inputs. `labels` orders the outputs of kind "probabilities". Parity on the
    device passes at `gate_db`.
    """

    name: str
    precision: str
    package: Path
    sha256: str
    inputs: tuple[TensorPlan, ...]
    outputs: tuple[TensorPlan, ...]
    golden_inputs: Path | Arrays
    golden_outputs: Path | Arrays
    min_ios: int = 16
    gate_db: float = 50.0
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for text in (self.name, self.precision):
            if not _NAME.fullmatch(text):
                raise UsageError(f"{text!r} cannot name a model in Xcode", hint="use letters, digits, _ . + -")
        if not self.inputs or not self.outputs:
            raise ModelError(f"{self.name} has no inputs or no outputs", hint="give the specs of both")

    @property
    def resource(self) -> str:
        """The package's name in the project; Core ML's compiler takes no dots."""
        return re.sub(r"[^A-Za-z0-9_-]", "_", f"{self.name}-{self.precision}")

    def plan(self) -> ModelPlan:
        """The model's line in plan.json."""
        weights = self.package / "Data/com.apple.CoreML/weights/weight.bin"
        return ModelPlan(
            name=self.name,
            precision=self.precision,
            resource=self.resource,
            sha256=self.sha256,
            weights_sha256=file_sha256(weights) if weights.is_file() else "",
            gate_db=float(self.gate_db),
            inputs=self.inputs,
            outputs=self.outputs,
            labels=self.labels,
            golden_inputs=f"{self.resource}.inputs.safetensors",
            golden_outputs=f"{self.resource}.outputs.safetensors",
        )


def check_package(model: HarnessModel) -> None:
    """Refuse a package that is missing (ModelError) or not the one that `sha256` names (ArtifactError)."""
    if not (model.package / "Manifest.json").is_file():
        raise ModelError(
            f"{model.name} has no Core ML package at {model.package.name}",
            hint="export with --target coreml, then render the harness from that bundle",
        )
    found = tree_sha256(model.package)
    if found != model.sha256:
        raise ArtifactError(
            f"{model.package.name} was changed: sha256 {found[:12]}, not {model.sha256[:12]}",
            hint="export again, or run `swiftdeploy verify` on the bundle",
        )


def golden_bytes(model: HarnessModel) -> tuple[bytes, bytes]:
    """The golden inputs and outputs as safetensors, float32, holding what the specs name and nothing else.

    Raises ModelError where golden data is missing or does not fit, ArtifactError where its file is damaged.
    """
    inputs = _load(model, model.golden_inputs, "inputs")
    samples = _samples(model, inputs)
    made = []
    for specs, arrays in ((model.inputs, inputs), (model.outputs, _load(model, model.golden_outputs, "outputs"))):
        wanted = {}
        for spec in specs:
            if spec.name not in arrays:
                raise ModelError(f"golden data of {model.name} lacks {spec.name!r}", hint=_EXPORT_AGAIN)
            wanted[spec.name] = _fit(model, spec, arrays[spec.name], samples)
        made.append(safetensors.numpy.save(wanted))
    return made[0], made[1]


_EXPORT_AGAIN = "export again: the golden data is written with the bundle"


def _load(model: HarnessModel, source: Path | Arrays, what: str) -> Arrays:
    if not isinstance(source, Path):
        return source
    if not source.is_file():
        raise ModelError(f"{model.name} has no golden {what} ({source.name} is missing)", hint=_EXPORT_AGAIN)
    try:
        arrays: Arrays = safetensors.numpy.load_file(source)
    except (SafetensorError, OSError) as error:
        raise ArtifactError(f"{source.name} is damaged: {error}", hint=_EXPORT_AGAIN) from error
    return arrays


def _samples(model: HarnessModel, inputs: Arrays) -> int:
    first = inputs.get(model.inputs[0].name)
    if first is None or first.ndim == 0 or first.shape[0] == 0:
        raise ModelError(f"golden data of {model.name} holds no sample", hint=_EXPORT_AGAIN)
    return int(first.shape[0])


def _fit(model: HarnessModel, spec: TensorPlan, array: npt.NDArray[Any], samples: int) -> npt.NDArray[np.float32]:
    shape = (samples, *spec.shape)
    values = np.ascontiguousarray(array, dtype=np.float32)
    if array.shape == (samples, *spec.shape[1:]):
        # A bundle's golden data holds one image a sample; a package with a larger batch gets it in every place.
        values = np.ascontiguousarray(np.broadcast_to(values[:, None], shape))
    if values.shape != shape:
        raise ModelError(
            f"golden {spec.name!r} of {model.name} has shape {array.shape}, not {shape}", hint=_EXPORT_AGAIN
        )
    if not np.isfinite(values).all():
        raise ModelError(f"golden {spec.name!r} of {model.name} holds NaN or Inf", hint=_EXPORT_AGAIN)
    return values
