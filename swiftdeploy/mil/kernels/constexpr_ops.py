"""Compressed weights: Apple's `constexpr_ops` family, which decompresses once, at load.

In: packed indices, masks and quantised values (int32), tables and scales (float32). Out: the dense weight, or for the
sparse-to-sparse ops its mask and its non-zero values. Up to iOS17 sub-byte data is a flat run of bytes that the kernel
unpacks; since iOS18 it is a tensor of a sub-byte dtype, and the reader has unpacked it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from swiftdeploy.mil.kernels.quantization_ops import along
from swiftdeploy.mil.kernels.registry import kernel


def constexpr_affine_dequantize(quantized_data: Tensor, zero_point: Tensor, scale: Tensor, axis: int) -> Tensor:
    """`scale` · (`quantized_data` - `zero_point`), each a scalar or a vector along `axis`."""
    rank = quantized_data.ndim
    return along(scale, rank, axis) * (quantized_data.to(torch.float32) - along(zero_point, rank, axis))


def constexpr_cast(source_val: Tensor, output_dtype: str) -> Tensor:
    """`source_val`, whose fp16 values every float carrier holds exactly."""
    if output_dtype != "fp32":
        raise ValueError(f"constexpr_cast gives fp32, not {output_dtype}")
    return source_val


def constexpr_lut_to_dense(indices: Tensor, lut: Tensor, shape: tuple[int, ...]) -> Tensor:
    """`lut` [2ⁿ] looked up at the n-bit numbers packed into the bytes `indices`, least significant bit first."""
    bits = int(math.log2(lut.shape[0]))
    return lut[_unpacked(indices, bits, math.prod(shape))].reshape(shape)


def constexpr_lut_to_dense_ios18(indices: Tensor, lut: Tensor, vector_axis: int | None = None) -> Tensor:
    """`indices` [*D] replaced by entries of `lut` [*G, entries, V]: D, with axis `vector_axis` times V.

    Each axis of D is cut into as many equal groups as the same axis of `lut` has tables. A missing or misfitting
    `vector_axis`, or groups that do not divide the axis, raise ValueError.
    """
    groups, (entries, width) = lut.shape[:-2], lut.shape[-2:]
    if width > 1 and vector_axis is None:
        raise ValueError("a table of vectors needs vector_axis")
    table = torch.zeros((), dtype=torch.int64)
    for axis, (size, count) in enumerate(zip(indices.shape, groups, strict=True)):
        table = table.unsqueeze(-1) * count + _group(size, count, axis)
    values = lut.reshape(-1, entries, width)[table, indices.to(torch.int64)]
    if width == 1 or vector_axis is None:
        return values.squeeze(-1)
    axis = vector_axis % indices.ndim
    # The vector's entries follow one another along the axis, in place of the index.
    return values.movedim(-1, axis + 1).flatten(axis, axis + 1)


def constexpr_sparse_to_dense(nonzero_data: Tensor, mask: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A tensor of `shape`: zero where the packed bit `mask` is 0, else the next of `nonzero_data`."""
    return _spread(nonzero_data, _unpacked(mask, 1, math.prod(shape)).reshape(shape))


def constexpr_sparse_to_dense_ios18(nonzero_data: Tensor, mask: Tensor) -> Tensor:
    """A tensor of the shape of `mask`: zero where it is 0, else the next of `nonzero_data`."""
    return _spread(nonzero_data, mask)


def constexpr_blockwise_shift_scale(data: Tensor, scale: Tensor, offset: Tensor | None = None) -> Tensor:
    """`scale` · (`data` - `offset`), where each scale covers a block of data.shape[i] / scale.shape[i] along axis i."""
    shifted = data.to(torch.float32)
    if offset is not None:
        shifted = shifted - _blocks(offset.to(torch.float32), data.shape)
    return shifted * _blocks(scale, data.shape)


def constexpr_lut_to_sparse(
    indices_mask: Tensor, indices_nonzero_data: Tensor, lut: Tensor, vector_axis: int | None = None
) -> tuple[Tensor, Tensor]:
    """Mask and non-zero values of the sparse tensor whose entries `lut` gives for `indices_nonzero_data`."""
    dense = constexpr_lut_to_dense_ios18(_spread(indices_nonzero_data, indices_mask), lut, vector_axis)
    mask = indices_mask
    if lut.shape[-1] > 1 and vector_axis is not None:
        mask = mask.repeat_interleave(lut.shape[-1], dim=vector_axis)
    return mask, dense[mask != 0]


def constexpr_sparse_blockwise_shift_scale(
    data_mask: Tensor, nonzero_data: Tensor, scale: Tensor, offset: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Mask and non-zero values of `constexpr_blockwise_shift_scale` applied to the non-zero values only."""
    dense = constexpr_blockwise_shift_scale(_spread(nonzero_data, data_mask), scale, offset)
    return data_mask, dense[data_mask != 0]


def _unpacked(data: Tensor, bits: int, count: int) -> Tensor:
    """The first `count` numbers of `bits` bits in a run of bytes, int64 [count]."""
    stream = (data.reshape(-1, 1).to(torch.int64) >> torch.arange(8)) & 1
    numbers = stream.reshape(-1)[: count * bits].reshape(count, bits)
    return (numbers << torch.arange(bits)).sum(-1)


def _spread(nonzero_data: Tensor, mask: Tensor) -> Tensor:
    places = mask != 0
    if int(places.sum()) != nonzero_data.numel():
        raise ValueError(f"the mask has {int(places.sum())} set bits for {nonzero_data.numel()} values")
    dense = torch.zeros(mask.shape, dtype=nonzero_data.dtype)
    dense[places] = nonzero_data
    return dense


def _group(size: int, count: int, axis: int) -> Tensor:
    if size % count:
        raise ValueError(f"{count} groups do not divide axis {axis} of size {size}")
    return torch.arange(size) // (size // count)


def _blocks(parameter: Tensor, shape: torch.Size) -> Tensor:
    for axis, (size, count) in enumerate(zip(shape, parameter.shape, strict=True)):
        if size % count:
            raise ValueError(f"{count} blocks do not divide axis {axis} of size {size}")
        # A lone block broadcasts by itself.
        parameter = parameter.repeat_interleave(size // count, dim=axis) if 1 < count < size else parameter
    return parameter


KERNELS = (
    kernel(constexpr_affine_dequantize, since="CoreML6"),
    kernel(constexpr_cast, since="CoreML6", exact=True),
    kernel(constexpr_lut_to_dense, since="CoreML6", exact=True),
    kernel(constexpr_lut_to_dense_ios18, op="constexpr_lut_to_dense", since="CoreML8", exact=True),
    kernel(constexpr_sparse_to_dense, since="CoreML6", exact=True),
    kernel(constexpr_sparse_to_dense_ios18, op="constexpr_sparse_to_dense", since="CoreML8", exact=True),
    kernel(constexpr_blockwise_shift_scale, since="CoreML8"),
    kernel(constexpr_lut_to_sparse, since="CoreML8", exact=True),
    kernel(constexpr_sparse_blockwise_shift_scale, since="CoreML8"),
)
