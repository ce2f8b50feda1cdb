"""Figures of an objective of one weight: a tangent, the first steps, and a whole descent."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gd_torch.descent import Descent
from gd_torch.gradients import partials
from gd_torch.plots import style
from gd_torch.plots.objective_grid import Range, line
from gd_torch.typing import Objective

Point = tuple[float, float]


def draw_curve(axes: Axes, objective: Objective, limits: Range) -> None:
    """Draw the objective over ``limits`` and label the axes."""
    (symbol,) = style.symbols(objective)
    w, y = line(objective, limits)
    axes.plot(w, y, color=style.GREY, lw=2, label=f"y({symbol})", zorder=2)
    axes.set(xlim=limits, xlabel=f"weight {symbol}", ylabel="value y")


def draw_minimum(axes: Axes, objective: Objective, run: Descent, minimiser: float | None) -> None:
    """Mark the minimum with a cross, if it is known."""
    if minimiser is not None:
        style.mark_minimum(axes, minimiser, float(objective(run.path[0].new_tensor(minimiser))))


def draw_tangent(axes: Axes, objective: Objective, at: Point, reach: float, label: str) -> float:
    """Draw the tangent at a point, ``reach`` to each side, and return its slope."""
    w, y = at
    slope = float(partials(objective)(w)[0])
    ends = [w - reach, w + reach]
    axes.plot(
        ends, [y + slope * (end - w) for end in ends], color=style.VERMILION, lw=2, label=label
    )
    return slope


def points(objective: Objective, run: Descent) -> list[Point]:
    """The recorded (w, y) of a run over one scalar weight.

    Raises:
        ValueError: the run or the objective is not over one scalar weight.
    """
    if len(run.path) != 1 or run.path[0].dim() != 1 or len(style.symbols(objective)) != 1:
        raise ValueError(f"`run` must be over one scalar weight, got {len(run.path)} tensor(s)")
    return list(zip(run.path[0].tolist(), run.losses.tolist(), strict=True))


@style.styled
def tangent(
    objective: Objective,
    run: Descent,
    limits: Range,
    *,
    minimiser: float | None = None,
    title: str = "The slope says which way is down, and how steep",
) -> Figure:
    """The curve of an objective with the tangent at the start of a run.

    Args:
        objective: a function of one weight.
        run: its start is the point of the tangent.
        limits: the weights shown.
        minimiser: the weight at the minimum, marked with a cross; None draws none.
        title: of the figure.
    """
    figure = style.new_figure()
    axes = figure.add_subplot()
    w, y = points(objective, run)[0]
    draw_curve(axes, objective, limits)
    reach = (limits[1] - limits[0]) / 9
    slope = draw_tangent(axes, objective, (w, y), reach, f"tangent at {style.number(w)}")
    style.mark_start(axes, w, y, f"start ({style.number(w)}, {style.number(y)})")
    draw_minimum(axes, objective, run, minimiser)
    left, below = w - 0.7 * reach, y - 0.7 * reach * slope
    axes.plot([left, w, w], [below, below, y], "--", color=style.INK, lw=1.2)
    style.note(axes, f"{style.fixed(w - left, 2)} to the left", (w, below), (8, -8))
    down = f"{style.fixed(y - below, 2)} {'down' if slope > 0 else 'up'}"
    style.note(axes, f"{down}:\nslope {style.fixed(slope, 2)}", (w, (y + below) / 2), (8, 4))
    rise = abs(reach * slope)
    axes.set_ylim(min(axes.get_ylim()[0], y - 1.15 * rise), y + 1.25 * rise)
    axes.legend(loc="upper left")
    style.headline(figure, title)
    return figure


@style.styled
def first_steps(
    objective: Objective,
    run: Descent,
    by_hand: Sequence[tuple[float, float]],
    limits: Range,
    *,
    title: str = "Each step goes against the slope, by less where the slope is less",
) -> Figure:
    """The first steps of a run with their tangents, and a table of rounded and exact values.

    Args:
        objective: a function of one weight.
        run: the exact run, with at least ``len(by_hand)`` recorded points.
        by_hand: (weight, slope) of each step as computed by hand, rounded at every step.
        limits: the weights shown.
        title: of the figure.
    """
    figure = style.new_figure(9, 6.4)
    axes, below = figure.subplots(2, 1, height_ratios=(4.2, 1))
    path = points(objective, run)[: len(by_hand)]
    (symbol,) = style.symbols(objective)
    draw_curve(axes, objective, limits)
    reach = (limits[1] - limits[0]) / 9
    slopes = []
    for step, at in enumerate(path):
        label = "tangents" if step == 0 else "_nolegend_"
        slopes.append(draw_tangent(axes, objective, at, reach, label))
        if step:
            axes.plot(*at, "o", color=style.VERMILION, ms=8, zorder=6)
        text = f"{symbol} = {style.fixed(at[0], 4)}, slope {style.fixed(slopes[-1], 2)}"
        style.note(axes, text, at, (-14, 12))
    style.mark_start(axes, *path[0])
    _update_arrows(axes, path)
    axes.legend(loc="upper left")
    _by_hand_table(below, symbol, by_hand, path, slopes)
    style.headline(figure, title)
    return figure


def _update_arrows(axes: Axes, path: Sequence[Point]) -> None:
    """Draw each update as a horizontal arrow, one above the other."""
    floor = axes.get_ylim()[0]
    for step, (tail, head) in enumerate(pairwise(path)):
        level = floor + 0.06 * (axes.get_ylim()[1] - floor) * (1 + step)
        style.arrow(axes, (tail[0], level), (head[0], level), style.BLUE)
        axes.plot([tail[0]] * 2, [level, tail[1]], ":", color=style.GREY, lw=1)
        style.note(axes, "−α × gradient", (tail[0], level), (6, 0))
    axes.set_ylim(floor)


def _by_hand_table(
    axes: Axes,
    symbol: str,
    by_hand: Sequence[tuple[float, float]],
    path: Sequence[Point],
    slopes: Sequence[float],
) -> None:
    """Draw a table of the values rounded at every step and the exact ones."""
    axes.axis("off")
    rows = [
        [f"{step}", f"{w:.2f}", f"{slope:.2f}", f"{exact:.7f}", f"{exact_slope:.4f}"]
        for step, ((w, slope), (exact, _), exact_slope) in enumerate(
            zip(by_hand, path, slopes, strict=True)
        )
    ]
    head = ["step", f"{symbol} by hand", "slope by hand", f"{symbol} exact", "slope exact"]
    table = axes.table(rows, colLabels=head, loc="center", cellLoc="center", edges="horizontal")
    table.auto_set_font_size(False)
    table.set_fontsize(10)
    table.scale(1, 1.25)
    for cell in table.get_celld().values():
        cell.set_edgecolor(style.PALE)


@style.styled
def descent_on_curve(
    objective: Objective,
    run: Descent,
    limits: Range,
    *,
    minimiser: float | None = None,
    step: int | None = None,
    title: str | None = None,
) -> Figure:
    """A run on the curve of its objective, and the length of every step.

    Args:
        objective: a function of one weight.
        run: a run that recorded every step.
        limits: the weights shown; a note counts the points outside.
        minimiser: the weight at the minimum, marked with a cross; None draws none.
        step: show the run up to this step, for a frame of an animation; None shows all of it.
        title: of the figure; None states how the run ended.
    """
    figure = style.new_figure(9.5, 4.8)
    left, right = figure.subplots(1, 2, width_ratios=(1.4, 1))
    path = points(objective, run)
    (symbol,) = style.symbols(objective)
    step = len(path) - 1 if step is None else step
    shown = path[: step + 1]
    draw_curve(left, objective, limits)
    look = style.PATHS["descent"]
    left.plot(*zip(*shown, strict=True), "o-", color=look.color, ms=5, lw=1.2, label="descent")
    left.plot(*shown[-1], "o", color=look.color, mec=style.INK, ms=10, zorder=7)
    style.mark_start(left, *path[0])
    draw_minimum(left, objective, run, minimiser)
    outside = sum(not limits[0] <= w <= limits[1] for w, _ in shown)
    w, y = (style.fixed(part, 6) for part in shown[-1])
    here = f"step {step}: {symbol} = {w}, y = {y}"
    left.set_title(here + (f"\n{outside} points lie outside" if outside else ""), fontsize=10)
    left.legend(loc="upper center")
    _step_lengths(right, symbol, [w for w, _ in path], step)
    style.headline(figure, title or style.ending(run))
    return figure


def _step_lengths(axes: Axes, symbol: str, path: Sequence[float], step: int) -> None:
    """Draw the length of every step on a log scale, those up to ``step`` in colour."""
    lengths = [abs(b - a) for a, b in pairwise(path)]
    numbers = range(1, len(path))
    axes.plot(numbers, lengths, color=style.PALE, lw=2, label="still to come")
    axes.plot(numbers[:step], lengths[:step], color=style.VERMILION, lw=2, label="made")
    if step:
        axes.plot(step, lengths[step - 1], "o", color=style.VERMILION, mec=style.INK, ms=9)
    axes.set(yscale="log", xlabel="step", ylabel=f"step length |Δ{symbol}| = α |slope|")
    last = f"this step: {style.number(lengths[step - 1], 2)}" if step else "no step yet"
    axes.set_title(last, fontsize=10)
