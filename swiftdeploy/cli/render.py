"""Parity tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from swiftdeploy.bundle import ArtifactRecord, Manifest
from swiftdeploy.cli.table import table_of
from swiftdeploy.report import Leg, ParityReport

KINDS = {".mlpackage": "coreml"}
UNITS = "outputs, stress: worst PSNR in dB; weights: how many tensors are equal to the bit"
MARKS = {"pass": "[green]pass[/green]", "warn": "[yellow]warn[/yellow]", "fail": "[red]fail[/red]"}


def label(path: str, precision: str) -> str:
    """An artifact in a word or two: a file's whole name would leave its figures no room."""
    kind = KINDS.get(Path(path).suffix, Path(path).suffix.lstrip("."))
    return f"{kind} {precision.removesuffix('.toml')}"


def summary(manifest: Manifest, *, width: int) -> Table:
    """One row an artifact: size, ops, and how each leg of parity went. It fits 60 columns."""
    table = table_of("artifact", "MB", "ops", "outputs", "stress", "weights", "top-1", "verdict", width=width)
    for artifact in manifest.artifacts:
        legs = {leg.name: leg for leg in artifact.parity.legs} if artifact.parity else {}
        table.add_row(
            label(artifact.path, artifact.precision),
            f"{artifact.bytes / 1e6:.2f}",
            str(sum(artifact.ops.values())) if artifact.ops else "-",
            closeness(legs.get("outputs")),
            closeness(legs.get("stress")),
            closeness(legs.get("weights")),
            agreement(legs.get("outputs")),
            MARKS[artifact.parity.verdict] if artifact.parity else "not checked",
        )
    return table


def mixed(artifact: ArtifactRecord) -> list[str]:
    """What `auto` kept in fp32, a line an op, under a line that says what it cost; none for another precision."""
    found = artifact.mixed
    if found is None:
        return []
    if not found.kept:
        return [f"{artifact.path}: plain fp16 passes, no op is kept in fp32"]
    more = artifact.bytes - found.fp16_bytes
    head = f"{artifact.path}: {len(found.kept)} ops in fp32, {more:+,} bytes ({more / found.fp16_bytes:+.2%})"
    return [
        f"{head}; {found.fp16_reason}",
        *(f"  {op.op} {op.name}{f' in {op.place}' if op.place else ''}: {op.reason}" for op in found.kept),
    ]


def choice(manifest: Manifest, *, width: int) -> Table:
    """One row an artifact of a compressed target: what it saves beside what it costs. It fits 80 columns."""
    table = table_of("artifact", "MB", "of base", "fidelity", "drift", "top-1", "verdict", width=width)
    bases = {a.target: a.compression.base_bytes for a in manifest.artifacts if a.compression is not None}
    for artifact in manifest.artifacts:
        if artifact.target not in bases:
            continue
        legs = {leg.name: leg for leg in artifact.parity.legs} if artifact.parity else {}
        drift = artifact.parity.drift if artifact.parity else None
        judged = drift.judged if drift else ()
        known = [output.psnr_db for output in judged if output.psnr_db is not None]
        shares = [output.top1 for output in judged if output.top1 is not None]
        # What is not compressed has no other reference than the oracle.
        alone = (closeness(legs.get("outputs")), agreement(legs.get("outputs")))
        far, agrees = (f"{min(known):.1f}" if known else "equal", f"{min(shares):.1%}" if shares else "-")
        table.add_row(
            label(artifact.path, artifact.precision),
            f"{artifact.bytes / 1e6:.2f}",
            f"{artifact.bytes / bases[artifact.target]:.0%}",
            closeness(legs.get("outputs")),
            *((far, agrees) if judged else alone),
            MARKS[artifact.parity.verdict] if artifact.parity else "not checked",
        )
    return table


def choice_notes(manifest: Manifest) -> str:
    """What the table's columns mean, and on what they were measured."""
    drifts = [a.parity.drift for a in manifest.artifacts if a.parity and a.parity.drift]
    judged = drifts[0].judged if drifts else ()
    where = "your images" if drifts and drifts[0].images else "our samples, which are no photographs: give --images"
    return (
        "base: the fp16 package, the fp32 .onnx; fidelity: dB against the decompressed weights, for ONNX int8 against "
        "the graph as written, which is the check; drift, top-1: against the original, on "
        f"{judged[0].samples if judged else 0} of {where}"
    )


def reports(found: Sequence[ParityReport], *, width: int) -> Table:
    """One row a report and leg, for `verify`. It fits 60 columns."""
    table = table_of("artifact", "leg", "PSNR dB", "max |d|", "cosine", "top-1", "verdict", width=width)
    for report in found:
        for leg in report.legs:
            worst = max((o.max_abs for o in leg.outputs), default=None)
            cosine = min((o.cosine for o in leg.outputs), default=None)
            table.add_row(
                label(report.subject, report.precision),
                leg.name,
                closeness(leg),
                f"{worst:.1e}" if worst is not None else "-",
                f"{cosine:.7f}" if cosine is not None else "-",
                agreement(leg),
                MARKS[leg.verdict],
            )
    return table


def closeness(leg: Leg | None) -> str:
    """The leg's worst PSNR in dB, "equal" where every output is the same to the bit, or how many weights are equal."""
    if leg is not None and leg.weights is not None:
        return f"{leg.weights.equal}/{leg.weights.tensors}"
    if leg is None or not leg.outputs:
        return "-"
    known = [o.psnr_db for o in leg.outputs if o.psnr_db is not None]
    return f"{min(known):.1f}" if known else "equal"


def agreement(leg: Leg | None) -> str:
    """The share of samples on which the best class agrees."""
    shares = [o.top1 for o in leg.outputs if o.top1 is not None] if leg else []
    return f"{min(shares):.0%}" if shares else "-"


def ledger(manifest: Manifest) -> str:
    """What fused, in one line."""
    fired = [f"{record.name} {len(record.fired)}" for record in manifest.fusion if record.fired]
    before, after = sum(manifest.ops_before.values()), sum(manifest.ops_after.values())
    return f"fused {before} → {after} calls: {', '.join(fired)}" if fired else "nothing fused"
