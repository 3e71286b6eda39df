"""`swiftdeploy pack`: a bundle as one file for a release page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from swiftdeploy import console
from swiftdeploy.cli import output
from swiftdeploy.cli.options import Json, NoColor, Quiet, Verbose


def pack(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The bundle's folder.")],
    out: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE.zip", help="Default: BUNDLE.zip beside it.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Verify the bundle, and write nothing.")] = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    no_color: NoColor = False,
) -> None:
    """Verify a bundle and pack it into a zip file.

    The same bundle gives the same bytes, on any day and any machine.

    Example: swiftdeploy pack dist/swiftformer_xs -o swiftformer_xs.zip
    """
    output.configure(quiet=quiet, verbose=verbose, no_color=no_color)
    from swiftdeploy.pipeline import pack as pipeline

    resolved = bundle.resolve()
    destination = out or resolved.with_name(resolved.name + pipeline.SUFFIX)
    packed = pipeline.pack(bundle, destination, force=force, dry_run=dry_run)
    if json:
        output.document({"packed": packed, "written": not dry_run})
        return
    done = f"{packed.bytes / 1e6:.2f} MB, sha256 {packed.sha256}" if not dry_run else "not written"
    console.stdout().print(escape(f"{packed.path}: {packed.files} files, {done}"), soft_wrap=True)
