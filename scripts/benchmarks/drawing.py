"""The picture of how a step's cost grows."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.problem import ROWS
from gd_torch.plots import style

LOOKS = {
    "compiled": (style.VERMILION, "o", "-"),
    "eager loop": (style.BLUE, "s", "--"),
    "JAX optax scan": (style.GREEN, "D", ":"),
}


@style.styled
def growth(rows: list[dict[str, Any]]) -> Figure:
    """Microseconds a step against the hidden width and against the rows, one line a candidate."""
    figure = style.new_figure(11.0, 5.0)
    left, right = figure.subplots(1, 2, sharey=True)
    _draw(left, [row for row in rows if row["size"][0] == ROWS], 1)
    left.set(xlabel=f"hidden nodes ({ROWS} rows)", ylabel="microseconds a step, one thread")
    _draw(right, [row for row in rows if row["size"][1] == 2], 0)
    right.set(xlabel="rows (2 hidden nodes)")
    left.legend(loc="upper left")
    least = min(row["ratio"] for row in rows if row["baseline"] == "eager loop")
    style.headline(
        figure, f"What a step costs as the net or the data grow: eager takes {least:.1f} x or more"
    )
    return figure


def _draw(axes: Axes, rows: list[dict[str, Any]], which: int) -> None:
    """The lines of one panel; the range of the turns as a bar."""
    lines: dict[str, dict[int, list[float]]] = {name: {} for name in LOOKS}
    for row in rows:
        for who in ("ours", "baseline"):
            times = [row[f"{who}_us"], *row[f"{who}_range_us"]]
            lines[row[who]][row["size"][which]] = times
    for name, points in lines.items():
        color, marker, dash = LOOKS[name]
        sizes = sorted(points)
        middle, low, high = zip(*(points[size] for size in sizes), strict=True)
        axes.plot(sizes, middle, dash, color=color, marker=marker, label=name)
        axes.vlines(sizes, low, high, color=color, lw=1)
    axes.set(xscale="log", yscale="log")
    axes.grid(color=style.PALE, lw=0.6)
