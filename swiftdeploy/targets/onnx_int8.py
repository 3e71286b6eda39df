"""An fp32 .onnx file becomes one of 8-bit integers, through onnxruntime.quantization: QDQ form, weights per channel.

`static` quantises weights and activations and needs calibration images; `weight_only` makes the file a quarter as
large and computes in float. Both keep the opset, and the same input gives the same bytes.

Which nodes stay in float follows from types and structure; `Placement` says so node by node.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.calibrate import TensorsData, save_tensors_data

from swiftdeploy import console
from swiftdeploy.errors import ArtifactError, ConversionError, SwiftdeployError, UsageError
from swiftdeploy.quantization import Int8Options
from swiftdeploy.targets import onnx_int8_activations, onnx_int8_attention, onnx_int8_channels, onnx_int8_gelu
from swiftdeploy.targets.onnx_cleanup import clean
from swiftdeploy.targets.onnx_int8_calibration import OF_METHOD, check_images, ranges
from swiftdeploy.targets.onnx_int8_placement import TYPES, Placement, last, place


def static(source: Path, destination: Path, images: NDArray[Any], options: Int8Options) -> Placement:
    """Write `source`, an fp32 .onnx file, as `destination` with 8-bit weights and activations.

    `images` (N, C, H, W) are float32 as the model takes them. Raises UsageError and ModelError for what cannot
    calibrate, ConversionError where ONNX Runtime or the checker refuses.
    """
    model = _load(source)
    images = check_images(images, _input_shape(model))
    _check_options(model, options)
    with tempfile.TemporaryDirectory() as folder, _refusals(source.name):
        widened = onnx_int8_channels.widened(model, options.keep_float)
        rewritten = onnx_int8_attention.rewritten(widened, options.keep_float)
        prepared = _with_gelu(rewritten, images, options, Path(folder))
        placed = place(prepared, options.keep_float)
        result = onnx_int8_gelu.fold_slopes(_quantised(prepared, placed, images, options, Path(folder)))
        _write(_finished(result, model), destination)
    return placed


def weight_only(source: Path, destination: Path) -> Placement:
    """Write `source`, an fp32 .onnx file, as `destination` with 8-bit weights, per channel, and float activations.

    ONNX Runtime makes floats of them when it loads the file: it is as fast and as large in memory as before. Raises as
    `static` does.
    """
    model = _load(source)
    placed = place(model)
    blank = np.zeros((1, *(size or 1 for size in _input_shape(model)[1:])), np.float32)
    options = Int8Options(weight_bits=8)
    extra = {"QuantizeBias": False, "QDQKeepRemovableActivations": True, "QDQDisableWeightAdjustForInt32Bias": True}
    with tempfile.TemporaryDirectory() as folder, _refusals(source.name):
        result = onnx_int8_activations.unrounded(_quantised(model, placed, blank, options, Path(folder), extra))
        _write(_finished(result, model), destination)
    return placed


def _quantised(
    model: onnx.ModelProto,
    placed: Placement,
    images: NDArray[np.float32],
    options: Int8Options,
    work: Path,
    extra: Mapping[str, Any] = MappingProxyType({}),
) -> onnx.ModelProto:
    """What ONNX Runtime's tool makes of the model; every input it reads and file it writes lies in `work`."""
    source, target, cache = work / "float.onnx", work / "int8.onnx", work / "ranges.json"
    save_tensors_data(_ranges(model, images, options, TYPES, source), cache)
    with console.quiet():
        quantize_static(
            source,
            target,
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(TYPES),
            nodes_to_exclude=list(placed.floating),
            per_channel=True,
            reduce_range=options.weight_bits == 7,
            activation_type=QuantType.QInt8 if options.activations == "int8" else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=OF_METHOD[options.method],
            calibration_cache_path=cache,
            extra_options={"OpTypesToExcludeOutputQuantization": sorted({n.op_type for n in last(model)}), **extra},
        )
    return onnx.load_model(target)


def _finished(model: onnx.ModelProto, source: onnx.ModelProto) -> onnx.ModelProto:
    """The quantised model with the source's metadata, and neither clutter nor names that the tool made up."""
    del model.metadata_props[:]
    model.metadata_props.extend(source.metadata_props)
    return clean(model)


def _ranges(
    model: onnx.ModelProto, images: NDArray[np.float32], options: Int8Options, types: Sequence[str], source: Path
) -> TensorsData:
    """The ranges of what nodes of these types read and make; `source` is where the model is written for it."""
    source.write_bytes(model.SerializeToString(deterministic=True))
    return ranges(source, images, method=options.method, percentile=options.percentile, types=types, work=source.parent)


def _with_gelu(
    model: onnx.ModelProto, images: NDArray[np.float32], options: Int8Options, work: Path
) -> onnx.ModelProto:
    if options.gelu == "tanh":
        return onnx_int8_gelu.as_tanh(model)
    if options.gelu == "exact":
        return model
    integer = set(place(model, options.keep_float).integer)
    made = {name for node in model.graph.node if node.name in integer for name in node.output}
    wanted = {n.name for n in model.graph.node if n.op_type == "Gelu" and n.input[0] in made} - set(options.keep_float)
    if options.gelu == "auto" and wanted:
        found = _ranges(model, images, options, ("Gelu",), work / "gelu.onnx")
        spans = {name: (float(data.lowest.min()), float(data.highest.max())) for name, data in found.items()}
        wanted &= onnx_int8_gelu.coarse(model, spans)
    return onnx_int8_gelu.as_sigmoid(model, wanted)


def _input_shape(model: onnx.ModelProto) -> tuple[int, ...]:
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    if len(inputs) != 1:
        raise UsageError(f"the model has {len(inputs)} inputs, and calibration feeds one", hint="quantise it by hand")
    return tuple(dim.dim_value for dim in inputs[0].type.tensor_type.shape.dim)


def _load(source: Path) -> onnx.ModelProto:
    try:
        model = onnx.load_model(source)
    except Exception as error:
        raise ArtifactError(f"{source.name} is no readable ONNX file: {error}", hint="export again") from error
    types = {tensor.data_type for tensor in model.graph.initializer}
    if onnx.TensorProto.FLOAT not in types or types & {onnx.TensorProto.FLOAT16, onnx.TensorProto.INT8}:
        raise UsageError(f"{source.name} holds no fp32 weights alone", hint="quantise the artifact of --precision fp32")
    return model


def _check_options(model: onnx.ModelProto, options: Int8Options) -> None:
    unknown = set(options.keep_float) - {node.name for node in model.graph.node}
    if unknown:
        raise UsageError(
            f"the graph has no node {min(unknown)!r}",
            hint="an export without it lists nodes in its manifest, under compression.floating",
        )
    opset = next(entry.version for entry in model.opset_import if not entry.domain)
    least = options.least_opset
    if opset < least:
        fact = f"GELU's form {options.gelu!r} needs opset {least}, the file has {opset}"
        raise UsageError(fact, hint=f"add --opset {least}")


@contextlib.contextmanager
def _refusals(name: str) -> Iterator[None]:
    """What ONNX Runtime's tool or the checker refuses, as a ConversionError."""
    try:
        yield
    except (SwiftdeployError, OSError):  # a full disk is no fault of the model
        raise
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ConversionError(
            f"{name} does not quantise: {reason[0][:200]}",
            hint="keep the node at fault in float with --int8 keep_float=NODE, or use -p w8: weights alone",
        ) from error


def _write(model: onnx.ModelProto, destination: Path) -> None:
    onnx.checker.check_model(model, full_check=True)
    destination.write_bytes(model.SerializeToString(deterministic=True))
