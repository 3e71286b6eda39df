"""The typer application, and the one place where an error becomes an exit code."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

import typer

from swiftdeploy import __version__, console
from swiftdeploy.cli import output
from swiftdeploy.cli.bench import bench
from swiftdeploy.cli.cache import cache
from swiftdeploy.cli.diff import diff
from swiftdeploy.cli.doctor import doctor
from swiftdeploy.cli.evaluate import evaluate
from swiftdeploy.cli.export import export
from swiftdeploy.cli.harness import harness
from swiftdeploy.cli.init import init
from swiftdeploy.cli.inspect import inspect
from swiftdeploy.cli.models import models
from swiftdeploy.cli.pack import pack
from swiftdeploy.cli.run import run as run_matrix
from swiftdeploy.cli.schema import schema
from swiftdeploy.cli.search import search
from swiftdeploy.cli.sign import sign
from swiftdeploy.cli.verify import verify
from swiftdeploy.errors import ArtifactError, SwiftdeployError, UsageError, refused_by_system

INTERRUPTED = 130

app = typer.Typer(
    name="swiftdeploy",
    help="Trained PyTorch checkpoints become verified Core ML and ONNX bundles for iPhone.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # boxes take a third of 80 columns, and rich takes time to import
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"swiftdeploy {__version__}")
        raise typer.Exit


@app.callback()
def top(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Trained PyTorch checkpoints become verified Core ML and ONNX bundles for iPhone."""


for command in (export, verify, inspect, evaluate, search, diff, sign, pack, bench, models, doctor, schema, init):
    app.command()(command)
app.command("run")(run_matrix)
app.add_typer(harness)
app.add_typer(cache)


def run(arguments: Sequence[str]) -> int:
    """Run the command line and answer with the exit code. A bug is not caught: it shows its traceback."""
    json = "--json" in arguments
    given = list(arguments) or ["--help"]
    try:
        with console.interruptible():
            _check_empty(given)
            answer = typer.main.get_command(app).main(args=given, prog_name="swiftdeploy", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        answer = INTERRUPTED
    except Exception as error:
        known = error if isinstance(error, SwiftdeployError) else _usage(error) or refused_by_system(error)
        if console.interrupted():
            answer = INTERRUPTED
        elif known is not None:
            output.fail(known, json=json)
            return known.exit_code
        else:
            if json:
                output.bug(error)
            raise
    if answer == INTERRUPTED:  # typer turns most of them into this answer
        output.fail(SwiftdeployError("interrupted", hint="nothing was left half-written"), json=json, code=INTERRUPTED)
    return answer if isinstance(answer, int) else 0


def _check_empty(arguments: Sequence[str]) -> None:
    """Refuse what a variable that is not set leaves behind: as a path, nothing would mean the working folder."""
    for before, argument in pairwise(("swiftdeploy", *arguments)):
        empty = f"an empty argument follows {before}" if not argument else ""
        if argument.startswith("--") and argument.endswith("="):
            empty = f"{argument} has no value"
        if empty:
            raise UsageError(empty, hint="a variable that is not set? give a value, or leave the option out")


def delivered(code: int) -> int:
    """The exit code, once stdout has taken the result: where it refused, as a full disk does, 0 is no answer.

    A reader that has gone is none of our business (see `console.guard`).
    """
    error = console.refusal()
    if error is None:
        return code
    lost = ArtifactError(
        f"stdout cannot be written: {error.strerror or error}", hint="free space, or send it to another place"
    )
    output.fail(lost, json=False)  # a document would be lost as well
    return code or lost.exit_code


def _usage(error: Exception) -> SwiftdeployError | None:
    """The parser's own complaint as one of ours. Typer vendors its parser, so the type has no public name."""
    message = getattr(error, "format_message", None)
    if message is None:
        return None
    context = getattr(error, "ctx", None)
    command = getattr(context, "command_path", "swiftdeploy")
    return UsageError(str(message()), hint=f"see: {command} --help")
