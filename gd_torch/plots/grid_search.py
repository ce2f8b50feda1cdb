"""Figures of grid searches: the lowest point of finer grids, and the cost of many weights."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gd_torch.grid_search import GridResult
from gd_torch.plots import style
from gd_torch.plots.objective_grid import line
from gd_torch.typing import Objective


@style.styled
def brute_force_grids(
    objective: Objective,
    searches: Mapping[int, GridResult],
    minimiser: float,
    evaluations: Mapping[int, int],
    *,
    title: str = "A finer grid finds a lower value, but not the minimum",
) -> Figure:
    """Grids of one weight near the minimum, and the cost of a grid against the weights.

    Args:
        objective: a function of one weight.
        searches: number of decimals -> the whole grid, from ``brute_force(..., keep="all")``.
        minimiser: the weight at the exact minimum.
        evaluations: number of weights -> points of a grid with 100 values for each weight.
        title: of the figure.
    """
    figure = style.new_figure(10.5, 6.6)
    rows = figure.add_gridspec(2, len(searches))
    for place, (decimals, search) in enumerate(searches.items()):
        axes = figure.add_subplot(rows[0, place])
        _zoomed_grid(axes, objective, decimals, search, minimiser)
        if place == 0:
            axes.set_ylabel("y above the minimum")
    _cost_line(figure.add_subplot(rows[1, :]), evaluations)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=4)
    style.headline(figure, title)
    return figure


def _zoomed_grid(
    axes: Axes, objective: Objective, decimals: int, search: GridResult, minimiser: float
) -> None:
    """Draw the points of one grid near the minimum, and mark the lowest one."""
    (symbol,) = style.symbols(objective)
    reach = 3.8 * 10.0**-decimals
    limits = minimiser - reach, minimiser + reach
    lowest = objective(search.value.new_tensor(minimiser))
    w, y = line(objective, limits)
    axes.plot(w, y - lowest, color=style.GREY, lw=2, label=f"y({symbol})")
    tried, values = search.weights[0], search.value
    near = (tried > limits[0]) & (tried < limits[1])
    above = values[near] - lowest
    axes.plot(
        tried[near], above, "o", ms=6, color=style.BLUE, ls="none", label="tried", clip_on=False
    )
    best = int(values.argmin())
    axes.plot(
        tried[best], values[best] - lowest, "o", ms=10, color=style.VERMILION, ls="none",
        label="lowest tried",
    )  # fmt: skip
    style.mark_minimum(axes, minimiser, 0.0)
    plural = "s" * (decimals > 1)
    error = abs(tried[best] - minimiser)
    axes.set_title(
        f"{decimals} decimal{plural}: {style.whole(len(tried))} points\n"
        f"{symbol} = {tried[best]:.{decimals}f}, error {style.number(error, 2)}\n"
        f"y = {style.fixed(values[best], 9)}",
        fontsize=9,
    )
    top = float(above.max())
    axes.set(xlim=limits, ylim=(-0.12 * top, 1.12 * top), xlabel=f"weight {symbol}")
    marks = [round(minimiser + side * 0.6 * reach, decimals) for side in (-1, 1)]
    axes.set_xticks(marks, [style.fixed(mark, decimals) for mark in marks])
    axes.set_yticks([0, top], ["0", style.number(top, 1)], fontsize=8.5)


def _cost_line(axes: Axes, evaluations: Mapping[int, int]) -> None:
    """Draw the number of evaluations against the number of weights, on a log scale."""
    counts = [float(count) for count in evaluations.values()]
    axes.semilogy(list(evaluations), counts, "-o", color=style.BLUE, lw=2, ms=7)
    for weights, count in evaluations.items():
        text = f"{weights} weight{'s' * (weights > 1)}: {style.power_of_ten(count)} evaluations"
        style.note(axes, text, (weights, float(count)), (12, -17 if weights == 1 else -8))
    axes.set(
        xlabel="number of weights, 100 values tried for each",
        ylabel="evaluations",
        xlim=(0, max(evaluations) * 1.27),
        ylim=(1e-14, max(counts) * 1e6),
        xticks=list(evaluations),
    )
    axes.set_yticks([10.0**power for power in range(0, 57, 14)])
    axes.minorticks_off()
    axes.grid(axis="y", color=style.PALE, lw=0.6)
    axes.set_title("The cost of a grid is multiplied by 100 with every weight")
