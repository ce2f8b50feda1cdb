"""Figures that compare steps: one weight at a time and all at once, and steps in all directions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from gd_torch.plots import style
from gd_torch.plots.objective_grid import Range, rectangle
from gd_torch.plots.two_weights import draw_contours
from gd_torch.typing import Objective


class CostedPath(NamedTuple):
    """A path and the number of gradient evaluations along it.

    Attributes:
        path: w1 and w2 after every update, each of shape (n,).
        losses: the objective there, shape (n,).
        gradients: the gradient evaluations up to there, shape (n,).
    """

    path: tuple[Tensor, Tensor]
    losses: Tensor
    gradients: Tensor


class DirectionScan(NamedTuple):
    """Steps of one length in every direction from one point.

    Attributes:
        length: the length of the step, in units of the weights.
        degrees: the angle to the direction of steepest descent, counter-clockwise, shape (n,).
        losses: the objective after the step, shape (n,).
    """

    length: float
    degrees: Tensor
    losses: Tensor

    @property
    def best(self) -> int:
        """The index of the lowest loss."""
        return int(self.losses.argmin())


@style.styled
def one_at_a_time(
    objective: Objective,
    paths: Mapping[str, CostedPath],
    w1: Range,
    w2: Range,
    *,
    minimum: tuple[float, float] | None = None,
    title: str = "One weight at a time needs more gradient evaluations",
) -> Figure:
    """Updates of one weight at a time against updates of both weights at once.

    Args:
        objective: a function of two weights.
        paths: two paths by name, that of updates of both weights first.
        w1, w2: the weights shown.
        minimum: marked with a cross; None draws none.
        title: of the figure.
    """
    figure = style.new_figure(11, 5.4)
    above, right = figure.subplots(1, 2)
    draw_contours(above, rectangle(objective, w1, w2))
    looks = (style.PATHS["both weights"], style.PATHS["w₁ only"])
    for (name, found), look in zip(paths.items(), looks, strict=True):
        line = {"ls": look.dash, "marker": look.marker, "color": look.color, "lw": 2, "ms": 5}
        above.plot(*found.path, label=name, **line)
        right.plot(found.gradients, found.losses, label=name, **line)
    first = next(iter(paths.values()))
    style.mark_start(above, float(first.path[0][0]), float(first.path[1][0]))
    if minimum:
        style.mark_minimum(above, *minimum)
    names = style.symbols(objective)
    above.set(xlim=w1, ylim=w2, aspect="equal")
    above.set(xlabel=f"weight {names[0]}", ylabel=f"weight {names[1]}")
    right.set(yscale="log", xlabel="gradient evaluations", ylabel="value y")
    right.grid(color=style.PALE, lw=0.6)
    right.legend(loc="upper right")
    above.legend(loc="lower left", fontsize=8.5)
    style.headline(figure, title)
    return figure


@style.styled
def directions(
    scans: Sequence[DirectionScan],
    start_loss: float,
    chosen: int,
    *,
    title: str = "The steepest direction at the point is not the best for a step of some length",
) -> Figure:
    """The loss after a step of one length against its direction, and the best directions.

    Args:
        scans: one for each step length, shortest first.
        start_loss: the loss before the step.
        chosen: the index in ``scans`` of the length shown on the left.
        title: of the figure.
    """
    figure = style.new_figure(11, 5.2)
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
    _draw_scan(left, scans[chosen], start_loss)
    shades = colormaps[style.MAP](torch.linspace(0.0, 0.55, len(scans)).numpy())
    for scan, shade, dash in zip(scans, shades, ("-", "--", "-.", ":"), strict=False):
        drop = (scan.losses - scan.losses.min()) / (start_loss - scan.losses.min())
        near = scan.degrees.abs() <= 45
        best = style.fixed(scan.degrees[scan.best], 1)
        label = f"step {style.number(scan.length)}: best at {best}°"
        gain = 100 * (1 - drop[near])
        right.plot(scan.degrees[near], gain, color=shade, ls=dash, lw=2.2, label=label)
        right.plot(scan.degrees[scan.best], 100, "o", color=shade, ms=8)
    right.axvline(0, color=style.INK, lw=1, ls=":")
    right.set(xlim=(-45, 45), xticks=range(-45, 46, 15), xlabel="degrees from −gradient")
    right.set_ylabel("decrease, % of the best direction's")
    right.legend(loc="lower center")
    right.set_title("The longer the step, the further off", fontsize=10.5)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=4)
    style.headline(figure, title)
    return figure


def _draw_scan(axes: Axes, scan: DirectionScan, start_loss: float) -> None:
    """Draw the loss against the direction, and mark the steepest and the best direction."""
    axes.plot(scan.degrees, scan.losses, color=style.GREY, lw=2, label="loss after the step")
    before = f"before it: {style.number(start_loss)}"
    axes.axhline(start_loss, color=style.INK, lw=1, ls="--", label=before)
    steepest = int(scan.degrees.abs().argmin())
    inset = axes.inset_axes((0.31, 0.68, 0.4, 0.3))
    near = scan.degrees.abs() <= 15
    inset.plot(scan.degrees[near], scan.losses[near], color=style.GREY, lw=2)
    inset.set_title("enlarged", fontsize=9, y=0.72, loc="center")
    inset.tick_params(labelsize=8)
    for index, look, name in (
        (steepest, style.PATHS["both weights"], "−gradient, 0°"),
        (scan.best, style.PATHS["descent"], f"best, {style.fixed(scan.degrees[scan.best], 1)}°"),
    ):
        loss = float(scan.losses[index])
        inset.plot(scan.degrees[index], loss, marker=look.marker, color=look.color, ms=8)
        axes.plot(
            scan.degrees[index],
            loss,
            marker=look.marker,
            color=look.color,
            ms=9,
            ls="none",
            label=f"{name}: {loss:.2f}",
        )
    axes.set(xlim=(-180, 180), xticks=range(-180, 181, 60), ylim=(0, None))
    axes.set(xlabel="degrees from −gradient", ylabel="value y after the step")
    axes.set_title(
        f"A step of length {style.number(scan.length)} in every direction", fontsize=10.5
    )
