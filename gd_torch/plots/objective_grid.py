"""Values of an objective on a line, a rectangle or around a minimum, for drawing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gd_torch.grid_search import brute_force
from gd_torch.typing import Objective

Range = tuple[float, float]
"""The lowest and the highest value of a weight that is shown."""


class Grid(NamedTuple):
    """Values of an objective of two weights; all three have the same shape (rows, columns)."""

    w1: Tensor
    w2: Tensor
    y: Tensor


def check_range(name: str, given: Range) -> Range:
    """Return the range, or raise a ValueError unless it is finite and in order."""
    low, high = given
    if not -float("inf") < low < high < float("inf"):
        raise ValueError(f"`{name}` must be (low, high), finite and low < high, got {given}")
    return low, high


def line(objective: Objective, limits: Range, points: int = 401) -> tuple[Tensor, Tensor]:
    """w and y of an objective of one weight, evenly spaced over ``limits``."""
    low, high = check_range("limits", limits)
    w, y, _ = brute_force(
        objective, torch.linspace(low, high, points, dtype=torch.float64), keep="all"
    )
    return w[0], y


def rectangle(objective: Objective, w1: Range, w2: Range, points: int = 121) -> Grid:
    """The values at ``points`` x ``points`` weights of a rectangle."""
    axes = [
        torch.linspace(*check_range(name, given), points, dtype=torch.float64)
        for name, given in (("w1", w1), ("w2", w2))
    ]
    (x, y), values, _ = brute_force(objective, *axes, keep="all")
    return Grid(x, y, values)


def basin(
    objective: Objective, minimum: Sequence[float], height: float, rings: int = 25, spokes: int = 73
) -> Grid:
    """The surface around a minimum up to one height, so that its rim is level.

    In every direction the distance at which the objective reaches the height of each ring is found
    by bisection. The heights of the rings grow with the square of their number.

    Args:
        objective: a function of two weights. minimum: the weights at its minimum.
        height: the value of the objective at the rim.
        rings, spokes: the number of heights, and of directions.

    Raises:
        ValueError: the objective does not reach ``height`` within 1e6 in every direction.

    >>> from gd_torch import bowl
    >>> grid = basin(bowl, (0.0, 0.0), height=200.0)
    >>> round(grid.w1.max().item(), 6), round(grid.w2.max().item(), 4), grid.y[-1].std().item() < 1
    (10.0, 14.1421, True)
    """
    centre = torch.tensor(minimum, dtype=torch.float64)
    many = torch.func.vmap(torch.func.vmap(objective))
    angle = torch.linspace(0, 2 * torch.pi, spokes, dtype=torch.float64)
    share = torch.linspace(0, 1, rings, dtype=torch.float64)
    lowest = objective(*centre)
    heights = (lowest + (height - lowest) * share**2)[:, None].expand(rings, spokes)

    def at(distance: Tensor) -> Grid:
        w1, w2 = centre[0] + distance * angle.cos(), centre[1] + distance * angle.sin()
        return Grid(w1, w2, many(w1, w2))

    distance = _bisect(lambda distance: at(distance).y < heights, (rings, spokes))
    if bool((at(distance).y < heights).any()):
        raise ValueError(
            f"`height` must be reached in every direction from the minimum, got {height}"
        )
    return at(distance)


def _bisect(below: Callable[[Tensor], Tensor], shape: tuple[int, int]) -> Tensor:
    """Distances up to 2^20 at which ``below`` changes from true to false, by bisection."""
    near, far = torch.zeros(shape).double(), torch.ones(shape).double()
    for _ in range(20):
        far = torch.where(below(far), 2 * far, far)
    for _ in range(60):
        middle = (near + far) / 2
        low = below(middle)
        near, far = torch.where(low, middle, near), torch.where(low, far, middle)
    return far
