"""Heat maps of many runs: by start and learning rate, and by seed and learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

import torch
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor

from gd_torch.plots import style


class Outcome(IntEnum):
    """How a run of limited length ended."""

    CONVERGES = 0
    TOO_SLOW = 1
    BOUNCES = 2
    DIVERGES = 3


WORDS = {
    Outcome.CONVERGES: "converges",
    Outcome.TOO_SLOW: "too slow",
    Outcome.BOUNCES: "bounces",
    Outcome.DIVERGES: "diverges",
}
COLORS = {Outcome.TOO_SLOW: "#C4C4C4", Outcome.BOUNCES: "white", Outcome.DIVERGES: style.VERMILION}


@style.styled
def learning_rate_map(
    starts: Tensor,
    rates: Tensor,
    outcomes: Tensor,
    steps: Tensor,
    limit: int,
    *,
    symbol: str = "w",
    mark: tuple[float, float] | None = None,
    title: str = "Which learning rates converge depends on the start",
) -> Figure:
    """The outcome of a run for every start and learning rate.

    Args:
        starts: shape (s,), evenly spaced. rates: shape (r,), evenly spaced on a log scale.
        outcomes: the :class:`Outcome` of each run, shape (r, s).
        steps: the number of steps of each run, shape (r, s). limit: the maximum number of steps.
        symbol: the name of the weight. mark: a (start, rate) that is marked.
        title: of the figure.
    """
    figure = style.new_figure(9.5, 6.2)
    axes = figure.add_subplot()
    x, y = starts.numpy(), rates.numpy()
    _draw_outcomes(axes, starts, rates, outcomes)
    counts = torch.where(outcomes == Outcome.CONVERGES, steps.double(), torch.nan).numpy()
    drawn = axes.pcolormesh(x, y, counts, cmap=style.MAP, norm=LogNorm(1, limit), rasterized=True)
    figure.colorbar(drawn, label="steps until it converges", ticks=[1, 10, 100, 1000], format="%d")
    figure.legend(handles=_outcome_patches(outcomes, limit), loc="outside lower left", ncols=4)
    if mark:
        style.mark_start(axes, *mark)
        style.note(axes, f"{symbol} = {mark[0]:g}, α = {mark[1]:g}", mark, (-12, 0))
    axes.set(yscale="log", xlim=(x[0], x[-1]), ylim=(y[0], y[-1]))
    axes.set(xlabel=f"start of weight {symbol}", ylabel="learning rate α")
    style.headline(figure, title)
    return figure


def _draw_outcomes(axes: Axes, starts: Tensor, rates: Tensor, outcomes: Tensor) -> None:
    """Draw the runs that did not converge, one colour for each outcome; hatch bouncing ones."""
    x, y = starts.numpy(), rates.numpy()
    for outcome, color in COLORS.items():
        shown = torch.where(outcomes == outcome, 1.0, torch.nan).numpy()
        axes.pcolormesh(x, y, shown, cmap=ListedColormap([color]), rasterized=True)
    bouncing = (outcomes == Outcome.BOUNCES).double().numpy()
    if bouncing.any():
        axes.contourf(x, y, bouncing, levels=[0.5, 1.5], colors="none", hatches=["////"])


def _outcome_patches(outcomes: Tensor, limit: int) -> list[Patch]:
    """The entries of the legend: every outcome with its share of the runs."""
    shares = {o: 100 * float((outcomes == o).double().mean()) for o in Outcome}
    within = {Outcome.CONVERGES: f" within {limit} steps"}
    return [
        Patch(
            facecolor=COLORS.get(outcome, "#C7B667"),
            edgecolor=style.INK,
            lw=0.6,
            hatch="////" if outcome is Outcome.BOUNCES else None,
            label=f"{WORDS[outcome]}{within.get(outcome, '')}: {share:.1f} %",
        )
        for outcome, share in shares.items()
    ]


@style.styled
def learning_rate_by_seed(
    rates: Sequence[float],
    seeds: Sequence[int],
    losses: Tensor,
    *,
    title: str = "Final loss by seed and learning rate",
) -> Figure:
    """The final MSE of every seed at every learning rate, with the number in each cell.

    Args:
        rates: r learning rates. seeds: s seeds.
        losses: the final MSE, shape (r, s).
        title: of the figure.
    """
    figure = style.new_figure(10, 5)
    axes = figure.add_subplot()
    norm = LogNorm(float(losses.min()), float(losses.max()))
    drawn = axes.imshow(losses.numpy(), cmap=style.MAP, norm=norm, aspect="auto")
    for row, of_rate in enumerate(losses.tolist()):
        for column, loss in enumerate(of_rate):
            dark = float(norm(loss)) < 0.5
            axes.text(
                column, row, f"{loss:.3f}", ha="center", va="center", fontsize=9,
                color="white" if dark else style.INK,
            )  # fmt: skip
    axes.set_xticks(range(len(seeds)), [str(seed) for seed in seeds])
    medians = losses.quantile(0.5, dim=1).tolist()
    names = [f"{rate:g}   (median {m:.3f})" for rate, m in zip(rates, medians, strict=True)]
    axes.set_yticks(range(len(rates)), names)
    axes.set(xlabel="seed of the start weights", ylabel="learning rate α")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    style.mse_bar(figure, axes, drawn, norm, "final MSE, log scale")
    style.headline(figure, title)
    return figure
