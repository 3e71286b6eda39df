"""ONNX files in ONNX Runtime, on the CPU, with its default optimisations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import numpy_helper

from swiftdeploy.errors import ArtifactError
from swiftdeploy.spec import TensorSpec

_DTYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(int64)": "int64"}
_HINT = "export again, or restore the file"


@dataclass(frozen=True, kw_only=True, slots=True)
class OnnxModel:
    """An opened .onnx or .ort file."""

    path: Path
    session: Any
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[str, ...]

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """One prediction; float inputs are cast to the dtype that the file declares."""
        feeds = {spec.name: np.ascontiguousarray(inputs[spec.name]).astype(spec.dtype) for spec in self.inputs}
        answers = self.session.run(list(self.outputs), feeds)
        return {
            name: value.astype(np.float32) if value.dtype.kind == "f" else value
            for name, value in zip(self.outputs, answers, strict=True)
        }

    def intermediates(self, inputs: Mapping[str, NDArray[Any]]) -> list[tuple[str, str, NDArray[Any]]]:
        """Every value of the main graph, with ONNX Runtime's optimisations off so that each is computed as written."""
        model = _parse(self.path)
        made = [(name, node.op_type) for node in model.graph.node for name in node.output if name]
        declared = {value.name for value in model.graph.output}
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name, _ in made if name not in declared)
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        feeds = {spec.name: inputs[spec.name].astype(spec.dtype) for spec in self.inputs}
        answers = session.run([name for name, _ in made], feeds)
        return [(name, op, value) for (name, op), value in zip(made, answers, strict=True)]

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Every float initializer, by name; empty for an .ort file, whose weights only its runtime reads.

        Numbers that say how an op works, not what it was taught (a Resize's scales), are none.
        """
        if self.path.suffix == ".ort":
            return {}
        model = _parse(self.path)
        found = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        settings, taught = set[str](), set[str]()
        for node in model.graph.node:
            split = 1 if node.op_type == "Resize" else len(node.input)
            taught.update(node.input[:split])
            settings.update(node.input[split:])
        settings -= taught  # what a product reads as well is a weight
        return {name: value for name, value in found.items() if value.dtype.kind == "f" and name not in settings}

    def op_counts(self) -> dict[str, int]:
        """How many nodes of each type the main graph holds; empty for an .ort file."""
        counts: dict[str, int] = {}
        for node in _parse(self.path).graph.node if self.path.suffix == ".onnx" else ():
            counts[node.op_type] = counts.get(node.op_type, 0) + 1
        return dict(sorted(counts.items()))


def open_model(path: Path, *, threads: int = 0) -> OnnxModel:
    """Open a model file. `threads` 0 takes all cores. Raises ArtifactError where ONNX Runtime refuses it."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ArtifactError(f"{path.name} does not load in ONNX Runtime: {reason[0][:200]}", hint=_HINT) from error
    inputs = tuple(
        TensorSpec(
            name=i.name,
            shape=tuple(size if isinstance(size, int) else 0 for size in i.shape),
            dtype=_DTYPES.get(i.type, "float32"),
        )
        for i in session.get_inputs()
    )
    return OnnxModel(path=path, session=session, inputs=inputs, outputs=tuple(o.name for o in session.get_outputs()))


def _parse(path: Path) -> onnx.ModelProto:
    try:
        return onnx.load_model(path)
    except Exception as error:
        raise ArtifactError(f"{path.name} is no readable ONNX file: {error}", hint=_HINT) from error
