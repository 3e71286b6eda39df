"""Parity tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from swiftdeploy.bundle import ArtifactRecord, Manifest
from swiftdeploy.report import Leg, ParityReport

MARKS = {"pass": "[green]pass[/green]", "warn": "[yellow]warn[/yellow]", "fail": "[red]fail[/red]"}


def megabytes(size: int) -> str:
    """A size for people: MB with two digits, kB below one."""
    return f"{size / 1e6:.2f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"


def summary(manifest: Manifest, folder: Path) -> Table:
    """One row an artifact: where it lies, size, ops, and how each leg of parity went."""
    table = _table("artifact", "size", "ops", "outputs", "stress", "weights", "top-1", "verdict")
    for artifact in manifest.artifacts:
        legs = {leg.name: leg for leg in artifact.parity.legs} if artifact.parity else {}
        weights = legs["weights"].weights if "weights" in legs else None
        table.add_row(
            str(folder / artifact.path),
            megabytes(artifact.bytes),
            str(sum(artifact.ops.values())) if artifact.ops else "",
            decibels(legs.get("outputs")),
            decibels(legs.get("stress")),
            f"{weights.equal}/{weights.tensors}" if weights else "",
            agreement(legs.get("outputs")),
            MARKS[artifact.parity.verdict] if artifact.parity else "not verified",
        )
    return table


def reports(found: Sequence[ParityReport]) -> Table:
    """One row a report and leg, for `verify`."""
    table = _table("subject", "leg", "PSNR", "max |d|", "cosine", "top-1", "verdict")
    for report in found:
        for leg in report.legs:
            worst = max((o.max_abs for o in leg.outputs), default=None)
            cosine = min((o.cosine for o in leg.outputs), default=None)
            table.add_row(
                report.subject,
                leg.name,
                decibels(leg),
                f"{worst:.2e}" if worst is not None else "",
                f"{cosine:.7f}" if cosine is not None else "",
                agreement(leg),
                MARKS[leg.verdict],
            )
    return table


def decibels(leg: Leg | None) -> str:
    """The leg's worst PSNR; "equal" where every output is the same to the bit."""
    if leg is None or not leg.outputs:
        return ""
    known = [o.psnr_db for o in leg.outputs if o.psnr_db is not None]
    return f"{min(known):.1f} dB" if known else "equal"


def agreement(leg: Leg | None) -> str:
    """The share of samples on which the best class agrees."""
    shares = [o.top1 for o in leg.outputs if o.top1 is not None] if leg else []
    return f"{min(shares):.0%}" if shares else ""


def ledger(manifest: Manifest) -> str:
    """What fused, in one line."""
    fired = [f"{record.name} {len(record.fired)}" for record in manifest.fusion if record.fired]
    before, after = sum(manifest.ops_before.values()), sum(manifest.ops_after.values())
    return f"fused {before} → {after} calls: {', '.join(fired)}" if fired else "nothing fused"


def artifacts_of(manifest: Manifest) -> list[ArtifactRecord]:
    """The artifacts in the order of the manifest."""
    return list(manifest.artifacts)


def _table(*columns: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", overflow="fold", no_wrap=index == 0)
    return table
