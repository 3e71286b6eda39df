"""`swiftdeploy diff`: what changed from one bundle or run to another, and whether that is allowed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from swiftdeploy import console
from swiftdeploy.cli import output
from swiftdeploy.cli.options import Json, NoColor, Quiet, Verbose
from swiftdeploy.cli.table import table_of
from swiftdeploy.errors import BudgetError
from swiftdeploy.spec import to_plain

if TYPE_CHECKING:
    from swiftdeploy.matrix.diff import ArtifactDifference, BundleDifference, Difference, Figure

HINT = "allow it with a wider limit, or mend what changed"


def diff(
    a: Annotated[Path, typer.Argument(help="A bundle, a folder of bundles, or a run's report: the baseline.")],
    b: Annotated[Path, typer.Argument(help="What is compared with it.")],
    max_size_ratio: Annotated[float | None, typer.Option("--max-size-ratio", help="Bytes: b / a at most.")] = None,
    max_psnr_drop: Annotated[float | None, typer.Option("--max-psnr-drop", help="Parity: dB lost at most.")] = None,
    max_accuracy_drop: Annotated[
        float | None, typer.Option("--max-accuracy-drop", help="Top-1: percentage points lost at most.")
    ] = None,
    max_latency_ratio: Annotated[
        float | None, typer.Option("--max-latency-ratio", help="Stored device results: b / a at most.")
    ] = None,
    max_weights_l2: Annotated[
        float | None, typer.Option("--max-weights-l2", help="Relative L2 of any weight tensor at most.")
    ] = None,
    fail_on: Annotated[
        list[str] | None,
        typer.Option("--fail-on", help="bytes, weights, ops, artifacts, facts: what may not change; repeatable."),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    no_color: NoColor = False,
) -> None:
    """Compare bytes, weights, ops, parity, sizes, accuracy and latency.

    With limits, exit code 6 says that one does not hold.

    Example: swiftdeploy diff release/xs dist/xs --max-size-ratio 1.02 --max-psnr-drop 3
    """
    output.configure(quiet=quiet, verbose=verbose, no_color=no_color)
    from swiftdeploy.matrix.diff import diff as difference
    from swiftdeploy.matrix.limits import Limits, exceeded

    limits = Limits(
        size_ratio=max_size_ratio,
        psnr_drop=max_psnr_drop,
        accuracy_drop=max_accuracy_drop,
        latency_ratio=max_latency_ratio,
        weights_l2=max_weights_l2,
        changes=tuple(dict.fromkeys(name for given in fail_on or () for name in given.split(","))),
    )
    found = difference(a, b)
    lines = exceeded(found, limits)
    error = BudgetError(f"{len(lines)} limits do not hold, first {lines[0]}", hint=HINT) if lines else None
    if json:
        failure = output.failure(error) if error is not None else {}
        plain = {**to_plain(found), "a": str(a), "b": str(b), "identical": found.identical}
        output.document({"difference": plain, "exceeded": lines, **failure})
    else:
        _show(found)
        for line in lines:
            console.stdout().print(f"[red]exceeded:[/red] {console.plain(line)}", soft_wrap=True)
        if error is not None:
            output.fail(error, json=False)
    if error is not None:
        raise typer.Exit(error.exit_code)


def _show(found: Difference) -> None:
    screen = console.stdout()
    for bundle in found.bundles:
        screen.print(
            f"[bold]{console.plain(bundle.name)}[/bold]", "same bytes" if bundle.identical else "", soft_wrap=True
        )
        if not bundle.identical:
            _show_bundle(bundle)
    for side, names in (("A", found.only_a), ("B", found.only_b)):
        for name in names:
            screen.print(console.plain(f"{name}: only in {side}"), soft_wrap=True)


def _show_bundle(bundle: BundleDifference) -> None:
    screen = console.stdout()
    for fact, (a, b) in bundle.facts.items():
        screen.print(console.plain(f"  {fact}: {_short(a)} → {_short(b)}"), soft_wrap=True)
    for artifact in bundle.artifacts:
        screen.print(console.plain(f"  {artifact.name}: {_changed(artifact)}"), soft_wrap=True)
    for side, names in (("A", bundle.only_a), ("B", bundle.only_b)):
        for name in names:
            screen.print(console.plain(f"  {name}: only in {side}"), soft_wrap=True)
    screen.print(_figures(bundle, screen.width))


def _changed(artifact: ArtifactDifference) -> str:
    """The artifact's difference in a line: weights and ops."""
    if artifact.identical:
        return "same bytes"
    said = []
    weights = artifact.weights
    if weights is None:
        said.append("weights not compared")
    elif weights.same:
        said.append(f"all {weights.tensors} weight tensors equal")
    else:
        by = "from zeros" if weights.relative_l2 is None else f"relative L2 {weights.relative_l2:.2e}"
        said.append(f"{weights.changed} of {weights.tensors} weight tensors differ, most {weights.worst} ({by})")
        said.extend(f"{len(names)} only in {side}" for side, names in _sides(weights.only_a, weights.only_b) if names)
    said.append(_ops(artifact.ops) or "same ops")
    return "; ".join(said)


def _sides(a: tuple[str, ...], b: tuple[str, ...]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return ("A", a), ("B", b)


def _ops(ops: Mapping[str, tuple[int, int]]) -> str:
    return "ops " + ", ".join(f"{op} {a} → {b}" for op, (a, b) in ops.items()) if ops else ""


def _figures(bundle: BundleDifference, width: int) -> Table:
    table = table_of("figure", "A", "B", "change", width=width)
    for owner, figures in (("", (bundle.size,)), *((x.name, x.figures) for x in bundle.artifacts)):
        for figure in figures:
            name = f"{_kind(owner)} {figure.name}" if owner else f"bundle {figure.name}"
            table.add_row(console.plain(name), _value(figure, figure.a), _value(figure, figure.b), _change(figure))
    return table


def _kind(name: str) -> str:
    """What tells an artifact from the bundle's others: the whole name would leave its figures no room."""
    path = Path(name.split(" → ", maxsplit=1)[0])
    return f"{path.suffix.removeprefix('.')} {path.stem.rsplit('-', 1)[-1]}"


def _value(figure: Figure, value: float | str | None) -> str:
    if value is None or isinstance(value, str):
        return value or "-"
    forms = {"size": f"{value:,.0f} B", "psnr": f"{value:.1f} dB", "latency": f"{value:.3f} ms"}
    return forms.get(figure.kind, f"{value:.2%}")


def _change(figure: Figure) -> str:
    a, b = figure.a, figure.b
    if a == b or isinstance(a, str) or isinstance(b, str) or a is None or b is None:
        return "=" if a == b else "-"
    if figure.kind in ("size", "latency"):
        return f"{b / a - 1:+.2%}" if a else "-"
    return f"{b - a:+.1f} dB" if figure.kind == "psnr" else f"{(b - a) * 100:+.2f} points"


def _short(text: str) -> str:
    return (text[:16] + "…" if len(text) == 64 else text) or "nothing"
