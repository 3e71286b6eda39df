"""`swiftdeploy harness`: the Xcode project for a phone, and what the phone brings back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core

from swiftdeploy import console
from swiftdeploy.cli import output
from swiftdeploy.cli.options import Json, NoColor, Quiet, Verbose

WRITE = "write"

Allow = Annotated[
    list[str] | None,
    typer.Option(
        "--allow",
        metavar="REASON",
        help="Accept in spite of: debug_build, debugger, simulator, low_power_mode, thermal; repeatable.",
    ),
]


class BundlesOrCommand(typer.core.TyperGroup):
    """A group whose first word may be a bundle: what names no command is handed to `write`."""

    # Typer's parser context has no public name, and its parser must not be imported.
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The group's own parsing, with the default command put in front where none is named."""
        plain = bool(args) and (args[0] in self.commands or args[0] in ctx.help_option_names)
        return super().parse_args(ctx, args if plain else [WRITE, *args])


harness = typer.Typer(
    name="harness",
    cls=BundlesOrCommand,
    rich_markup_mode=None,  # as the application: boxes take a third of 80 columns
    subcommand_metavar="BUNDLE... | COMMAND [ARGS]...",
)


@harness.callback()
def about() -> None:
    """Measure on a phone: write a project, import results, compare.

    BUNDLE... writes the Xcode project, as the command write does.

    Example: swiftdeploy harness dist/swiftformer_xs -o Bench
    """


