"""A parsed TOML table becomes a frozen value; every complaint says where it stands and what would be right."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math
import re
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar, cast

from swiftdeploy.config.lines import Path, key_lines, line_of
from swiftdeploy.errors import ConfigError, UsageError
from swiftdeploy.spec import from_plain

T = TypeVar("T")
SEE = "swiftdeploy schema config lists what is allowed"
_NAMES = {
    "str": "a text",
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "list": "an array",
    "dict": "a table",
}


class Place:
    """Where a document lies: it turns paths of keys into lines for complaints."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.lines = key_lines(text)

    def refuse(self, path: Path, fact: str, hint: str = SEE) -> NoReturn:
        """Raise ConfigError with the file, the line and the dotted key."""
        key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")
        raise ConfigError(f"{self.file}:{line_of(self.lines, path)}: {key + ': ' if key else ''}{fact}", hint=hint)


def decode(kind: Callable[..., T], table: Any, path: Path, place: Place) -> T:
    """The value of dataclass `kind` in a table. Raises ConfigError at the first key that does not fit."""
    if not isinstance(table, dict):
        place.refuse(path, f"it is {_named(table)} and should be a table", f"write [{'.'.join(map(str, path))}]")
    fields = {field.name: field for field in dataclasses.fields(cast("Any", kind))}
    hints = _hints(kind)
    for key in table:
        if key not in fields:
            place.refuse((*path, key), f"unknown key {key!r}", nearest(key, fields))
    values = {key: _value(hints[key], fields[key], item, (*path, key), place) for key, item in table.items()}
    for name, field in fields.items():
        if name not in table and field.default is dataclasses.MISSING:
            place.refuse(path, f"it needs {name!r}")
    _conditions(getattr(kind, "SCHEMA", {}), table, path, place)
    try:
        return kind(**values)
    except UsageError as error:
        place.refuse(path, error.fact, error.hint)


@functools.cache
def _hints(kind: Any) -> Mapping[str, Any]:
    return typing.get_type_hints(kind)


def nearest(key: str, known: Mapping[str, Any]) -> str:
    """The hint for an unknown key: the known one that looks like it, or all of them."""
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(sorted(known))}"


def _value(hint: Any, field: dataclasses.Field[Any], plain: Any, path: Path, place: Place) -> Any:
    kind = _required(hint)
    if dataclasses.is_dataclass(kind):
        return decode(cast("Any", kind), plain, path, place)
    if typing.get_origin(kind) is Mapping and isinstance(plain, dict):
        return _tables(typing.get_args(kind)[1], field, plain, path, place)
    _sound(plain, path, place)
    try:
        value = from_plain(kind, plain)
    except ValueError as error:
        place.refuse(path, _reason(error))
    _keywords(field.metadata.get("schema", {}), plain, path, place)
    return value


def _tables(kind: Any, field: dataclasses.Field[Any], plain: dict[str, Any], path: Path, place: Place) -> Any:
    keywords = field.metadata["schema"]
    if len(plain) < keywords["minProperties"]:
        place.refuse(path, "it names no model", "add a table [models.NAME] with a checkpoint")
    for name in plain:
        if not re.search(keywords["propertyNames"]["pattern"], name):
            place.refuse((*path, name), f"the name becomes a folder and cannot be {name!r}", "use letters and digits")
    return {name: decode(kind, table, (*path, name), place) for name, table in plain.items()}


def _required(hint: Any) -> Any:
    """The type behind `X | None`."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return next(a for a in typing.get_args(hint) if a is not type(None))
    return hint


def _sound(plain: Any, path: Path, place: Place) -> None:
    """Refuse what TOML can say and nothing can use: numbers without a place, texts that no file system takes."""
    if isinstance(plain, float) and not math.isfinite(plain):
        place.refuse(path, f"{plain} is no number to compare with")
    if isinstance(plain, str) and "\0" in plain:
        place.refuse(path, "it holds a NUL character")


def _reason(error: ValueError) -> str:
    """The codec's message without its own name of the place, and with types as TOML calls them."""
    text = str(error).split(": ", 1)[-1]
    text = text.replace("an object", "a table")
    return re.sub(r"(expected|found) (\w+)", lambda m: f"{m[1]} {_NAMES.get(m[2], m[2])}", text)


def _named(plain: Any) -> str:
    return _NAMES.get(type(plain).__name__, f"a {type(plain).__name__}")


def _keywords(keywords: Mapping[str, Any], plain: Any, path: Path, place: Place) -> None:
    """Refuse a value that a JSON Schema keyword of its field excludes."""
    for keyword, limit in keywords.items():
        if keyword == "items":
            for number, item in enumerate(plain):
                _keywords(limit, item, (*path, number), place)
        elif keyword in _HOLDS and not _HOLDS[keyword][0](plain, limit):
            fact, hint = _HOLDS[keyword][1:]
            shown = ", ".join(map(str, limit)) if isinstance(limit, list) else limit
            near = difflib.get_close_matches(str(plain), map(str, limit), n=1) if keyword == "enum" else []
            advice = f"did you mean {near[0]!r}?" if near else hint.format(limit=shown)
            place.refuse(path, fact.format(value=plain, limit=shown), advice)


_Rule = tuple[Callable[[Any, Any], bool], str, str]
_HOLDS: Mapping[str, _Rule] = {
    "enum": (lambda v, limit: v in limit, "{value!r} is none of {limit}", "choose from {limit}"),
    "pattern": (lambda v, limit: re.search(limit, v, re.ASCII) is not None, "{value!r} has another form", SEE),
    "minimum": (lambda v, limit: v >= limit, "{value} is under {limit}", "use {limit} or more"),
    "maximum": (lambda v, limit: v <= limit, "{value} is over {limit}", "use {limit} or less"),
    "exclusiveMinimum": (lambda v, limit: v > limit, "{value} is not over {limit}", "use more than {limit}"),
    "minLength": (lambda v, limit: len(v) >= limit, "it is empty", "name one, or leave it out"),
    "minItems": (lambda v, limit: len(v) >= limit, "it is empty", "name at least {limit}"),
    "maxItems": (lambda v, limit: len(v) <= limit, "it has more than {limit} items", "give at most {limit}"),
}


def _conditions(keywords: Mapping[str, Any], table: Mapping[str, Any], path: Path, place: Place) -> None:
    """Refuse a table whose keys do not go together: the few JSON Schema keywords that entries use for that."""
    if len(table) < keywords.get("minProperties", 0):
        place.refuse(path, "it states no limit")
    for key, needed in keywords.get("dependentRequired", {}).items():
        if key in table and not set(needed) <= set(table):
            place.refuse((*path, key), f"{key} needs {needed[0]} beside it")
    for keyword, right in (("oneOf", (1,)), ("anyOf", (1, 2))):
        choices = [choice["required"][0] for choice in keywords.get(keyword, ())]
        if choices and sum(choice in table for choice in choices) not in right:
            place.refuse(path, f"it needs {' or '.join(choices)}{', one of the two' if keyword == 'oneOf' else ''}")
