"""Resizing, cropping and resampling of images: Apple's `image_resizing` family.

In: images whose last axes are height and width, float32 (or int32 for `resize`). Out: the same dtype, other sizes.
Positions are computed in float64, values in float32. Source: the ops' definitions in Apple's MIL op reference.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from swiftdeploy.mil.kernels import sampling
from swiftdeploy.mil.kernels.registry import kernel


def upsample_nearest_neighbor(x: Tensor, scale_factor_height: float = 1.0, scale_factor_width: float = 1.0) -> Tensor:
    """`x` [*D, H, W] with floor(H·scale) rows and floor(W·scale) columns, each the input pixel that it starts in."""
    for axis, scale in ((-2, scale_factor_height), (-1, scale_factor_width)):
        x = x.index_select(axis, _starting_pixel(x.shape[axis], _scaled(x.shape[axis], scale)))
    return x


def resize_nearest_neighbor(x: Tensor, target_size_height: int, target_size_width: int) -> Tensor:
    """`x` [*D, H, W] at the target size, each output pixel taken from the input pixel that its centre falls into.

    The op reference does not define the rounding; this is the rule for which Apple's TensorFlow converter emits the
    op (`half_pixel_centers`), and the one that its own tests of `resize` expect.
    """
    for axis, count in ((-2, target_size_height), (-1, target_size_width)):
        x = x.index_select(axis, _centred_pixel(x.shape[axis], count))
    return x


def upsample_bilinear(
    x: Tensor,
    scale_factor_height: float = 1.0,
    scale_factor_width: float = 1.0,
    align_corners: bool = True,
    half_pixel_centers: bool | None = None,
) -> Tensor:
    """`x` [*D, H, W] with floor(H·scale) rows and floor(W·scale) columns, linearly interpolated.

    The spacing follows from the two sizes, not from the scale. `half_pixel_centers` (since iOS16) defaults to the
    opposite of `align_corners`; without either, the first pixels of input and output coincide.
    """
    half_pixel = not align_corners if half_pixel_centers is None else half_pixel_centers
    mode = "STRICT_ALIGN_CORNERS" if align_corners else "UNALIGN_CORNERS" if half_pixel else "DEFAULT"
    for axis, scale in ((-2, scale_factor_height), (-1, scale_factor_width)):
        count = _scaled(x.shape[axis], scale)
        x = sampling.interpolate_axis(x, axis, sampling.axis_points(mode, x.shape[axis], count))
    return x


def resize_bilinear(
    x: Tensor, target_size_height: int = 1, target_size_width: int = 1, sampling_mode: str = "DEFAULT"
) -> Tensor:
    """`x` [*D, H, W] at the target size, linearly interpolated at the points of `sampling_mode`."""
    for axis, count in ((-2, target_size_height), (-1, target_size_width)):
        x = sampling.interpolate_axis(x, axis, sampling.axis_points(sampling_mode, x.shape[axis], count))
    return x


def resize(
    x: Tensor,
    shape: tuple[int, ...],
    resized_dims: int,
    interpolation_mode: str = "LINEAR",
    sampling_mode: str = "DEFAULT",
) -> Tensor:
    """`x` with its last `resized_dims` axes at the last sizes of `shape`; a size of 0 keeps the input's.

    The reference gives NEAREST_NEIGHBOR no rounding rule. With DEFAULT it is `resize_nearest_neighbor`'s, of which it
    says that this op is a superset; with another mode it is the pixel nearest to that mode's point, the upper on a tie.
    """
    values = x if x.is_floating_point() else x.to(torch.float32)
    for back in range(resized_dims, 0, -1):
        size, count = values.shape[-back], shape[-back] or values.shape[-back]
        if interpolation_mode == "LINEAR":
            values = sampling.interpolate_axis(values, -back, sampling.axis_points(sampling_mode, size, count))
        elif interpolation_mode == "NEAREST_NEIGHBOR":
            nearest = (
                _centred_pixel(size, count)
                if sampling_mode == "DEFAULT"
                else (sampling.axis_points(sampling_mode, size, count) + 0.5).floor().to(torch.int64)
            )
            values = values.index_select(-back, nearest.clamp(max=size - 1))
        else:
            raise ValueError(f"unknown interpolation mode {interpolation_mode!r}")
    return values.to(x.dtype)


def crop(x: Tensor, crop_height: tuple[int, ...], crop_width: tuple[int, ...]) -> Tensor:
    """`x` [*D, H, W] without the given numbers of rows (top, bottom) and columns (left, right)."""
    (top, bottom), (left, right) = crop_height, crop_width
    return x[..., top : x.shape[-2] - bottom, left : x.shape[-1] - right]


def crop_resize(
    x: Tensor,
    roi: Tensor,
    target_height: int = 1,
    target_width: int = 1,
    normalized_coordinates: bool = False,
    spatial_scale: float = 1.0,
    box_coordinate_mode: str = "CORNERS_HEIGHT_FIRST",
    sampling_mode: str = "DEFAULT",
    pad_value: float = 0.0,
) -> Tensor:
    """Each box of `roi` cut out of `x` [B, C, H, W] and resized bilinearly.

    `roi` [N, 1, 4, 1, 1] cuts every image: [N, B, C, h, w]. `roi` [N, 1, 5, 1, 1] leads with an image's index:
    [N, 1, C, h, w]. Points outside the image are `pad_value`, which opsets before iOS16 fix at 0.
    """
    boxes = roi.reshape(roi.shape[0], -1)
    images = x.shape[0] if boxes.shape[1] == 4 else 1
    if boxes.shape[1] == 4:
        batch = torch.arange(images).repeat(boxes.shape[0])
        boxes = boxes.repeat_interleave(images, dim=0)
    else:
        batch, boxes = boxes[:, 0], boxes[:, 1:]
    cut = crop_resize_ios17(
        x=x,
        boxes=boxes,
        box_indices=batch,
        target_height=target_height,
        target_width=target_width,
        normalized_coordinates=normalized_coordinates,
        spatial_scale=spatial_scale,
        box_coordinate_mode=box_coordinate_mode,
        sampling_mode=sampling_mode,
        pad_value=pad_value,
    )
    return cut.reshape(-1, images, *cut.shape[1:])


def crop_resize_ios17(
    x: Tensor,
    boxes: Tensor,
    box_indices: Tensor | None = None,
    target_height: int = 1,
    target_width: int = 1,
    normalized_coordinates: bool = False,
    spatial_scale: float = 1.0,
    box_coordinate_mode: str = "CORNERS_HEIGHT_FIRST",
    sampling_mode: str = "DEFAULT",
    pad_value: float = 0.0,
) -> Tensor:
    """Each of `boxes` [N, 4] cut out of image `box_indices` [N] of `x` [B, C, H, W] and resized: [N, C, h, w].

    `box_indices` defaults to 0..N-1. Points outside the image are `pad_value`. An index outside B raises IndexError.
    """
    height, width = x.shape[-2:]
    top, left, bottom, right = _corners(boxes.to(torch.float64) * spatial_scale, box_coordinate_mode)
    if normalized_coordinates:
        top, bottom = top * (height - 1), bottom * (height - 1)
        left, right = left * (width - 1), right * (width - 1)
    rows = sampling.grid_points(sampling_mode, top, bottom, target_height).unsqueeze(2).expand(-1, -1, target_width)
    columns = sampling.grid_points(sampling_mode, left, right, target_width).unsqueeze(1).expand(-1, target_height, -1)
    batch = torch.arange(boxes.shape[0]) if box_indices is None else box_indices.reshape(-1).to(torch.int64)
    # A point is outside as soon as it leaves the outermost centres; rounding of a normalised box must not decide it.
    slack = 1e-5
    inside = (rows > -slack) & (rows < height - 1 + slack) & (columns > -slack) & (columns < width - 1 + slack)
    values = sampling.sample(x, batch, rows.clamp(0, height - 1), columns.clamp(0, width - 1), pad_value)
    return torch.where(inside.unsqueeze(1), values, pad_value)


def resample(
    x: Tensor,
    coordinates: Tensor,
    sampling_mode: str,
    padding_mode: str,
    padding_value: float,
    coordinates_mode: str,
    align_corners: bool,
) -> Tensor:
    """`x` [B, C, H, W] read at `coordinates` [B, h, w, 2], each pair (x, y): [B, C, h, w].

    `padding_mode` "reflection" mirrors at the outermost pixel centres, "symmetric" at the image's edges.
    """
    height, width = x.shape[-2:]
    across, down = coordinates.to(torch.float64).unbind(-1)
    columns = _padded(_pixels(across, width, coordinates_mode, align_corners), width, padding_mode)
    rows = _padded(_pixels(down, height, coordinates_mode, align_corners), height, padding_mode)
    batch = torch.arange(x.shape[0])
    if sampling_mode == "nearest":
        return sampling.sample_nearest(x, batch, rows.round(), columns.round(), padding_value)
    return sampling.sample(x, batch, rows, columns, padding_value)


def affine(
    x: Tensor,
    transform_matrix: Tensor,
    output_height: int,
    output_width: int,
    sampling_mode: str,
    padding_mode: str,
    padding_value: float,
    coordinates_mode: str,
    align_corners: bool,
) -> Tensor:
    """`x` [B, C, H, W] under the maps `transform_matrix` [B or 1, 6] from output to input coordinates.

    The answer is [B, C, output_height, output_width]. An output axis of one pixel lies at coordinate 0.
    """
    across = _normalized_axis(output_width, align_corners).reshape(1, 1, -1)
    down = _normalized_axis(output_height, align_corners).reshape(1, -1, 1)
    a0, a1, a2, b0, b1, b2 = transform_matrix.to(torch.float64).reshape(-1, 6, 1, 1).unbind(1)
    pairs = torch.stack((a0 * across + a1 * down + a2, b0 * across + b1 * down + b2), dim=-1)
    return resample(
        x=x,
        coordinates=pairs.expand(x.shape[0], -1, -1, -1),
        sampling_mode=sampling_mode,
        padding_mode=padding_mode,
        padding_value=padding_value,
        coordinates_mode=coordinates_mode,
        align_corners=align_corners,
    )


def _scaled(size: int, scale: float) -> int:
    # In float32, as the op's declared output shape was inferred: 3 · 2.3333333 is 7 there and 6.99… in double.
    return math.floor(np.float32(scale) * np.float32(size))


def _starting_pixel(size: int, count: int) -> Tensor:
    return torch.div(torch.arange(count) * size, count, rounding_mode="floor")


def _centred_pixel(size: int, count: int) -> Tensor:
    return torch.div((2 * torch.arange(count) + 1) * size, 2 * count, rounding_mode="floor")


def _corners(boxes: Tensor, mode: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Boxes [N, 4] as (top, left, bottom, right), each [N]."""
    first, second, third, fourth = boxes.unbind(1)
    if mode.endswith("WIDTH_FIRST"):
        first, second, third, fourth = second, first, fourth, third
    if mode.startswith("CENTER_SIZE"):
        return first - third / 2, second - fourth / 2, first + third / 2, second + fourth / 2
    return first, second, third, fourth


