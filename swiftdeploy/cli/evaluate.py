"""`swiftdeploy evaluate`: the accuracy of a bundle's artifacts on labelled images."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from swiftdeploy import console
from swiftdeploy.cli import output
from swiftdeploy.cli.options import Json, NoColor, Quiet, Verbose
from swiftdeploy.errors import BudgetError, UsageError
from swiftdeploy.spec import to_plain

SHOWN = 20


Images = Annotated[
    Path, typer.Option("--images", metavar="DIR|CSV", help="One subfolder a class, or columns file,label.")
]
Checkpoint = Annotated[
    str | None, typer.Option("--checkpoint", help="The weights that were exported: the oracle answers too.")
]
Model = Annotated[str | None, typer.Option("--model", "-m", help="Allows a model of your own to be run.")]
Labels = Annotated[str, typer.Option("--labels", metavar="FILE|imagenet|sorted", help="What the folders' names mean.")]
Limit = Annotated[int | None, typer.Option("--limit", help="This many images, each class with its share.")]
Exif = Annotated[
    str, typer.Option("--exif", metavar="ignore|apply", help="Turn images as EXIF says; training ignores it.")
]
Skip = Annotated[bool, typer.Option("--skip-unreadable", help="Count without images that do not decode.")]
Resume = Annotated[Path | None, typer.Option("--resume", metavar="FILE", help="Keep answers there, and go on from it.")]
Scheduler = Annotated[
    str | None, typer.Option("--scheduler", metavar="tcp://HOST:PORT", help="An existing Dask cluster instead.")
]
MinTop1 = Annotated[
    float | None, typer.Option("--min-top1", metavar="PERCENT", help="Fail where an artifact's is lower.")
]
MaxDrop = Annotated[float | None, typer.Option("--max-top1-drop", metavar="POINTS", help="Fail where one loses more.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Also write the JSON document there.")]


def evaluate(
    bundle: Annotated[Path, typer.Argument(help="The bundle to evaluate.")],
    images: Images,
    checkpoint: Checkpoint = None,
    model: Model = None,
    labels: Labels = "",
    limit: Limit = None,
    seed: Annotated[int, typer.Option("--seed", help="Which images --limit chooses.")] = 0,
    exif: Exif = "ignore",
    skip_unreadable: Skip = False,
    resume: Resume = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", help="Processes; each loads all models.")] = 1,
    scheduler: Scheduler = None,
    min_top1: MinTop1 = None,
    max_top1_drop: MaxDrop = None,
    out: Output = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, run nothing.")] = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    no_color: NoColor = False,
) -> None:
    """Measure top-1 and top-5 of every artifact on labelled images.

    With --checkpoint they are compared with PyTorch's answers, else with the most precise artifact. -v lists the images
    that are not answered alike.

    Example: swiftdeploy evaluate dist/xs --images val --checkpoint xs.pth
    """
    output.configure(quiet=quiet, verbose=verbose, no_color=no_color)
    from swiftdeploy.pipeline import evaluate as pipeline

    if out is not None and (out.is_dir() or not out.absolute().parent.is_dir()):
        raise UsageError(f"{out} cannot be written", hint="name a file in a folder that exists")
    request = pipeline.EvaluationRequest(
        bundle=bundle,
        images=images,
        checkpoint=checkpoint,
        model=model,
        labels=labels,
        limit=limit,
        seed=seed,
        exif=exif,  # type: ignore[arg-type]  # the request checks it
        skip_unreadable=skip_unreadable,
        resume=resume,
        jobs=jobs,
        scheduler=scheduler,
        min_top1=min_top1,
        max_top1_drop=max_top1_drop,
    )
    prepared = pipeline.prepare(request)
    if dry_run:
        _show_plan(prepared, json=json)
        return
    _show(pipeline.run(prepared), out, json=json, every=verbose)


def _show_plan(prepared: Any, *, json: bool) -> None:
    plan = {
        "images": len(prepared.dataset.examples),
        "classes": prepared.classes,
        "skipped": prepared.skipped,
        "artifacts": [name for name, _ in prepared.setup.artifacts],
        "reference": prepared.setup.reference,
    }
    if json:
        output.document({"plan": plan})
        return
    line = f"{plan['images']} images of {plan['classes']} classes through {', '.join(plan['artifacts'])}"
    console.stdout().print(f"{console.plain(line)}, compared with {console.plain(plan['reference'])}", soft_wrap=True)


def _show(report: Any, out: Path | None, *, json: bool, every: bool) -> None:
    """The table, or the document; then the budgets decide."""
    plain = to_plain(report)
    error = _broken(report)
    if error is not None:
        plain |= output.failure(error)
    if out is not None:
        _write(output.text(plain), out)
    if json:
        output.document(plain)
        if error is not None:
            raise typer.Exit(error.exit_code)  # the document says why; a second one would not parse
        return
    _print(report, every=every)
    if error is not None:
        raise error


def _print(report: Any, *, every: bool) -> None:
    from swiftdeploy.cli import accuracy
    from swiftdeploy.evaluation.report import ORACLE
    from swiftdeploy.reporting.text import plural

    screen = console.stdout()
    part = f" of {report.subset.of}, seed {report.subset.seed}" if report.subset else ""
    screen.print(f"{plural(report.images, 'image')}{part}, {report.classes} classes")
    screen.print(accuracy.table(report, width=screen.width))
    screen.print(accuracy.alike(report) + ("; -v lists them" if report.differences and not every else ""))
    for one in report.differences if every else ():
        screen.print(accuracy.difference(report, one), soft_wrap=True)
    screen.print(console.plain(accuracy.recommendation(report.recommendation)))
    for skipped in report.skipped if every else report.skipped[:SHOWN]:
        console.note(f"skipped: {skipped.name}: {skipped.reason}", mark="note")
    if len(report.skipped) > SHOWN and not every:
        console.note(f"{len(report.skipped) - SHOWN} more skipped; -v lists all", mark="note")
    if report.weights == "untrained":
        console.note("the weights are untrained: accuracy says nothing, agreement does", mark="note")
    if report.reference != ORACLE:
        console.note(
            f"no --checkpoint: compared with {report.reference}, the bundle's most precise artifact, not with PyTorch",
            mark="note",
        )
    console.note(accuracy.LEGEND)


def _broken(report: Any) -> BudgetError | None:
    """What the budgets say, where one is broken."""
    words = {"min_top1": "top-1 under {:g} %", "max_top1_drop": "a loss of top-1 over {:g} points"}
    facts = [f"{words[b.name].format(b.limit)}: {', '.join(b.broken)}" for b in report.budgets if b.broken]
    if not facts:
        return None
    return BudgetError(
        "; ".join(facts), hint="another precision may hold it; -v and --json list the images that differ"
    )


def _write(text: str, path: Path) -> None:
    """Write beside and rename: a reader never sees half of it. Raises UsageError where the disk refuses."""
    staged = None
    try:
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.absolute().parent, delete=False) as stream:
            staged = Path(stream.name)
            stream.write(text)
        staged.chmod(0o666 & ~_umask())
        staged.replace(path)
    except OSError as error:
        if staged is not None:
            staged.unlink(missing_ok=True)
        raise UsageError(
            f"{path} cannot be written: {error.strerror or error}", hint="check space and permissions"
        ) from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
