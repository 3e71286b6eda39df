"""`swiftdeploy bench`: latency on this host, with its noise."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from swiftdeploy import console
from swiftdeploy.cli import output
from swiftdeploy.cli.options import Json, NoColor, Quiet, Verbose

NOTE = "these are times of this computer: they say nothing of a phone, and a slow op here may be fast there"


def bench(
    bundle: Annotated[Path, typer.Argument(help="The bundle to measure.")],
    rounds: Annotated[int, typer.Option("--rounds", help="Rounds; artifacts take turns within each.")] = 10,
    predictions: Annotated[int, typer.Option("--predictions", help="Predictions a turn.")] = 10,
    threads: Annotated[int, typer.Option("--threads", min=0, help="ONNX Runtime's threads; 0 takes all cores.")] = 0,
    out: Annotated[Path | None, typer.Option("--output", "-o", help="Also write the result, sealed, as JSON.")] = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    no_color: NoColor = False,
) -> None:
    """Measure a bundle's latency on this host.

    Artifacts take turns; intervals and the machine's noise are stated. Core ML packages run in the reference runtime,
    which is made for exactness, not for speed. For a phone's latency use swiftdeploy harness.

    Example: swiftdeploy bench dist/swiftformer_xs --threads 1
    """
    output.configure(quiet=quiet, verbose=verbose, no_color=no_color)
    from dataclasses import replace

    from swiftdeploy.pipeline import bench as pipeline

    if out is not None:
        pipeline.check_result(out)
    plan = replace(pipeline.DEFAULT, rounds=rounds, predictions_per_round=predictions)
    found = pipeline.bench(bundle, plan=plan, threads=threads)
    if out is not None:
        pipeline.write_result(found.measurement, out)
    if json:
        output.document(_plain(found))
        return
    _show(found)
    console.note(NOTE, mark="note")


def _plain(found: Any) -> dict[str, Any]:
    run = found.measurement
    rows = [
        {
            "artifact": found.artifacts[label],
            "runtime": found.runtimes[label],
            "statistics": run.pair(label, run.plan.compute_units[0]).statistics,
            "noise": found.noise[label],
        }
        for label in found.artifacts
    ]
    return {"host": run.device, "artifacts": rows, "comparisons": found.comparisons, "note": NOTE}


def _show(found: Any) -> None:
    from swiftdeploy.cli import latency

    run, screen = found.measurement, console.stdout()
    first = run.plan.compute_units[0]
    screen.print(console.plain(f"{run.device.column}, {run.device.processors} processors"), soft_wrap=True)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("artifact", "runtime"):
        table.add_column(name, overflow="fold")
    for name in ("median ms", "95 % interval"):
        table.add_column(name, justify="right", no_wrap=True)
    for label, artifact in found.artifacts.items():
        figures = run.pair(label, first).statistics
        table.add_row(
            console.plain(artifact),
            found.runtimes[label],
            latency.milliseconds(figures.estimate_ms),
            latency.interval(figures.estimate_interval),
        )
    screen.print(table)
    for comparison in found.comparisons:
        row = next(row for row in comparison.rows if row.unit == first)
        names = f"{found.artifacts[comparison.label_b]} against {found.artifacts[comparison.label_a]}"
        screen.print(
            f"{console.plain(names)}: {row.ratio:.3f} ({latency.ratio(row)}), {latency.verdict(row)}", soft_wrap=True
        )
    rows = found.noise.values()
    worst = max(abs(row.ratio - 1) for row in rows)
    wide = max(abs(bound - 1) for row in rows for bound in (row.ratio_interval.low, row.ratio_interval.high))
    screen.print(
        f"noise: one artifact measured twice differs by up to {worst:.1%}, intervals reach {wide:.1%}", soft_wrap=True
    )
