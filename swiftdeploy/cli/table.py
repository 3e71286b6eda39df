"""Tables that fit a terminal of 60 columns; nothing heavy is imported for them."""

from __future__ import annotations

from rich.table import Table

ROOMY = 70  # columns; below, one space between two figures has to do


def table_of(*columns: str, width: int) -> Table:
    """An empty table for a terminal of `width` columns: the first column to the left, figures to the right."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2 if width >= ROOMY else 1, 0, 0))
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", no_wrap=True)
    return table
