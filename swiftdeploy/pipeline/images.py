"""A person's own images, prepared as training prepared them, as samples for parity."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from swiftdeploy.errors import UsageError
from swiftdeploy.evaluation.decode import SUFFIXES, read_pixels
from swiftdeploy.evaluation.preprocess import fit
from swiftdeploy.parity.samples import Sample
from swiftdeploy.spec import Preprocessing

AT_MOST = 16


def read_images(folder: Path, size: tuple[int, int], preprocessing: Preprocessing) -> tuple[Sample, ...]:
    """Up to 16 images below a folder, evenly chosen, each resized and cropped to `size` (height, width).

    Raises UsageError for a folder without images or an image that does not read.
    """
    pictures = read_pictures(folder, channels=len(preprocessing.mean))
    return tuple(Sample(name=name, image=fit(picture, size, preprocessing)) for name, picture in pictures)


def read_pictures(folder: Path, *, channels: int) -> tuple[tuple[str, Image.Image], ...]:
    """(name, decoded image of its own size) of up to 16 images below a folder, evenly chosen. Raises UsageError."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder", hint="give a folder with images to --images")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not paths:
        raise UsageError(
            f"{folder} holds no images", hint=f"it should hold files such as {', '.join(sorted(SUFFIXES))}"
        )
    chosen = [paths[i] for i in np.linspace(0, len(paths) - 1, min(AT_MOST, len(paths))).round().astype(int)]
    return tuple((path.relative_to(folder).as_posix(), read_pixels(path, channels=channels)) for path in chosen)
