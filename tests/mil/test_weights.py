"""Oracle: coremltools' own blob writer for what must be read, hand-made bytes for what must be refused."""

import struct

import numpy as np
import pytest
import torch

from swiftdeploy.errors import ArtifactError
from swiftdeploy.mil.weights import decode, open_blobs, read_blob

RNG = np.random.default_rng(0)
NATIVE = {
    "fp16": ("write_fp16_data", np.float16),
    "fp32": ("write_float_data", np.float32),
    "int8": ("write_int8_data", np.int8),
    "uint8": ("write_uint8_data", np.uint8),
    "int16": ("write_int16_data", np.int16),
    "uint16": ("write_uint16_data", np.uint16),
    "int32": ("write_int32_data", np.int32),
    "uint32": ("write_uint32_data", np.uint32),
}
PACKED = {"uint1": 1, "uint2": 2, "uint3": 3, "uint4": 4, "int4": 4, "uint6": 6}


@pytest.fixture
def write(ct, tmp_path):
    """write(dtype, array) -> (open file, offset), written by coremltools behind a blob of another type."""
    from coremltools.converters.mil.mil import types
    from coremltools.libmilstoragepython import _BlobStorageWriter

    def write(dtype, array):
        path = tmp_path / f"{dtype}.bin"
        writer = _BlobStorageWriter(str(path))
        writer.write_int8_data(np.zeros(3, np.int8))
        method = NATIVE[dtype][0] if dtype in NATIVE else f"write_{dtype}_data"
        if dtype == "fp16":
            array = array.view(np.uint16)
        elif dtype in PACKED:
            array = array.astype(types.string_to_nptype(dtype))
        offset = getattr(writer, method)(np.ascontiguousarray(array).reshape(-1))
        del writer
        return open_blobs(path), offset

    return write


@pytest.mark.parametrize("dtype", NATIVE)
@pytest.mark.parametrize("shape", [(5, 7), (1,), (64, 3, 3)])
def test_native_dtypes(write, dtype, shape):
    kind = NATIVE[dtype][1]
    array = (RNG.standard_normal(shape) * 50).astype(kind)
    blobs, offset = write(dtype, array)
    found = read_blob(blobs, offset, dtype=dtype, shape=shape)
    assert found.dtype == kind
    assert np.array_equal(found, array)
    assert found.base is not None, "a view of the file, not a copy"


@pytest.mark.parametrize("dtype", PACKED)
@pytest.mark.parametrize("count", [1, 2, 3, 5, 7, 8, 9, 16, 17, 25, 1000])
def test_values_narrower_than_a_byte(write, dtype, count):
    bits = PACKED[dtype]
    low, high = (-8, 8) if dtype == "int4" else (0, 1 << bits)
    array = RNG.integers(low, high, count)
    blobs, offset = write(dtype, array)
    found = read_blob(blobs, offset, dtype=dtype, shape=(count,))
    assert found.dtype == (np.int8 if dtype == "int4" else np.uint8)
    assert np.array_equal(found, array)


def test_floats_that_numpy_lacks_are_widened_exactly():
    codes = np.arange(256, dtype=np.uint8)
    for dtype, kind in (("fp8e4m3fn", torch.float8_e4m3fn), ("fp8e5m2", torch.float8_e5m2)):
        wanted = torch.from_numpy(codes).view(kind).float().numpy()
        assert np.array_equal(decode(codes, dtype=dtype, shape=(256,), where="here"), wanted, equal_nan=True)
    halves = RNG.integers(0, 1 << 16, 500, dtype=np.uint16)
    wanted = torch.from_numpy(halves.view(np.int16)).view(torch.bfloat16).float().numpy()
    found = decode(halves.view(np.uint8), dtype="bf16", shape=(500,), where="here")
    assert np.array_equal(found, wanted, equal_nan=True)


def blob_file(path, *, sentinel=0xDEADBEEF, code=2, size=8, start=128, padding=0, version=2, length=136):
    header = struct.pack("<II", 1, version).ljust(64, b"\0")
    metadata = struct.pack("<IIQQQ", sentinel, code, size, start, padding).ljust(64, b"\0")
    path.write_bytes((header + metadata + struct.pack("<2f", 1.5, -2.0).ljust(64, b"\0"))[:length])
    return open_blobs(path)


def test_a_file_made_by_hand_is_read(tmp_path):
    blobs = blob_file(tmp_path / "w.bin")
    assert read_blob(blobs, 64, dtype="fp32", shape=(2,)).tolist() == [1.5, -2.0]
    assert read_blob(blobs, 64, dtype="fp32", shape=(2, 1)).shape == (2, 1)


@pytest.mark.parametrize(
    ("damage", "fact"),
    [
        ({"sentinel": 0xDEADBEE0}, "sentinel"),
        ({"code": 1}, "holds fp16, the program says fp32"),
        ({"code": 99}, "holds dtype 99"),
        ({"size": 4}, "holds 4 bytes, fp32 of shape"),
        ({"size": 12, "length": 192}, "holds 12 bytes"),
        ({"size": 1 << 62}, "the file has 136"),
        ({"size": (1 << 64) - 1}, "the file has 136"),
        ({"start": 129}, "the file has 136"),
        ({"start": 192}, "the file has 136"),
        ({"start": 1 << 63}, "the file has 136"),
        ({"start": 0}, "the file has 136"),
        ({"length": 132}, "the file has 132"),
        ({"length": 100}, "not aligned to 64 bytes inside"),
    ],
)
def test_a_damaged_blob_is_refused(tmp_path, damage, fact):
    blobs = blob_file(tmp_path / "w.bin", **damage)
    with pytest.raises(ArtifactError, match=fact) as raised:
        read_blob(blobs, 64, dtype="fp32", shape=(2,))
    assert raised.value.exit_code == 7
    assert "w.bin" in raised.value.fact


@pytest.mark.parametrize("offset", [0, 1, 63, 65, 128, 1 << 20, 1 << 62, (1 << 64) - 64])
def test_an_offset_outside_is_refused(tmp_path, offset):
    with pytest.raises(ArtifactError, match=r"not aligned to 64 bytes inside|sentinel"):
        read_blob(blob_file(tmp_path / "w.bin"), offset, dtype="fp32", shape=(2,))


def test_padding_bits_must_fit_the_shape(tmp_path):
    blobs = blob_file(tmp_path / "w.bin", code=11, size=2, padding=4)
    assert read_blob(blobs, 64, dtype="uint4", shape=(3,)).shape == (3,)
    with pytest.raises(ArtifactError, match="pads 4 bits"):
        read_blob(blobs, 64, dtype="uint4", shape=(4,))


@pytest.mark.parametrize(
    ("content", "fact"), [(None, "missing"), (b"", "shorter than its header"), (b"\1" * 63, "shorter than its header")]
)
def test_a_file_that_is_no_blob_file_is_refused(tmp_path, content, fact):
    path = tmp_path / "w.bin"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ArtifactError, match=fact):
        open_blobs(path)


def test_another_version_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match="version 3, this reader knows 2"):
        blob_file(tmp_path / "w.bin", version=3)


def test_reading_never_changes_the_file(tmp_path):
    before = blob_file(tmp_path / "w.bin")
    content = (tmp_path / "w.bin").read_bytes()
    read_blob(before, 64, dtype="fp32", shape=(2,))[:] = 7
    assert (tmp_path / "w.bin").read_bytes() == content
