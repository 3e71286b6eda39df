"""An fp32 .onnx file becomes one of 8-bit integers, through onnxruntime.quantization: QDQ form, weights per channel.

`static` quantises weights and activations and needs calibration images; `weight_only` makes the file a quarter as
large and computes in float. Both keep the opset, and the same input gives the same bytes.

Which nodes stay in float follows from types and structure; `Placement` says so node by node.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.calibrate import save_tensors_data

from swiftdeploy import console
from swiftdeploy.compress import onnx_gelu
from swiftdeploy.compress.onnx_calibration import METHODS, OF_METHOD, Method, check_images, ranges
from swiftdeploy.compress.onnx_gelu import GELUS, Gelu
from swiftdeploy.errors import ArtifactError, ConversionError, SwiftdeployError, UsageError
from swiftdeploy.targets.onnx_cleanup import clean

# Op types with an 8-bit kernel in ONNX Runtime's CPU provider that gains something. The second row only moves values.
_COMPUTING = ("Conv", "ConvTranspose", "Gemm", "MatMul", "Add", "Mul", "Sigmoid", "Concat", "GlobalAveragePool")
_MOVING = ("Relu", "Clip", "MaxPool", "AveragePool", "Pad", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose")
TYPES = _COMPUTING + _MOVING
FEW_CHANNELS = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Int8Options:
    """How to quantise.

    `method` sets the activations' ranges: the extremes, a share of the values in percent (`percentile`), or the least
    loss of information ("entropy"). `weight_bits` 7 keeps the sum of two products inside 16 bits, which x86 without
    VNNI needs to compute what the file says; 8 is for Arm and for x86 with VNNI. `activations` "int8" suits Arm's
    kernels; on x86 it is slower than "uint8". `gelu`: see `onnx_gelu`. `keep_float` names nodes that stay as they are.
    """

    method: Method = "minmax"
    percentile: float = 99.999
    weight_bits: Literal[7, 8] = 7
    activations: Literal["uint8", "int8"] = "uint8"
    gelu: Gelu = "exact"
    keep_float: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _one_of("calibration method", self.method, METHODS)
        _one_of("GELU form", self.gelu, GELUS)
        _one_of("number of weight bits", self.weight_bits, (7, 8))
        _one_of("activation type", self.activations, ("uint8", "int8"))
        if not 50.0 < self.percentile <= 100.0:
            raise UsageError(f"percentile {self.percentile} makes no range", hint="choose one from 99 to 100")


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """Which nodes of the fp32 graph compute in integers, and why each other one does not, by node name."""

    integer: tuple[str, ...]
    floating: Mapping[str, str] = field(default_factory=dict)


def static(source: Path, destination: Path, images: NDArray[Any], options: Int8Options) -> Placement:
    """Write `source`, an fp32 .onnx file, as `destination` with 8-bit weights and activations.

    `images` (N, C, H, W) are float32 as the model takes them. Raises UsageError and ModelError for what cannot
    calibrate, ConversionError where ONNX Runtime or the checker refuses.
    """
    model = _load(source)
    images = check_images(images, _input_shape(model))
    _check_options(model, options)
    with tempfile.TemporaryDirectory() as folder, _refusals(source.name):
        model, placed = _quantised(model, images, options, Path(folder))
        _write(model, destination)
    return placed


def place(model: onnx.ModelProto, keep_float: Iterable[str] = ()) -> Placement:
    """Where each node of an fp32 graph computes: the rule, by op type and structure.

    Convolutions of the image's few channels cost more in integers than in float, and the most accuracy. A product is
    quantised where it applies a sigmoid's gate; other products, and sums with a constant, belong to normalisations and
    to spelt-out functions, which need float's range and which ONNX Runtime fuses only as long as they are whole.
    """
    made = {name: node for node in model.graph.node for name in node.output}
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    floating = {node.name: reason for node in model.graph.node if (reason := _why_float(node, made, shapes))}
    floating |= {node.name: "gives an output beside others of its type that do not" for node in _mixed_last(model)}
    floating |= dict.fromkeys(keep_float, "was asked for")
    return Placement(
        integer=tuple(node.name for node in model.graph.node if node.name not in floating), floating=floating
    )


def _why_float(
    node: onnx.NodeProto, made: Mapping[str, onnx.NodeProto], shapes: Mapping[str, tuple[int, ...]]
) -> str:
    if node.op_type not in TYPES:
        return f"ONNX Runtime has no 8-bit {node.op_type} that gains"
    if node.op_type == "Conv" and _reads_few_channels(node, shapes):
        return "reads the image's few channels"
    if onnx_gelu.is_slope(node):
        return "becomes the scale of what it reads"
    if node.op_type == "Mul" and not any(name in made and made[name].op_type == "Sigmoid" for name in node.input):
        return "is no gate of a sigmoid"
    if node.op_type in ("Add", "Concat") and any(name in shapes for name in node.input):
        return "has a constant operand"
    if node.op_type == "MatMul" and not any(name in shapes for name in node.input):
        return "multiplies two activations"
    return ""


def _last(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """The nodes that give the model's outputs. 256 levels make ties of a classifier's scores, so they answer in float:
    ONNX Runtime's tool can leave the outputs of an op type unrounded, of all nodes of the type or of none.
    """
    outputs = {value.name for value in model.graph.output}
    return [node for node in model.graph.node if outputs & set(node.output)]


def _mixed_last(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    last = _last(model)
    return [node for node in last if any(n.op_type == node.op_type and n not in last for n in model.graph.node)]


def _reads_few_channels(node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    groups = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
    weight = shapes.get(node.input[1], ())
    return groups == 1 and len(weight) > 1 and weight[1] <= FEW_CHANNELS


def _quantised(
    model: onnx.ModelProto, images: NDArray[np.float32], options: Int8Options, work: Path
) -> tuple[onnx.ModelProto, Placement]:
    properties = list(model.metadata_props)
    prepared = _with_gelu(model, options)
    placed = place(prepared, options.keep_float)
    source, target, cache = work / "float.onnx", work / "int8.onnx", work / "ranges.json"
    source.write_bytes(prepared.SerializeToString(deterministic=True))
    found = ranges(source, images, method=options.method, percentile=options.percentile, types=TYPES, work=work)
    save_tensors_data(found, cache)
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
            extra_options={"OpTypesToExcludeOutputQuantization": sorted({node.op_type for node in _last(prepared)})},
        )
    result = clean(onnx_gelu.fold_slopes(onnx.load_model(target)))
    del result.metadata_props[:]
    result.metadata_props.extend(properties)
    return result, placed


def _with_gelu(model: onnx.ModelProto, options: Int8Options) -> onnx.ModelProto:
    if options.gelu == "tanh":
        return onnx_gelu.as_tanh(model)
    if options.gelu == "exact":
        return model
    integer = set(place(model, options.keep_float).integer)
    made = {name for node in model.graph.node if node.name in integer for name in node.output}
    wanted = {node.name for node in model.graph.node if node.input and node.input[0] in made}
    return onnx_gelu.as_sigmoid(model, wanted - set(options.keep_float))


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
        raise UsageError(f"the graph has no node {min(unknown)!r}", hint="`swiftdeploy inspect` lists the nodes")
    opset = next(entry.version for entry in model.opset_import if not entry.domain)
    if options.gelu != "exact" and opset < 20:
        raise UsageError(f"GELU's form {options.gelu!r} needs opset 20, the file has {opset}", hint="add --opset 20")


@contextlib.contextmanager
def _refusals(name: str) -> Iterator[None]:
    """What ONNX Runtime's tool or the checker refuses, as a ConversionError."""
    try:
        yield
    except SwiftdeployError:
        raise
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ConversionError(
            f"{name} does not quantise: {reason[0][:200]}", hint="keep the node that it names in float"
        ) from error


def _write(model: onnx.ModelProto, destination: Path) -> None:
    onnx.checker.check_model(model, full_check=True)
    destination.write_bytes(model.SerializeToString(deterministic=True))


def _one_of(what: str, value: object, known: Sequence[object]) -> None:
    if value not in known:
        raise UsageError(f"{what} {value!r} is not known", hint=f"choose from {', '.join(map(str, known))}")
