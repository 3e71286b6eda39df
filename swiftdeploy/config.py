"""swiftdeploy.toml: the models that a repository pins, parsed once into frozen values. Standard library only.

    output = "dist"

    [models.digits]
    model = "swiftformer_digits"
    checkpoint = "weights/digits.pth"
    attention = "token_l2"
    targets = ["coreml", "onnx"]

Paths are relative to the file. An unknown key is an error that names the nearest known one.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swiftdeploy.errors import ConfigError, UsageError
from swiftdeploy.precision import resolve
from swiftdeploy.spec import ExportOptions, from_plain, to_plain

FILE_NAME = "swiftdeploy.toml"


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelEntry:
    """One [models.NAME] table. What it leaves out takes the command line's default."""

    model: str = ""
    checkpoint: str | None = None
    untrained: int | None = None
    attention: str | None = None
    labels: str = ""
    images: str | None = None
    calibration: str | None = None
    targets: tuple[str, ...] = ("coreml",)
    precisions: tuple[str, ...] = ("fp16",)
    min_ios: int = 16
    opset: int = 20
    batch: int = 1
    size: tuple[int, ...] = ()
    input: str = "tensor"
    dynamic_batch: bool = False
    ort: bool = False
    max_drift_db: float | None = None
    min_agreement: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """The whole file. `folder` is where it lies; every path of it is resolved against that."""

    folder: Path
    output: str = "dist"
    models: tuple[tuple[str, ModelEntry], ...] = ()

    def path(self, name: str | None) -> str | None:
        """A path of the file as this process can open it; hub ids stay what they are."""
        if name is None or name.startswith("hf-hub:"):
            return name
        return str(self.folder / Path(name).expanduser())


def read_config(path: Path) -> Config:
    """The file's contents. Raises ConfigError with the place for anything that does not parse or fit."""
    try:
        plain = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path.name} cannot be read: {error}", hint="check the file's permissions") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path.name}: {error}", hint="fix the TOML at that line") from error
    except RecursionError as error:
        raise ConfigError(
            f"{path.name} is nested too deeply", hint="a model is a table, and its values are flat"
        ) from error
    _known(plain, {"output", "models"}, path.name)
    output = plain.get("output", "dist")
    tables = plain.get("models", {})
    if not isinstance(output, str) or not isinstance(tables, dict):
        raise ConfigError(f"{path.name}: output is a text and models are tables", hint="see [models.NAME] in the docs")
    if not tables:
        raise ConfigError(f"{path.name} names no model", hint="add a table [models.NAME] with a checkpoint")
    models = tuple((name, _entry(name, table, path)) for name, table in tables.items())
    return Config(folder=path.parent, output=output, models=models)


def options_of(entry: ModelEntry, where: str, folder: Path = Path()) -> ExportOptions:
    """The export options of a table; recipe files are read, relative to `folder`.

    Raises ConfigError where they contradict each other.
    """
    if len(entry.size) not in (0, 1, 2):
        raise ConfigError(f"{where}: size has {len(entry.size)} numbers", hint="give [height, width] or [side]")
    side = (entry.size[0], entry.size[-1]) if entry.size else None
    try:
        precisions, recipes = resolve(entry.precisions, folder)
    except UsageError as error:
        raise ConfigError(f"{where}: {error.fact}", hint=error.hint) from error
    copied = ("min_ios", "opset", "batch", "dynamic_batch", "ort", "max_drift_db", "min_agreement")
    plain = {
        "targets": list(entry.targets),
        "precisions": list(precisions),
        "recipes": to_plain(recipes),
        "input_size": None if side is None else list(side),
        "input_kind": entry.input,
        **{name: getattr(entry, name) for name in copied},
    }
    try:
        return from_plain(ExportOptions, plain)
    except UsageError as error:
        raise ConfigError(f"{where}: {error.fact}", hint=error.hint) from error
    except ValueError as error:
        raise ConfigError(
            f"{where}: {_reason(error)}", hint="see `swiftdeploy export --help` for what is allowed"
        ) from error


def _entry(name: str, table: Any, path: Path) -> ModelEntry:
    where = f"{path.name} [models.{name}]"
    if not isinstance(table, dict):
        raise ConfigError(f"{where} is no table", hint=f"write [models.{name}] on a line of its own")
    if not name or name in (".", "..") or "/" in name or "\\" in name or name.startswith("."):
        raise ConfigError(f"{where}: the name becomes a folder and cannot be {name!r}", hint="use letters and digits")
    _known(table, {field.name for field in dataclasses.fields(ModelEntry)}, where)
    try:
        entry = from_plain(ModelEntry, to_plain(table))
    except ValueError as error:
        raise ConfigError(f"{where}: {_reason(error)}", hint="see the example in the docs") from error
    options_of(entry, where, path.parent)
    if (entry.checkpoint is None) == (entry.untrained is None):
        raise ConfigError(
            f"{where} needs a checkpoint or an untrained seed, one of the two", hint='checkpoint = "FILE"'
        )
    return dataclasses.replace(entry, model=entry.model or name)


def _reason(error: ValueError) -> str:
    """The codec's message without the name of our class, which means nothing to the file's author."""
    return str(error).split(".", 1)[-1]


def _known(table: dict[str, Any], known: set[str], where: str) -> None:
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            raise ConfigError(
                f"{where}: unknown key {key!r}",
                hint=f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(sorted(known))}",
            )
