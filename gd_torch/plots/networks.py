"""Figures of nets: the losses of many seeds, and scalar partials against matrix partials."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from torch import Tensor

from gd_torch.plots import style


class Comparison(NamedTuple):
    """The same partials computed in two ways.

    Attributes:
        scalars: one partial per weight, each computed alone, shape (weights,).
        matrices: the entries of dMSE/dW1 and dMSE/dW2 in the same order, shape (weights,).
        scalar_seconds, matrix_seconds: the measured time of one gradient.
    """

    scalars: Tensor
    matrices: Tensor
    scalar_seconds: float
    matrix_seconds: float


@style.styled
def convergence(
    nets: Mapping[int, tuple[Tensor, Tensor]],
    *,
    title: str = "The loss depends on the seed",
) -> Figure:
    """The loss of every seed as a thin line, and their median as a thick one.

    Args:
        nets: number of weights -> (steps + 1, shape (t,), and losses, shape (t, seeds)).
        title: of the figure.
    """
    figure = style.new_figure(10.5, 5.2)
    row = figure.subplots(1, len(nets), sharex=True, sharey=True, squeeze=False)[0]
    for axes, (weights, (steps, losses)) in zip(row, nets.items(), strict=True):
        _draw_seeds(axes, steps, losses)
        middle = losses.quantile(0.5, dim=1)
        axes.plot(steps, middle, color=style.VERMILION, lw=3, label="median")
        share = float((losses[-1] < 0.02).double().mean())
        axes.set_title(
            f"{weights} weights: median {style.number(middle[-1], 2)}, "
            f"{100 * share:.0f} % end below 0.02",
            fontsize=10.5,
        )
        axes.axhline(0.02, color=style.INK, lw=1, ls=":", label="MSE 0.02")
        axes.set(xscale="log", yscale="log", xlim=(1, float(steps[-1])), ylim=(0.01, 0.6))
        axes.set_xlabel("steps made + 1")
        axes.set_yticks(
            [0.01, 0.02, 0.05, 0.1, 0.2, 0.5], ["0.01", "0.02", "0.05", "0.1", "0.2", "0.5"]
        )
        axes.minorticks_off()
    row[0].set_ylabel("MSE")
    row[0].legend(loc="lower left").legend_handles[0].set_alpha(1)
    style.headline(figure, title)
    return figure


def _draw_seeds(axes: Axes, steps: Tensor, losses: Tensor) -> None:
    """Draw the losses of every seed as thin lines."""
    lines = [torch.stack([steps, loss], 1).numpy() for loss in losses.T]
    thin = LineCollection(lines, colors=style.BLUE, linewidths=0.7, alpha=0.28, rasterized=True)
    thin.set_label(f"each of {losses.shape[1]} seeds")
    axes.add_collection(thin)


@style.styled
def matrices(
    nets: Mapping[int, Comparison],
    *,
    title: str = "Two matrices hold every scalar partial",
) -> Figure:
    """Scalar partials computed one by one against matrix partials, and the time of each way.

    Args:
        nets: number of weights -> :class:`Comparison`.
        title: of the figure.
    """
    figure = style.new_figure(11, 6.2)
    rows = figure.subplots(len(nets), 2, width_ratios=(2.6, 1), squeeze=False)
    for (left, right), (weights, both) in zip(rows, nets.items(), strict=True):
        _same_numbers(left, weights, both)
        _times(right, weights, both)
    rows[0][0].legend(loc="best")
    for axes in rows[:, 1]:
        axes.set_xlim(0, 1.3 * 1e3 * max(both.scalar_seconds for both in nets.values()))
    style.headline(figure, title)
    return figure


def _same_numbers(axes: Axes, weights: int, both: Comparison) -> None:
    """Draw a ring for each scalar partial and a dot for each matrix entry."""
    places = range(1, weights + 1)
    axes.axhline(0, color=style.PALE, lw=1)
    axes.plot(
        places,
        both.scalars,
        "o",
        ms=11,
        mfc="none",
        mec=style.BLUE,
        mew=2,
        ls="none",
        label="scalar partials, one at a time",
    )
    axes.plot(
        places,
        both.matrices,
        "o",
        ms=4.5,
        color=style.VERMILION,
        ls="none",
        label="entries of 2 matrices",
    )
    apart = float((both.scalars - both.matrices).abs().max())
    same = "equal to the last bit" if apart == 0 else f"largest difference {style.number(apart, 1)}"
    axes.set_title(f"{weights} weights: {same}", fontsize=10.5)
    axes.set(
        xlim=(0.3, weights + 0.7), xlabel="weight, W₁ row by row, then W₂", ylabel="partial of MSE"
    )
    axes.set_xticks([1, *range(7, weights + 1, 7)])
    axes.margins(y=0.15)


def _times(axes: Axes, weights: int, both: Comparison) -> None:
    """Draw the time of one gradient each way as bars."""
    seconds = (both.scalar_seconds, both.matrix_seconds)
    bars = axes.barh(
        [1, 0], [1e3 * s for s in seconds], color=[style.BLUE, style.VERMILION], height=0.6
    )
    axes.bar_label(
        bars, [f"{style.number(1e3 * s, 2)} ms" for s in seconds], padding=4, fontsize=9.5
    )
    axes.set_yticks([1, 0], [f"{weights} scalars", "2 matrices"])
    axes.set(xlabel="time of one gradient, ms", ylim=(-0.6, 1.6))
    axes.set_title(f"{seconds[0] / seconds[1]:.0f} times faster, measured here", fontsize=10.5)
