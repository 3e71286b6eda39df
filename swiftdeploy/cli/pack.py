"""`swiftdeploy pack`: bundles as files for a release page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from swiftdeploy import console
from swiftdeploy.cli import output
from swiftdeploy.cli.configured import configured_bundles
from swiftdeploy.cli.options import Json, NoColor, Quiet, Verbose
from swiftdeploy.errors import UsageError


def pack(
    bundle: Annotated[
        Path | None, typer.Argument(metavar="[BUNDLE]", help="The bundle's folder.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE.zip|DIR", help="Default: BUNDLE.zip beside it."),
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

    In a folder with a swiftdeploy.toml, the bundles of the models that it names are packed, one file each.

    Example: swiftdeploy pack dist/swiftformer_xs -o swiftformer_xs.zip
    """
    output.configure(quiet=quiet, verbose=verbose, no_color=no_color)
    from swiftdeploy.pipeline import pack as pipeline

    if bundle is not None:
        resolved = bundle.resolve()
        wanted = [(bundle, out or resolved.with_name(resolved.name + pipeline.SUFFIX))]
    else:
        bundles = configured_bundles("pack")
        wanted = [(each, (out or each.parent) / (each.name + pipeline.SUFFIX)) for each in bundles]
        if out is not None and out.suffix == pipeline.SUFFIX and not out.is_dir():
            if len(bundles) > 1:
                raise UsageError(f"{out} is one file, and {len(bundles)} bundles are named", hint="use -o DIR")
            wanted = [(bundles[0], out)]
    packed = [pipeline.pack(each, file, force=force, dry_run=dry_run) for each, file in wanted]
    if json:
        output.document({"packed": packed, "written": not dry_run})
        return
    for one in packed:
        done = f"{one.bytes / 1e6:.2f} MB, sha256 {one.sha256}" if not dry_run else "not written"
        console.stdout().print(console.plain(f"{one.path}: {one.files} files, {done}"), soft_wrap=True)