@harness.command(WRITE)
def write(
    bundles: Annotated[list[Path], typer.Argument(metavar="BUNDLE", help="Bundles to measure side by side.")],
    out: Annotated[Path, typer.Option("--output", "-o", help="Folder of the new Xcode project.")],
    team: Annotated[str, typer.Option("--team", metavar="ID", help="Apple team id; can be filled in later.")] = "",
    rounds: Annotated[int | None, typer.Option("--rounds", help="Rounds; default 20.")] = None,
    predictions: Annotated[int | None, typer.Option("--predictions", help="Predictions a round; default 50.")] = None,
    unit: Annotated[
        list[str] | None,
        typer.Option("--unit", help="all, cpuAndNeuralEngine, cpuAndGPU, cpuOnly; repeatable; default: each."),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of the rounds' order.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an older harness project.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and do nothing.")] = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    no_color: NoColor = False,
) -> None:
    """Write the Xcode project; the word write may be left out.

    Every Core ML artifact of every bundle is measured on every compute unit, and checked against the golden data.

    Example: swiftdeploy harness dist/swiftformer_xs dist/mobilevitv2_100 -o Bench --team ABCDE12345
    """
    output.configure(quiet=quiet, verbose=verbose, no_color=no_color)
    from swiftdeploy.harness.plan import Plan
    from swiftdeploy.pipeline import harness as pipeline

    given: dict[str, Any] = {
        "rounds": rounds,
        "predictions_per_round": predictions,
        "seed": seed,
        "compute_units": unit and tuple(unit),
    }
    plan = replace(Plan(), **{name: value for name, value in given.items() if value is not None})
    if dry_run:
        plan = pipeline.planned(bundles, out, team=team, plan=plan, force=force)
    else:
        pipeline.write_harness(bundles, out, team=team, plan=plan, force=force)
        plan = pipeline.read_plan(out / pipeline.PLAN_FILE)
    if json:
        output.document({"project": str(out), "written": not dry_run, "plan": plan})
        return
    each = f"{len(plan.compute_units)} compute units, {plan.rounds} rounds of {plan.predictions_per_round} predictions"
    console.stdout().print(console.plain(f"{', '.join(m.label for m in plan.models)}: {each}"), soft_wrap=True)
    place = f"{out}: would be written" if dry_run else f"{out}: open Bench.xcodeproj; README.md has every step"
    console.stdout().print(console.plain(place), soft_wrap=True)


@harness.command("import")
def import_(
    files: Annotated[list[Path], typer.Argument(metavar="RESULT", help="JSON files as the device wrote them.")],
    bundle: Annotated[Path | None, typer.Option("--bundle", help="Check against this bundle, and store in it.")] = None,
    plan: Annotated[Path | None, typer.Option("--plan", help="The plan that must have been followed.")] = None,
    allow: Allow = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    no_color: NoColor = False,
) -> None:
    """Check what a device measured, and store it in the bundle.

    Every figure is computed again. All results are stored or none; importing one twice changes nothing.

    Example: swiftdeploy harness import swiftdeploy-result.json --bundle dist/swiftformer_xs
    """
    output.configure(quiet=quiet, verbose=verbose, no_color=no_color)
    from swiftdeploy.pipeline import device
    from swiftdeploy.pipeline.harness import read_plan

    wanted = read_plan(plan) if plan is not None else None
    found = device.import_result(files, bundle, plan=wanted, allow=allow or ())
    if json:
        output.document({"imported": [_plain(item) for item in found]})
        return
    for item in found:
        _show(item)
        if item.stored:
            where = f"{bundle}/{item.stored}"
            done = f"{where}: was there already" if item.known else f"{where}: stored"
            console.stdout().print(console.plain(done), soft_wrap=True)
    if bundle is None:
        console.note("nothing is stored: give --bundle DIR to check against a bundle and keep it", mark="note")


@harness.command()
def compare(
    a: Annotated[Path, typer.Argument(help="A result, a folder of results, or a bundle with some.")],
    b: Annotated[Path, typer.Argument(help="The other side; may be the same file.")],
    model_a: Annotated[str, typer.Option("--model-a", metavar="LABEL", help="Which model of A.")] = "",
    model_b: Annotated[str, typer.Option("--model-b", metavar="LABEL", help="Which model of B.")] = "",
    html: Annotated[Path | None, typer.Option("--html", help="Also write a report, one file.")] = None,
    published: Annotated[bool, typer.Option("--published", help="Show published latencies beside, marked.")] = False,
    allow: Allow = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    no_color: NoColor = False,
) -> None:
    """Tell which of two is faster, with intervals.

    The two are models, precisions, phones or OS builds. Models of one run are compared in pairs, round by round. Each
    side is one phone with one OS build.

    Example: swiftdeploy harness compare run.json run.json --model-a xs-fp16 --model-b xs-fp32
    """
    output.configure(quiet=quiet, verbose=verbose, no_color=no_color)
    from swiftdeploy.cli import latency
    from swiftdeploy.harness.compare import compare as run_compare
    from swiftdeploy.pipeline import device

    side_a, side_b = device.measurements(a, allow=allow or ()), device.measurements(b, allow=allow or ())
    known = device.published((*side_a, *side_b)) if published else None
    found = run_compare(side_a, side_b, model_a=model_a, model_b=model_b, published=known)
    spoiled = sorted({fact for run in (*side_a, *side_b) for fact in run.invalid})
    if html is not None:
        device.write_report((*side_a, *side_b), html, comparisons=found, published=known)
    if json:
        page = str(html) if html is not None else None
        output.document({"comparisons": found, "accepted_in_spite_of": spoiled, "html": page})
        return
    screen = console.stdout()
    for one in found:
        screen.print(f"A {console.plain(one.label_a)} on {console.plain(one.column_a)}", soft_wrap=True)
        screen.print(f"B {console.plain(one.label_b)} on {console.plain(one.column_b)}", soft_wrap=True)
        screen.print(latency.comparison(one))
        for line in (*dict.fromkeys(row.reason for row in one.rows if row.reason), *latency.stated(one)):
            screen.print(console.plain(line), soft_wrap=True)
    _lines("accepted in spite of", spoiled)
    if html is not None:
        console.note(str(html), mark="done")


def _plain(item: Any) -> dict[str, Any]:
    from swiftdeploy.harness.report import notes

    run = item.measurement
    pairs = [
        {
            "model": pair.label,
            "compute_unit": pair.unit,
            "status": pair.status,
            "statistics": pair.statistics,
            "parity": [{"output": p.output, "psnr_db": p.psnr_db, "verdict": p.verdict} for p in pair.parity],
        }
        for pair in run.pairs
    ]
    return {
        "path": str(item.path),
        "device": run.device,
        "launch_id": run.launch_id,
        "pairs": pairs,
        "invalid": run.invalid,
        "notes": notes(run),
        "stored": item.stored,
        "known": item.known,
    }


def _show(item: Any) -> None:
    from swiftdeploy.cli import latency
    from swiftdeploy.harness.report import notes

    run, screen = item.measurement, console.stdout()
    screen.print(console.plain(f"{item.path.name}: {run.device.column}, {run.created_at}"), soft_wrap=True)
    for label, table in latency.results(run):
        screen.print(f"[bold]{console.plain(label)}[/bold]", soft_wrap=True)
        screen.print(table)
    _lines("accepted in spite of", run.invalid)
    _lines("note", notes(run))


def _lines(what: str, lines: Sequence[str]) -> None:
    for line in lines:
        console.stdout().print(f"[yellow]{what}:[/yellow] {console.plain(line)}", soft_wrap=True)
