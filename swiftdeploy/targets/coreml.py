"""A program becomes a Core ML ML Program package.

In: the traced program and what the user asked for. Out: a canonical .mlpackage on disk: the same bytes in any process,
on any day. Source for the options: Apple's coremltools 9 API reference.
"""

from __future__ import annotations

import copy
import traceback
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import coremltools as ct
import numpy as np
import torch

from swiftdeploy import console, folding
from swiftdeploy.canonical import canonicalise_package, save_package
from swiftdeploy.capture import Program
from swiftdeploy.errors import ConversionError
from swiftdeploy.precision import parse
from swiftdeploy.spec import InputKind, Metadata, Precision

SUFFIX = ".mlpackage"
LABEL_OUTPUT = "classLabel"
MINIMUM_OS = {
    15: ct.target.iOS15,
    16: ct.target.iOS16,
    17: ct.target.iOS17,
    18: ct.target.iOS18,
    26: ct.target.iOS26,
}


def convert(
    program: Program,
    destination: Path,
    *,
    precision: Precision,
    min_ios: int,
    input_kind: InputKind = "tensor",
    labels: Sequence[str] = (),
    metadata: Metadata | None = None,
    keep: Collection[str] = (),
    half_interface: bool = True,
) -> None:
    """Write the program as `destination` (a new .mlpackage folder).

    What is computed in fp16 is all but the ops that `keep` names. Multiarray inputs and outputs are then float16 from
    iOS 16 on, unless `half_interface` is off, else float32. With `labels` the program's one output must be
    probabilities; the package is then a classifier. Raises ConversionError with the converter's reason.
    """
    halves = parse(precision).compute == "fp16"
    dtype = np.float16 if halves and half_interface and min_ios >= 16 else np.float32
    inputs = [_input(program, input_kind, dtype)]
    try:
        with console.quiet():
            model = ct.convert(
                without_vanishing(program.traced, keep) if halves else program.traced,
                convert_to="mlprogram",
                inputs=inputs,
                outputs=None if labels else [ct.TensorType(name=o.name, dtype=dtype) for o in program.outputs],
                classifier_config=ct.ClassifierConfig(list(labels), LABEL_OUTPUT) if labels else None,
                minimum_deployment_target=MINIMUM_OS[min_ios],
                compute_precision=_compute(halves, frozenset(keep)),
                compute_units=ct.ComputeUnit.ALL,
                pass_pipeline=_pipeline(),
                skip_model_load=True,
            )
            _describe(model, program, metadata or Metadata())
            save_package(model, destination)
    except Exception as error:
        with console.quiet():
            traceback.clear_frames(error.__traceback__)  # in one of them lives the folder of the converter's weights
        if isinstance(error, OSError):
            raise  # a full or read-only disk is no fault of the program
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ConversionError(
            f"coremltools cannot convert the program: {reason[0][:200]}",
            hint="run with -v to see what the converter prints; an op that it lacks needs another spelling in forward",
        ) from error
    canonicalise_package(destination)


def _compute(halves: bool, keep: frozenset[str]) -> Any:
    if keep:
        return ct.transform.FP16ComputePrecision(op_selector=lambda op: op.name not in keep)
    return ct.precision.FLOAT16 if halves else ct.precision.FLOAT32


def without_vanishing(traced: torch.jit.ScriptModule, keep: Collection[str] = ()) -> torch.jit.ScriptModule:
    """A copy whose weights are 0 where fp16 has no number left for them, but for the weights of the ops in `keep`.

    coremltools lifts such weights of small tensors to 6e-8, so that no divisor becomes 0. A weight is no divisor, and
    rounding it once gives 0.
    """
    copied = copy.deepcopy(traced)
    exact = _weights_of(copied, keep) if keep else frozenset()
    with torch.no_grad():
        for name, tensor in (*copied.named_parameters(), *copied.named_buffers()):
            if tensor.is_floating_point() and name not in exact:
                tensor.masked_fill_(tensor.half() == 0, 0.0)
    return copied


def _weights_of(traced: torch.jit.ScriptModule, ops: Collection[str]) -> frozenset[str]:
    """The dotted names of the tensors that the traced values of these names are computed from directly."""
    found: set[str] = set()
    for node in traced.graph.nodes():
        if any(output.debugName() in ops for output in node.outputs()):
            found.update(path for value in node.inputs() if (path := _attribute_path(value)))
    return frozenset(found)


def _attribute_path(value: Any) -> str:
    node = value.node()
    if node.kind() != "prim::GetAttr":
        return ""
    owner = _attribute_path(next(iter(node.inputs())))
    return f"{owner}.{node.s('name')}" if owner else str(node.s("name"))


def _pipeline() -> Any:
    pipeline = ct.PassPipeline.DEFAULT
    pipeline.remove_passes(folding.PASSES)
    return pipeline


def _input(program: Program, kind: InputKind, dtype: type) -> Any:
    spec = program.inputs[0]
    if kind == "tensor":
        return ct.TensorType(name=spec.name, shape=spec.shape, dtype=dtype)
    layout = ct.colorlayout.GRAYSCALE if spec.shape[1] == 1 else ct.colorlayout.RGB
    return ct.ImageType(name=spec.name, shape=spec.shape, color_layout=layout)


def _describe(model: Any, program: Program, metadata: Metadata) -> None:
    model.author, model.license = metadata.author, metadata.license
    model.version, model.short_description = metadata.version, metadata.description
    spec = program.inputs[0]
    model.input_description[spec.name] = f"{' x '.join(map(str, spec.shape))}, NCHW"
