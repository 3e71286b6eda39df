"""An image file becomes 8-bit pixels, decoded as the loaders of training decode it.

torchvision's ImageFolder and timm open a file and call `convert("RGB")`: they do not turn it by its EXIF orientation.
Hugging Face's `load_image` does. Two cases differ from a bare `convert` on purpose: 16-bit grey keeps its high byte, as
16-bit colour does in Pillow (a bare `convert` clips nearly all of it to white), and a transparent palette goes through
RGBA (the same colours, without Pillow's warning).
"""

from __future__ import annotations

import struct
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from swiftdeploy.errors import UsageError

Exif = Literal["ignore", "apply"]
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"})
# A file's content decides, not its suffix: ImageNet's validation set holds a PNG that is called .JPEG.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
_NO_IMAGE = "it is no JPEG, PNG, WebP, BMP or TIFF, or its header is damaged"
_BROKEN = (OSError, ValueError, SyntaxError, EOFError, struct.error, Image.DecompressionBombError)


class UnreadableImage(UsageError):  # noqa: N818  # named as the fact that it states
    """An image file that does not decode; `reason` says why, without the path."""

    def __init__(self, path: Path, reason: str, *, hint: str = "remove or replace it") -> None:
        super().__init__(f"{path} is no readable image: {reason}", hint=hint)
        self.reason = reason


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """What an image file says of itself: width and height in pixels, and whether EXIF says to turn it."""

    size: tuple[int, int]
    turned: bool


def read_header(path: Path) -> Header:
    """The header of an image file; pixels stay unread. Raises UnreadableImage."""
    try:
        with warnings.catch_warnings(), Image.open(path, formats=_FORMATS) as image:
            warnings.simplefilter("ignore")
            return Header(size=image.size, turned=_orientation(image) > 1)
    except _BROKEN as error:
        raise _unreadable(path, error) from error


def read_pixels(path: Path, *, channels: int, exif: Exif = "ignore") -> Image.Image:
    """The image of mode "L" for one channel, else "RGB". Raises UnreadableImage for a damaged or truncated file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a large photograph is no attack here; Pillow refuses what is twice that
            with Image.open(path, formats=_FORMATS) as opened:
                image = ImageOps.exif_transpose(opened) if exif == "apply" else opened
                return to_mode(image, "L" if channels == 1 else "RGB")
    except _BROKEN as error:
        raise _unreadable(path, error) from error


def to_mode(image: Image.Image, mode: Literal["L", "RGB"]) -> Image.Image:
    """The image in 8 bits a channel. Raises ValueError for pixels that are no colours."""
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers")
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min(initial=0) < 0 or values.max(initial=0) > 0xFFFF:
            raise ValueError("its pixels have more than 16 bits")
        image = Image.fromarray((values >> 8).astype(np.uint8))
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA")
    return image.convert(mode)


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation that is still to be done, 1 to 8: 1 for a TIFF, which Pillow turns as it decodes it.

    A PNG's may stand behind its pixels, which a look at the header must not decode.
    """
    if image.format == "TIFF" or (image.format == "PNG" and "exif" not in image.info):
        return 1
    value = image.getexif().get(ExifTags.Base.Orientation, 1)
    return value if value in range(1, 9) else 1


def _unreadable(path: Path, error: BaseException) -> UnreadableImage:
    # Pillow's own words for an unknown format repeat the path and give no reason.
    if isinstance(error, UnidentifiedImageError):
        reason = _NO_IMAGE
    elif isinstance(error, OSError) and error.strerror:
        reason = error.strerror
    else:
        reason = str(error) or type(error).__name__
    return UnreadableImage(path, reason)
