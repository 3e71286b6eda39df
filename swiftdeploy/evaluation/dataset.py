"""Where labelled images come from: a folder with one subfolder a class, or a CSV file with columns file and label.

Everything that can be wrong with a data set is found here, before a model runs. Examples are in the order of their
names, whatever order the disk gives.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from swiftdeploy.errors import UsageError
from swiftdeploy.evaluation.classes import Classes, shown
from swiftdeploy.evaluation.decode import SUFFIXES, UnreadableImage, read_header
from swiftdeploy.evaluation.table import rows

SKIP_HINT = "remove or replace it, or count without it: --skip-unreadable"


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """One labelled image. `name` is its path below the data set, or as the CSV file spells it; `path` is absolute."""

    name: str
    path: Path
    label: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Skipped:
    """An image that does not decode, and why."""

    name: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSet:
    """Labelled images in the order of their names; `notes` are what a person should know of how they were read.

    `names` are the classes' names by index, where they are known.
    """

    examples: tuple[Example, ...]
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def digest(self) -> str:
        """One sha256 over names, labels and every file's bytes, all of which are read: another set has another."""
        whole = hashlib.sha256()
        for example in self.examples:
            with example.path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            whole.update(f"{example.label} {content} {example.name}\n".encode("utf-8", "surrogateescape"))
        return whole.hexdigest()


def read_folder(folder: Path, classes: Classes) -> DataSet:
    """Every image below the class folders of `folder`, as torchvision's ImageFolder finds them.

    Raises UsageError where there are no class folders, one is empty, or they are not the model's classes.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder", hint="give --images a folder with class subfolders, or a .csv file")
    folders = sorted((p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")), key=lambda p: p.name)
    if not folders:
        what = "images and no class folders" if _images(folder)[0] else "no class folders"
        raise UsageError(
            f"{folder} holds {what}", hint="it needs one subfolder a class; or give a CSV with columns file,label"
        )
    indexes, names, note = classes.of_folders(folder, [p.name for p in folders])
    examples: list[Example] = []
    others: set[str] = set()
    for path, label in zip(folders, indexes, strict=True):
        files, foreign = _images(path)
        others |= foreign
        if not files:
            raise UsageError(f"class folder {path} holds no images", hint=f"it needs {', '.join(sorted(SUFFIXES))}")
        examples.extend(Example(name=f.relative_to(folder).as_posix(), path=f.absolute(), label=label) for f in files)
    notes = [note] if note else []
    if others:
        notes.append(f"files of other kinds are passed over: {shown(sorted(others))}")
    return _ordered(examples, names, notes)


def _images(folder: Path) -> tuple[list[Path], set[str]]:
    """(image files below a folder, suffixes of all other files); names with a leading dot are the system's own."""
    files = [p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".")]
    images = [p for p in files if p.suffix.lower() in SUFFIXES]
    return images, {p.suffix.lower() or p.name for p in files} - SUFFIXES


def _ordered(examples: Sequence[Example], names: tuple[str, ...], notes: Sequence[str]) -> DataSet:
    ordered = tuple(sorted(examples, key=lambda e: e.name))
    return DataSet(examples=ordered, names=names, notes=tuple(notes))


def read_csv(path: Path, classes: Classes) -> DataSet:
    """The images that a CSV file lists; a relative path starts at the file's own folder.

    A label is a class's name, or else its index. Raises UsageError naming the row that is wrong.
    """
    examples: dict[str, Example] = {}
    seen: set[str] = set()
    for number, file, label in rows(path):
        image = path.parent / file
        spelled = os.path.abspath(image)  # noqa: PTH100  a/./b and a/c/../b are a/b
        if spelled in seen:
            raise UsageError(f"{path.name}, row {number}: {file} is listed twice", hint="leave one of the two out")
        if not image.is_file():
            raise UsageError(
                f"{path.name}, row {number}: {file} does not exist", hint=f"paths start at {path.parent}, or at /"
            )
        seen.add(spelled)
        index = classes.of_label(label, f"{path.name}, row {number}")
        examples[file] = Example(name=file, path=image.absolute(), label=index)
    if not examples:
        raise UsageError(f"{path} lists no images", hint="it needs rows below the header file,label")
    return _ordered(list(examples.values()), classes.names, ())


def checked(dataset: DataSet, *, skip: bool) -> tuple[DataSet, tuple[Skipped, ...], int]:
    """(the readable part, what was skipped, how many images EXIF says to turn), by every file's header.

    Raises UnreadableImage for the first broken one, unless `skip`; UsageError where nothing is left.
    """
    good: list[Example] = []
    broken: list[Skipped] = []
    turned = 0
    for example in dataset.examples:
        try:
            turned += read_header(example.path).turned
            good.append(example)
        except UnreadableImage as error:
            if not skip:
                raise UnreadableImage(example.path, error.reason, hint=SKIP_HINT) from error
            broken.append(Skipped(name=example.name, reason=error.reason))
    if not good:
        raise UsageError("no image of the data set is readable", hint="see: swiftdeploy evaluate --help")
    return dataclasses.replace(dataset, examples=tuple(good)), tuple(broken), turned


def subset(dataset: DataSet, limit: int, seed: int) -> DataSet:
    """`limit` images, each class with its share, by the largest remainders; all of them where there are no more.

    A larger limit keeps nearly all that a smaller one chose, and no choice depends on the machine: within a class,
    images come in the order of a hash of seed and name.
    """
    total = len(dataset.examples)
    if limit >= total:
        return dataset
    groups: dict[int, list[Example]] = {}
    for example in dataset.examples:
        groups.setdefault(example.label, []).append(example)
    shares = {label: divmod(len(group) * limit, total) for label, group in groups.items()}
    left = limit - sum(whole for whole, _ in shares.values())
    by_remainder = sorted(groups, key=lambda label: (-shares[label][1], _rank(seed, str(label))))
    extra = set(by_remainder[:left])
    chosen = [
        example
        for label, group in groups.items()
        for example in sorted(group, key=lambda e: _rank(seed, e.name))[: shares[label][0] + (label in extra)]
    ]
    return _ordered(chosen, dataset.names, dataset.notes)


def _rank(seed: int, text: str) -> str:
    return hashlib.sha256(f"{seed} {text}".encode("utf-8", "surrogateescape")).hexdigest()
