"""JSON Schemas (draft 2020-12) of frozen values, worked out from their fields, and the files that ship.

Standard library only.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from importlib import resources
from typing import Any, Literal

DRAFT = "https://json-schema.org/draft/2020-12/schema"
_SIMPLE = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}


def load_schema(path: str) -> dict[str, Any]:
    """The JSON Schema that ships as `path`.schema.json, from the package's folder on, such as "bundle/manifest"."""
    file = resources.files("swiftdeploy").joinpath(f"{path}.schema.json")
    shipped: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return shipped


def make_schema(kind: type, title: str, *, written: bool = True) -> dict[str, Any]:
    """The schema of what `spec.to_plain` makes of a `kind`.

    A document that this tool writes holds every field. With `written` off it comes from a person, who may leave out
    what has a default. A field's metadata may add keywords under "schema", a class in its `SCHEMA`.
    """
    return {"$schema": DRAFT, "title": title, **_schema_of(kind, written)}


def _schema_of(kind: Any, written: bool) -> dict[str, Any]:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _object(kind, written)
    if origin in (typing.Union, types.UnionType):
        # TOML has no null: a person leaves the key out.
        kinds = [a for a in arguments if written or a is not type(None)]
        return _schema_of(kinds[0], written) if len(kinds) == 1 else {"anyOf": [_schema_of(a, written) for a in kinds]}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is tuple:
        return {"type": "array", "items": _schema_of(arguments[0], written)}
    if origin is not None:
        return {"type": "object", "additionalProperties": _schema_of(arguments[1], written)}
    return {"type": _SIMPLE[kind]} if kind in _SIMPLE else {}


def _object(kind: Any, written: bool) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    fields = [f for f in dataclasses.fields(kind) if f.init]
    required = [f.name for f in fields if written or not _has_default(f)]
    return {
        "type": "object",
        "properties": {f.name: _schema_of(hints[f.name], written) | dict(f.metadata.get("schema", {})) for f in fields},
        **({"required": required} if required else {}),
        "additionalProperties": False,
        **getattr(kind, "SCHEMA", {}),
    }


def _has_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
