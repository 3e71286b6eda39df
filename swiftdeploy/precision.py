"""What `--precision` may name: how an artifact stores its weights, and in which precision it computes.

In: a name, as the command line, swiftdeploy.toml and file names spell it. Out: a frozen `Precision`. Standard library
only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from swiftdeploy.errors import UsageError
from swiftdeploy.recipe import SPELLINGS, TABLE_BITS, Recipe, parse_scheme, read_recipe

Compute = Literal["fp32", "fp16"]
Kind = Literal["float", "auto", "weights", "activations"]

_RECIPE_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\.toml")


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """What one target asks for before it can have a precision. `least_ios` is Core ML's."""

    least_ios: int = 15
    calibration: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Precision:
    """One entry of the table below.

    `compute` is the precision that the artifact computes in, and so the gate that its parity is held to. `needs` has a
    line for each target that has this precision. `kind` "float" stores every weight in `compute`; "auto" computes in
    fp16 but for the fewest ops that need fp32 to pass the gate; "weights" stores compressed weights; "activations" is
    "weights" with 8-bit activations between the layers. `recipe` says how Core ML stores the weights; a file's recipe
    is not known here (see `ExportOptions.recipe`).
    """

    name: str
    kind: Kind
    compute: Compute
    needs: Mapping[str, Need] = field(default_factory=lambda: {"coreml": Need(), "onnx": Need()})
    recipe: Recipe | None = None

    @property
    def targets(self) -> tuple[str, ...]:
        """The targets that have this precision."""
        return tuple(self.needs)

    @property
    def compressed(self) -> bool:
        """Whether weights are stored in another form than they are computed in."""
        return self.kind in ("weights", "activations")

    @property
    def slug(self) -> str:
        """The name in a file's name: a recipe file's goes without its suffix."""
        return self.name.removesuffix(".toml")


_KNOWN = {
    known.name: known
    for known in (
        Precision(name="fp32", kind="float", compute="fp32"),
        Precision(name="fp16", kind="float", compute="fp16"),
        Precision(name="auto", kind="auto", compute="fp16", needs={"coreml": Need()}),
        Precision(name="w8", kind="weights", compute="fp32", needs={"onnx": Need()}),
        Precision(
            name="w8a8", kind="activations", compute="fp16", needs={"coreml": Need(least_ios=17, calibration=True)}
        ),
    )
}
# Core ML's int8 stores weights; ONNX's computes in integers, between ranges that images set.
_ONNX_INT8 = {"onnx": Need(calibration=True)}
# For help and completion; the grammar of `recipe` has more.
NAMES = (*_KNOWN, "int8", "int4", *(f"pal{bits}" for bits in TABLE_BITS), "pal4g16", "sparse75", "sparse75+pal4")


def parse(name: str) -> Precision:
    """The precision of that name; "NAME.toml" is a recipe file's. Raises UsageError for a name that means nothing."""
    known = _KNOWN.get(name)
    if known is not None:
        return known
    if _RECIPE_FILE.fullmatch(name):
        return Precision(name=name, kind="weights", compute="fp16", needs={"coreml": Need()})
    try:
        scheme = parse_scheme(name)
    except UsageError as error:
        raise UsageError(
            f"precision {name!r} is not known", hint=f"choose from {', '.join(_KNOWN)}, {SPELLINGS}, or a FILE.toml"
        ) from error
    return Precision(
        name=name,
        kind="weights",
        compute="fp16",
        needs={"coreml": Need(least_ios=scheme.least_ios), **(_ONNX_INT8 if name == "int8" else {})},
        recipe=Recipe(name=name, default=name),
    )


def resolve(given: Sequence[str], folder: Path) -> tuple[tuple[str, ...], tuple[Recipe, ...]]:
    """The names of precisions, without repetition, and the recipes of those that are files (relative to `folder`).

    Raises UsageError for a recipe that does not read.
    """
    recipes = {name: read_recipe(folder / Path(name).expanduser()) for name in given if name.endswith(".toml")}
    names = tuple(f"{recipes[name].name}.toml" if name in recipes else name for name in given)
    return tuple(dict.fromkeys(names)), tuple(dict.fromkeys(recipes.values()))
