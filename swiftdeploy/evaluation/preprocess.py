"""Pixels become the crop that a model was trained to see, as torchvision does it on PIL images.

Sizes and offsets follow torchvision's `Resize` and `CenterCrop`, to the pixel: the longer side is truncated, an offset
is rounded half to even, and an image smaller than the crop is padded with black. Normalising is not done here: it
belongs to the artifact's input contract (`parity.samples.to_input`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from swiftdeploy.spec import Preprocessing

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def fit(image: Image.Image, size: tuple[int, int], preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Pixels (height, width, channels) of `size`, resized and cropped."""
    resized = image.resize(resized_size(image.size, size, preprocessing), FILTERS[preprocessing.interpolation])
    pixels = np.array(centre_crop(resized, size), np.uint8)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def resized_size(image: tuple[int, int], size: tuple[int, int], preprocessing: Preprocessing) -> tuple[int, int]:
    """(width, height) after resizing an image of (width, height), for a crop of `size` (height, width).

    A model exported for another size than `crop` keeps the margin around the crop; for one that is not square both
    sides must reach their target, as in timm's ResizeKeepRatio.
    """
    width, height = image
    target_h, target_w = (_target(side, preprocessing) for side in size)
    if preprocessing.squash:
        return target_w, target_h
    if target_h == target_w:
        if width <= height:
            return target_w, int(target_w * height / width)
        return int(target_h * width / height), target_h
    ratio = min(height / target_h, width / target_w)
    return round(width / ratio), round(height / ratio)


def centre_crop(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The middle of the image, of `size` (height, width)."""
    height, width = size
    left, top = _offset(image.width, width), _offset(image.height, height)
    return image.crop((left, top, left + width, top + height))


def _target(side: int, preprocessing: Preprocessing) -> int:
    """What a side of the crop is resized to."""
    if side == preprocessing.crop:
        return preprocessing.resize
    return int(side * preprocessing.resize / preprocessing.crop)


def _offset(have: int, want: int) -> int:
    """Where the crop begins; negative where the image is smaller, and the crop padded."""
    return round((have - want) / 2) if have >= want else -((want - have) // 2)
