"""A search as a picture: size against accuracy, and against drift, with what no other package beats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from swiftdeploy.reporting.figures import BLUE, GREEN, GREY, INK, RED
from swiftdeploy.searches import Point, SearchReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LABEL = 9.0  # points
_TARGET: dict[str, Any] = {"color": RED, "linewidth": 0.9, "linestyle": (0, (4, 3)), "label": "target", "zorder": 0}
# Where a label may stand beside its point, in font sizes, the best place first.
_PLACES = ((0.6, 0.5), (0.6, -0.9), (-0.6, 0.5), (-0.6, -0.9), (0.0, 1.1), (0.0, -1.6), (1.4, 1.7), (-1.4, 1.7))
_FARTHER = ((1.4, -2.3), (-1.4, -2.3), (0.0, 2.6), (0.0, -3.1), (2.4, 3.2), (-2.4, 3.2), (2.4, -3.8), (-2.4, -3.8))


def figure_of(report: SearchReport) -> Figure:
    """Accuracy above, drift below, over one axis of bytes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.6, 7.4), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    figure.suptitle(_title(report), x=0.01, ha="left", fontsize=11, fontweight="bold")
    _accuracy(upper, report)
    _drift(lower, report)
    figure.draw_without_rendering()  # labels are placed where the axes have come to stand
    for axes, value in ((upper, _percent), (lower, _decibels)):
        _label(axes, report, value)
    return figure


def _title(report: SearchReport) -> str:
    chosen, base = report.point(report.chosen), _base(report)
    size = f"{_size(chosen.bytes)}, {100 * chosen.bytes / base.bytes:.0f} % of fp16"
    interval = f"{chosen.low:.1f} to {chosen.high:.1f}"
    return f"{report.model}: {report.recipe.name} is {size}, with {chosen.percent:.2f} % {_what(report)} ({interval})"


def _what(report: SearchReport) -> str:
    return "top-1" if report.measure == "top1" else "agreement"


def _accuracy(axes: Axes, report: SearchReport) -> None:
    _points(axes, report, _percent)
    axes.set_ylabel(f"{_what(report)} on {report.images} images, %")
    oracle = 100.0 * report.oracle_right / report.images
    axes.axhline(oracle, color=GREY, linewidth=0.8, linestyle=(0, (1, 2)), label="oracle", zorder=0)
    if report.goal.max_drop is not None:
        axes.axhline(oracle - report.goal.max_drop, **_TARGET)
    axes.legend(loc="lower right", frameon=False, fontsize=_LABEL)


def _drift(axes: Axes, report: SearchReport) -> None:
    _points(axes, report, _decibels)
    axes.set_ylabel("scores against the oracle's, PSNR in dB")
    axes.set_xlabel("package, bytes on disk")
    axes.xaxis.set_major_formatter(lambda value, _: _size(int(value)))


def _points(axes: Axes, report: SearchReport, value: Callable[[Point], float]) -> None:
    front = [point for name in report.front for point in report.points if point.name == name]
    if value is _percent:
        axes.step(
            *_columns(front, value), where="post", color=GREEN, linewidth=1.6, alpha=0.8, label="Pareto front", zorder=1
        )
    mixes = [point for point in report.points if point.kind == "mixed"]
    axes.plot(*_columns(mixes, value), color=BLUE, linewidth=1, marker="o", markersize=4.5, label="mixed", zorder=2)
    uniform = [point for point in report.points if point.kind == "uniform"]
    axes.plot(*_columns(uniform, value), color=INK, linestyle="", marker="s", markersize=5, label="uniform", zorder=3)
    axes.plot(*_columns([_base(report)], value), color=GREY, linestyle="", marker="D", markersize=6, zorder=3)
    axes.plot(
        *_columns([report.point(report.chosen)], value),
        color=RED,
        linestyle="",
        marker="*",
        markersize=15,
        markeredgecolor="white",
        label="chosen",
        zorder=4,
    )
    if report.goal.target_bytes is not None:
        axes.axvline(report.goal.target_bytes, **_TARGET)
    axes.grid(axis="y", color="#e6e8eb", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.margins(x=0.06, y=0.16)


def _columns(points: Sequence[Point], value: Callable[[Point], float]) -> tuple[list[int], list[float]]:
    return [point.bytes for point in points], [value(point) for point in points]


def _label(axes: Axes, report: SearchReport, value: Callable[[Point], float]) -> None:
    """Name every uniform package, fp16 and the chosen one, each label where it covers no point, line or other label."""
    taken = _obstacles(axes)
    named = [point for point in report.points if point.kind != "mixed" or point.name == report.chosen]
    for point in sorted(named, key=lambda p: p.name != report.chosen):
        chosen = point.name == report.chosen
        text = report.recipe.name if chosen else point.name
        for dx, dy in (*_PLACES, *_FARTHER):
            note = axes.annotate(
                text,
                (point.bytes, value(point)),
                xytext=(dx * _LABEL, dy * _LABEL),
                textcoords="offset points",
                ha="left" if dx > 0 else "right" if dx < 0 else "center",
                fontsize=_LABEL,
                color=RED if chosen else INK,
                fontweight="bold" if chosen else "normal",
                arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.6} if abs(dy) > 1.2 else None,
            )
            box = _box(note)
            if not any(box.overlaps(other) for other in taken) and _inside(axes, box):
                taken.append(box)
                break
            note.remove()


def _obstacles(axes: Axes) -> list[Any]:
    """Small boxes, in pixels, along every line and around every point of the axes."""
    from matplotlib.transforms import Bbox

    dot = 4 * axes.figure.dpi / 72.0
    found = []
    for line in axes.lines:
        path: Any = line.get_transform().transform_path(line.get_path())
        if line.get_linestyle() not in ("None", ""):
            found += [Bbox.from_bounds(x - 1, y - 1, 2, 2) for x, y in path.interpolated(60).vertices]
        if line.get_marker() not in ("None", ""):
            found += [Bbox.from_bounds(x - dot, y - dot, 2 * dot, 2 * dot) for x, y in path.vertices]
    return found


def _box(note: Any) -> Any:
    """Where a text stands, in pixels, its leader aside."""
    from matplotlib.text import Text

    renderer = note.figure._get_renderer()
    note.update_positions(renderer)
    return Text.get_window_extent(note, renderer).padded(1.5)


def _inside(axes: Axes, box: Any) -> bool:
    frame = axes.bbox
    return bool(frame.x0 <= box.x0 and box.x1 <= frame.x1 + 40 and frame.y0 <= box.y0 and box.y1 <= frame.y1 + 4)


def _base(report: SearchReport) -> Point:
    return next(point for point in report.points if point.kind == "base")


def _percent(point: Point) -> float:
    return point.percent


def _decibels(point: Point) -> float:
    """Equal scores have no PSNR; fp32's own rounding ends near this."""
    return 150.0 if point.drift_db is None else point.drift_db


def _size(count: int) -> str:
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= unit:
            return f"{count / unit:.3g} {name}"
    return f"{count} B"
