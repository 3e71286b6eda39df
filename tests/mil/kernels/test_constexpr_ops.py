"""Oracles: coremltools' own decompression of the same constants, numpy's bit packing, and the reference's examples."""

import numpy as np
import pytest
import torch
from coremltools.converters.mil.mil.ops.defs.iOS16.constexpr_ops import (
    constexpr_affine_dequantize,
    constexpr_lut_to_dense,
)
from coremltools.converters.mil.mil.ops.defs.iOS18 import compression

from swiftdeploy.mil.kernels import constexpr_ops as ops

RNG = np.random.default_rng(0)


def carried(array):
    kind = np.float32 if array.dtype.kind == "f" else np.int32
    return torch.from_numpy(np.ascontiguousarray(array, dtype=kind))


def packed(numbers, bits):
    """Numbers of `bits` bits, least significant bit first, in bytes."""
    each = (numbers.reshape(-1, 1) >> np.arange(bits)) & 1
    return np.packbits(each.reshape(-1).astype(np.uint8), bitorder="little")


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize(("axis", "vector"), [(0, False), (1, True), (-1, True)])
def test_affine_dequantize(dtype, axis, vector):
    data = RNG.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, (2, 3, 4)).astype(dtype)
    size = data.shape[axis] if vector else ()
    scale, zero = RNG.random(size, dtype=np.float32), RNG.integers(0, 100, size).astype(dtype)
    scale, zero = np.asarray(scale), np.asarray(zero)
    expected = constexpr_affine_dequantize.decompress(data, zero, scale, axis)
    found = ops.constexpr_affine_dequantize(carried(data), carried(zero), carried(scale), axis)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("bits", [1, 2, 4, 6, 8])
def test_lut_to_dense_of_packed_bytes(bits):
    shape = (3, 5, 7)  # 105 numbers: no width fills its last byte
    numbers = RNG.integers(0, 2**bits, shape)
    lut = RNG.standard_normal(2**bits).astype(np.float32)
    indices = packed(numbers, bits)
    found = ops.constexpr_lut_to_dense(carried(indices), carried(lut), shape)
    assert np.array_equal(found, lut[numbers])
    assert np.array_equal(found, constexpr_lut_to_dense.decompress(lut, indices, shape))


@pytest.mark.parametrize("groups", [(1, 1), (2, 1), (1, 3), (4, 6), (2, 3)])
@pytest.mark.parametrize(("width", "vector_axis"), [(1, None), (1, 0), (3, 0), (3, 1), (2, -1)])
def test_lut_to_dense_with_groups_and_vectors(groups, width, vector_axis):
    indices = RNG.integers(0, 4, (4, 6)).astype(np.uint8)
    lut = RNG.standard_normal((*groups, 4, width)).astype(np.float32)
    expected = compression.constexpr_lut_to_dense.decompress(indices, lut, vector_axis)
    found = ops.constexpr_lut_to_dense_ios18(carried(indices), carried(lut), vector_axis)
    assert np.array_equal(found, expected)


def test_lut_of_three_axes_by_the_references_example():
    indices = torch.tensor([[[0, 0], [1, 0]], [[1, 1], [0, 0]]], dtype=torch.int32)
    lut = torch.tensor([[1.0, 2.0, 3.0], [7.0, 8.0, 9.0]]).reshape(1, 1, 1, 2, 3)
    found = ops.constexpr_lut_to_dense_ios18(indices, lut, 1)
    assert found[0].tolist() == [[1, 1], [2, 2], [3, 3], [7, 1], [8, 2], [9, 3]]


def test_lut_refuses_what_does_not_fit():
    indices = torch.zeros(4, 6, dtype=torch.int32)
    with pytest.raises(ValueError, match="vector_axis"):
        ops.constexpr_lut_to_dense_ios18(indices, torch.zeros(1, 1, 2, 3))
    with pytest.raises(ValueError, match="axis 1 of size 6"):
        ops.constexpr_lut_to_dense_ios18(indices, torch.zeros(1, 4, 2, 1))


def test_sparse_to_dense_of_a_packed_mask():
    mask = RNG.integers(0, 2, (3, 7))
    values = RNG.standard_normal(int(mask.sum())).astype(np.float32)
    bits = packed(mask, 1)
    found = ops.constexpr_sparse_to_dense(carried(values), carried(bits), (3, 7))
    dense = np.zeros((3, 7), np.float32)
    dense[mask == 1] = values
    assert np.array_equal(found, dense)
    assert np.array_equal(ops.constexpr_sparse_to_dense_ios18(carried(values), carried(mask)), dense)


def test_sparse_refuses_a_mask_that_does_not_fit():
    with pytest.raises(ValueError, match="2 set bits for 3 values"):
        ops.constexpr_sparse_to_dense_ios18(torch.zeros(3), torch.tensor([1, 0, 1]))


@pytest.mark.parametrize("blocks", [(1, 1), (4, 1), (2, 3), (4, 6)])
@pytest.mark.parametrize("offset", [True, False])
def test_blockwise_shift_scale(blocks, offset):
    data = RNG.integers(-8, 8, (4, 6)).astype(np.int8)
    scale = RNG.random(blocks, dtype=np.float32)
    shift = RNG.integers(-8, 8, blocks).astype(np.int8) if offset else None
    expected = compression.constexpr_blockwise_shift_scale.decompress(data, scale, shift)
    found = ops.constexpr_blockwise_shift_scale(
        carried(data), carried(scale), None if shift is None else carried(shift)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    with pytest.raises(ValueError, match="do not divide"):
        ops.constexpr_blockwise_shift_scale(carried(data), torch.ones(3, 1))


@pytest.mark.parametrize(("width", "vector_axis"), [(1, None), (2, 0), (3, 1)])
def test_lut_to_sparse(width, vector_axis):
    mask = RNG.integers(0, 2, (4, 6)).astype(np.uint8)
    indices = RNG.integers(0, 4, int(mask.sum())).astype(np.uint8)
    lut = RNG.standard_normal((2, 1, 4, width)).astype(np.float32)
    expected = compression.constexpr_lut_to_sparse.decompress(mask, indices, lut, vector_axis)
    found = ops.constexpr_lut_to_sparse(carried(mask), carried(indices), carried(lut), vector_axis)
    for ours, theirs in zip(found, expected, strict=True):
        assert np.array_equal(ours, theirs)


def test_sparse_blockwise_shift_scale_by_the_references_example():
    mask = np.array([[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 1, 1], [1, 1, 0, 0]])
    data = np.array([10, 11, 3, 4, 5, 6, 7, 8, 9])
    scale, offset = np.array([[0.1, 0.2, 0.3, 0.4]], np.float32), np.array([[1, 2, 3, 4]])
    kept, found = ops.constexpr_sparse_blockwise_shift_scale(
        carried(mask), carried(data), carried(scale), carried(offset)
    )
    assert np.array_equal(kept, mask)
    np.testing.assert_allclose(found, [0.9, 1.8, 0.2, 0.4, 0.6, 0.9, 1.2, 0.7, 1.4], rtol=1e-6)


def test_cast_gives_fp32_only():
    value = torch.tensor([1.5])
    assert torch.equal(ops.constexpr_cast(value, "fp32"), value)
    with pytest.raises(ValueError, match="fp16"):
        ops.constexpr_cast(value, "fp16")
