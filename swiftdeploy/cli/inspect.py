"""`swiftdeploy inspect`: what a file is, and with --run what each op of it computes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from swiftdeploy import console
from swiftdeploy.cli import output
from swiftdeploy.cli.options import Json, NoColor, Quiet, Verbose
from swiftdeploy.errors import UsageError

Placement = Annotated[bool, typer.Option("--placement", help="Predict which ops the Neural Engine may take.")]
Cost = Annotated[bool, typer.Option("--cost", help="Count MACs, weight bytes and activation bytes of each op.")]


def inspect(
    path: Annotated[str, typer.Argument(help="A checkpoint, bundle, .mlpackage or .onnx.")],
    run: Annotated[bool, typer.Option("--run", help="Run a package: range, fp16 risks, MACs by op.")] = False,
    images: Annotated[Path | None, typer.Option("--images", help="Your own images, with --run.")] = None,
    placement: Placement = False,
    cost: Cost = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    no_color: NoColor = False,
) -> None:
    """Show what a checkpoint, bundle or artifact holds.

    Example: swiftdeploy inspect dist/swiftformer_xs
    """
    output.configure(quiet=quiet, verbose=verbose, no_color=no_color)
    if run and (placement or cost):
        raise UsageError("--run runs the package, --placement and --cost judge the file", hint="ask for one of them")
    if run:
        _run(Path(path), images=images, json=json)
        return
    if images is not None:
        raise UsageError("--images says what to run on", hint="add --run")
    if placement or cost:
        from swiftdeploy.cli.placement import show

        show(path, placement=placement, cost=cost, json=json)
        return
    from swiftdeploy.pipeline.inspection import look

    found = look(path)
    if json:
        output.document(found)
        return
    _show(found)


def _run(path: Path, *, images: Path | None, json: bool) -> None:
    from swiftdeploy.cli import hazards
    from swiftdeploy.pipeline.running import run_report

    reports = run_report(path, images=images)
    if json:
        output.document({"runs": reports})
        return
    screen = console.stdout()
    for report in reports:
        screen.print(escape(f"{report.artifact}: {report.samples} samples, {report.inputs}"), soft_wrap=True)
        screen.print(hazards.table(report.ops, width=screen.width))
        screen.print(hazards.totals(report.ops), soft_wrap=True)


def _show(found: Mapping[str, Any]) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in found.items():
        table.add_row(key, escape(_text(value)) or "-")
    console.stdout().print(table)


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return "\n".join(_text(item) for item in value)
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else output.printable(str(value))
