"""Convolutions over one, two or three spatial axes. Source: Apple's MIL op reference, `conv`."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from swiftdeploy.mil.kernels.padding import pad_spatial, padded_shape, window_padding
from swiftdeploy.mil.kernels.registry import kernel
from swiftdeploy.mil.numerics import bounded

_CONV: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_CONV_TRANSPOSE: dict[int, Callable[..., Tensor]] = {
    1: F.conv_transpose1d,
    2: F.conv_transpose2d,
    3: F.conv_transpose3d,
}


def conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    strides: tuple[int, ...] | None = None,
    pad_type: str = "valid",
    pad: tuple[int, ...] | None = None,
    dilations: tuple[int, ...] | None = None,
    groups: int = 1,
) -> Tensor:
    """`x` (n, c, spatial...) convolved with `weight` (c_out, c / groups, kernel...), which may be dynamic."""
    rank = x.ndim - 2
    strides = strides or (1,) * rank
    dilations = dilations or (1,) * rank
    padding = window_padding(
        pad_type, pad, sizes=tuple(x.shape[2:]), windows=_extent(weight, dilations), strides=strides
    )
    bounded(padded_shape(x, padding))
    if all(before == after for before, after in padding):
        amounts = tuple(before for before, _ in padding)
        return _CONV[rank](x, weight, bias, strides, amounts, dilations, groups)
    return _CONV[rank](pad_spatial(x, padding), weight, bias, strides, 0, dilations, groups)


def conv_quantized(
    x: Tensor,
    weight: Tensor,
    quantization_type: str,
    quant_scale: Tensor,
    quant_bias: Tensor,
    bias: Tensor | None = None,
    nbits: int = 8,
    strides: tuple[int, ...] | None = None,
    pad_type: str = "valid",
    pad: tuple[int, ...] | None = None,
    dilations: tuple[int, ...] | None = None,
    groups: int = 1,
) -> Tensor:
    """`conv` with the weights weight·quant_scale + quant_bias, scale and bias one for all or one an output channel.

    Apple calls the op experimental. Its type "lut" has no table among its inputs and is refused; `nbits` (1 to 8) says
    how large the stored numbers may be and changes nothing here, where each has a byte of its own.
    """
    if quantization_type != "linear":
        raise ValueError(f"quantization_type {quantization_type!r} has no table among its inputs")
    if float(weight.max()) >= 2**nbits:
        raise ValueError(f"a weight of {int(weight.max())} does not fit {nbits} bits")
    each = (-1, *(1,) * (weight.ndim - 1))
    dense = weight.float() * quant_scale.reshape(each) + quant_bias.reshape(each)
    return conv(x, dense, None if bias is None else bias.float(), strides, pad_type, pad, dilations, groups)


def conv_transpose(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    pad: tuple[int, ...] | None = None,
    output_shape: tuple[int, ...] | None = None,
    pad_type: str = "valid",
    strides: tuple[int, ...] | None = None,
    dilations: tuple[int, ...] | None = None,
    groups: int = 1,
) -> Tensor:
    """The gradient of `conv`: `weight` is (c, c_out / groups, kernel...).

    The full result of (n - 1)·stride + window elements is cropped by the padding. With `output_shape` its end is
    cropped, or extended by what lies beyond (zeros, and the bias), to the given sizes; "same" gives n·stride elements.
    """
    rank = x.ndim - 2
    strides = strides or (1,) * rank
    dilations = dilations or (1,) * rank
    windows = _extent(weight, dilations)
    full = tuple((n - 1) * s + k for n, s, k in zip(x.shape[2:], strides, windows, strict=True))
    bounded((x.shape[0], weight.shape[1] * groups, *full))
    if output_shape is not None:
        wanted = output_shape[2:]
    elif pad_type in ("same", "same_lower"):
        wanted = tuple(n * s for n, s in zip(x.shape[2:], strides, strict=True))
    else:
        wanted = ()
    if pad_type in ("same", "same_lower"):
        totals = tuple(max(0, f - w) for f, w in zip(full, wanted, strict=True))
        lower = pad_type == "same_lower"
        crops = tuple((t - t // 2, t // 2) if lower else (t // 2, t - t // 2) for t in totals)
    else:
        crops = window_padding(pad_type, pad, sizes=full, windows=windows, strides=strides)
    result = _CONV_TRANSPOSE[rank](x, weight, None, strides, 0, 0, groups, dilations)
    ends = [w - f + before for w, f, (before, _) in zip(wanted, full, crops, strict=True)] if wanted else []
    padding = tuple((-b, ends[axis] if wanted else -a) for axis, (b, a) in enumerate(crops))
    result = pad_spatial(result, padding)
    return result if bias is None else result + bias.reshape(-1, *(1,) * rank)


def _extent(weight: Tensor, dilations: tuple[int, ...]) -> tuple[int, ...]:
    return tuple((k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilations, strict=True))


KERNELS = (
    kernel(conv),
    kernel(conv_quantized),
    kernel(conv_transpose),
)
