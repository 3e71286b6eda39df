"""The blob file of an ML Program (`weight.bin`): one memory-mapped file, each blob checked before it is looked at.

Layout (little endian): a header of 64 bytes (u32 blob count, u32 version 2, zeros); then for each blob 64 bytes of
metadata (u32 sentinel 0xDEADBEEF, u32 dtype code, u64 size in bytes, u64 offset of the data, u64 padding in bits) and
its data, both aligned to 64 bytes. Values narrower than a byte are a stream of bits, lowest first.
Source: the storage format of coremltools' mlmodel (StorageFormat.hpp). Knows numpy; knows no protobuf and no torch.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from swiftdeploy.errors import ArtifactError

_ALIGNMENT = 64
_VERSION = 2
_SENTINEL = 0xDEADBEEF
_HEADER = struct.Struct("<II")
_METADATA = struct.Struct("<IIQQQ")
_CODES = {
    1: "fp16",
    2: "fp32",
    3: "uint8",
    4: "int8",
    5: "bf16",
    6: "int16",
    7: "uint16",
    8: "int4",
    9: "uint1",
    10: "uint2",
    11: "uint4",
    12: "uint3",
    13: "uint6",
    14: "int32",
    15: "uint32",
    16: "fp8e4m3fn",
    17: "fp8e5m2",
}
STORED = {
    "bool": np.dtype(np.bool_),
    "fp16": np.dtype("<f2"),
    "fp32": np.dtype("<f4"),
    "fp64": np.dtype("<f8"),
    "bf16": np.dtype("<u2"),
    "fp8e4m3fn": np.dtype("u1"),
    "fp8e5m2": np.dtype("u1"),
    "int8": np.dtype("i1"),
    "int16": np.dtype("<i2"),
    "int32": np.dtype("<i4"),
    "int64": np.dtype("<i8"),
    "uint8": np.dtype("u1"),
    "uint16": np.dtype("<u2"),
    "uint32": np.dtype("<u4"),
    "uint64": np.dtype("<u8"),
}
PACKED_BITS = {"uint1": 1, "uint2": 2, "uint3": 3, "uint4": 4, "int4": 4, "uint6": 6}
_HINT = "copy or export the package again; its weight file is damaged"


def stored_bytes(dtype: str, shape: tuple[int, ...]) -> int:
    """How many bytes a tensor of this dtype and shape takes, packed as a blob file packs it; 0 for text."""
    count = math.prod(shape)
    if dtype in PACKED_BITS:
        return -(-count * PACKED_BITS[dtype] // 8)
    return count * STORED[dtype].itemsize if dtype in STORED else 0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Blobs:
    """An open blob file: its bytes, mapped copy-on-write, so that nothing here can change the file."""

    path: Path
    data: np.ndarray


def open_blobs(path: Path) -> Blobs:
    """The blob file at `path`. Raises ArtifactError where it is missing, empty or not one."""
    if not path.is_file():
        raise ArtifactError(f"the weight file {path} is missing", hint=_HINT)
    if path.stat().st_size < _ALIGNMENT:
        raise ArtifactError(f"the weight file {path} is shorter than its header", hint=_HINT)
    try:
        # A plain view: each slice of a memmap would carry its bookkeeping along.
        data = np.memmap(path, dtype=np.uint8, mode="c").view(np.ndarray)
    except OSError as error:
        raise ArtifactError(f"the weight file {path} cannot be read: {error.strerror}", hint=_HINT) from error
    _, version = _HEADER.unpack(data[: _HEADER.size].tobytes())
    if version != _VERSION:
        raise ArtifactError(f"the weight file {path} has version {version}, this reader knows {_VERSION}", hint=_HINT)
    return Blobs(path=path, data=data)


def read_blob(blobs: Blobs, offset: int, *, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """The array whose metadata stands at `offset`: a view of the file, or a new array where bits must be unpacked.

    Raises ArtifactError where offset, sentinel, dtype, size or data do not fit the file or the declared type.
    """
    where = f"blob at {offset} of {blobs.path}"
    # Every number below comes from the file, so that none is used before it is compared with the file's length.
    end = len(blobs.data)
    if offset % _ALIGNMENT or not _ALIGNMENT <= offset <= end - _ALIGNMENT:
        raise ArtifactError(f"{where} is not aligned to 64 bytes inside the file", hint=_HINT)
    metadata = blobs.data[offset : offset + _METADATA.size].tobytes()
    sentinel, code, size, start, padding = _METADATA.unpack(metadata)
    if sentinel != _SENTINEL:
        raise ArtifactError(f"{where} does not start with the sentinel 0xDEADBEEF", hint=_HINT)
    if _CODES.get(code) != dtype:
        raise ArtifactError(f"{where} holds {_CODES.get(code, f'dtype {code}')}, the program says {dtype}", hint=_HINT)
    if start % _ALIGNMENT or not _ALIGNMENT <= start <= end or size > end - start:
        raise ArtifactError(f"{where} says its data are {size} bytes at {start}, the file has {end}", hint=_HINT)
    bits = PACKED_BITS.get(dtype, 0)
    if bits and padding != size * 8 - math.prod(shape) * bits:
        raise ArtifactError(f"{where} pads {padding} bits, which does not fit the shape {shape}", hint=_HINT)
    return decode(blobs.data[start : start + size], dtype=dtype, shape=shape, where=where)


def decode(data: np.ndarray, *, dtype: str, shape: tuple[int, ...], where: str) -> np.ndarray:
    """An array of `shape` from the bytes `data` (uint8, one axis), in the narrowest numpy dtype that holds `dtype`.

    Values narrower than a byte come as int8 or uint8; bfloat16 and 8-bit floats as float32. Raises ArtifactError where
    the number of bytes does not fit the shape.
    """
    count = math.prod(shape)
    bits = PACKED_BITS.get(dtype)
    expected = stored_bytes(dtype, shape)
    if data.size != expected:
        raise ArtifactError(f"{where} holds {data.size} bytes, {dtype} of shape {shape} takes {expected}", hint=_HINT)
    if bits:
        return _unpack(data, bits, count, signed=dtype.startswith("int")).reshape(shape)
    stored = data.view(STORED[dtype])
    if dtype == "bf16":
        stored = (stored.astype(np.uint32) << 16).view(np.float32)
    elif dtype.startswith("fp8"):
        stored = _FP8[dtype][stored]
    return stored.reshape(shape)


def _unpack(data: np.ndarray, bits: int, count: int, *, signed: bool) -> np.ndarray:
    # 3- and 6-bit values cross bytes but never a group of three bytes, so that a group is one 24-bit word.
    group = 3 if bits in (3, 6) else 1
    padded = np.zeros(-(-data.size // group) * group, dtype=np.uint8)
    padded[: data.size] = data
    parts = padded.reshape(-1, group)
    word = parts[:, 0] if group == 1 else parts.astype(np.uint32) @ np.array([1, 1 << 8, 1 << 16], dtype=np.uint32)
    values = np.empty((word.size, group * 8 // bits), dtype=np.uint8)
    for index in range(values.shape[1]):
        values[:, index] = (word >> (index * bits)) & ((1 << bits) - 1)
    # The last group may hold padding; a sign is spread by shifting it to the top bit and back.
    flat = values.reshape(-1)[:count]
    return (flat << (8 - bits)).view(np.int8) >> (8 - bits) if signed else flat


def _fp8_table(*, exponent_bits: int, finite: bool) -> np.ndarray:
    mantissa_bits = 7 - exponent_bits
    bias = (1 << (exponent_bits - 1)) - 1
    codes = np.arange(256)
    exponent = (codes >> mantissa_bits) & ((1 << exponent_bits) - 1)
    fraction = (codes & ((1 << mantissa_bits) - 1)) / (1 << mantissa_bits)
    magnitude = np.where(exponent == 0, fraction * 2.0 ** (1 - bias), (1 + fraction) * 2.0 ** (exponent - bias))
    top = exponent == (1 << exponent_bits) - 1
    if finite:  # e4m3fn spends only the all-ones code on NaN and has no infinity
        magnitude = np.where((codes & 0x7F) == 0x7F, np.nan, magnitude)
    else:
        magnitude = np.where(top, np.where(fraction == 0, np.inf, np.nan), magnitude)
    return np.where(codes & 0x80, -magnitude, magnitude).astype(np.float32)


_FP8 = {
    "fp8e4m3fn": _fp8_table(exponent_bits=4, finite=True),
    "fp8e5m2": _fp8_table(exponent_bits=5, finite=False),
}
