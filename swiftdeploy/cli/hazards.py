"""The table of `inspect --run`: an op a row, what it holds, and what half precision would make of it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from swiftdeploy.cli.output import printable
from swiftdeploy.cli.table import table_of
from swiftdeploy.mil.hazards import OpHazards
from swiftdeploy.mil.risks import Risk

_ROOMY = 110  # columns, from which the value's name has room beside its figures


def table(ops: Sequence[OpHazards], *, width: int) -> Table:
    """One row an output of an op, in the order of execution. It fits 80 columns; wider terminals show names."""
    named = width >= _ROOMY
    columns = ["op", *(["value"] if named else []), "shape", "dtype", "least", "greatest", "MACs", "risk in fp16"]
    found = table_of(*columns, width=width)
    for column in found.columns[-1:]:
        column.justify, column.no_wrap = "left", False
    for op in ops:
        name = [escape(printable(op.output))] if named else []
        found.add_row(
            op.op,
            *name,
            "x".join(map(str, op.shape)) or "-",
            op.dtype,
            f"{op.least:.1e}" if op.least else "0",
            f"{op.greatest:.1e}" if op.greatest else "0",
            f"{op.macs / 1e6:.2f}M" if op.macs else "-",
            escape("; ".join(risks(op))) or "-",
        )
    return found


def risks(op: OpHazards) -> list[str]:
    """An op's risks in a few words each, and the NaN or infinities that it gave."""
    words = [_words(risk, op) for risk in op.risks]
    if op.nan:
        words.append(f"NaN {op.nan:.1%}")
    if op.inf:
        words.append(f"Inf {op.inf:.1%}")
    return words


def _words(risk: Risk, op: OpHazards) -> str:
    return {
        "overflow": f"overflow {op.overflow:.1%}",
        "vanish": f"vanish {risk.value:.1%}",
        "squares": f"sum of squares {risk.value:.1e}",
        "epsilon": f"epsilon {risk.value:.0e}",
        "constant": f"constant {risk.value:.1e}",
    }[risk.kind]


def totals(ops: Sequence[OpHazards]) -> str:
    """One line under the table."""
    risky = sum(1 for op in ops if risks(op))
    macs = sum(op.macs for op in ops)
    return f"{len(ops)} values, {risky} at risk in fp16, {macs / 1e6:,.2f} M multiply-accumulates a prediction"
