"""A person's own images, prepared as training prepared them, as samples for parity."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from swiftdeploy.errors import UsageError
from swiftdeploy.parity.samples import Sample
from swiftdeploy.spec import Preprocessing

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"})
AT_MOST, CALIBRATION_AT_MOST = 16, 128
_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def read_images(folder: Path, size: tuple[int, int], preprocessing: Preprocessing) -> tuple[Sample, ...]:
    """Up to 16 images below a folder, evenly chosen, each resized and cropped to `size` (height, width).

    Raises UsageError for a folder without images or an image that does not read.
    """
    return _samples(folder, image_paths(folder, "--images"), AT_MOST, size, preprocessing)


def read_calibration(folder: Path, size: tuple[int, int], preprocessing: Preprocessing) -> tuple[Sample, ...]:
    """Up to 128 images below a folder, evenly chosen and prepared as `read_images` prepares them.

    Raises UsageError for a folder without images, or with a single file that is no image, chosen or not: ranges that
    were measured on other images than somebody believes are not seen in any figure.
    """
    paths = image_paths(folder, "--calibration")
    for path in paths:
        _check_header(path)
    return _samples(folder, paths, CALIBRATION_AT_MOST, size, preprocessing)


def image_paths(folder: Path, option: str) -> list[Path]:
    """Every image file below a folder, sorted. Raises UsageError, naming the option, where there is none."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder", hint=f"give a folder with images to {option}")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not paths:
        raise UsageError(
            f"{folder} holds no images", hint=f"it should hold files such as {', '.join(sorted(SUFFIXES))}"
        )
    return paths


def _samples(
    folder: Path, paths: list[Path], most: int, size: tuple[int, int], preprocessing: Preprocessing
) -> tuple[Sample, ...]:
    chosen = [paths[i] for i in np.linspace(0, len(paths) - 1, min(most, len(paths))).round().astype(int)]
    return tuple(
        Sample(name=path.relative_to(folder).as_posix(), image=read_image(path, size, preprocessing)) for path in chosen
    )


def _check_header(path: Path) -> None:
    try:
        with Image.open(path):
            pass
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UsageError(f"{path} is no readable image: {error}", hint="remove or replace it") from error


def read_image(path: Path, size: tuple[int, int], preprocessing: Preprocessing) -> np.ndarray:
    """One image file as uint8 (height, width, channels). Raises UsageError where it does not read."""
    try:
        with Image.open(path) as opened:
            image = opened.convert("L" if len(preprocessing.mean) == 1 else "RGB")
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UsageError(f"{path} is no readable image: {error}", hint="remove or replace it") from error
    pixels = np.asarray(_fit(image, size, preprocessing), np.uint8)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def _fit(image: Image.Image, size: tuple[int, int], preprocessing: Preprocessing) -> Image.Image:
    """Resize the shorter side (or, squashing, both sides) and crop the centre, scaled to `size` where that differs."""
    height, width = size
    resample = _FILTERS[preprocessing.interpolation]
    if preprocessing.squash:
        return image.resize((width, height), resample)
    margin = preprocessing.resize / preprocessing.crop
    factor = max(height * margin / image.height, width * margin / image.width)
    scaled = image.resize(
        (max(width, round(image.width * factor)), max(height, round(image.height * factor))), resample
    )
    left, top = round((scaled.width - width) / 2), round((scaled.height - height) / 2)
    return scaled.crop((left, top, left + width, top + height))
