"""The nets: every seed's descent, and scalar partials against matrices."""

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
    """The same partials found two ways.

    Attributes:
        scalars: one partial per weight, each found alone, shape (weights,).
        matrices: the entries of dMSE/dW1 and dMSE/dW2 in the same order, shape (weights,).
        scalar_seconds, matrix_seconds: the time of one gradient each way, measured.
    """

    scalars: Tensor
    matrices: Tensor
    scalar_seconds: float
    matrix_seconds: float


@style.styled
def convergence(
    nets: Mapping[int, tuple[Tensor, Tensor]],
    *,
    title: str = "Every seed is another story",
) -> Figure:
    """Figure 13: the loss of every seed, faint, and the median, bold.

    Args:
        nets: per number of weights the steps, shape (t,), from 1, and losses, shape (t, seeds).
        title: the finding.
    """
    figure = style.new_figure(10.5, 5.2)
    row = figure.subplots(1, len(nets), sharex=True, sharey=True, squeeze=False)[0]
    for axes, (weights, (steps, losses)) in zip(row, nets.items(), strict=True):
        seeds = losses.shape[1]
        lines = [torch.stack([steps, loss], 1).numpy() for loss in losses.T]
        faint = LineCollection(
            lines, colors=style.BLUE, linewidths=0.7, alpha=0.28, rasterized=True
        )
        faint.set_label(f"each of {seeds} seeds")
        axes.add_collection(faint)
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


@style.styled
def matrices(
    nets: Mapping[int, Comparison],
    *,
    title: str = "Two matrices hold every scalar partial",
) -> Figure:
    """Figure 16: scalar partials one by one against two matrix partials, and the time of each.

    Args:
        nets: per number of weights a :class:`Comparison`.
        title: the finding.
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
    """A ring per scalar partial and a dot per matrix entry, one inside the other."""
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
    """The time of one gradient each way."""
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
