"""`swiftdeploy export`: a checkpoint becomes a verified bundle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swiftdeploy import config, console
from swiftdeploy.cli import output
from swiftdeploy.cli.options import (
    Attention,
    Calibration,
    Int8,
    Json,
    MaxDrift,
    MinAgreement,
    NoColor,
    PassphraseEnv,
    PassphraseFile,
    Precisions,
    Quiet,
    Verbose,
)
from swiftdeploy.errors import UsageError
from swiftdeploy.precision import resolve
from swiftdeploy.quantization import read_int8
from swiftdeploy.spec import ExportOptions, Metadata, from_plain, to_plain

if TYPE_CHECKING:
    from swiftdeploy.pipeline.request import ExportRequest
    from swiftdeploy.pipeline.signing import Sign

DEFAULTS = ExportOptions()
SHOWN = {"json", "quiet", "verbose", "no_color", "help"}
SIGNING = {"sign_key", "passphrase_env", "passphrase_file"}
WITH_CONFIG = {"target", "precision", "out", "fuse", "verify", "force", "dry_run"} | SIGNING | SHOWN

Checkpoint = Annotated[
    str | None, typer.Argument(metavar="CHECKPOINT", help="File, folder or hf-hub:org/name.", show_default=False)
]
Model = Annotated[
    str | None, typer.Option("--model", "-m", metavar="NAME|module:factory|timm:NAME", help="Which architecture.")
]
Untrained = Annotated[
    int | None, typer.Option("--untrained", metavar="SEED", help="No checkpoint: random weights, for latency work.")
]
InputKind = Annotated[
    str, typer.Option("--input", metavar="tensor|image", help="Normalised tensor, or pixels 0 to 255.")
]


def export(
    context: typer.Context,
    checkpoint: Checkpoint = None,
    model: Model = None,
    target: Annotated[list[str] | None, typer.Option("--target", "-t", help="coreml, onnx; repeatable.")] = None,
    precision: Precisions = None,
    out: Annotated[Path | None, typer.Option("--output", "-o", help="Folder that gets the bundle's folder.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="The bundle's folder; default: the model's name.")] = None,
    attention: Attention = None,
    untrained: Untrained = None,
    input_kind: InputKind = DEFAULTS.input_kind,
    size: Annotated[str | None, typer.Option("--size", metavar="SIDE|HxW", help="Input size in pixels.")] = None,
    batch: Annotated[int, typer.Option("--batch", help="Images a prediction takes.")] = DEFAULTS.batch,
    dynamic_batch: Annotated[bool, typer.Option("--dynamic-batch", help="ONNX: any batch size.")] = False,
    min_ios: Annotated[int, typer.Option("--min-ios", help="15, 16, 17, 18 or 26.")] = DEFAULTS.min_ios,
    opset: Annotated[int, typer.Option("--opset", help="ONNX opset, 17 to 20.")] = DEFAULTS.opset,
    ort: Annotated[bool, typer.Option("--ort", help="Also an .ort file beside the .onnx.")] = False,
    labels: Annotated[str, typer.Option("--labels", metavar="FILE|imagenet", help="Make a classifier.")] = "",
    images: Annotated[Path | None, typer.Option("--images", help="Your own images, for parity and drift.")] = None,
    calibration: Calibration = None,
    int8: Int8 = None,
    max_drift: MaxDrift = None,
    min_agreement: MinAgreement = None,
    fuse: Annotated[bool, typer.Option("--fuse/--no-fuse", help="Rewrite the graph before converting.")] = True,
    verify: Annotated[bool, typer.Option("--verify/--no-verify", help="Prove the numbers before writing.")] = True,
    author: Annotated[str, typer.Option("--author", help="Metadata of the package.")] = "",
    license: Annotated[str, typer.Option("--license", help="Metadata of the package.")] = "",
    model_version: Annotated[str, typer.Option("--model-version", help="Metadata of the package.")] = "",
    description: Annotated[str, typer.Option("--description", help="Metadata of the package.")] = "",
    sign_key: Annotated[
        Path | None, typer.Option("--sign-key", metavar="FILE", help="Sign the bundle with this key; see sign.")
    ] = None,
    passphrase_env: PassphraseEnv = None,
    passphrase_file: PassphraseFile = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing bundle.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and do nothing.")] = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    no_color: NoColor = False,
) -> None:
    """Convert a checkpoint, prove the numbers, and write a bundle.

    In a folder with a swiftdeploy.toml, the models that it names are exported.

    Example: swiftdeploy export xs.pth -m swiftformer_xs --attention token_l2
    """
    output.configure(quiet=quiet, verbose=verbose, no_color=no_color)
    switches = {"fuse": fuse, "verify": verify}
    if checkpoint is None and model is None and untrained is None:
        planned = _from_config(context, target, precision, out, force=force, switches=switches)
    else:
        described = Metadata(author=author, license=license, version=model_version, description=description)
        shape = {"input_size": size_of(size), "input_kind": input_kind, "batch": batch, "dynamic_batch": dynamic_batch}
        budgets = {"max_drift_db": max_drift, "min_agreement": min_agreement}
        onnx = {"opset": opset, "ort": ort, "int8": to_plain(read_int8(int8 or ()))}
        made = {**to_plain(DEFAULTS), **shape, "min_ios": min_ios, **onnx, **budgets, **switches}
        options = _options(target, precision, made, described)
        weights = {"checkpoint": checkpoint, "untrained": untrained, "attention": attention}
        pictures = {"images": images, "calibration": calibration}
        folder = (out or Path("dist")) / (name or folder_of(model or "model"))
        planned = [_request(model, folder, options, labels=labels, force=force, **weights, **pictures)]
    _run(planned, _signer(sign_key, passphrase_env, passphrase_file), json=json, dry_run=dry_run)


def _request(model: str | None, destination: Path, options: ExportOptions, **given: Any) -> ExportRequest:
    from swiftdeploy.pipeline.request import ExportRequest

    if model is None:
        raise UsageError("no model is named", hint="use --model NAME; swiftdeploy models lists the names")
    return ExportRequest(model=model, destination=destination, options=options, **given)


def _signer(key: Path | None, variable: str | None, file: Path | None) -> Sign | None:
    """What signs the bundles, with its key open: a passphrase that is wrong must not cost an export."""
    if key is None:
        return None
    from swiftdeploy.pipeline import signing

    return signing.signer(key, passphrase=signing.read_passphrase(variable=variable, file=file))


def _run(planned: list[ExportRequest], sign: Sign | None, *, json: bool, dry_run: bool) -> None:
    from swiftdeploy.bundle import check_destination

    for request in planned:  # before the first is made, and in a dry run as well
        check_destination(request.destination, force=request.force)
    if dry_run:
        _show_plan(planned, json=json)
        return
    from swiftdeploy.cli import render
    from swiftdeploy.cli.accuracy import recommendation
    from swiftdeploy.pipeline.export import export as run_export
    from swiftdeploy.pipeline.recommending import recommended

    results = []
    for request in planned:
        results.append(run_export(request))
        if sign is not None:
            sign(request.destination)
    if json:
        output.document(
            {
                "bundles": [
                    {
                        "path": str(r.bundle),
                        "manifest": r.manifest,
                        "seconds": r.seconds,
                        "recommendation": recommended(r.manifest),
                    }
                    for r in results
                ]
            }
        )
        return
    for result in results:
        for line in result.manifest.provenance.conclusions:
            console.note(line, mark="note")
        console.note(render.ledger(result.manifest))
        screen = console.stdout()
        for artifact in result.manifest.artifacts:
            screen.print(console.plain(str(result.bundle / artifact.path)), soft_wrap=True)
        screen.print(render.summary(result.manifest, width=screen.width))
        for line in (line for artifact in result.manifest.artifacts for line in render.mixed(artifact)):
            screen.print(console.plain(line), soft_wrap=True)
        console.note(render.UNITS)
        if any(artifact.compression is not None for artifact in result.manifest.artifacts):
            screen.print(render.choice(result.manifest, width=screen.width))
            advice = recommended(result.manifest)
            if advice is not None:
                screen.print(console.plain(recommendation(advice)))
            console.note(render.choice_notes(result.manifest))


def _show_plan(planned: list[ExportRequest], *, json: bool) -> None:
    rows = [
        {
            "model": request.model,
            "checkpoint": request.checkpoint or f"untrained, seed {request.untrained}",
            "destination": str(request.destination),
            "artifacts": [f"{target} {precision}" for target, precision in request.options.matrix],
            "options": request.options,
        }
        for request in planned
    ]
    if json:
        output.document({"plan": rows})
        return
    for request, row in zip(planned, rows, strict=True):
        what = ", ".join(f"{target} {precision}" for target, precision in request.options.matrix)
        line = f"{row['checkpoint']} as {request.model} → {request.destination}: {what}"
        console.stdout().print(console.plain(line), soft_wrap=True)


def _from_config(
    context: typer.Context,
    target: list[str] | None,
    precision: list[str] | None,
    out: Path | None,
    *,
    force: bool,
    switches: dict[str, bool],
) -> list[ExportRequest]:
    path = Path(config.FILE_NAME)
    if not path.is_file():
        raise UsageError(
            f"no checkpoint is given, and this folder has no {config.FILE_NAME}",
            hint="swiftdeploy export CHECKPOINT --model NAME, or write the file",
        )
    _refuse_unused(context)
    read = config.read_config(path)
    from swiftdeploy.matrix.plan import check_pin, request_of

    requests = []
    for name, entry in read.models:
        request = request_of(read, name, entry)
        plain = {**to_plain(request.options), **switches}
        options = _options(target or plain["targets"], precision or plain["precisions"], plain, Metadata())
        check_pin(request, entry.sha256, read.name)
        destination = out / name if out is not None else request.destination
        requests.append(replace(request, options=options, destination=destination, force=force))
    return requests


def _refuse_unused(context: typer.Context) -> None:
    """What the file says for each model cannot be said for all at once; to ignore it silently would be worse."""
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if parameter.name not in WITH_CONFIG and source is not None and source.name == "COMMANDLINE":
            raise UsageError(
                f"{parameter.opts[0]} is said by {config.FILE_NAME}, for each model",
                hint="change it there, or name a checkpoint and --model",
            )


def _options(
    target: list[str] | None, precision: list[str] | None, plain: dict[str, Any], metadata: Metadata
) -> ExportOptions:
    # Names of recipe files are relative to where the command runs; those of the configuration have been read.
    names, recipes = resolve(precision, Path()) if precision else (tuple(plain["precisions"]), None)
    chosen = {
        **plain,
        "targets": list(dict.fromkeys(target or plain["targets"])),
        "precisions": list(names),
        "recipes": plain["recipes"] if recipes is None else to_plain(recipes),
        "metadata": to_plain(metadata),
    }
    try:
        return from_plain(ExportOptions, chosen)
    except ValueError as error:
        _, _, reason = str(error).partition(".")
        raise UsageError(reason or str(error), hint="see: swiftdeploy export --help") from error


def size_of(text: str | None) -> list[int] | None:
    """[height, width] of what --size says. Raises UsageError for what is no size."""
    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) not in (1, 2) or not all(part.isdigit() for part in parts):
        raise UsageError(f"--size {text!r} is no size", hint="use --size 224 or --size 256x192 (height x width)")
    return [int(parts[0]), int(parts[-1])]


def folder_of(model: str) -> str:
    """A folder's name for a model: what stands after the last colon, without what file systems dislike."""
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in model.rsplit(":", 1)[-1]) or "model"
