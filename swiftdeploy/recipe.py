"""How weights are stored: a scheme for one tensor, and a recipe that gives every tensor of a network its scheme.

In: names ("pal4g16", "sparse75+int8") and recipe files. Out: frozen values that say what is wanted; `compress` does it.
Standard library only.

    default = "pal6"        # every weight that no pattern names
    smallest = 2048         # weights of fewer values stay as they are

    [weights]               # by name or glob; the last pattern that matches decides
    "network_0_*" = "int8"
    "head_weight" = "fp16"
"""

from __future__ import annotations

import fnmatch
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from swiftdeploy.errors import UsageError

Form = Literal["float", "linear", "table"]

SMALLEST = 2048  # coremltools' own default: below it there is little to gain, and as much to lose
BLOCK = 32  # input channels that share one scale of int4
TABLE_BITS = (8, 6, 4, 3, 2)
SPARSITIES = range(50, 96)
SCHEMES = ("fp16", "int8", "int4", *(f"pal{bits}" for bits in TABLE_BITS), "sparse75", "sparse75+pal4", "pal4+int8")
# Every spelling of a scheme but fp16, for a hint.
SPELLINGS = (
    "int8, int4, pal8, pal6, pal4, pal3, pal2, pal4g16 (groups of 16), sparse50 to sparse95, sparse75+pal4, "
    "sparse75+int8, pal4+int8"
)
_PART = re.compile(r"(?P<linear>int[48])|pal(?P<table>\d)(?:g(?P<group>[1-9]\d{0,3}))?|sparse(?P<sparsity>\d\d)")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Scheme:
    """How one weight tensor is stored.

    `sparsity` is the percentage of weights, the smallest, that become 0. What is left is stored in `form` with `bits`:
    "float" (fp16), "linear" (a multiple of a scale, symmetric around 0; int8 has a scale a channel, int4 one for 32
    input channels) or "table" (an index into a table of 2**bits values, found by k-means). A table serves `group`
    output channels, or with 0 the whole tensor; its values have `table_bits`.
    """

    name: str
    form: Form = "float"
    bits: int = 16
    sparsity: int = 0
    group: int = 0
    table_bits: int = 16

    @property
    def least_ios(self) -> int:
        """The oldest system that reads it. Source: coremltools' guide to what each system brought (opt-whats-new)."""
        joint = bool(self.sparsity) and self.form != "float"
        if joint or self.group or self.bits == 3 or self.table_bits == 8 or (self.form == "linear" and self.bits == 4):
            return 18
        return 15 if self.form == "float" and not self.sparsity else 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Override:
    """The scheme of the weights whose name is, or matches as a glob, `weights`."""

    weights: str
    scheme: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """The scheme of every weight of a network. Raises UsageError for a scheme that means nothing.

    `smallest` is the number of values from which on a weight is compressed at all.
    """

    name: str
    default: str
    overrides: tuple[Override, ...] = ()
    smallest: int = SMALLEST

    def __post_init__(self) -> None:
        for name in (self.default, *(override.scheme for override in self.overrides)):
            parse_scheme(name)
        if self.smallest < 0:
            raise UsageError(f"recipe {self.name}: smallest is {self.smallest}", hint="give a number of values")

    def scheme(self, *names: str) -> Scheme:
        """The scheme of the weight that has these names: the last override that matches one, else the default."""
        matching = [o.scheme for o in self.overrides if any(_matches(name, o.weights) for name in names)]
        return parse_scheme(matching[-1] if matching else self.default)

    def unmatched(self, names: Iterable[str]) -> tuple[str, ...]:
        """The patterns that match none of these names."""
        known = tuple(names)
        return tuple(o.weights for o in self.overrides if not any(_matches(name, o.weights) for name in known))

    @property
    def least_ios(self) -> int:
        """The oldest system that reads all of its schemes."""
        return max(parse_scheme(name).least_ios for name in (self.default, *(o.scheme for o in self.overrides)))

    def text(self) -> str:
        """The recipe as a file that `read_recipe` reads back."""
        lines = [f'default = "{self.default}"', f"smallest = {self.smallest}"]
        if self.overrides:
            lines += ["", "[weights]", *(f'{json.dumps(o.weights)} = "{o.scheme}"' for o in self.overrides)]
        return "\n".join(lines) + "\n"


