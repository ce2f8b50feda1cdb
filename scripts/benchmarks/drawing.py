"""The figure of the time per step against the size of the net or of the data."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.problem import IRIS_ROWS
from gd_torch.plots import style

LINE_STYLES = {
    "compiled": (style.VERMILION, "o", "-"),
    "eager loop": (style.BLUE, "s", "--"),
    "JAX optax scan": (style.GREEN, "D", ":"),
}


@style.styled
def growth(rows: list[dict[str, Any]]) -> Figure:
    """Microseconds per step against the hidden nodes and against the rows, one line per program."""
    figure = style.new_figure(11.0, 5.0)
    left, right = figure.subplots(1, 2, sharey=True)
    _draw(left, [row for row in rows if row["size"][0] == IRIS_ROWS], 1)
    left.set(xlabel=f"hidden nodes ({IRIS_ROWS} rows)", ylabel="microseconds a step, one thread")
    _draw(right, [row for row in rows if row["size"][1] == 2], 0)
    right.set(xlabel="rows (2 hidden nodes)")
    left.legend(loc="upper left")
    least = min(row["ratio"] for row in rows if row["baseline"] == "eager loop")
    style.headline(
        figure, f"What a step costs as the net or the data grow: eager takes {least:.1f} x or more"
    )
    return figure


def _draw(axes: Axes, rows: list[dict[str, Any]], size: int) -> None:
    """Draw one panel: median times as lines, their ranges as bars.

    Args:
        rows: of the table. size: 0 plots the times against the rows, 1 against the hidden nodes.
    """
    lines: dict[str, dict[int, list[float]]] = {name: {} for name in LINE_STYLES}
    for row in rows:
        for role in ("candidate", "baseline"):
            times = [row[f"{role}_us"], *row[f"{role}_range_us"]]
            lines[row[role]][row["size"][size]] = times
    for name, points in lines.items():
        color, marker, dash = LINE_STYLES[name]
        sizes = sorted(points)
        middle, low, high = zip(*(points[size] for size in sizes), strict=True)
        axes.plot(sizes, middle, dash, color=color, marker=marker, label=name)
        axes.vlines(sizes, low, high, color=color, lw=1)
    axes.set(xscale="log", yscale="log")
    axes.grid(color=style.PALE, lw=0.6)
