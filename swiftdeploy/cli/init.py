"""`swiftdeploy init`: the first swiftdeploy.toml of a repository."""

from __future__ import annotations

import sys
from dataclasses import replace
from json import loads as parse_json  # `json` is an option here
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from swiftdeploy import catalog, console
from swiftdeploy.cli import output
from swiftdeploy.cli.options import Attention, Json, NoColor, Quiet, Verbose
from swiftdeploy.config import FILE_NAME, HUB, SCHEMA_FILE, Config, KeyPath, ModelEntry, Place, parse_config, starter
from swiftdeploy.errors import ModelError, UsageError
from swiftdeploy.schema import load_schema
from swiftdeploy.seal import canonical

TARGETS, PRECISIONS = ["coreml", "onnx"], ["fp16", "fp32"]
# Keys of the file that the command line calls by another name than "--key".
OPTIONS = {
    "checkpoint": "CHECKPOINT",
    "targets": "--target",
    "precisions": "--precision",
    "min_ios": "--min-ios",
}
Checkpoint = Annotated[
    str | None, typer.Argument(metavar="CHECKPOINT", help="File, folder or hf-hub:org/name.", show_default=False)
]


class _CommandLine(Place):
    """A file that is not written yet has no lines: what does not fit is an option's, or the model's as a whole."""

    def refuse(self, path: KeyPath, fact: str, hint: str = "see: swiftdeploy init --help") -> NoReturn:
        """Raise UsageError with the option."""
        model = path[1:2] if path[:1] == ("models",) else ()
        key = str(*(path[2:3] if model else path[:1]))
        option = OPTIONS.get(key, f"--{key}") if key else str(*model)
        raise UsageError(f"{option}: {fact}", hint=hint)


def init(
    checkpoint: Checkpoint = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", metavar="NAME|module:factory|timm:NAME", help="Which architecture.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="The bundle's folder; default: the model's name.")] = None,
    attention: Attention = None,
    target: Annotated[
        list[str] | None, typer.Option("--target", "-t", help="Repeatable; default: both.", show_default=False)
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option("--precision", "-p", help="Repeatable; default: fp16 and fp32.", show_default=False),
    ] = None,
    min_ios: Annotated[int, typer.Option("--min-ios", help="15, 16, 17, 18 or 26.")] = ModelEntry().min_ios,
    labels: Annotated[str, typer.Option("--labels", metavar="FILE|imagenet", help="Make a classifier.")] = "",
    images: Annotated[str | None, typer.Option("--images", help="Your own images, for parity.")] = None,
    calibration: Annotated[
        str | None, typer.Option("--calibration", metavar="DIR", help="Images that ranges are measured on.")
    ] = None,
    out: Annotated[str, typer.Option("--output", "-o", help="Folder that gets the bundles.")] = "dist",
    pin: Annotated[bool, typer.Option("--pin/--no-pin", help="Record the checkpoint's sha256.")] = True,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the file, and write nothing.")] = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    no_color: NoColor = False,
) -> None:
    """Write a swiftdeploy.toml, from options or by asking, and its schema for editors that complete by it.

    Example: swiftdeploy init weights.pth -m swiftformer_xs --attention token_l2
    """
    output.configure(quiet=quiet, verbose=verbose, no_color=no_color)
    if not (force or dry_run):
        _check_free(Path(FILE_NAME))
    if checkpoint is None or model is None:
        checkpoint, model, attention = _asked(checkpoint, model, attention)
    catalog.find(model)  # a name that no catalog has is refused here, not by the first run
    entry = ModelEntry(
        model=model,
        checkpoint=checkpoint,
        attention=attention,
        targets=tuple(target or TARGETS),
        precisions=tuple(precision or PRECISIONS),
        min_ios=min_ios,
        labels=labels,
        images=images,
        calibration=calibration,
    )
    text = _text(name or _folder(model), entry, out, pin=pin)
    if not dry_run:
        _write(Path(FILE_NAME), text)
    if json:
        output.document({"written": [] if dry_run else [FILE_NAME, SCHEMA_FILE], "text": text})
    elif dry_run:
        sys.stdout.write(text)
    else:
        console.stdout().print(FILE_NAME)
        console.note("next: swiftdeploy run")


