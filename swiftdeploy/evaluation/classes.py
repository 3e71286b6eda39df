"""Which class of the model a folder's name or a cell of a table means."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from swiftdeploy.errors import UsageError

_SHOWN = 5
_SORTED = "--labels sorted takes the folders in sorted order for the classes"


@dataclass(frozen=True, kw_only=True, slots=True)
class Classes:
    """The model's `count` classes, with their names by index where they are known.

    `in_order`: folders in sorted order are the classes, whatever they are called.
    """

    count: int
    names: tuple[str, ...] = ()
    in_order: bool = False

    def __post_init__(self) -> None:
        if self.names and len(self.names) != self.count:
            raise UsageError(
                f"{len(self.names)} labels for a model of {self.count} classes", hint="give one label for each class"
            )

    def of_folders(self, where: Path, folders: Sequence[str]) -> tuple[tuple[int, ...], tuple[str, ...], str]:
        """(each folder's class, the names of all classes, what to tell a person); `folders` are sorted.

        Raises UsageError where a folder is no class, or the folders cannot be put in order.
        """
        if self.names and not self.in_order:
            return self._by_name(where, folders), self.names, ""
        if len(folders) != self.count:
            raise UsageError(
                f"{where} has {len(folders)} class folders, the model {self.count} classes",
                hint="give --labels FILE with the classes' names in order; folders are then found by name",
            )
        if not self.in_order and list(folders) != sorted(folders, key=_natural):
            raise UsageError(
                f"the order of the class folders is not clear: {shown(folders)} as text, as torchvision sorts, or by"
                " number, as timm does",
                hint=f"{_SORTED}, as text; --labels FILE gives any order",
            )
        note = (
            f"folders in sorted order are taken for the classes: {folders[0]} is 0, {folders[-1]} is {self.count - 1}"
        )
        names = self.names or tuple(folders)
        return tuple(range(self.count)), names, note

    def _by_name(self, where: Path, folders: Sequence[str]) -> tuple[int, ...]:
        index = self._index()
        unknown = [folder for folder in folders if _plain(folder) not in index]
        if unknown:
            near = difflib.get_close_matches(unknown[0], self.names, n=1)
            hint = f"did you mean {near[0]}?" if near else f"the labels begin with {shown(self.names)}"
            if len(unknown) == len(folders) == self.count:
                hint = _SORTED
            raise UsageError(
                f"{len(unknown)} of {len(folders)} class folders in {where} are no label of the model:"
                f" {shown(unknown)}",
                hint=hint,
            )
        return tuple(index[_plain(folder)] for folder in folders)

    def of_label(self, text: str, where: str) -> int:
        """The class that a name, or else an index, stands for. Raises UsageError for neither."""
        found = self._index().get(_plain(text))
        if found is not None:
            return found
        if text.isdecimal() and text.isascii() and int(text) < self.count:
            return int(text)
        near = difflib.get_close_matches(text, self.names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"give a label, or an index from 0 to {self.count - 1}"
        raise UsageError(f"{where}: {text!r} is no class of the model", hint=hint)

    def _index(self) -> Mapping[str, int]:
        return {_plain(name): index for index, name in enumerate(self.names)}


def shown(names: Sequence[str]) -> str:
    """The first few names, for a sentence."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _plain(name: str) -> str:
    """The name in one spelling: on macOS an accent is a letter and a mark, elsewhere one letter."""
    return unicodedata.normalize("NFC", name)


def _natural(name: str) -> list[tuple[int, str]]:
    """A key that orders runs of digits by value, as timm does."""
    return [(int(part), "") if part.isdecimal() else (-1, part.lower()) for part in re.split(r"(\d+)", name)]
