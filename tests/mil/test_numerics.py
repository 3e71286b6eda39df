"""Oracles: numpy's float16 for rounding, numpy's casts between integers for wrapping."""

import numpy as np
import pytest
import torch

from swiftdeploy.mil.numerics import TORCH_DTYPES, bounded, carrier, integer_range, needs_settling, settle

EDGES = [
    0.0,
    -0.0,
    1.0,
    1 + 2**-11,
    1 + 3 * 2**-11,
    65504.0,
    65519.0,
    65520.0,
    -1e6,
    6e-8,
    2.9e-8,
    6.1e-5,
    np.inf,
    np.nan,
]


def test_half_precision_is_rounded_as_numpy_rounds_it():
    values = np.concatenate(
        [np.array(EDGES, np.float32), np.random.default_rng(0).standard_normal(10_000).astype(np.float32)]
    )
    with np.errstate(over="ignore"):
        wanted = values.astype(np.float16).astype(np.float32)
    found = settle(torch.from_numpy(values), torch.float16)
    assert found.dtype == torch.float32
    assert np.array_equal(found.numpy(), wanted, equal_nan=True)
    assert np.array_equal(np.signbit(found.numpy()), np.signbit(wanted))


def test_rounding_twice_changes_nothing():
    values = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    once = settle(values, torch.float16)
    assert torch.equal(settle(once, torch.float16), once)


@pytest.mark.parametrize("name", ["int8", "uint8", "int16", "uint16"])
def test_integers_wrap_as_two_s_complement_does(name):
    values = np.random.default_rng(0).integers(-(2**31), 2**31, 1000).astype(np.int32)
    found = settle(torch.from_numpy(values), TORCH_DTYPES[name])
    assert found.dtype == torch.int32
    assert np.array_equal(found.numpy(), values.astype(name))


@pytest.mark.parametrize(
    ("name", "limits"),
    [
        ("int4", (-8, 7)),
        ("uint1", (0, 1)),
        ("uint2", (0, 3)),
        ("uint3", (0, 7)),
        ("uint4", (0, 15)),
        ("uint6", (0, 63)),
    ],
)
def test_integers_narrower_than_a_byte_wrap(name, limits):
    low, high = limits
    assert integer_range(TORCH_DTYPES[name]) == limits
    inside = torch.arange(low, high + 1, dtype=torch.int32)
    assert torch.equal(settle(inside, TORCH_DTYPES[name]), inside)
    assert torch.equal(settle(inside + (high - low + 1), TORCH_DTYPES[name]), inside)


def test_single_precision_passes_untouched():
    values = torch.randn(10)
    assert not needs_settling(torch.float32)
    assert settle(values, torch.float32) is values
    assert settle(values.int(), torch.int32).dtype == torch.int32


def test_carriers():
    assert {name: carrier(dtype) for name, dtype in TORCH_DTYPES.items()} == {
        **dict.fromkeys(("fp16", "fp32", "fp64", "bf16", "fp8e4m3fn", "fp8e5m2"), torch.float32),
        **dict.fromkeys(("int4", "int8", "int16", "int32"), torch.int32),
        **dict.fromkeys(("uint1", "uint2", "uint3", "uint4", "uint6", "uint8", "uint16"), torch.int32),
        **dict.fromkeys(("int64", "uint32"), torch.int64),
        "bool": torch.bool,
    }


def test_ranges_of_whole_integers():
    assert integer_range(torch.int8) == (-128, 127)
    assert integer_range(torch.uint16) == (0, 65535)
    assert integer_range(torch.int32) == (-(2**31), 2**31 - 1)


def test_sizes_that_cannot_be_are_refused():
    assert bounded((2, 0, 3)) == (2, 0, 3)
    assert bounded(()) == ()
    for shape in ((1 << 31,), (1 << 16, 1 << 16), (-1, 2), (-2, -2)):
        with pytest.raises(ValueError, match="more than this runtime makes"):
            bounded(shape)
