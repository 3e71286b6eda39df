"""Which models exist: rows that installed packages offer under the entry point group `swiftdeploy.models`.

The core never imports a model package by name. A "module:function" string is resolved here, late, so that the
catalog can be listed without torch.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.metadata
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from swiftdeploy.errors import ModelError
from swiftdeploy.spec import ModelSpec

ENTRY_POINT_GROUP = "swiftdeploy.models"


def entries() -> tuple[ModelSpec, ...]:
    """Every model of every installed catalog, in the order in which the catalogs list them."""
    rows: list[ModelSpec] = []
    for point in sorted(importlib.metadata.entry_points(group=ENTRY_POINT_GROUP), key=lambda p: p.name):
        catalog: Sequence[ModelSpec] = point.load()
        rows.extend(catalog)
    return tuple(rows)


def find(name: str) -> ModelSpec:
    """The catalog's row for `name`, or a bare row for "module:factory". Raises ModelError with the nearest names."""
    if ":" in name:
        return ModelSpec(name=name.rsplit(":", 1)[1], factory=name, family="custom", paper="")
    rows = {row.name: row for row in entries()}
    if name in rows:
        return rows[name]
    near = difflib.get_close_matches(name, rows, n=3, cutoff=0.4)
    raise ModelError(
        f"no model is named {name!r}",
        hint=f"did you mean {' or '.join(near)}?" if near else "list the names with: swiftdeploy models",
    )


def resolve(reference: str) -> Callable[..., Any]:
    """The function behind "module:function". Modules of the working folder are found too.

    Raises ModelError when the module does not import or lacks the function.
    """
    module_name, _, attribute = reference.partition(":")
    if not module_name or not attribute:
        raise ModelError(f"{reference!r} is not of the form module:factory", hint="for example mypackage.nets:make_net")
    folder = str(Path.cwd())
    added = folder not in sys.path
    if added:
        sys.path.insert(0, folder)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise ModelError(
            f"module {module_name!r} does not import: {type(error).__name__}: {error}",
            hint="install it here, or run swiftdeploy in the folder that holds it",
        ) from error
    finally:
        if added:
            sys.path.remove(folder)
    function = getattr(module, attribute, None)
    if not callable(function):
        offered = [name for name in vars(module) if callable(getattr(module, name)) and not name.startswith("_")]
        near = difflib.get_close_matches(attribute, offered, n=3, cutoff=0.3)
        raise ModelError(
            f"module {module_name!r} has no factory {attribute!r}",
            hint=f"did you mean {' or '.join(near)}?" if near else "name a function that returns an nn.Module",
        )
    return function
