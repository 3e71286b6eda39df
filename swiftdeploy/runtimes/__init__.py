"""What runs an artifact on this host, one runtime a module.

`open_artifact` picks the runtime by the file's suffix. A runtime is opened once and holds nothing that a run changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from swiftdeploy import console
from swiftdeploy.errors import ArtifactError, UsageError
from swiftdeploy.spec import TensorSpec

Array = NDArray[Any]
DYNAMIC_BATCH = 3  # what a free batch is tried with: seven samples then run as 3, 3 and 1


class Runtime(Protocol):
    """An opened artifact."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Names, shapes (a free size is 0) and dtypes of the inputs; an image counts as (1, C, H, W) pixels."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the tensors that `run` answers with."""

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """One prediction. Floats come back as float32, whatever the artifact stores."""

    def intermediates(self, inputs: Mapping[str, Array]) -> list[tuple[str, str, Array]]:
        """(value's name, op type, array) of everything that one prediction computes, in order."""

    def tensors(self) -> dict[str, Array]:
        """Every stored float tensor, under the program's own name where the converter kept it."""

    def op_counts(self) -> dict[str, int]:
        """How many ops of each type the artifact holds, constants aside."""


def open_artifact(path: Path, *, threads: int = 0) -> Runtime:
    """The runtime for an .mlpackage or .onnx. `threads` are ONNX Runtime's, 0 for all cores.

    Raises ArtifactError for a missing or damaged one, UsageError for another kind.
    """
    check_there(path)
    if path.suffix == ".mlpackage":
        with console.quiet():
            from swiftdeploy.runtimes import coreml

        return coreml.open_package(path)
    if path.suffix in (".onnx", ".ort"):
        with console.quiet():
            from swiftdeploy.runtimes import onnx

        return onnx.open_model(path, threads=threads)
    raise UsageError(f"{path.name} is no artifact", hint="name an .mlpackage or an .onnx file, or a bundle's folder")


def check_there(path: Path) -> None:
    """Raise ArtifactError where nothing is at the path of a bundle or an artifact."""
    if not path.exists():
        raise ArtifactError(f"{path} does not exist", hint="name a bundle, an .mlpackage or an .onnx file")


def run_samples(runtime: Runtime, samples: Array) -> dict[str, Array]:
    """The outputs over all samples (N, C, H, W), sample axis first; an artifact of batch B runs B at a time.

    A last, short batch is filled up with its first sample, whose extra answers are dropped.
    """
    spec = runtime.inputs[0]
    batch = spec.shape[0] or DYNAMIC_BATCH
    collected: dict[str, list[Array]] = {}
    for start in range(0, len(samples), batch):
        chunk = samples[start : start + batch]
        missing = batch - len(chunk) if spec.shape[0] else 0
        if missing:
            chunk = np.concatenate([chunk, np.repeat(chunk[:1], missing, axis=0)])
        for name, value in runtime.run({spec.name: chunk}).items():
            collected.setdefault(name, []).append(value[: len(value) - missing])
    return {name: np.concatenate(parts) for name, parts in collected.items()}
