"""Text to `Config`: parse, check every table by its own rules, then what the tables say together."""

from __future__ import annotations

import codecs
import dataclasses
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from swiftdeploy.config.decode import Place, decode
from swiftdeploy.config.entries import FILE_NAME, HUB, REPORT_FILES, Config, Document, ModelEntry
from swiftdeploy.errors import ConfigError, UsageError
from swiftdeploy.precision import parse, resolve
from swiftdeploy.schema import make_schema
from swiftdeploy.spec import ExportOptions, from_plain, to_plain

SIZE_LIMIT = 1 << 22  # bytes; nobody writes more by hand, and nothing should hang on it


def read_config(path: Path) -> Config:
    """The file's contents. Raises ConfigError with the line for anything that does not parse or fit."""
    return parse_config(_text(path), path)


def parse_config(text: str, path: Path, *, place: type[Place] = Place) -> Config:
    """What a text says that is, or will be, the file at `path`. Raises ConfigError as `read_config` does.

    `place` words the complaints; another one is for a text that is in no file yet, and may raise what suits there.
    """
    try:
        plain = tomllib.loads(text)
        where = place(path.name, text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path.name}: {error}", hint="fix the TOML at that line") from error
    except RecursionError as error:
        raise ConfigError(
            f"{path.name} is nested too deeply", hint="a model is a table, and its values are flat"
        ) from error
    except ValueError as error:  # a number of thousands of digits
        raise ConfigError(f"{path.name} does not parse: {str(error)[:80]}", hint="fix that value") from error
    plain.setdefault("models", {})  # to be refused after an unknown key, which may be the misspelt one
    document = decode(Document, plain, (), where)
    models = []
    for name, entry in document.models.items():
        whole = decode(ModelEntry, _merged(plain, name), ("models", name), where)
        whole = dataclasses.replace(whole, model=entry.model or name)
        _check(name, whole, where)
        models.append((name, whole))
    _check_names(models, document, where)
    shared = ("output", "baseline", "reports", "cache")
    said = {key: getattr(document, key) for key in shared}
    return Config(folder=path.parent, name=path.name, models=tuple(models), **said)


def check_baselines(config: Config, path: Path) -> None:
    """Raise ConfigError with the line in `path` where a limit is relative, and nothing is named that it is relative to.

    That is no part of reading: the baseline may be the command line's, and not every command has one.
    """
    for name, entry in config.models:
        if entry.baseline or config.baseline or not entry.budgets.relative:
            continue
        place = Place(path.name, _text(path))
        budget, limit = entry.budgets.relative[0].split(".")
        own = ("models", name, "budgets", budget)
        place.refuse(
            (*(own if own in place.lines else ("budgets", budget)), limit),
            "it needs a baseline, and none is named",
            'name one (baseline = "released/run.json", or run --baseline), or leave this limit out until there is one',
        )


def options_of(entry: ModelEntry, where: str, folder: Path = Path()) -> ExportOptions:
    """The export options of a table; recipe files are read, relative to `folder`.

    Raises ConfigError where they contradict each other.
    """
    try:
        precisions, recipes = resolve(entry.precisions, folder)
    except UsageError as error:
        raise ConfigError(f"{where}: {error.fact}", hint=error.hint) from error
    copied = ("min_ios", "opset", "batch", "dynamic_batch", "ort", "max_drift_db", "min_agreement")
    side = [entry.size[0], entry.size[-1]] if entry.size else None
    plain = {
        "targets": list(dict.fromkeys(entry.targets)),
        "precisions": list(precisions),
        "recipes": to_plain(recipes),
        "input_size": side,
        "input_kind": entry.input,
        "int8": to_plain(entry.int8),
        **{name: getattr(entry, name) for name in copied},
    }
    try:
        return from_plain(ExportOptions, plain)
    except UsageError as error:
        raise ConfigError(f"{where}: {error.fact}", hint=error.hint) from error
    except ValueError as error:
        reason = str(error).split(".", 1)[-1]  # without the name of our class
        raise ConfigError(f"{where}: {reason}", hint="see `swiftdeploy export --help` for what is allowed") from error


