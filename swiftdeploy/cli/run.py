"""`swiftdeploy run`: everything that swiftdeploy.toml names, made where it changed, verified, held to its budgets."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from swiftdeploy import console
from swiftdeploy.cli import output
from swiftdeploy.cli.cache import Folder, cache_of
from swiftdeploy.cli.options import Json, NoColor, Quiet, Verbose
from swiftdeploy.cli.table import table_of
from swiftdeploy.config import FILE_NAME, Config, bytes_of, check_baselines, read_config
from swiftdeploy.errors import UsageError, worst_code
from swiftdeploy.runs import JobReport, RunReport, encode_run

MARKS = {
    "passed": "[green]passed[/green]",
    "cached": "[green]cached[/green]",
    "failed": "[red]failed[/red]",
    "skipped": "[yellow]skipped[/yellow]",
}


def run(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Only these models of the file.", show_default=False)
    ] = None,
    file: Annotated[Path, typer.Option("--config", "-c", metavar="FILE", help="The configuration.")] = Path(FILE_NAME),
    baseline: Annotated[
        Path | None,
        typer.Option("--baseline", metavar="PATH", help="Compare with this run or bundle, not with the file's."),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", help="Worker processes; default: one a core.", show_default=False)
    ] = None,
    memory: Annotated[
        str | None, typer.Option("--memory", metavar="SIZE", help='Bound of all workers together, such as "8GB".')
    ] = None,
    cache: Folder = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Make everything anew, and keep nothing.")] = False,
    executor: Annotated[str, typer.Option("--executor", metavar="local|dask", help="Where jobs run.")] = "local",
    scheduler: Annotated[
        str | None, typer.Option("--scheduler", metavar="ADDRESS", help="Of a Dask cluster: tcp://host:8786.")
    ] = None,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop at the first failure.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and do nothing.")] = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    no_color: NoColor = False,
) -> None:
    """Make, verify and judge every model of swiftdeploy.toml; what did not change comes from the cache.

    The exit code is the most severe of all jobs': 1, 7, 6, 5, 4, 8, 3, 2 in that order. That of a dry run says what
    cannot begin.

    Example: swiftdeploy run --jobs 2
    """
    output.configure(quiet=quiet, verbose=verbose, no_color=no_color)
    if (executor == "dask") != (scheduler is not None) or executor not in ("local", "dask"):
        raise UsageError(
            "--executor dask and --scheduler go together", hint="--executor dask --scheduler tcp://host:8786"
        )
    config = _config(file, baseline)
    store = None if no_cache else cache_of(cache, config)
    if dry_run:
        raise typer.Exit(_show_plan(config, store, tuple(names or ()), json=json))
    from swiftdeploy.matrix.run import RunOptions
    from swiftdeploy.matrix.run import run as run_all

    options = RunOptions(
        workers=jobs if jobs is not None else os.cpu_count() or 1,
        memory=_memory(memory),
        cache=store,
        scheduler=scheduler,
        fail_fast=fail_fast,
        only=tuple(names or ()),
    )
    report = run_all(config, options)
    if json:
        sys.stdout.write(encode_run(report))  # the very text of run.json
    else:
        _show(report)
    if os.environ.get("GITHUB_ACTIONS") == "true":
        _annotate(report)
    raise typer.Exit(report.totals.exit_code)


def _config(file: Path, baseline: Path | None) -> Config:
    """The configuration, with the baseline of the command line where one is given."""
    if file.exists() and not file.is_file():
        raise UsageError(
            f"{file} is {'a folder' if file.is_dir() else 'no regular file'}",
            hint=f"name the file itself, such as -c {file / FILE_NAME if file.is_dir() else FILE_NAME}",
        )
    if not file.exists():
        # init writes a file of that name in this folder, and no other
        hint = "write one: swiftdeploy init" if file == Path(FILE_NAME) else "check the path that -c names"
        raise UsageError(f"there is no {file}", hint=hint)
    config = read_config(file.absolute())  # workers elsewhere stand in another folder
    if baseline is not None:  # as the file would say it, and for every model
        models = tuple((name, replace(model, baseline=None)) for name, model in config.models)
        config = replace(config, baseline=os.path.relpath(baseline, config.folder), models=models)
    check_baselines(config, file)
    return replace(config, name=file.as_posix())


def _annotate(report: RunReport) -> None:
    from swiftdeploy.reporting import annotation_lines

    for line in annotation_lines(report):  # on stderr, which the runner reads as well: stdout is the result's
        typer.echo(line, err=True)


def _memory(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return bytes_of(text)
    except ValueError as error:
        raise UsageError(f"--memory {error}", hint='for example --memory "8 GB"') from error


def _show_plan(config: Config, store: Any, names: tuple[str, ...], *, json: bool) -> int:
    """Print the plan; the answer is the exit code of what cannot begin."""
    from swiftdeploy.matrix.plan import plan

    planned = plan(config, store=store, only=names, dry=True)
    code = worst_code(item.failure.exit_code for item in planned if item.failure is not None)
    rows = [
        {
            "name": item.job.name,
            "model": item.job.request.model,
            "checkpoint": item.job.checkpoint,
            "destination": str(item.job.request.destination),
            "artifacts": item.job.artifacts,
            "cached": item.entry is not None,
            "reason": item.reason,
            "memory_bytes": item.job.memory,
            "failure": item.failure,
        }
        for item in planned
    ]
    if json:
        output.document({"plan": rows})
        return code
    for item in planned:
        state = "cached" if item.entry is not None else f"to be made ({item.reason})"
        if item.failure is not None:
            state = f"cannot begin: {item.failure.fact}"
        line = f"{item.job.name}: {', '.join(item.job.artifacts)} → {_near(item.job.request.destination)}: {state}"
        console.stdout().print(console.plain(line), soft_wrap=True)
    return code


def _near(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _show(report: RunReport) -> None:
    screen = console.stdout()
    table = table_of("model", "MB", "artifacts", "checks", "seconds", "GB", "status", width=screen.width)
    for job in report.jobs:
        table.add_row(*_row(job))
    screen.print(table)
    for job in report.jobs:
        for line in _complaints(job):
            screen.print(console.plain(line), soft_wrap=True)


def _row(job: JobReport) -> tuple[str, ...]:
    good = sum(check.verdict == "pass" for check in job.checks)
    asked = sum(check.verdict != "skip" for check in job.checks)
    return (
        console.plain(job.name),
        f"{job.summary.bytes / 1e6:.2f}" if job.summary is not None else "-",
        str(len(job.artifacts)),
        f"{good}/{asked}" if asked else "-",
        f"{sum(job.seconds.values()):.1f}" if job.seconds else "-",
        f"{job.peak_memory_bytes / 1e9:.2f}" if job.peak_memory_bytes is not None else "-",
        MARKS[job.status],
    )


def _complaints(job: JobReport) -> list[str]:
    """One line a failed check; for an export that failed also what to do."""
    if job.failure is not None:
        return [f"{job.name}: {job.failure.fact}", f"    hint: {job.failure.hint}"]
    return [
        f"{job.name}: {' '.join(part for part in (check.subject, check.name) if part)}: {check.message}"
        for check in job.checks
        if check.verdict == "fail"
    ]
