"""Figures of an objective of two weights: its surface, and paths on its contours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d import Axes3D
from torch import Tensor

from gd_torch.descent import Descent
from gd_torch.gradients import value_and_partials
from gd_torch.plots import style
from gd_torch.plots.objective_grid import Grid, Range, rectangle
from gd_torch.typing import Objective

SURFACE = LinearSegmentedColormap.from_list("pale", ["#AFC3D6", "#EDF2F6"])


def path_of(run: Descent) -> tuple[Tensor, Tensor, Tensor]:
    """w1, w2 and y at the recorded points of a run over two scalar weights.

    Raises:
        ValueError: the run is not over two scalar weights.
    """
    if len(run.path) != 2 or any(w.dim() != 1 for w in run.path):
        raise ValueError(f"`run` must be over two scalar weights, got {len(run.path)} tensor(s)")
    return run.path[0], run.path[1], run.losses


def tangents(objective: Objective, at: tuple[float, float], reach: float = 2.0) -> list[Tensor]:
    """The tangents of the surface along each weight, the other weight held constant.

    Args:
        objective: a function of two weights. at: the point of both tangents.
        reach: half the length of a tangent, in units of the weight.

    Returns:
        For each weight the two ends of its tangent, shape (2, 3): w1, w2, y. The direction is
        (1, 0, dy/dw1) for the first and (0, 1, dy/dw2) for the second weight.
    """
    y, slopes = value_and_partials(objective)(*at)
    point = torch.tensor([*at, float(y)], dtype=torch.float64)
    lines = []
    for place, slope in enumerate(slopes):
        direction = torch.zeros(3, dtype=torch.float64)
        direction[place], direction[2] = 1.0, float(slope)
        lines.append(torch.stack([point - reach * direction, point + reach * direction]))
    return lines


@style.styled
def surface(
    objective: Objective,
    grid: Grid,
    runs: Mapping[str, Descent],
    *,
    minimum: tuple[float, float] | None = None,
    tangents_at: tuple[float, float] | None = None,
    view: tuple[float, float] = (38, -55),
    title: str = "The loss is a height over two weights",
) -> Figure:
    """The surface of an objective in three dimensions, with paths, and tangents at a point.

    Args:
        objective: a function of two weights. grid: its surface, from ``basin`` or ``rectangle``.
        runs: the runs by name, drawn in this order.
        minimum: marked with a cross; None draws none.
        tangents_at: a point whose tangents along each weight are drawn.
        view: elevation and azimuth in degrees. title: of the figure.
    """
    figure = style.new_figure(8, 7)
    axes: Axes3D = figure.add_subplot(projection="3d", computed_zorder=False)
    _draw_surface(axes, grid)
    _draw_paths(axes, runs)
    starts = [[float(part[0]) for part in path_of(run)] for run in runs.values()]
    if tangents_at:
        _draw_tangents(axes, objective, tangents_at)
        starts.append(_on_surface(objective, tangents_at))
    if starts:
        _mark(axes, starts[0], "o", _start_label(starts[0]))
    if minimum:
        _mark(axes, _on_surface(objective, minimum), "x", "minimum")
    _dress(axes, style.symbols(objective), view)
    _legend(figure)
    style.headline(figure, title)
    return figure


def _draw_surface(axes: Axes3D, grid: Grid) -> None:
    """Draw a grid as a surface in pale colours with white lines on it."""
    w1, w2, y = (part.numpy() for part in grid)
    shades = SURFACE(Normalize()(y))
    axes.plot_surface(
        w1, w2, y, facecolors=shades, lw=0, rcount=60, ccount=80, shade=False, zorder=1
    )
    axes.plot_wireframe(w1, w2, y, color="white", lw=0.6, rcount=10, ccount=24, zorder=2)


def _legend(figure: Figure) -> None:
    """Add a legend below the plot, the lines in it no wider than 5 points."""
    for line in figure.legend(loc="outside lower left", ncols=3).get_lines():
        line.set_linewidth(min(line.get_linewidth(), 5))


def _dress(axes: Axes3D, symbols: Sequence[str], view: tuple[float, float]) -> None:
    """Set labels, view and aspect of the axes, and hide their background planes."""
    axes.set(xlabel=f"weight {symbols[0]}", ylabel=f"weight {symbols[1]}", zlabel="value y")
    axes.view_init(*view)
    axes.set_box_aspect((1, 1, 0.8), zoom=0.95)
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.set_pane_color((1, 1, 1, 0))


def _draw_paths(axes: Axes3D, runs: Mapping[str, Descent]) -> None:
    """Draw every path in its style; the step of both weights wider, below the descent's path.

    The step of both weights is the first step of the descent, so the two lines coincide there.
    """
    for name, look in style.path_styles(runs).items():
        wide = name == "both weights"
        (path,) = axes.plot(
            *path_of(runs[name]), ls=look.dash, marker=look.marker, color=look.color, ms=6
        )
        path.set(lw=look.width * (1.6 if wide else 1), zorder=4 if wide else 5)
        path.set_label(f"{name}: y = {style.value(runs[name].losses[-1])}")


def _on_surface(objective: Objective, at: tuple[float, float]) -> list[float]:
    """w1, w2 and y of a point."""
    return [*at, float(objective(*torch.tensor(at, dtype=torch.float64)))]


def _mark(axes: Axes3D, at: Sequence[float], marker: str, label: str) -> None:
    """Mark a point in three dimensions."""
    look = {"ms": 10, "mfc": "white", "mec": style.INK, "mew": 2.2, "ls": "none", "zorder": 8}
    axes.plot(*([part] for part in at), marker, label=label, **look)


def _start_label(start: Sequence[float]) -> str:
    """The label of a start: its weights and its value."""
    w1, w2, y = (style.value(part) for part in start)
    return f"start ({w1}, {w2}): y = {y}"


def _draw_tangents(axes: Axes3D, objective: Objective, at: tuple[float, float]) -> None:
    """Draw the tangent along each weight, labelled with its slope."""
    slopes = value_and_partials(objective)(*at)[1]
    looks = (style.PATHS["w₁ only"], style.PATHS["w₂ only"])
    names = style.symbols(objective)
    for ends, slope, look, name in zip(tangents(objective, at), slopes, looks, names, strict=True):
        label = f"tangent ∂y/∂{name} = {style.number(slope)}"
        axes.plot(*ends.T, color=look.color, ls=look.dash, lw=3, label=label, zorder=6)


@style.styled
def paths_from_above(
    objective: Objective,
    runs: Mapping[str, Descent],
    w1: Range,
    w2: Range,
    *,
    minimum: tuple[float, float] | None = None,
    arrow: str | None = None,
    title: str | None = None,
) -> Figure:
    """Paths over the contours of an objective of two weights, with equal scales.

    Args:
        objective: a function of two weights.
        runs: at most four runs by name.
        w1, w2: the weights shown; the legend counts the points of each path outside.
        minimum: marked with a cross; None draws none.
        arrow: the name of the run whose first step is drawn as an arrow "−α × gradient".
        title: of the figure; None states how the first run ended.
    """
    figure = style.new_figure(8, 7.6)
    axes = figure.add_subplot()
    draw_contours(axes, rectangle(objective, w1, w2))
    _draw_flat_paths(axes, runs, w1, w2)
    first = next(iter(runs.values()))
    start = [float(part[0]) for part in path_of(first)]
    style.mark_start(axes, start[0], start[1], _start_label(start))
    if minimum:
        style.mark_minimum(axes, *minimum)
    names = style.symbols(objective)
    axes.set(xlim=w1, ylim=w2, aspect="equal")
    axes.set(xlabel=f"weight {names[0]}", ylabel=f"weight {names[1]}")
    if arrow:
        _step_arrow(axes, runs[arrow])
    _legend(figure)
    style.headline(figure, title or style.ending(first))
    return figure


def _draw_flat_paths(axes: Axes, runs: Mapping[str, Descent], w1: Range, w2: Range) -> None:
    """Draw every path; the legend states its last value and counts the points outside."""
    for name, look in style.path_styles(runs).items():
        x, y, losses = path_of(runs[name])
        outside = int(((x < w1[0]) | (x > w1[1]) | (y < w2[0]) | (y > w2[1])).sum())
        more = f", {outside} points outside" if outside else ""
        (path,) = axes.plot(x, y, ls=look.dash, marker=look.marker, color=look.color, ms=7)
        path.set(lw=look.width, zorder=4 if look.width > 5 else 5)
        path.set_label(f"{name}: y = {style.value(losses[-1])}{more}")


def draw_contours(axes: Axes, grid: Grid) -> None:
    """Draw contours of a grid in pale colours, their levels closer together near the minimum."""
    share = torch.linspace(0.0, 1.0, 14, dtype=torch.float64) ** 2
    low, high = grid.y.min(), grid.y.max()
    levels = (low + (high - low) * share)[1:-1].tolist()
    parts = [part.numpy() for part in grid]
    axes.contourf(*parts, levels=[float(low), *levels, float(high)], cmap="Blues_r", alpha=0.25)
    drawn = axes.contour(*parts, levels=levels, colors=style.GREY, linewidths=0.7)
    axes.clabel(drawn, levels[1::2], fontsize=8, fmt=lambda y: style.number(y, 2))


def _step_arrow(axes: Axes, run: Descent) -> None:
    """Draw the first step of a run as a labelled arrow beside the path."""
    (x0, x1), (y0, y1) = (w[:2].tolist() for w in run.path)
    apart = 0.04 * (axes.get_ylim()[1] - axes.get_ylim()[0])
    length = math.hypot(x1 - x0, y1 - y0)
    right, up = (y0 - y1) / length * apart, (x1 - x0) / length * apart
    style.arrow(axes, (x0 + right, y0 + up), (x1 + right, y1 + up))
    style.note(axes, "−α × gradient", (x1 + right, y1 + up), (6, 10))
