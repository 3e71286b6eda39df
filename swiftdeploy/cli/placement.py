"""`swiftdeploy inspect --placement` and `--cost`: predictions, as tables of 80 columns or as one document."""

from __future__ import annotations

import textwrap
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from swiftdeploy import console
from swiftdeploy.cli import output
from swiftdeploy.cli.table import table_of
from swiftdeploy.report import Cost, Coverage, EnginePrediction, Finding, OpCost, PlacementRecord, Segment

COLORS = {
    "eligible": "green",
    "risky": "yellow",
    "ineligible": "red",
    "note": "dim",
    "warning": "yellow",
    "error": "red",
}
FEW = 10  # rows of a list that -v shows whole
NAME = 32  # columns for the name of an op
DISCLAIMER = "predicted from the file by known rules; only a device says where an op runs and how long it takes"


def show(path: str, *, placement: bool, cost: bool, json: bool) -> None:
    """Print the predictions for an artifact or a bundle."""
    from swiftdeploy.pipeline.placing import predict

    found = predict(path)
    if json:
        document: dict[str, Any] = {}
        if placement:
            document["placement"] = [record for record, _ in found]
        if cost:
            document["cost"] = [{"artifact": r.artifact, "total": r.cost, "ops": ops} for r, ops in found]
        output.document(document)
        return
    screen, whole = console.stdout(), console.verbosity() > 0
    for index, (record, ops) in enumerate(found):
        if index:
            screen.print()
        screen.print(f"[bold]{_safe(record.artifact)}[/bold]", soft_wrap=True)
        if placement:
            _placement(screen, record, whole=whole)
        if cost:
            _cost(screen, record.cost, ops, whole=whole)
    console.note(DISCLAIMER)


def _placement(screen: Console, record: PlacementRecord, *, whole: bool) -> None:
    if record.neural_engine is not None:
        _engine(screen, record.neural_engine, whole=whole)
    if record.providers:
        _providers(screen, record.providers, whole=whole)


def _engine(screen: Console, engine: EnginePrediction, *, whole: bool) -> None:
    counts = ", ".join(f"{number} {verdict}" for verdict, number in engine.ops.items())
    screen.print(f"Neural Engine, predicted: {_colored(engine.verdict)} (ops: {counts})")
    segments = "1 segment" if len(engine.segments) == 1 else f"{len(engine.segments)} segments"
    screen.print(
        f"{segments}, {engine.switches} switches, {engine.layout_ops} layout ops, {engine.fp16_share:.0%} fp16"
    )
    for finding in engine.findings:
        _finding(screen, finding, whole=whole)
    if len(engine.segments) > 1:
        _segments(screen, engine.segments, whole=whole)


def _finding(screen: Console, finding: Finding, *, whole: bool) -> None:
    times = f" ({len(finding.hits)})" if len(finding.hits) > 1 else ""
    screen.print(f"\n{_colored(finding.severity)} [bold]{finding.rule}[/bold]{times}")
    _indented(screen, finding.says)
    for hit in finding.hits if whole else finding.hits[:1]:
        _indented(screen, f"{hit.type} {hit.op}: {hit.reason}" if hit.op else hit.reason)
    _indented(screen, f"do: {finding.remedy}")
    _indented(screen, f"{finding.origin}: {finding.source}; confidence {finding.confidence}", style="dim")


def _segments(screen: Console, segments: Sequence[Segment], *, whole: bool) -> None:
    table = table_of("segment", "ops", "from", "to", width=screen.width)
    for column in table.columns[2:]:
        column.justify = "left"
    room = NAME if screen.width > 2 * NAME + 20 else (screen.width - 20) // 2
    for part in segments if whole else segments[:FEW]:
        table.add_row(_colored(part.verdict), str(part.ops), _tail(part.first, room), _tail(part.last, room))
    screen.print()
    screen.print(table)
    _more(screen, len(segments), "segments", whole=whole)


def _providers(screen: Console, providers: Iterable[Coverage], *, whole: bool) -> None:
    for provider in providers:
        pieces = f"{provider.partitions} partition" + ("" if provider.partitions == 1 else "s")
        screen.print(f"ONNX Runtime {provider.provider}: {provider.taken} of {provider.nodes} nodes, {pieces}")
        reasons = [f"{reason} ({number})" for reason, number in provider.declined.items()]
        for reason in reasons if whole else reasons[:FEW]:
            _indented(screen, reason)
        _more(screen, len(reasons), "reasons", whole=whole)
        _indented(screen, provider.source, style="dim")


def _indented(screen: Console, text: str, *, style: str = "") -> None:
    wrap = textwrap.TextWrapper(screen.width, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)
    screen.print(Text(wrap.fill(output.printable(text)), style=style), soft_wrap=True)


def _cost(screen: Console, total: Cost, ops: Sequence[OpCost], *, whole: bool) -> None:
    kinds: dict[str, list[Cost]] = defaultdict(list)
    for op in ops:
        kinds[op.type].append(op.cost)
    table = table_of("op", "count", "MACs M", "weights kB", "activations kB", "MACs/byte", width=screen.width)
    for kind, found in sorted(kinds.items(), key=lambda item: (-sum(c.macs for c in item[1]), item[0])):
        sums = [sum(getattr(cost, key) for cost in found) for key in ("macs", "weight_bytes", "activation_bytes")]
        table.add_row(_safe(kind), str(len(found)), *_figures(*sums))
    table.add_row(
        "total", str(len(ops)), *_figures(total.macs, total.weight_bytes, total.activation_bytes), style="bold"
    )
    screen.print()
    screen.print(table)
    if total.unsized:
        screen.print(f"{total.unsized} ops have sizes that only a run knows: only their weights are counted")
    costly = [op for op in ops if op.cost.macs] if not whole else list(ops)
    table = table_of(
        "op by op" if whole else "most MACs", "MACs M", "weights kB", "act. kB", "MACs/byte", width=screen.width
    )
    chosen = costly if whole else sorted(costly, key=lambda op: -op.cost.macs)[:FEW]
    for op in chosen:
        cost = op.cost
        table.add_row(_tail(op.op, NAME), *_figures(cost.macs, cost.weight_bytes, cost.activation_bytes))
    if chosen:
        screen.print()
        screen.print(table)
        _more(screen, len(costly), "ops with MACs", whole=whole)


def _figures(macs: int, weight_bytes: int, activation_bytes: int) -> tuple[str, str, str, str]:
    moved = weight_bytes + activation_bytes
    return (
        f"{macs / 1e6:,.3f}" if macs else "-",
        f"{weight_bytes / 1e3:,.1f}" if weight_bytes else "-",
        f"{activation_bytes / 1e3:,.1f}",
        f"{macs / moved:.2f}" if macs and moved else "-",
    )


def _more(screen: Console, count: int, what: str, *, whole: bool) -> None:
    if count > FEW and not whole:
        screen.print(f"[dim]{FEW} of {count} {what}; -v shows all[/dim]")


def _colored(word: str) -> str:
    return f"[{COLORS[word]}]{word}[/{COLORS[word]}]"


def _tail(name: str, room: int) -> str:
    """The end of a long name: what tells ops apart stands there."""
    text = output.printable(name)
    return escape(text if len(text) <= room else f"…{text[1 - room :]}")


def _safe(text: str) -> str:
    return escape(output.printable(text))
