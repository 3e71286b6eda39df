"""`swiftdeploy schema`: the JSON Schemas that other tools validate with."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from swiftdeploy.errors import UsageError

NAMES = ("manifest",)


def schema(
    name: Annotated[str, typer.Argument(help="Which schema: manifest.")] = "manifest",
) -> None:
    """Print a JSON Schema.

    Example: swiftdeploy schema manifest > manifest.schema.json
    """
    if name not in NAMES:
        raise UsageError(f"no schema is named {name!r}", hint=f"choose from {', '.join(NAMES)}")
    from swiftdeploy.bundle.manifest import load_schema
    from swiftdeploy.cli.output import document

    document(load_schema())
    sys.stdout.flush()
