"""`swiftdeploy verify`: bytes and numbers of what was written."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from swiftdeploy import config, console
from swiftdeploy.cli import output
from swiftdeploy.cli.options import Attention, Json, NoColor, Quiet, Verbose
from swiftdeploy.errors import UsageError


def verify(
    path: Annotated[
        Path | None, typer.Argument(metavar="BUNDLE|ARTIFACT", help="A bundle's folder, an .mlpackage or an .onnx.")
    ] = None,
    checkpoint: Annotated[
        str | None, typer.Option("--checkpoint", help="Compare with these weights, not with the golden data alone.")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", "-m", help="For a lone artifact with --checkpoint.")] = None,
    attention: Attention = None,
    images: Annotated[Path | None, typer.Option("--images", help="Your own images, with --checkpoint.")] = None,
    preprocessing: Annotated[
        bool, typer.Option("--preprocessing", help="With --checkpoint: from image files to scores, by both roads.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    no_color: NoColor = False,
) -> None:
    """Re-hash a bundle and re-check its numbers against the oracle's.

    In a folder with a swiftdeploy.toml, the bundles of the models that it names are verified.

    Example: swiftdeploy verify dist/swiftformer_xs
    """
    output.configure(quiet=quiet, verbose=verbose, no_color=no_color)
    if preprocessing and checkpoint is None:
        raise UsageError("--preprocessing compares with training's", hint="give --checkpoint too")
    paths = [path] if path is not None else _from_config()
    from swiftdeploy.cli import render
    from swiftdeploy.pipeline import against
    from swiftdeploy.pipeline import verify as check

    results = []
    for each in paths:
        if checkpoint is not None and preprocessing:
            from swiftdeploy.pipeline.preprocessing import verify_preprocessing

            results.append(verify_preprocessing(each, checkpoint, model=model, attention=attention, images=images))
        elif checkpoint is not None:
            results.append(against.verify_against(each, checkpoint, model=model, attention=attention, images=images))
        elif check.is_bundle(each):
            results.append(check.verify_bundle(each))
        else:
            results.append(check.verify_artifact(each))
    if json:
        output.document({"verified": [{"path": str(r.path), "files": r.files, "reports": r.reports} for r in results]})
        return
    screen = console.stdout()
    for result in results:
        if result.reports:
            screen.print(render.reports(result.reports, width=screen.width))
        files = f"{result.files} files as recorded, " if result.files else ""
        compared = (
            "numbers agree" if result.reports else "runs and is finite; give --checkpoint to compare with weights"
        )
        screen.print(escape(f"{result.path}: {files}{compared}"), soft_wrap=True)


def _from_config() -> list[Path]:
    path = Path(config.FILE_NAME)
    if not path.is_file():
        raise UsageError(
            f"nothing to verify: no path is given, and this folder has no {config.FILE_NAME}",
            hint="swiftdeploy verify dist/NAME",
        )
    read = config.read_config(path)
    return [read.folder / read.output / name for name, _ in read.models]
