"""`swiftdeploy search`: which weights bear how few bits, and a recipe file that meets a size or an accuracy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from swiftdeploy import console
from swiftdeploy.cli import output
from swiftdeploy.cli.options import Attention, Json, NoColor, Quiet, Verbose
from swiftdeploy.errors import UsageError
from swiftdeploy.spec import ExportOptions

DEFAULTS = ExportOptions()

Checkpoint = Annotated[str, typer.Argument(metavar="CHECKPOINT", help="File, folder or hf-hub:org/name.")]
Model = Annotated[str, typer.Option("--model", "-m", metavar="NAME|module:factory|timm:NAME", help="Which one.")]
Images = Annotated[
    Path, typer.Option("--images", metavar="DIR|CSV", help="One subfolder a class, columns file,label, or just images.")
]
Target = Annotated[str | None, typer.Option("--target-size", metavar="2MB", help="At most so large a package.")]
Drop = Annotated[
    float | None, typer.Option("--min-top1-drop", metavar="POINTS", help="Smallest package that loses at most so much.")
]
Candidates = Annotated[
    list[str] | None,
    typer.Option("--precision", "-p", metavar="SCHEME", help="What weights may be stored in; default: all usual."),
]
Labels = Annotated[str, typer.Option("--labels", metavar="FILE|imagenet|sorted", help="What the folders' names mean.")]
InputKind = Annotated[str, typer.Option("--input", metavar="tensor|image", help="As the export will have it.")]
Size = Annotated[str | None, typer.Option("--size", metavar="SIDE|HxW", help="Input size in pixels.")]


def search(
    checkpoint: Checkpoint,
    model: Model,
    images: Images,
    attention: Attention = None,
    target_size: Target = None,
    min_top1_drop: Drop = None,
    precision: Candidates = None,
    out: Annotated[Path | None, typer.Option("--output", "-o", help="Folder; default: dist/MODEL-search.")] = None,
    name: Annotated[str, typer.Option("--name", help="The recipe file's name, without .toml.")] = "mixed",
    labels: Labels = "",
    limit: Annotated[int, typer.Option("--limit", help="At most so many images, each class with its share.")] = 500,
    seed: Annotated[int, typer.Option("--seed", help="Which images --limit chooses.")] = 0,
    probe: Annotated[int, typer.Option("--probe", help="Images on which each weight is tried alone.")] = 64,
    min_ios: Annotated[int, typer.Option("--min-ios", help="15, 16, 17, 18 or 26.")] = DEFAULTS.min_ios,
    input_kind: InputKind = DEFAULTS.input_kind,
    size: Size = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier search.")] = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    no_color: NoColor = False,
) -> None:
    """Find a scheme for each weight that meets a size or an accuracy.

    Give --target-size or --min-top1-drop. Writes a recipe file for export -p, sensitivity.json, and a plot.

    Example: swiftdeploy search net.pth -m my:net --images val --target-size 5MB
    """
    output.configure(quiet=quiet, verbose=verbose, no_color=no_color)
    from swiftdeploy.cli.export import folder_of, size_of

    with console.quiet():  # coremltools warns as it is imported
        from swiftdeploy.search import run as pipeline
    from swiftdeploy.search.request import SearchRequest
    from swiftdeploy.searches import Goal

    side = size_of(size)
    chosen = {"min_ios": min_ios, "input_kind": input_kind, "input_size": tuple(side) if side else None}
    request = SearchRequest(
        model=model,
        checkpoint=checkpoint,
        attention=attention,
        images=images,
        destination=out or Path("dist") / f"{folder_of(model)}-search",
        goal=Goal(target_bytes=_bytes(target_size), max_drop=min_top1_drop),
        candidates=tuple(precision or ()),
        labels=labels,
        limit=limit,
        seed=seed,
        probe=probe,
        name=name,
        options=ExportOptions(**chosen),  # type: ignore[arg-type]  # it checks them
        force=force,
    )
    report = pipeline.search(request)
    if json:
        output.document(report)
        return
    _print(report, request, every=verbose)


def _bytes(text: str | None) -> int | None:
    from swiftdeploy.config.budgets import bytes_of

    if text is None:
        return None
    try:
        return bytes_of(f"{text} B" if text.isdecimal() else text)
    except ValueError as error:
        raise UsageError(f"--target-size {error}", hint="give bytes, or a number with kB, MB or MiB") from error


def _print(report: Any, request: Any, *, every: bool) -> None:
    from swiftdeploy.cli import tradeoff

    screen = console.stdout()
    screen.print(tradeoff.sensitivities(report, width=screen.width, every=every))
    screen.print()
    screen.print(tradeoff.points(report, width=screen.width))
    for line in tradeoff.conclusion(report):
        screen.print(console.plain(line))
    recipe = request.destination / f"{request.name}.toml"
    for path in (recipe, request.destination / "sensitivity.json", request.destination / "pareto.png"):
        screen.print(console.plain(str(path)), soft_wrap=True)
    console.note(tradeoff.legend(report, every=every))
