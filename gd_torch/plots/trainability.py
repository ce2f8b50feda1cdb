"""The trainability map: the final loss of a net by the learning rates of its two matrices."""

from __future__ import annotations

from typing import NamedTuple

import matplotlib as mpl
import torch
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator, NullLocator
from torch import Tensor

from gd_torch.plots import style


class LossGrid(NamedTuple):
    """The final loss for every pair of two learning rates.

    Attributes:
        first: learning rates of W1, shape (c,), evenly spaced on a log scale.
        second: learning rates of W2, shape (r,), evenly spaced on a log scale.
        losses: the final MSE of every pair, shape (r, c).
    """

    first: Tensor
    second: Tensor
    losses: Tensor


LEARNT = LinearSegmentedColormap.from_list("learnt", mpl.colormaps[style.MAP]([0, 0.15, 0.3, 0.5]))
STUCK = LinearSegmentedColormap.from_list("stuck", ["#F29A4A", "#FFF6EA"])
"""Every colour of STUCK is lighter than every colour of LEARNT, also when printed in grey."""


@style.styled
def trainability_map(
    whole: LossGrid,
    zoom: LossGrid,
    threshold: float,
    *,
    title: str = "Where a net learns, by the learning rates of its two matrices",
) -> Figure:
    """The final MSE by the learning rates of W1 and W2, and a part of the map enlarged.

    Source: after J. Sohl-Dickstein, "The boundary of neural network trainability is fractal",
    arXiv:2402.06184 (2024). Its colours show sums over a run, these show the final losses.

    Args:
        whole: the whole map. zoom: a part of it with more learning rates.
        threshold: a run has learnt if its final MSE is below this.
        title: of the figure.
    """
    figure = style.new_figure(12.5, 6.4)
    left, right = figure.subplots(1, 2)
    both = torch.cat([whole.losses.flatten(), zoom.losses.flatten()])
    scales = (
        LogNorm(min(float(both.min()), 0.9 * threshold), threshold),
        Normalize(threshold, max(float(both.max()), 1.1 * threshold)),
    )
    for axes, part in ((left, whole), (right, zoom)):
        _draw(axes, part, threshold, scales)
    (x, y), (width, height) = _corner(zoom)
    for color, line in (("white", 4.0), (style.INK, 1.6)):
        left.add_patch(Rectangle((x, y), width, height, fill=False, ec=color, lw=line, zorder=5))
    _zoom_ticks(right, zoom)
    right.spines[:].set_visible(True)
    left.set_title(_learnt_share(whole, threshold))
    right.set_title(f"The window enlarged: {_learnt_share(zoom, threshold)}")
    low, high = (ScalarMappable(scale, look) for scale, look in zip(scales, LOOKS, strict=True))
    style.mse_bar(figure, right, low, scales[0], "learnt: final MSE, log scale")
    figure.colorbar(high, ax=right, label="not learnt: final MSE")
    style.headline(figure, title)
    return figure


LOOKS = (LEARNT, STUCK)


def _draw(axes: Axes, part: LossGrid, threshold: float, scales: tuple[LogNorm, Normalize]) -> None:
    """Draw one panel, with one colour scale for the runs that learnt and one for the others."""
    learnt = part.losses < threshold
    for shown, scale, look in zip((learnt, ~learnt), scales, LOOKS, strict=True):
        losses = torch.where(shown, part.losses, torch.nan).numpy()
        axes.pcolormesh(
            part.first.numpy(), part.second.numpy(), losses, cmap=look, norm=scale, rasterized=True
        )
    axes.set(xscale="log", yscale="log", box_aspect=1)
    x, y = part.first.tolist(), part.second.tolist()
    axes.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]))
    axes.set(xlabel="learning rate of W₁", ylabel="learning rate of W₂")


def _corner(part: LossGrid) -> tuple[tuple[float, float], tuple[float, float]]:
    """The lower left corner of a map, and its width and height."""
    x, y = float(part.first[0]), float(part.second[0])
    return (x, y), (float(part.first[-1]) - x, float(part.second[-1]) - y)


def _zoom_ticks(axes: Axes, part: LossGrid) -> None:
    """Set ticks at round numbers: a small range may contain no power of ten."""
    for axis, rates in ((axes.xaxis, part.first), (axes.yaxis, part.second)):
        axis.set_major_locator(LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)))
        axis.set_major_formatter(lambda rate, _: style.number(rate))
        axis.set_minor_locator(NullLocator())
        axis.set_view_interval(float(rates[0]), float(rates[-1]), ignore=True)


def _learnt_share(part: LossGrid, threshold: float) -> str:
    """The number of runs and the share that learnt, as text."""
    share = 100 * float((part.losses < threshold).double().mean())
    return f"{style.whole(part.losses.numel())} runs, {share:.0f} % learnt"
