"""The images that a search measures on: labelled ones as `evaluate` reads them, or just images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from swiftdeploy import console
from swiftdeploy.evaluation.classes import Classes
from swiftdeploy.evaluation.dataset import DataSet, Example, checked, read_csv, read_folder, subset
from swiftdeploy.evaluation.decode import read_pixels
from swiftdeploy.evaluation.preprocess import fit
from swiftdeploy.pipeline.images import image_paths
from swiftdeploy.pipeline.labels import read_labels
from swiftdeploy.spec import Preprocessing

IN_ORDER = "sorted"
NO_LABEL = -1


@dataclass(frozen=True, kw_only=True, slots=True)
class Album:
    """Images as the model takes them, pixels (N, height, width, channels) uint8, in the order of their names.

    `labels` (N,) are their classes, None where nobody says; `digest` is the data set's.
    """

    names: tuple[str, ...]
    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64] | None
    digest: str


def find_images(images: Path, *, labels: str, classes: int, needed: bool, limit: int, seed: int) -> DataSet:
    """At most `limit` images, every header read: of a CSV file, of class folders, or without labels of a plain folder.

    `labels` is as in `evaluate`; `needed` refuses images without. Raises UsageError for whatever does not fit.
    """
    found = labelled(images, labels, classes) if needed or labels or _has_classes(images) else _plain(images)
    for note in found.notes:
        console.note(note, mark="note")
    return checked(subset(found, limit, seed), skip=False)[0]


def read_album(found: DataSet, size: tuple[int, int], preprocessing: Preprocessing) -> Album:
    """Decode the images, each resized and cropped to `size` (height, width). Raises UnreadableImage."""
    channels = len(preprocessing.mean)
    pixels = [fit(read_pixels(e.path, channels=channels), size, preprocessing) for e in found.examples]
    labels = np.array([example.label for example in found.examples], np.int64)
    return Album(
        names=tuple(example.name for example in found.examples),
        pixels=np.stack(pixels),
        labels=None if NO_LABEL in labels else labels,
        digest=found.digest(),
    )


def labelled(images: Path, labels: str, count: int) -> DataSet:
    """The images of a CSV file, or of a folder with a subfolder a class, for a model of `count` classes.

    `labels` is "", a file, "imagenet", or "sorted" for folders in class order. Raises UsageError for what does not fit.
    """
    in_order = labels == IN_ORDER and not Path(IN_ORDER).is_file()
    names = read_labels(labels, classes=count) if labels and not in_order else ()
    classes = Classes(count=count, names=names, in_order=in_order)
    return read_csv(images, classes) if images.is_file() else read_folder(images, classes)


def _has_classes(images: Path) -> bool:
    """Whether labels come with the images: a table, or a folder of folders."""
    return images.is_file() or (images.is_dir() and any(p.is_dir() and p.name[0] != "." for p in images.iterdir()))


def _plain(images: Path) -> DataSet:
    paths = image_paths(images, "--images")
    examples = (
        Example(name=path.relative_to(images).as_posix(), path=path.absolute(), label=NO_LABEL) for path in paths
    )
    return DataSet(examples=tuple(sorted(examples, key=lambda e: e.name)), names=())
