"""The loss of a net on the principal plane of its path, compared with the loss on the path."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from torch import Tensor

from gd_torch.descent import Descent
from gd_torch.plots import style
from gd_torch.typing import Objective


class Plane(NamedTuple):
    """The plane through the mean of a path that keeps most of its variance (PCA).

    Attributes:
        centre: the mean of the path, shape (n,). axes: two orthonormal directions, shape (2, n).
        path: the path's coordinates in the plane, shape (t, 2).
        explained: the share of the path's variance along each axis, shape (2,).
        true_loss: the loss on the path, shape (t,).
        plane_loss: the loss at the path's projection onto the plane, shape (t,).
        off_plane: the path's distance from the plane, shape (t,).
    """

    centre: Tensor
    axes: Tensor
    path: Tensor
    explained: Tensor
    true_loss: Tensor
    plane_loss: Tensor
    off_plane: Tensor


def on_vector(objective: Objective, run: Descent) -> Callable[[Tensor], Tensor]:
    """The objective of many flat weight vectors, shape (m, n) -> (m,)."""
    shapes = [w.shape for w in run.weights]
    sizes = [shape.numel() for shape in shapes]

    def flat(vector: Tensor) -> Tensor:
        parts = torch.split(vector, sizes)
        return objective(*(w.reshape(s) for w, s in zip(parts, shapes, strict=True)))

    many: Callable[[Tensor], Tensor] = torch.func.vmap(flat)
    return many


def path_plane(objective: Objective, run: Descent) -> Plane:
    """The principal plane of a run's path.

    The signs of the axes are chosen so that both coordinates of the start are not negative. The
    same run then always gives the same figure.

    Args:
        objective: what the run descended on.
        run: a run with at least three recorded points.
    """
    vectors = torch.cat([w.reshape(len(w), -1) for w in run.path], dim=1).double()  # (t, n)
    centre = vectors.mean(0)
    centred = vectors - centre
    _, spread, directions = torch.linalg.svd(centred, full_matrices=False)
    axes = directions[:2]
    axes = axes * torch.where(axes @ centred[0] < 0, -1.0, 1.0)[:, None]
    path = centred @ axes.T  # (t, 2)
    projection = centre + path @ axes
    return Plane(
        centre=centre,
        axes=axes,
        path=path,
        explained=spread[:2] ** 2 / (spread**2).sum(),
        true_loss=run.losses,
        plane_loss=on_vector(objective, run)(projection),
        off_plane=(vectors - projection).norm(dim=1),
    )


def plane_losses(
    objective: Objective, run: Descent, plane: Plane, points: int = 101
) -> tuple[Tensor, Tensor, Tensor]:
    """The loss on a rectangle of the plane around the path, with margins of a quarter.

    Returns:
        Coordinates along the first axis, along the second, and losses (second, first).
    """
    low, high = plane.path.amin(0), plane.path.amax(0)
    margin = 0.25 * (high - low).amax()
    first, second = (
        torch.linspace(float(a - margin), float(b + margin), points, dtype=torch.float64)
        for a, b in zip(low, high, strict=True)
    )
    coordinates = torch.cartesian_prod(second, first).flip(1)  # (points^2, 2)
    losses = on_vector(objective, run)(plane.centre + coordinates @ plane.axes)
    return first, second, losses.reshape(points, points)


@style.styled
def landscape(
    run: Descent,
    plane: Plane,
    grid: tuple[Tensor, Tensor, Tensor],
    *,
    title: str = "The loss on the plane of the path, and where that plane can be trusted",
) -> Figure:
    """The loss of a net around its path, and the loss on the path against that in the plane.

    Args:
        run: the run. plane: from :func:`path_plane`. grid: from :func:`plane_losses`.
        title: of the figure.
    """
    figure = style.new_figure(12, 5)
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
    first, second, losses = (part.numpy() for part in grid)
    norm = LogNorm(float(losses.min()), float(losses.max()))
    drawn = left.pcolormesh(
        first, second, losses, cmap=style.MAP, norm=norm, shading="gouraud", rasterized=True
    )
    left.contour(first, second, losses, levels=14, colors="white", linewidths=0.5, alpha=0.6)
    left.plot(*plane.path.T, color="white", lw=4.5, zorder=4)
    left.plot(*plane.path.T, color=style.VERMILION, lw=2.5, label="path", zorder=5)
    style.mark_start(left, *plane.path[0].tolist())
    left.plot(*plane.path[-1], "D", color=style.VERMILION, mec="white", ms=9, label="end", zorder=8)
    left.legend(loc="best")
    left.set_title(
        f"The path lies off this plane by {style.number(plane.off_plane[0], 2)} at its start, "
        f"{style.number(plane.off_plane[-1], 2)} at its end",
        fontsize=10.5,
    )
    shares = [f"{100 * float(share):.1f} %" for share in plane.explained]
    left.set(xlabel=f"first principal axis ({shares[0]} of the variance)", aspect="equal")
    left.set_ylabel(f"second principal axis ({shares[1]})")
    style.mse_bar(figure, left, drawn, norm, "MSE, log scale")
    _trust(right, run, plane)
    style.headline(figure, title)
    return figure


def _trust(axes: Axes, run: Descent, plane: Plane) -> None:
    """Draw the loss on the path and in the plane; where they differ, the map is inaccurate."""
    steps = run.recorded_steps + 1
    axes.plot(steps, plane.true_loss, color=style.VERMILION, lw=2.4, label="true loss on the path")
    axes.plot(steps, plane.plane_loss, "--", color=style.BLUE, lw=2.4, label="loss in the plane")
    axes.set(xscale="log", xlabel="steps made + 1", ylabel="MSE", ylim=(0, None))
    axes.set_xlim(1, float(steps[-1]))
    axes.set_title(
        f"At the start the plane says {float(plane.plane_loss[0]):.2f}, the truth is "
        f"{float(plane.true_loss[0]):.2f}",
        fontsize=10.5,
    )
    axes.legend(loc="lower left")