def _pixels(coordinate: Tensor, size: int, mode: str, align_corners: bool) -> Tensor:
    if mode == "unnormalized":
        return coordinate
    unit = (coordinate + 1) / 2 if mode == "normalized_minus_one_to_one" else coordinate
    return unit * (size - 1) if align_corners else unit * size - 0.5


def _padded(position: Tensor, size: int, mode: str) -> Tensor:
    if mode == "reflection":
        position = sampling.reflect(position, 0.0, size - 1.0)
    elif mode == "symmetric":
        position = sampling.reflect(position, -0.5, size - 0.5)
    return position if mode == "constant" else position.clamp(0, size - 1)


def _normalized_axis(count: int, align_corners: bool) -> Tensor:
    step = torch.arange(count, dtype=torch.float64)
    if align_corners and count > 1:
        return 2 * step / (count - 1) - 1
    return (2 * step + 1) / count - 1


KERNELS = (
    kernel(upsample_nearest_neighbor, exact=True),
    kernel(resize_nearest_neighbor, exact=True),
    kernel(upsample_bilinear),
    kernel(resize_bilinear),
    kernel(resize, since="CoreML7"),
    kernel(crop, exact=True),
    kernel(crop_resize),
    kernel(crop_resize_ios17, op="crop_resize", since="CoreML7"),
    kernel(resample),
    kernel(affine),
)
