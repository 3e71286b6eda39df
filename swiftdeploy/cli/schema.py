"""`swiftdeploy schema`: the JSON Schemas that other tools validate with."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from swiftdeploy.cli import output
from swiftdeploy.cli.options import Json, NoColor, Quiet, Verbose
from swiftdeploy.config import load_config_schema
from swiftdeploy.errors import UsageError
from swiftdeploy.runs import load_run_schema

NAMES = ("manifest", "config", "run")


def schema(
    name: Annotated[str, typer.Argument(help="Which schema: manifest, config, run.")] = "manifest",
    json: Json = False,  # noqa: ARG001  accepted as everywhere; the answer is JSON in any case
    quiet: Quiet = False,
    verbose: Verbose = False,
    no_color: NoColor = False,
) -> None:
    """Print a JSON Schema: of a bundle's manifest, of swiftdeploy.toml, or of a run's report.

    It is the same document with and without --json.

    Example: swiftdeploy schema manifest > manifest.schema.json
    """
    output.configure(quiet=quiet, verbose=verbose, no_color=no_color)
    if name not in NAMES:
        raise UsageError(f"no schema is named {name!r}", hint=f"choose from {', '.join(NAMES)}")
    output.document(_load(name))


def _load(name: str) -> dict[str, Any]:
    if name == "config":
        return load_config_schema()
    if name == "run":
        return load_run_schema()
    from swiftdeploy.bundle.manifest import load_schema  # with the library that validates manifests

    return load_schema()