def parse_scheme(name: str) -> Scheme:
    """The scheme of that name. Raises UsageError for a name that means nothing."""
    if name == "fp16":
        return Scheme(name=name)
    found = [_PART.fullmatch(part) for part in name.split("+")]
    parts = [match.groupdict() for match in found if match is not None]
    if len(parts) != len(found) or not all(_allowed(part) for part in parts):
        raise _unknown(name)
    if len(parts) == 1:
        return _single(name, parts[0])
    if len(parts) != 2 or any(part["group"] for part in parts) or parts[1]["linear"] == "int4":
        raise _unknown(name)
    first, second = parts
    if first["sparsity"] and not second["sparsity"]:
        stored = _single(name, second)
        return Scheme(name=name, form=stored.form, bits=stored.bits, sparsity=int(first["sparsity"]))
    if first["table"] and second["linear"]:
        return Scheme(name=name, form="table", bits=int(first["table"]), table_bits=8)
    raise _unknown(name)


def read_recipe(path: Path) -> Recipe:
    """The recipe in a TOML file, named after the file. Raises UsageError for anything that does not read or fit."""
    hint = 'a recipe has default = "pal6" and a table [weights] of names; see docs/compression.md'
    if not _FILE_NAME.fullmatch(path.stem):
        raise UsageError(f"{path.name!r} cannot name an artifact", hint="use letters, digits, _ and - before .toml")
    try:
        plain = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}", hint="check the path") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path.name}: {error}", hint=hint) from error
    unknown = sorted(set(plain) - {"default", "smallest", "weights"})
    if unknown:
        raise UsageError(f"{path.name}: unknown key {unknown[0]!r}", hint=hint)
    default, smallest, weights = plain.get("default"), plain.get("smallest", SMALLEST), plain.get("weights", {})
    fault = _fault(plain)
    if fault:
        raise UsageError(f"{path.name}: {fault}", hint=hint)
    overrides = tuple(Override(weights=pattern, scheme=scheme) for pattern, scheme in weights.items())
    try:
        return Recipe(name=path.stem, default=str(default), overrides=overrides, smallest=smallest)
    except UsageError as error:
        raise UsageError(f"{path.name}: {error.fact}", hint=error.hint) from error


def _fault(plain: Mapping[str, Any]) -> str:
    """Which key of a recipe is missing or of the wrong type; "" where each is right."""
    smallest, weights = plain.get("smallest", SMALLEST), plain.get("weights", {})
    if "default" not in plain:
        return "the key default is missing"
    if not isinstance(plain["default"], str):
        return "default is no text: it is the name of a scheme, in quotes"
    if not isinstance(smallest, int) or isinstance(smallest, bool):
        return "smallest is no whole number"
    if not isinstance(weights, dict):
        return "weights is no table"
    wrong = [pattern for pattern, scheme in weights.items() if not isinstance(scheme, str)]
    return f"{json.dumps(wrong[0])} in [weights] is no text: it is the name of a scheme, in quotes" if wrong else ""


def _matches(weight: str, pattern: str) -> bool:
    return weight == pattern or fnmatch.fnmatchcase(weight, pattern)


def _allowed(part: dict[str, str | None]) -> bool:
    table, sparsity = part["table"], part["sparsity"]
    return (table is None or int(table) in TABLE_BITS) and (sparsity is None or int(sparsity) in SPARSITIES)


def _single(name: str, part: dict[str, str | None]) -> Scheme:
    if part["linear"]:
        return Scheme(name=name, form="linear", bits=int(part["linear"].removeprefix("int")))
    if part["table"]:
        return Scheme(name=name, form="table", bits=int(part["table"]), group=int(part["group"] or 0))
    return Scheme(name=name, sparsity=int(part["sparsity"] or 0))


def _unknown(name: str) -> UsageError:
    return UsageError(
        f"{name!r} is no way to store weights",
        hint=f"choose from fp16, {SPELLINGS}",
    )
