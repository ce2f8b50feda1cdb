"""Figures of runs with different learning rates on an objective of one weight."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from gd_torch.descent import Descent
from gd_torch.grid_search import brute_force
from gd_torch.plots import style
from gd_torch.plots.objective_grid import Range
from gd_torch.plots.one_weight import Point, draw_curve, draw_minimum, points
from gd_torch.typing import Objective


@style.styled
def overshoot(
    objective: Objective,
    run: Descent,
    *,
    title: str = "Too big a learning rate: every step overshoots, further each time",
) -> Figure:
    """A run that diverges, on logarithmic scales, so that its start remains visible.

    Args:
        objective: a function of one weight.
        run: a diverged run that recorded every step, three points at least.
        title: of the figure.
    """
    figure = style.new_figure(10.5, 5.2)
    left, right = figure.subplots(1, 2, width_ratios=(1.2, 1))
    path = points(objective, run)
    (symbol,) = style.symbols(objective)
    _symlog_curve(left, objective, path[:3], symbol)
    steps = run.recorded_steps.tolist()
    right.plot(steps, [w for w, _ in path], "-o", color=style.VERMILION, lw=2, label=symbol)
    right.set_yscale("symlog", linthresh=1)
    _wide_limits(right, run.path[0])
    for step, (w, _) in zip(steps[1:], path[1:], strict=True):
        style.note(right, style.number(w), (step, w), (-6, 12 if w > 0 else -14))
    style.note(right, style.number(path[0][0]), (0, path[0][0]), (8, 12))
    style.mark_start(right, 0, path[0][0])
    right.set(xlabel="step", ylabel=f"weight {symbol}, log beyond ±1", xticks=steps)
    right.set_xlim(-0.4, steps[-1] + 0.4)
    if run.stop.diverged:
        reason = run.stop.sentence.removeprefix("It diverged: ").removesuffix(".")
        right.set_title(f"Step {run.steps + 1} is never made:\n{reason}", fontsize=10)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=3)
    style.headline(figure, title)
    return figure


def _wide_limits(axes: Axes, path: Tensor) -> None:
    """Set symlog limits with room for notes beyond both ends, and a few ticks."""
    size = math.log10(float(path.abs().max()) + 10)
    up, down = (math.log10(max(1.0, float(end))) for end in (path.max(), -path.min()))
    unit = 10 if size > 45 else 1
    stride = math.ceil(size / 4.5 / unit) * unit
    powers = [10.0**power for power in range(stride, math.ceil(size), stride)]
    axes.set_yticks([*(-p for p in reversed(powers)), 0, *powers])
    axes.set_ylim(-(10.0 ** min(307, down + 0.2 * size)), 10.0 ** min(307, up + 0.14 * size))


def _symlog_curve(axes: Axes, objective: Objective, path: Sequence[Point], symbol: str) -> None:
    """Draw the curve and the first points of the path on axes that are logarithmic beyond 1."""
    reach = 20 * max(abs(w) for w, _ in path)
    even = torch.linspace(-1, 1, 1201, dtype=torch.float64)
    weights = even.sign() * ((1 + reach) ** even.abs() - 1)  # about even on the symlog axis
    y = brute_force(objective, weights, keep="all").value
    axes.plot(weights, y, color=style.GREY, lw=2, label=f"y({symbol})")
    axes.set_xscale("symlog", linthresh=1)
    axes.set_yscale("symlog", linthresh=1)
    for tail, head in pairwise(path):
        style.arrow(axes, tail, head, style.VERMILION, connectionstyle="arc3,rad=-0.12", shrinkB=5)
    axes.plot([], [], color=style.VERMILION, lw=2, marker=">", label="−α × gradient")
    for w, y_there in path[1:]:
        axes.plot(w, y_there, "o", color=style.VERMILION, ms=8, zorder=6)
        text = f"{symbol} = {style.number(w)}\ny = {style.number(y_there)}"
        style.note(axes, text, (w, y_there), (-8, -12) if w < 0 else (-12, 6))
    style.mark_start(axes, *path[0], f"start {symbol} = {style.number(path[0][0])}")
    top = 1e3 * max(y for _, y in path)
    axes.set(xlim=(-reach, reach), ylim=(-2, top), xlabel=f"weight {symbol}, log beyond ±1")
    ticks = [10.0**power for power in range(2, 10, 3) if 10.0**power < reach]
    axes.set_xticks([*(-t for t in reversed(ticks)), 0, *ticks])
    axes.set_yticks([0, *(10.0**power for power in range(6, 48, 6) if 10.0**power < top)])
    axes.set_ylabel("value y, log beyond 1")


@style.styled
def learning_rates(
    objective: Objective,
    runs: Mapping[float, Descent],
    limits: Range,
    minimiser: float,
    *,
    title: str = "Too small rates converge slowly, too large ones diverge",
) -> Figure:
    """Runs with several learning rates from one start, on shared axes.

    Args:
        objective: a function of one weight.
        runs: learning rate -> a run that recorded every step.
        limits: the weights shown in the upper row.
        minimiser: the weight at the exact minimum; the lower row shows the distance to it.
        title: of the figure.
    """
    figure = style.new_figure(11, 6.4)
    rows = figure.subplots(2, len(runs), sharex="row", sharey="row", squeeze=False)
    (symbol,) = style.symbols(objective)
    for top, bottom, (rate, run) in zip(*rows, runs.items(), strict=True):
        _rate_on_curve(top, objective, run, limits, minimiser)
        top.set_title(f"α = {rate:g}", fontsize=12, fontweight="bold")
        _distance(bottom, run, minimiser)
    for row, label in ((rows[0], "value y"), (rows[1], f"distance |{symbol} − {symbol}*|")):
        for axes in row:
            axes.set_ylabel(label if axes is row[0] else "")
    for axes in rows[1]:
        axes.set_xlabel("steps made + 1")
    rows[0][0].legend(loc="upper left", fontsize=8.5)
    style.headline(figure, title)
    return figure


def _rate_on_curve(
    axes: Axes, objective: Objective, run: Descent, limits: Range, minimiser: float
) -> None:
    """Draw the path on the curve; if it leaves the limits, an arrow and the first point outside."""
    (symbol,) = style.symbols(objective)
    draw_curve(axes, objective, limits)
    path = points(objective, run)
    inside = [at for at in path if limits[0] <= at[0] <= limits[1]]
    if path[0] not in inside[:1]:
        raise ValueError(f"`limits` must include the start {path[0][0]:g}, got {limits}")
    drawn = _thin_out(inside, (limits[1] - limits[0]) / 150)
    axes.plot(*zip(*drawn, strict=True), "-o", color=style.VERMILION, ms=4, lw=1, label="descent")
    style.mark_start(axes, *path[0])
    draw_minimum(axes, objective, run, minimiser)
    outside = next((k for k, (w, _) in enumerate(path) if not limits[0] <= w <= limits[1]), None)
    if outside is None:
        return
    low, high = axes.get_ylim()
    side = limits[0] if path[outside][0] < limits[0] else limits[1]
    level = low + 0.45 * (high - low)
    style.arrow(axes, path[outside - 1], (side, level), style.VERMILION)
    text = f"out of the picture:\n{symbol} = {style.number(path[outside][0])} after step {outside}"
    style.note(axes, text, (limits[0], level), (3, 24))


def _distance(axes: Axes, run: Descent, minimiser: float) -> None:
    """Draw the distance to the minimum against the step, both on log scales."""
    shown = torch.logspace(0, math.log10(len(run.losses)), 200).round().long() - 1
    distances = (run.path[0] - minimiser).abs()
    axes.loglog(run.recorded_steps[shown] + 1, distances[shown], color=style.VERMILION, lw=2)
    axes.set_ylim(1e-9, 1e5)
    axes.set_xlim(1, 2e4)
    axes.set_xticks([1, 10, 100, 1000, 10_000])
    axes.grid(color=style.PALE, lw=0.6)
    steps = f"{style.whole(run.steps)} steps"
    if run.stop.diverged:
        text = f"diverges: {style.number(run.path[0][-1], 2)}\nafter {steps}"
    else:
        norm = style.number(run.gradient_norms[-1], 2)
        text = f"{'converges' if run.converged else 'not done'}: {steps},\n|slope| = {norm}"
    axes.text(0.97, 0.97, text, transform=axes.transAxes, fontsize=9.5, ha="right", va="top")


def _thin_out(path: Sequence[Point], gap: float) -> list[Point]:
    """The first point, and every later one at least ``gap`` away from the last one kept."""
    kept = [path[0]]
    for at in path[1:]:
        if abs(at[0] - kept[-1][0]) >= gap:
            kept.append(at)
    return kept
