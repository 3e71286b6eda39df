"""Blocks of pixels that become channels or batch items, and back.

Source: Apple's MIL op reference, `tensor_transformation`.
`depth_to_space` counts the block's position slower than the channel, as TensorFlow does; `pixel_shuffle` faster, as
PyTorch.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from swiftdeploy.mil.kernels.padding import pad_spatial
from swiftdeploy.mil.kernels.registry import kernel


def depth_to_space(x: Tensor, block_size: int) -> Tensor:
    """(n, c, h, w) as (n, c / b², h·b, w·b), where channel (i·b + j)·(c / b²) + k goes to pixel (i, j) of channel k."""
    n, c, h, w = x.shape
    parts = x.reshape(n, block_size, block_size, c // block_size**2, h, w)
    return parts.permute(0, 3, 4, 1, 5, 2).reshape(n, -1, h * block_size, w * block_size)


def space_to_depth(x: Tensor, block_size: int) -> Tensor:
    """The inverse of `depth_to_space`: (n, c, h, w) as (n, c·b², h / b, w / b)."""
    n, c, h, w = x.shape
    parts = x.reshape(n, c, h // block_size, block_size, w // block_size, block_size)
    return parts.permute(0, 3, 5, 1, 2, 4).reshape(n, -1, h // block_size, w // block_size)


def pixel_shuffle(x: Tensor, upscale_factor: int) -> Tensor:
    """(n, c·f², h, w) as (n, c, h·f, w·f), where channel k·f² + i·f + j goes to pixel (i, j) of channel k."""
    return F.pixel_shuffle(x, upscale_factor)


def pixel_unshuffle(x: Tensor, downscale_factor: int) -> Tensor:
    """The inverse of `pixel_shuffle`: (n, c, h·f, w·f) as (n, c·f², h, w)."""
    return F.pixel_unshuffle(x, downscale_factor)


def space_to_batch(x: Tensor, block_shape: tuple[int, ...], paddings: tuple[int, ...]) -> Tensor:
    """(n, c, h, w), padded by zeros, as (n·a·b, c, h / a, w / b): one batch item for each position in a block.

    `paddings` are before and after for the height, then for the width.
    """
    top, bottom, left, right = paddings
    a, b = block_shape
    padded = pad_spatial(x, ((top, bottom), (left, right)))
    n, c, h, w = padded.shape
    parts = padded.reshape(n, c, h // a, a, w // b, b)
    return parts.permute(3, 5, 0, 1, 2, 4).reshape(a * b * n, c, h // a, w // b)


def batch_to_space(x: Tensor, block_shape: tuple[int, ...], crops: tuple[int, ...]) -> Tensor:
    """The inverse of `space_to_batch`, with `crops` elements cut off instead of padded."""
    top, bottom, left, right = crops
    a, b = block_shape
    n, c, h, w = x.shape
    parts = x.reshape(a, b, n // (a * b), c, h, w).permute(2, 3, 4, 0, 5, 1)
    whole = parts.reshape(n // (a * b), c, h * a, w * b)
    return whole[:, :, top : h * a - bottom, left : w * b - right]


KERNELS = (
    kernel(depth_to_space, exact=True),
    kernel(space_to_depth, exact=True),
    kernel(pixel_shuffle, exact=True),
    kernel(pixel_unshuffle, since="CoreML6", exact=True),
    kernel(space_to_batch, exact=True),
    kernel(batch_to_space, exact=True),
)
