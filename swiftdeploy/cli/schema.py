"""`swiftdeploy schema`: the JSON Schemas that other tools validate with."""

from __future__ import annotations

from typing import Annotated

import typer

from swiftdeploy.cli import output
from swiftdeploy.cli.options import Json, NoColor, Quiet, Verbose
from swiftdeploy.errors import UsageError
from swiftdeploy.schema import load_schema

PATHS = {
    "manifest": "bundle/manifest",
    "config": "config/config",
    "run": "run",
    "sensitivity": "sensitivity",
    "plan": "harness/plan",
    "result": "harness/result",
}


def schema(
    name: Annotated[str, typer.Argument(help=f"Which schema: {', '.join(PATHS)}.")] = "manifest",
    json: Json = False,  # noqa: ARG001  accepted as everywhere; the answer is JSON in any case
    quiet: Quiet = False,
    verbose: Verbose = False,
    no_color: NoColor = False,
) -> None:
    """Print the JSON Schema of a document that swiftdeploy reads or writes.

    These are a bundle's manifest, swiftdeploy.toml, run.json, a search's sensitivity.json, and the plan and the result
    of the latency harness. It is printed alike with and without --json.

    Example: swiftdeploy schema manifest > manifest.schema.json
    """
    output.configure(quiet=quiet, verbose=verbose, no_color=no_color)
    if name not in PATHS:
        raise UsageError(f"no schema is named {name!r}", hint=f"choose from {', '.join(PATHS)}")
    output.document(load_schema(PATHS[name]))
