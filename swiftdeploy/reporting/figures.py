"""How pictures of ours look, and how they become files: the same figure gives the same bytes, as PNG and as SVG."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from swiftdeploy import console
from swiftdeploy.errors import importing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, GREY, BLUE, RED, GREEN = "#1b1f24", "#8a929b", "#2f6fde", "#d0342c", "#1a7f4b"
STYLE = {
    "font.size": 9.5,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "svg.hashsalt": "swiftdeploy",
    "svg.fonttype": "none",
}


def check_library() -> None:
    """Raise DependencyError where matplotlib does not import."""
    what = "a search ends with a plot, and matplotlib does not import"
    with importing(what, hint="pip install -c constraints.txt '.[plot]'"), console.quiet():
        import matplotlib.figure  # noqa: F401


def save(make: Callable[[], Figure], folder: Path, stem: str) -> tuple[Path, Path]:
    """Write what `make` draws as STEM.png and STEM.svg. Raises DependencyError without matplotlib."""
    check_library()
    with console.quiet():
        import matplotlib as mpl

        with mpl.rc_context(STYLE):
            figure = make()
            png, svg = folder / f"{stem}.png", folder / f"{stem}.svg"
            # Neither the day nor the library's version belongs into a picture of numbers.
            figure.savefig(png, dpi=150, metadata={"Software": None})
            figure.savefig(svg, metadata={"Date": None, "Creator": None})
    return png, svg
