"""On which line of a TOML text each key stands. The standard library's parser does not say.

The text has been parsed before, so its grammar is sound, and what is here only has to step over values.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping

Path = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_KEY = re.compile(r"[A-Za-z0-9_-]+|\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*'")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"""(?:"{1,2}(?!"))?'  # up to two quotes may stand before the closing three
    r"|'''.*?'''(?:'{1,2}(?!'))?"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_BARE = re.compile(r"[^,\]}#\n]*")


def key_lines(text: str) -> Mapping[Path, int]:
    """The line, counted from 1, of every table's header, key and array item of a valid TOML text, by its path."""
    return _Scanner(text).scan()


def line_of(lines: Mapping[Path, int], path: Path) -> int:
    """The line of a path, or of the nearest table around it; 1 for the file itself."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


class _Scanner:
    """Walks over a text once; `at` is the place, `found` what was seen."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.found: dict[Path, int] = {}
        self._counted = (0, 1)
        self._arrays: dict[Path, int] = {}

    def scan(self) -> dict[Path, int]:
        table: Path = ()
        while self._skip(_BLANK) < len(self.text):
            if self.text[self.at] == "[":
                table = self._header()
            else:
                self._pair(table)
        return self.found

    def _header(self) -> Path:
        array = self.text.startswith("[[", self.at)
        line = self._line()
        self.at += 2 if array else 1
        path = self._resolved(self._keys())
        self.at += 2 if array else 1
        if array:
            number = self._arrays.get(path, -1) + 1
            self._arrays[path] = number
            self.found.setdefault(path, line)
            path = (*path, number)
        self._note(path, line)
        return path

    def _resolved(self, keys: Path) -> Path:
        """A header's keys with the number of the latest item after each array of tables."""
        path: Path = ()
        for key in keys[:-1]:
            path = (*path, key)
            path = (*path, self._arrays[path]) if path in self._arrays else path
        return (*path, keys[-1])

    def _pair(self, table: Path) -> None:
        line = self._line()
        path = (*table, *self._keys())
        self._note(path, line)
        self.at += 1  # the sign =
        self._skip(_SPACE)
        self._value(path)

    def _keys(self) -> Path:
        """The parts of a dotted key; `at` is then behind it and the space after it."""
        parts: list[str | int] = []
        while True:
            self._skip(_SPACE)
            start = self.at
            self._skip(_KEY)
            parts.append(_unquoted(self.text[start : self.at]))
            self._skip(_SPACE)
            if not self.text.startswith(".", self.at):
                return tuple(parts)
            self.at += 1

    def _value(self, path: Path) -> None:
        opening = self.text[self.at]
        if opening in "\"'":
            self._skip(_STRING)
        elif opening == "[":
            self._items(path)
        elif opening == "{":
            self._inline(path)
        else:
            self._skip(_BARE)

    def _items(self, path: Path) -> None:
        self.at += 1
        number = 0
        while self.text[self._skip(_BLANK)] != "]":
            if self.text[self.at] == ",":
                self.at += 1
                continue
            self._note((*path, number), self._line())
            self._value((*path, number))
            number += 1
        self.at += 1

    def _inline(self, path: Path) -> None:
        self.at += 1
        while self.text[self._skip(_BLANK)] != "}":
            if self.text[self.at] == ",":
                self.at += 1
                continue
            self._pair(path)
        self.at += 1

    def _note(self, path: Path, line: int) -> None:
        """Remember a path and the tables around it that nothing named before."""
        self.found[path] = line
        for length in range(1, len(path)):
            self.found.setdefault(path[:length], line)

    def _line(self) -> int:
        place, line = self._counted
        line += self.text.count("\n", place, self.at)
        self._counted = (self.at, line)
        return line

    def _skip(self, pattern: re.Pattern[str]) -> int:
        match = pattern.match(self.text, self.at)
        self.at = match.end() if match else self.at
        return self.at


def _unquoted(key: str) -> str:
    if not key.startswith(('"', "'")):
        return key
    value: str = tomllib.loads(f"key = {key}")["key"]
    return value