def make_config_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of swiftdeploy.toml, worked out from the entries' fields."""
    return make_schema(Document, FILE_NAME, written=False)


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > SIZE_LIMIT:
            raise OSError(f"{path.stat().st_size} bytes are more than anybody writes")
        text = path.read_text(encoding="utf-8-sig")  # some editors begin a file with a byte order mark
    except UnicodeDecodeError as error:
        marked = error.object.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        raise _not_utf8(path, "UTF-16" if marked else f"no UTF-8: {error.reason} at byte {error.start}") from error
    except OSError as error:
        raise ConfigError(f"{path.name} cannot be read: {error}", hint="check the file's permissions") from error
    if "\0" in text[:2]:  # UTF-16 without its mark: each second byte of plain English is zero
        raise _not_utf8(path, "UTF-16")
    return text


def _not_utf8(path: Path, found: str) -> ConfigError:
    return ConfigError(f"{path.name} cannot be read: it is {found}", hint="save it as UTF-8, as TOML is")


def _merged(plain: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A model's table over [defaults], and its budgets, key by key, over [budgets]."""
    table = plain["models"][name]
    merged = {**plain.get("defaults", {}), **table}
    budgets = {**plain.get("budgets", {}), **table.get("budgets", {})}
    return {**merged, **({"budgets": budgets} if budgets else {})}


def _check(name: str, entry: ModelEntry, place: Place) -> None:
    """What no single key can say: options that contradict each other, and pins that hang in the air."""
    path = ("models", name)
    for number, precision in enumerate(entry.precisions):
        try:
            parse(precision)
        except UsageError as error:
            place.refuse((*path, "precisions", number), error.fact, error.hint)
    try:
        options = options_of(entry, name)
    except ConfigError as error:
        place.refuse(path, error.fact.removeprefix(f"{name}: "), error.hint)
    for target, precision in options.matrix:
        if parse(precision).needs[target].calibration and not entry.calibration:
            fact = f"{target} {precision} is calibrated on images"
            place.refuse((*path, "calibration"), fact, "name a folder of images")
    if entry.ort and "onnx" not in entry.targets:
        place.refuse(path, "an .ort file is made of an .onnx file", 'add "onnx" to targets, or leave ort out')
    if entry.checkpoint == HUB:
        place.refuse((*path, "checkpoint"), f"{HUB!r} names no model", f'write "{HUB}org/name@revision"')


def _check_names(models: list[tuple[str, ModelEntry]], document: Document, place: Place) -> None:
    """Names that macOS would give one folder, and bundles and reports that would lie in each other's place."""
    seen: dict[str, str] = {}
    reports = PurePath(document.reports.folder or document.output)
    files = {_place(reports / REPORT_FILES[name]): REPORT_FILES[name] for name in ("json", *document.reports.formats)}
    for name, _ in models:
        twin = seen.setdefault(name.casefold(), name)
        if twin != name:
            place.refuse(("models", name), f"{twin!r} and {name!r} are one folder on a Mac", "rename one of the two")
        if PurePath(document.output, name) in (reports, *reports.parents):
            place.refuse(("reports", "folder"), f"it lies in the bundle {name}", "choose a folder of its own")
        bundle = PurePath(document.output, name)
        if (file := files.get(_place(bundle))) is not None:
            place.refuse(("models", name), f"its folder would take the place of the report {file}", "rename the model")
        for folder in bundle.parents:
            if (file := files.get(_place(folder))) is not None:
                place.refuse(("output",), f"it would take the place of the report {file}", "choose another folder")


def _place(path: PurePath) -> str:
    """What a Mac takes for one path, as one text."""
    return os.path.normpath(path).casefold()
