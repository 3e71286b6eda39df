"""Each weight's sensitivity as a picture: a row a weight, a column a scheme, the output's PSNR in dB in each cell."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from swiftdeploy.reporting.figures import GREY, INK
from swiftdeploy.searches import SearchReport, Sensitivity

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROW, _COLUMN, _NAME = 0.24, 0.72, 0.072  # inches: a row's height, a column's width, a letter of a name
_LEAST = 8.6  # inches, so that the title fits
_LOW, _HIGH = 20.0, 80.0  # dB between which colours differ: below, top-1 goes; above, nothing is seen


def figure_of(report: SearchReport) -> Figure:
    """Weights in the program's order, schemes from the largest to the smallest; what the recipe takes is framed."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    rows = report.sensitivities
    columns = sorted(report.candidates, key=lambda scheme: -report.point(scheme).bytes)
    letters = max(len(_name(row)) for row in rows)
    width = max(_LEAST, _NAME * letters + _COLUMN * len(columns) + 0.8)
    figure = Figure(figsize=(width, _ROW * len(rows) + 1.1), layout="constrained")
    axes = figure.subplots()
    title = f"{report.model}: dB of the scores where one weight alone is stored so; framed: {report.recipe.name}"
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    cells = [[_decibels(row, scheme) for scheme in columns] for row in rows]
    axes.imshow(cells, cmap="RdYlBu", vmin=_LOW, vmax=_HIGH, aspect="auto", alpha=0.75)
    for y, (row, values) in enumerate(zip(rows, cells, strict=True)):
        taken = report.recipe.scheme(row.weight).name
        for x, (scheme, value) in enumerate(zip(columns, values, strict=True)):
            text = "" if math.isnan(value) else "equal" if math.isinf(value) else f"{value:.1f}"
            axes.text(x, y, text, ha="center", va="center", fontsize=8.5, color=INK)
            if scheme == taken and text:
                axes.add_patch(Rectangle((x - 0.46, y - 0.44), 0.92, 0.88, fill=False, edgecolor=INK, linewidth=1.6))
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), [_name(row) for row in rows], fontsize=8.5)
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    axes.spines[:].set_visible(False)
    sizes = axes.secondary_yaxis("right")
    sizes.set_yticks(range(len(rows)), [f"{row.bytes / 1000:.1f} kB" for row in rows], fontsize=8.5, color=GREY)
    sizes.tick_params(length=0)
    sizes.spines[:].set_visible(False)
    return figure


def _name(row: Sensitivity) -> str:
    return row.weight.removesuffix("_weight")


def _decibels(row: Sensitivity, scheme: str) -> float:
    """Infinity where no output changed, NaN where the scheme does not store this weight."""
    for damage in row.damages:
        if damage.scheme == scheme:
            return math.inf if damage.psnr_db is None else damage.psnr_db
    return math.nan
