"""A program becomes one ONNX file: weights inside, no identity or shape clutter, checked, the same bytes every time.

The TorchScript exporter is used on purpose: it honours opset 17 (the dynamo exporter answers with 18), reads the very
program that Core ML gets, and is an order faster.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import helper, numpy_helper
from onnxruntime.transformers.float16 import convert_float_to_float16

from swiftdeploy import console
from swiftdeploy.capture import Program
from swiftdeploy.errors import ConversionError
from swiftdeploy.spec import Metadata, Precision
from swiftdeploy.targets.onnx_cleanup import clean

SUFFIX = ".onnx"


def convert(
    program: Program,
    destination: Path,
    *,
    precision: Precision,
    opset: int,
    dynamic_batch: bool = False,
    labels: Sequence[str] = (),
    metadata: Metadata | None = None,
) -> None:
    """Write the program as `destination`, an .onnx file of the given opset (17 to 20).

    fp16 keeps fp16 inputs and outputs. `labels` go into the metadata property "labels", one a line.
    Raises ConversionError with the exporter's or the checker's reason.
    """
    try:
        model = _export(program, opset=opset, dynamic_batch=dynamic_batch)
        model = clean(model)
        if precision == "fp16":
            with console.quiet():
                model = convert_float_to_float16(round_weights(model), keep_io_types=False)
        _describe(model, metadata or Metadata(), labels)
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ConversionError(
            f"the program does not export to ONNX opset {opset}: {reason[0][:200]}",
            hint="try another --opset; an op that ONNX lacks needs another spelling in forward",
        ) from error
    destination.write_bytes(model.SerializeToString(deterministic=True))


def forget_exports() -> None:
    """Let go of every program that was exported: for a process that makes many, when it needs none of them any more.

    torch's exporter leaves the types of traced modules behind, and these keep the weights. Nothing public clears that;
    a torch that keeps them elsewhere is left alone.
    """
    with contextlib.suppress(AttributeError):
        torch._C._jit_clear_class_registry()
        torch.jit._recursive.concrete_type_store = torch.jit._recursive.ConcreteTypeStore()
        torch.jit._state._clear_class_state()


def _export(program: Program, *, opset: int, dynamic_batch: bool) -> onnx.ModelProto:
    names = [o.name for o in program.outputs]
    axes = {name: {0: "batch"} for name in (program.inputs[0].name, *names)} if dynamic_batch else None
    buffer = io.BytesIO()
    with console.quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter announces its own deprecation; the module's docstring says why
        torch.onnx.export(
            program.traced,
            (program.example,),
            buffer,  # type: ignore[arg-type]  # the TorchScript path takes a file object; its stub names paths
            input_names=[program.inputs[0].name],
            output_names=names,
            opset_version=opset,
            dynamic_axes=axes,
            training=torch.onnx.TrainingMode.PRESERVE,  # EVAL would fold batch norms behind the back of leg 3
            dynamo=False,
        )
    return onnx.load_from_string(buffer.getvalue())


def round_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its float32 weights rounded to fp16 values, in place.

    The fp16 converter lifts weights below fp16's smallest number to that number. Rounded once beforehand, they are 0.
    """
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            rounded = numpy_helper.to_array(tensor).astype(np.float16).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(rounded, tensor.name))
    return model


def _describe(model: onnx.ModelProto, metadata: Metadata, labels: Sequence[str]) -> None:
    model.doc_string = metadata.description
    properties = {"author": metadata.author, "license": metadata.license, "version": metadata.version}
    properties["labels"] = "\n".join(labels)
    helper.set_model_props(model, {key: value for key, value in sorted(properties.items()) if value})


def to_ort(path: Path) -> Path:
    """Write an .onnx file's .ort form beside it, for ONNX Runtime's reduced mobile build, and answer with its path.

    ONNX Runtime orders the tables inside by a hash that changes with every call, so of all that is written here an
    .ort alone has other bytes each time, of the same content. Raises ConversionError where there is no such form.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    # Basic optimisations are portable; higher ones bake this host's kernels into the file.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    destination = path.with_suffix(".ort")
    options.optimized_model_filepath = str(destination)
    options.add_session_config_entry("session.save_model_format", "ORT")
    try:
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ConversionError(f"{path.name} has no .ort form: {error}", hint="leave --ort out") from error
    return destination
