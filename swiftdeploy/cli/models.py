"""`swiftdeploy models`: what the installed catalogs offer."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape

from swiftdeploy import catalog, console
from swiftdeploy.cli import output
from swiftdeploy.cli.options import Json, NoColor, Quiet, Verbose
from swiftdeploy.cli.table import table_of
from swiftdeploy.spec import ModelSpec, Published


def models(json: Json = False, quiet: Quiet = False, verbose: Verbose = False, no_color: NoColor = False) -> None:
    """List models, with figures as others published them.

    Example: swiftdeploy models
    """
    output.configure(quiet=quiet, verbose=verbose, no_color=no_color)
    rows = catalog.entries()
    if json:
        output.document({"models": rows})
        return
    screen = console.stdout()
    sources = _sources(rows)
    table = table_of("name", "input", "params M", "MACs M", "top-1 %", "ms", "source", width=screen.width)
    for row in rows:
        table.add_row(*_cells(row), " ".join(str(sources.index(source) + 1) for source in _sources([row])))
    screen.print(table)
    for number, source in enumerate(sources, 1):
        screen.print(f"{number}  {escape(source)}", soft_wrap=True)
    console.note("accuracy and latency are published figures, not measurements of this tool")


def _sources(rows: Sequence[ModelSpec]) -> list[str]:
    """Where the figures of some rows were published, each once: the device with a latency, else the source alone."""
    found: dict[str, None] = {}
    for row in rows:
        shown = [p for p in (_first(row, "top1_percent"), _first(row, "latency_ms")) if p is not None]
        named = {p.source for p in shown if p.device}
        for p in shown:
            if p.device or p.source not in named:
                found.setdefault(f"{p.source}, {p.device}" if p.device else p.source)
    return list(found)


def _first(row: ModelSpec, metric: str) -> Published | None:
    return next((p for p in row.published if p.metric == metric), None)


def _cells(row: ModelSpec) -> tuple[str, ...]:
    accuracy, latency = _first(row, "top1_percent"), _first(row, "latency_ms")
    return (
        row.name,
        f"{row.input_size}",
        f"{row.parameters / 1e6:.2f}" if row.parameters else "",
        f"{row.macs / 1e6:.0f}" if row.macs else "",
        f"{accuracy.value:.1f}" if accuracy else "",
        f"{latency.value:.1f}" if latency else "",
    )
