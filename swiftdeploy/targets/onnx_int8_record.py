"""What quantisation did to each tensor of an ONNX file: bytes as they lie in it, values as the runtime reads them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from swiftdeploy.report import CompressedTensor, KeptTensor
from swiftdeploy.targets.onnx_int8_attention import parts_of

Arrays = Mapping[str, NDArray[Any]]
_SUFFIX = "_quantized"  # by which ONNX Runtime's tool names the integers of a tensor


def dense_tensors(path: Path) -> dict[str, NDArray[np.float32]]:
    """The integer tensors of an 8-bit .onnx file as float32, (integer - zero point) * scale, by their fp32 name."""
    model = onnx.load_model(path)
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    return {name: _dense(node, stored) for name, node in _readers(model, stored).items()}


def tensor_records(base: Path, path: Path) -> tuple[CompressedTensor, ...]:
    """One record for each float tensor of `base` that `path` stores as int8, in the order of `base`.

    A bias becomes int32 beside a scale for each value, which saves nothing: see `kept_tensors`.
    """
    model = onnx.load_model(path)
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    readers = _readers(model, stored)
    return tuple(
        _record(name, value, readers[name], stored)
        for name, value in _floats(base, stored).items()
        if name in readers and stored[readers[name].input[0]].dtype == np.int8
    )


def kept_tensors(base: Path, path: Path, floating: Mapping[str, str]) -> tuple[KeptTensor, ...]:
    """The float tensors of `base` that `path` does not store as int8; `floating` says why a node computes in float."""
    model = onnx.load_model(path)
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    integers = {name: stored[node.input[0]].dtype for name, node in _readers(model, stored).items()}
    nodes = onnx.load_model(base).graph.node
    reasons = {name: f"its node {floating[n.name]}" for n in nodes if n.name in floating for name in n.input}
    return tuple(
        KeptTensor(
            name=name,
            reason="a bias, of int32 in steps of its layer" if name in integers else reasons.get(name, "a float bias"),
            bytes=value.nbytes,
        )
        for name, value in _floats(base, stored).items()
        if integers.get(name) != np.int8
    )


def _floats(path: Path, stored: Arrays) -> dict[str, NDArray[np.float32]]:
    """The float tensors of the file at `path`; one that `stored` has in parts, in parts."""
    tensors = onnx.load_model(path).graph.initializer
    whole = {tensor.name: numpy_helper.to_array(tensor) for tensor in tensors}
    found = {name: value for name, value in whole.items() if value.dtype.kind == "f" and value.size > 1}
    return {part: piece for name, value in found.items() for part, piece in parts_of(name, value, stored).items()}


def _readers(model: onnx.ModelProto, stored: Arrays) -> dict[str, onnx.NodeProto]:
    """The DequantizeLinear that reads each stored tensor, by the tensor's fp32 name."""
    return {
        node.input[0].removesuffix(_SUFFIX): node
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in stored
    }


def _dense(reader: onnx.NodeProto, stored: Arrays) -> NDArray[np.float32]:
    integers, scale = stored[reader.input[0]], stored[reader.input[1]]
    zero = stored[reader.input[2]] if len(reader.input) > 2 else np.zeros_like(scale, integers.dtype)
    shape = [1] * integers.ndim
    if scale.size > 1:
        shape[next((a.i for a in reader.attribute if a.name == "axis"), 1)] = scale.size
    centred = integers.astype(np.float32) - zero.astype(np.float32).reshape(shape)
    return np.asarray(centred * scale.reshape(shape), np.float32)


def _record(name: str, before: NDArray[Any], reader: onnx.NodeProto, stored: Arrays) -> CompressedTensor:
    there = tuple(slice(size) for size in before.shape)  # channels of zeros may follow
    now, wanted = _dense(reader, stored)[there].astype(np.float64), before.astype(np.float64)
    error = float(np.sqrt(np.mean(np.square(now - wanted))))
    peak, norm = float(np.abs(wanted).max(initial=0.0)), float(np.linalg.norm(wanted))
    return CompressedTensor(
        name=name,
        scheme=str(stored[reader.input[0]].dtype),
        group=0,
        shape=before.shape,
        bytes_before=before.nbytes,
        bytes_after=sum(stored[part].nbytes for part in reader.input),
        psnr_db=20.0 * float(np.log10(peak / error)) if error and peak else None,
        relative_l2=float(np.linalg.norm(now - wanted)) / norm if norm else 0.0,
    )
