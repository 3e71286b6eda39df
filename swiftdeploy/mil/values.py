"""protobuf types and values as those of `program`: tensor types, texts, arrays in place and in the blob file.

In: messages of MIL.proto. Out: frozen types and constants, each checked against its declared shape. Every message that
does not fit raises ArtifactError; `where` names the place in the program.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from swiftdeploy.errors import ArtifactError
from swiftdeploy.mil import weights
from swiftdeploy.mil.program import MAX_ELEMENTS, Constant, DictionaryType, ListType, StateType, TensorType, ValueType

# Core ML stops at rank 5; numpy and torch take more than this.
MAX_RANK = 32
_MAX_SIZE = (1 << 31) - 1
_HINT = "the package is damaged or was not written by a Core ML converter"
_DTYPES = {
    1: "bool",
    2: "string",
    10: "fp16",
    11: "fp32",
    12: "fp64",
    13: "bf16",
    21: "int8",
    22: "int16",
    23: "int32",
    24: "int64",
    25: "int4",
    31: "uint8",
    32: "uint16",
    33: "uint32",
    34: "uint64",
    35: "uint4",
    36: "uint2",
    37: "uint1",
    38: "uint6",
    39: "uint3",
    40: "fp8e4m3fn",
    41: "fp8e5m2",
}
# Which field of TensorValue holds what kinds of numpy dtype; "bytes" holds any, packed.
_FIELDS = {"bools": "b", "ints": "iu", "longInts": "iu", "floats": "f", "doubles": "f"}

BlobReader = Callable[[str, int, TensorType], np.ndarray]
"""(file name in the program, offset, type) -> array."""


def read_type(message: Any, where: str) -> ValueType:
    """The type that a ValueType message declares."""
    kind = message.WhichOneof("type")
    if kind == "tensorType":
        return _tensor_type(message.tensorType, where)
    if kind == "listType":
        item = read_type(message.listType.type, where)
        if isinstance(item, TensorType):
            return ListType(item=item, length=_dimension(message.listType.length, where))
    if kind == "stateType":
        wrapped = read_type(message.stateType.wrappedType, where)
        if isinstance(wrapped, TensorType):
            return StateType(tensor=wrapped)
    if kind == "dictionaryType":
        key, value = (read_type(m, where) for m in (message.dictionaryType.keyType, message.dictionaryType.valueType))
        if isinstance(key, TensorType) and isinstance(value, TensorType):
            return DictionaryType(key=key, value=value)
    raise ArtifactError(f"{where} is of a type that ML Programs do not hold: {kind or 'none'}", hint=_HINT)


def read_value(message: Any, blobs: BlobReader, where: str) -> Constant:
    """The constant that a Value message holds in place or points at."""
    declared = read_type(message.type, where)
    kind = message.WhichOneof("value")
    if kind == "immediateValue" and isinstance(declared, TensorType):
        return Constant(type=declared, value=_tensor(message.immediateValue, declared, where))
    if kind == "immediateValue" and isinstance(declared, ListType):
        return Constant(type=declared, value=_list(message.immediateValue, declared, where))
    if kind == "blobFileValue" and isinstance(declared, TensorType):
        blob = message.blobFileValue
        # The blob's size is checked against the shape, which therefore must be known.
        _static_shape(declared, where)
        return Constant(type=declared, value=blobs(blob.fileName, blob.offset, declared))
    raise ArtifactError(f"{where} holds no value that fits its type", hint=_HINT)


def read_texts(message: Any) -> dict[str, str]:
    """The strings of a dictionary of strings, such as a program's build info; whatever else it holds is left out."""
    found = {}
    for pair in message.immediateValue.dictionary.values:
        key, value = pair.key.immediateValue.tensor.strings.values, pair.value.immediateValue.tensor.strings.values
        if len(key) == len(value) == 1:
            found[str(key[0])] = str(value[0])
    return found