def _text(name: str, entry: ModelEntry, out: str, *, pin: bool) -> str:
    """The file, which parses. Raises UsageError with the option that does not fit, before any weights are read."""
    text = starter([(name, entry)], output=out)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        broken = error.object[error.start : error.end].encode(errors="surrogateescape")
        raise UsageError(
            f"the byte {broken.hex()} of a name is no UTF-8, and {FILE_NAME} is", hint="rename the file or folder"
        ) from error
    parse_config(text, Path(FILE_NAME), place=_CommandLine)
    return starter([(name, _found(entry, pin=pin))], output=out)


def _check_free(path: Path) -> None:
    """Raise UsageError where a file of somebody's would be replaced; an earlier schema of ours is nobody's."""
    if path.exists():
        raise UsageError(f"{path} exists already", hint="use --force to replace it")
    schema = path.with_name(SCHEMA_FILE)
    if schema.exists() and not _is_ours(schema):
        raise UsageError(
            f"{schema} exists already, and is not the schema of {path}",
            hint="move it away, or use --force to replace it",
        )


def _is_ours(schema: Path) -> bool:
    try:
        plain = parse_json(schema.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(plain, dict) and plain.get("title") == load_schema("config/config")["title"]


def _asked(checkpoint: str | None, model: str | None, attention: str | None) -> tuple[str, str, str | None]:
    """What was not said, asked for on a terminal. Raises UsageError where nobody sits at one."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            "init needs a checkpoint and a model, and nobody is here to be asked",
            hint="swiftdeploy init CHECKPOINT --model NAME",
        )
    checkpoint = checkpoint or typer.prompt("Checkpoint (file, folder or hf-hub:org/name)", err=True)
    rows = {row.name: row for row in catalog.entries()}
    while model is None:
        answer = str(typer.prompt(f"Model ({', '.join(rows)}, or module:factory)", err=True)).strip()
        try:
            catalog.find(answer)
        except ModelError as error:
            output.fail(error, json=False)  # a typo is said, and asked for again
        else:
            model = answer
    if attention is None and model in rows and rows[model].attention:
        choices = ", ".join(rows[model].attention)
        answer = str(typer.prompt(f"Attention ({choices}; empty where the weights tell)", default="", err=True)).strip()
        attention = answer or None
    return str(checkpoint), model, attention


def _found(entry: ModelEntry, *, pin: bool) -> ModelEntry:
    """The entry with the sha256 of its weights, where they are to be pinned; what else is not there yet is only said.

    Raises UsageError where nothing is there to pin, CheckpointError where that is no weights.
    """
    paths = {"--images": entry.images, "--calibration": entry.calibration, "CHECKPOINT": entry.checkpoint}
    if entry.labels != "imagenet":
        paths["--labels"] = entry.labels
    for option, path in paths.items():
        if not path or path.startswith(HUB) or _is_there(path):
            continue
        if pin and option == "CHECKPOINT":
            raise UsageError(
                f"there is no {path}",
                hint="check the path, or use --no-pin to write the file before the weights are there",
            )
        console.note(f"{option}: {path} is not there yet")
    return replace(entry, sha256=_digest(entry.checkpoint)) if pin and entry.checkpoint else entry


def _is_there(path: str) -> bool:
    try:
        return Path(_local(path)).exists()
    except OSError:  # a name that is too long, a folder that may not be entered
        return False


def _digest(checkpoint: str) -> str | None:
    """The sha256 to pin. A hub id has none before it was fetched, which is said."""
    if checkpoint.startswith(HUB):
        console.note(f"not pinned: name a revision, such as {HUB}org/name@COMMIT, or add sha256 after the first run")
        return None
    from swiftdeploy.matrix.fingerprint import pinnable_digest

    return pinnable_digest(_local(checkpoint))


def _local(path: str) -> str:
    """A path as `run` will take it from the file."""
    return Config(folder=Path()).path(path) or ""


def _write(path: Path, text: str) -> None:
    from swiftdeploy.bundle import write_whole

    write_whole(path.with_name(SCHEMA_FILE), canonical(load_schema("config/config")))
    write_whole(path, text)


def _folder(model: str) -> str:
    return "".join(c if c.isalnum() or c in "_-" else "_" for c in model.rsplit(":", 1)[-1]) or "model"
