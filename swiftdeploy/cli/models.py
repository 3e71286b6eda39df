"""`swiftdeploy models`: what the installed catalogs offer."""

from __future__ import annotations

from rich.table import Table

from swiftdeploy import catalog, console
from swiftdeploy.cli import output
from swiftdeploy.cli.options import Json, NoColor
from swiftdeploy.spec import ModelSpec


def models(json: Json = False, no_color: NoColor = False) -> None:
    """List models with parameters, MACs, and accuracy and latency as published by others.

    Example: swiftdeploy models
    """
    output.configure(quiet=False, verbose=False, no_color=no_color)
    rows = catalog.entries()
    if json:
        output.document({"models": rows})
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("name", "input", "params M", "MACs M", "top-1 %", "ms", "published by"):
        table.add_column(name, justify="left" if name in ("name", "published by") else "right", overflow="fold")
    for row in rows:
        table.add_row(*_cells(row))
    console.stdout().print(table)
    console.note("accuracy and latency are published figures, not measurements of this tool")


def _cells(row: ModelSpec) -> tuple[str, ...]:
    accuracy = next((p for p in row.published if p.metric == "top1_percent"), None)
    latency = next((p for p in row.published if p.metric == "latency_ms"), None)
    sources = dict.fromkeys(
        f"{p.source}, {p.device}" if p.device else p.source for p in (accuracy, latency) if p is not None
    )
    source = f"{latency.source}, {latency.device}" if latency is not None else "; ".join(sources)
    return (
        row.name,
        f"{row.input_size}",
        f"{row.parameters / 1e6:.2f}" if row.parameters else "",
        f"{row.macs / 1e6:.0f}" if row.macs else "",
        f"{accuracy.value:.1f}" if accuracy else "",
        f"{latency.value:.1f}" if latency else "",
        source,
    )
