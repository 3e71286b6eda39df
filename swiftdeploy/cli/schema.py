"""`swiftdeploy schema`: the JSON Schemas that other tools validate with."""

from __future__ import annotations

from typing import Annotated

import typer

from swiftdeploy.cli import output
from swiftdeploy.cli.options import Json, NoColor, Quiet, Verbose
from swiftdeploy.errors import UsageError

NAMES = ("manifest",)


def schema(
    name: Annotated[str, typer.Argument(help="Which schema: manifest.")] = "manifest",
    json: Json = False,  # noqa: ARG001  accepted as everywhere; the answer is JSON in any case
    quiet: Quiet = False,
    verbose: Verbose = False,
    no_color: NoColor = False,
) -> None:
    """Print a JSON Schema. It is the same document with and without --json.

    Example: swiftdeploy schema manifest > manifest.schema.json
    """
    output.configure(quiet=quiet, verbose=verbose, no_color=no_color)
    if name not in NAMES:
        raise UsageError(f"no schema is named {name!r}", hint=f"choose from {', '.join(NAMES)}")
    from swiftdeploy.bundle.manifest import load_schema

    output.document(load_schema())
