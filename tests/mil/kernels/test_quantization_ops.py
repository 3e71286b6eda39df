"""Oracles: torch's own fake quantisation, ONNX's definition in numpy, and the edges of the ranges."""

import numpy as np
import pytest
import torch

from swiftdeploy.mil.kernels import quantization_ops as ops


@pytest.mark.parametrize(("dtype", "low", "high"), [("int8", -128, 127), ("uint8", 0, 255)])
def test_quantize_and_dequantize_equal_torchs_fake_quantize(dtype, low, high):
    x = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0)) * 40
    scale, zero = torch.tensor(0.25), torch.tensor(3, dtype=torch.int32)
    levels = ops.quantize(x, scale, dtype, zero)
    expected = torch.fake_quantize_per_tensor_affine(x, 0.25, 3, low, high)
    torch.testing.assert_close(ops.dequantize(levels, scale, zero), expected)
    assert levels.dtype is torch.int32
    assert levels.min() >= low
    assert levels.max() == high


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_quantize_along_an_axis_equals_torch(axis):
    x = torch.randn(4, 4, 4, generator=torch.Generator().manual_seed(0))
    scale, zero = torch.tensor([0.1, 0.2, 0.05, 1.0]), torch.tensor([0, 5, -7, 1], dtype=torch.int32)
    expected = torch.fake_quantize_per_channel_affine(x, scale, zero, axis % 3, -128, 127)
    levels = ops.quantize(x, scale, "int8", zero, axis)
    torch.testing.assert_close(ops.dequantize(levels, scale, zero, axis), expected)


def test_quantize_rounds_halves_to_even_before_it_shifts():
    x = torch.tensor([0.5, 1.5, 2.5, -0.5, -1.5])
    found = ops.quantize(x, torch.tensor(1.0), "int8", torch.tensor(1, dtype=torch.int32))
    assert found.tolist() == (np.round(x.numpy()) + 1).astype(int).tolist()


def test_the_zero_point_may_be_left_out():
    x = torch.tensor([[1.0, -300.0]])
    assert ops.quantize(x, torch.tensor([1.0, 2.0]), "int8", axis=1).tolist() == [[1, -128]]
    assert ops.dequantize(torch.tensor([[2, 3]], dtype=torch.int32), torch.tensor(0.5)).tolist() == [[1.0, 1.5]]


def test_an_unknown_dtype_is_refused():
    with pytest.raises(KeyError):
        ops.quantize(torch.zeros(1), torch.tensor(1.0), "int9")