def _tensor_type(message: Any, where: str) -> TensorType:
    dtype = _DTYPES.get(message.dataType)
    if dtype is None:
        raise ArtifactError(f"{where} has the unknown dtype {message.dataType}", hint=_HINT)
    if message.rank != len(message.dimensions) or message.rank > MAX_RANK:
        raise ArtifactError(f"{where} says rank {message.rank} for {len(message.dimensions)} dimensions", hint=_HINT)
    if len(message.dimensions) == 1 and message.dimensions[0].unknown.variadic:
        return TensorType(dtype=dtype, ranked=False)
    shape = tuple(_dimension(dimension, where) for dimension in message.dimensions)
    if math.prod(size for size in shape if size is not None) > MAX_ELEMENTS:
        raise ArtifactError(f"{where} is larger than {MAX_ELEMENTS} elements: {shape}", hint=_HINT)
    return TensorType(dtype=dtype, shape=shape)


def _dimension(message: Any, where: str) -> int | None:
    if message.WhichOneof("dimension") != "constant":
        if message.unknown.variadic:
            raise ArtifactError(f"{where} has a variable number of axes among others", hint=_HINT)
        return None
    size = int(message.constant.size)
    if size > _MAX_SIZE:
        raise ArtifactError(f"{where} has a dimension of {size}", hint=_HINT)
    return size


def _static_shape(declared: TensorType, where: str) -> tuple[int, ...]:
    shape = tuple(size for size in declared.shape if size is not None)
    if len(shape) != len(declared.shape) or not declared.ranked:
        raise ArtifactError(f"{where} is a constant of a shape that is not constant", hint=_HINT)
    return shape


def _tensor(message: Any, declared: TensorType, where: str) -> np.ndarray | str | tuple[str, ...]:
    if message.WhichOneof("value") != "tensor":
        raise ArtifactError(f"{where} is declared as a tensor and holds {message.WhichOneof('value')}", hint=_HINT)
    shape = _static_shape(declared, where)
    field = message.tensor.WhichOneof("value") or ""
    if field == "bytes" and declared.dtype in (*weights.STORED, *weights.PACKED_BITS):
        # frombuffer's array is read-only, and torch warns of tensors over read-only memory.
        data = np.frombuffer(message.tensor.bytes.values, dtype=np.uint8)
        return weights.decode(data.copy(), dtype=declared.dtype, shape=shape, where=where)
    values: Sequence[Any] = getattr(message.tensor, field).values if field in (*_FIELDS, "strings") else ()
    if len(values) != math.prod(shape):
        raise ArtifactError(f"{where} holds {len(values)} values, its shape {shape} takes another number", hint=_HINT)
    if (field == "strings") != (declared.dtype == "string"):
        raise ArtifactError(f"{where} is declared as {declared.dtype} and holds {field or 'nothing'}", hint=_HINT)
    if declared.dtype == "string":
        return str(values[0]) if not shape else tuple(str(value) for value in values)
    return _numbers(list(values), declared.dtype, field, where).reshape(shape)


def _numbers(values: list[Any], dtype: str, field: str, where: str) -> np.ndarray:
    stored = weights.STORED.get(dtype, np.dtype(np.int8 if dtype.startswith("int") else np.uint8))
    if (values and stored.kind not in _FIELDS[field]) or dtype in ("bf16", "fp8e4m3fn", "fp8e5m2"):
        raise ArtifactError(f"{where} is declared as {dtype} and holds {field}", hint=_HINT)
    if stored.kind in "iu":
        bits = weights.PACKED_BITS.get(dtype, stored.itemsize * 8)
        low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if dtype.startswith("int") else (0, (1 << bits) - 1)
        if any(not low <= value <= high for value in values):
            raise ArtifactError(f"{where} holds a number that {dtype} cannot", hint=_HINT)
    # A double beyond float32 becomes an infinity, as it does in the file's own float fields.
    with np.errstate(over="ignore"):
        return np.array(values, dtype=stored)


def _list(message: Any, declared: ListType, where: str) -> np.ndarray | tuple[str, ...]:
    if message.WhichOneof("value") != "list":
        raise ArtifactError(f"{where} is declared as a list and holds {message.WhichOneof('value')}", hint=_HINT)
    scalar = TensorType(dtype=declared.item.dtype)
    items = [_tensor(item.immediateValue, scalar, where) for item in message.list.values]
    if declared.length not in (None, len(items)):
        raise ArtifactError(f"{where} says {declared.length} items and holds {len(items)}", hint=_HINT)
    if declared.item.dtype == "string":
        return tuple(str(item) for item in items)
    return np.array(items, dtype=weights.STORED[declared.item.dtype])
