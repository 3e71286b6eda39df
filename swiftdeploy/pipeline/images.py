"""A person's own images, prepared as training prepared them, as samples for parity."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from swiftdeploy.errors import UsageError
from swiftdeploy.evaluation.decode import SUFFIXES, read_header, read_pixels
from swiftdeploy.evaluation.preprocess import fit
from swiftdeploy.parity.samples import Sample
from swiftdeploy.spec import Preprocessing

AT_MOST, CALIBRATION_AT_MOST = 16, 128


def read_images(folder: Path, size: tuple[int, int], preprocessing: Preprocessing) -> tuple[Sample, ...]:
    """Up to 16 images below a folder, evenly chosen, each resized and cropped to `size` (height, width).

    Raises UsageError for a folder without images or an image that does not read.
    """
    pictures = read_pictures(folder, channels=len(preprocessing.mean))
    return tuple(Sample(name=name, image=fit(picture, size, preprocessing)) for name, picture in pictures)


def read_calibration(folder: Path, size: tuple[int, int], preprocessing: Preprocessing) -> tuple[Sample, ...]:
    """Up to 128 images below a folder, evenly chosen and prepared as `read_images` prepares them.

    Raises UsageError for a folder without images, or with a single file that is no image, chosen or not: ranges that
    were measured on other images than somebody believes are not seen in any figure.
    """
    for path in image_paths(folder, "--calibration"):
        read_header(path)
    pictures = read_pictures(
        folder, channels=len(preprocessing.mean), option="--calibration", at_most=CALIBRATION_AT_MOST
    )
    return tuple(Sample(name=name, image=fit(picture, size, preprocessing)) for name, picture in pictures)


def read_pictures(
    folder: Path, *, channels: int, option: str = "--images", at_most: int = AT_MOST
) -> tuple[tuple[str, Image.Image], ...]:
    """(name, decoded image of its own size) of some images below a folder, evenly chosen. Raises UsageError."""
    paths = image_paths(folder, option)
    chosen = [paths[i] for i in np.linspace(0, len(paths) - 1, min(at_most, len(paths))).round().astype(int)]
    return tuple((path.relative_to(folder).as_posix(), read_pixels(path, channels=channels)) for path in chosen)


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
