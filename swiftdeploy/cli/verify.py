"""`swiftdeploy verify`: bytes and numbers of what was written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swiftdeploy import console
from swiftdeploy.cli import output
from swiftdeploy.cli.configured import configured
from swiftdeploy.cli.options import Attention, Calibration, Json, NoColor, Quiet, Verbose
from swiftdeploy.errors import UsageError

if TYPE_CHECKING:
    from swiftdeploy.pipeline.rebuild import Rebuild
    from swiftdeploy.pipeline.verify import Verification


def verify(
    path: Annotated[
        Path | None, typer.Argument(metavar="BUNDLE|ARTIFACT", help="A bundle's folder, an .mlpackage or an .onnx.")
    ] = None,
    checkpoint: Annotated[
        str | None, typer.Option("--checkpoint", help="Compare with these weights, not with the golden data alone.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="For a lone artifact, or to allow a rebuild.")
    ] = None,
    attention: Attention = None,
    images: Annotated[Path | None, typer.Option("--images", help="Your own images, with --checkpoint.")] = None,
    calibration: Calibration = None,
    preprocessing: Annotated[
        bool, typer.Option("--preprocessing", help="With --checkpoint: from image files to scores, by both roads.")
    ] = False,
    signature: Annotated[
        Path | None, typer.Option("--signature", metavar="PUBKEY", help="It must be signed with this key, in PEM.")
    ] = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Export again from what is recorded, and compare every byte.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    no_color: NoColor = False,
) -> None:
    """Re-hash a bundle and re-check its numbers against the oracle's.

    --signature checks who vouches for it, --rebuild that its checkpoint and options give these very bytes.

    In a folder with a swiftdeploy.toml, the bundles of the models that it names are verified.

    Example: swiftdeploy verify dist/swiftformer_xs
    """
    output.configure(quiet=quiet, verbose=verbose, no_color=no_color)
    if preprocessing and (checkpoint is None or rebuild):
        raise UsageError("--preprocessing compares with training's", hint="give --checkpoint, and no --rebuild")
    given = {"--model": model, "--attention": attention, "--images": images, "--calibration": calibration}
    _refuse_unused([name for name, value in given.items() if value is not None], checkpoint, rebuild=rebuild)
    targets = [(path, checkpoint)] if path is not None else _from_config(checkpoint, rebuild=rebuild)
    signers = _signers(targets, signature) if signature is not None else []
    if rebuild:
        _refuse_unrecorded(targets, images, calibration)
    rebuilt = [_rebuild(each, weights, model, images, calibration) for each, weights in targets] if rebuild else []
    from swiftdeploy.pipeline import verify as check

    results = []
    for each, weights in targets:
        if weights is not None and preprocessing:
            from swiftdeploy.pipeline.preprocessing import verify_preprocessing

            results.append(verify_preprocessing(each, weights, model=model, attention=attention, images=images))
        elif weights is not None and not rebuild:
            from swiftdeploy.pipeline import against  # the one way that needs torch

            results.append(against.verify_against(each, weights, model=model, attention=attention, images=images))
        elif check.is_bundle(each) or rebuild:
            results.append(check.verify_bundle(each))
        else:
            results.append(check.verify_artifact(each))
    _show(results, signers, rebuilt, json=json)


def _refuse_unused(given: list[str], checkpoint: str | None, *, rebuild: bool) -> None:
    """An option that nothing looks at would pass for a check that was made."""
    if rebuild:
        if "--attention" in given:
            raise UsageError("a rebuild takes the attention from the bundle", hint="leave --attention out")
    elif "--calibration" in given:
        raise UsageError("--calibration is what a rebuild measures ranges on", hint="give --rebuild, or leave it out")
    elif given and checkpoint is None:
        raise UsageError(
            f"{given[0]} says how to look at a checkpoint, and none is given",
            hint=f"give --checkpoint, or leave {given[0]} out",
        )


def _signers(targets: list[tuple[Path, str | None]], key: Path) -> list[str]:
    from swiftdeploy.pipeline import signing

    return [signing.verify_signature(path, key) for path, _ in targets]


def _refuse_unrecorded(targets: list[tuple[Path, str | None]], images: Path | None, calibration: Path | None) -> None:
    from swiftdeploy.pipeline.rebuild import check_pictures

    check_pictures([path for path, _ in targets], images=images, calibration=calibration)


def _rebuild(
    path: Path, weights: str | None, model: str | None, images: Path | None, calibration: Path | None
) -> Rebuild:
    from swiftdeploy.pipeline.rebuild import rebuild

    return rebuild(path, weights, model=model, images=images, calibration=calibration)


def _show(results: list[Verification], signers: list[str], rebuilt: list[Rebuild], *, json: bool) -> None:
    from swiftdeploy.cli import render

    if json:
        plain: dict[str, Any] = {
            "verified": [{"path": str(r.path), "files": r.files, "reports": r.reports} for r in results]
        }
        if signers:
            plain["signed"] = signers
        if rebuilt:
            plain["rebuilt"] = [{"path": str(r.path), "files": r.files, "taken_over": r.taken_over} for r in rebuilt]
        output.document(plain)
        return
    screen = console.stdout()
    for result in results:
        if result.reports:
            screen.print(render.reports(result.reports, width=screen.width))
        files = f"{result.files} files as recorded, " if result.files else ""
        compared = (
            "numbers agree" if result.reports else "runs and is finite; give --checkpoint to compare with weights"
        )
        screen.print(console.plain(f"{result.path}: {files}{compared}"), soft_wrap=True)
    for result, key in zip(results, signers, strict=bool(signers)):
        screen.print(console.plain(f"{result.path}: signed by key {key[:16]}"), soft_wrap=True)
    for again in rebuilt:
        but = f"; not compared: {', '.join(again.taken_over)}" if again.taken_over else ""
        screen.print(
            console.plain(f"{again.path}: rebuilt, {again.files} files with the same bytes{but}"), soft_wrap=True
        )


def _from_config(checkpoint: str | None, *, rebuild: bool) -> list[tuple[Path, str | None]]:
    """The bundle of every model of the file; for a rebuild with the checkpoint that the file names."""
    read = configured("verify")
    return [
        (read.bundle(name), read.path(entry.checkpoint) if rebuild and not checkpoint else checkpoint)
        for name, entry in read.models
    ]
