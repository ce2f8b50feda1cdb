"""Grid search: evaluate an objective at every point of a grid and keep the lowest."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from gd_torch.typing import Objective, Weights
from gd_torch.validation import check_held, check_number, check_scalar

CHUNK = 1 << 14
"""Points evaluated at once; the memory needed is this times what one evaluation needs."""

YEAR = 365.25 * 86400
"""Seconds in a Julian year."""

MOST_KEPT = 10**8
"""Points that ``keep="all"`` holds at most (0.8 GB of values in float64)."""


class Lowest(NamedTuple):
    """What :func:`brute_force` found.

    Attributes:
        weights: one tensor per axis: the lowest point, shape (); with ``keep="all"`` every point
            of the grid, shape (len(axis 1), len(axis 2), ...).
        value: the objective there, of the same shape.
        evaluations: how many points were evaluated.
    """

    weights: Weights
    value: Tensor
    evaluations: int


class Cost(NamedTuple):
    """What a grid search would take.

    Attributes:
        evaluations: the number of points of the grid, exact.
        per_second: the speed just measured, evaluations a second.
    """

    evaluations: int
    per_second: float

    @property
    def seconds(self) -> float:
        """The estimated time in seconds."""
        return self.evaluations / self.per_second

    @property
    def years(self) -> float:
        """The estimated time in years of 365.25 days."""
        return self.seconds / YEAR


def brute_force(
    objective: Objective,
    *axes: Tensor,
    keep: Literal["lowest", "all"] = "lowest",
    time_limit: float = 3600.0,
) -> Lowest:
    """Evaluate ``objective`` on the product of ``axes`` and take the lowest value.

    The grid is walked in chunks of 16 384 points, the last axis fastest, so that memory stays
    bounded; among equal values the first point wins, and NaN never does. An objective that cannot
    be evaluated many points at a time (a Python branch on a weight) is evaluated one by one.

    Args:
        objective: a torch function of one scalar weight per axis that returns one scalar.
        axes: one floating tensor of shape (k,) per weight, the values to try.
        keep: "lowest" returns one point, "all" every point and value (1e8 points at most).
        time_limit: seconds; a grid that would take longer is refused before it starts.

    Returns:
        :class:`Lowest`, which unpacks as ``weights, value, evaluations``.

    Raises:
        ValueError, TypeError: bad axes, an objective that is not scalar or NaN everywhere, or a
            grid that cannot finish within ``time_limit``, with its size and the years it needs.

    >>> from gd_torch import curve
    >>> weights, value, evaluations = brute_force(curve, torch.linspace(-1, 2, 301).double())
    >>> round(weights[0].item(), 2), round(value.item(), 9), evaluations
    (0.75, -0.439086914, 301)
    """
    if keep not in ("lowest", "all"):
        raise ValueError(f"`keep` must be 'lowest' or 'all', got {keep!r}")
    check_number("time_limit", time_limit, above=0.0)
    cost = search_cost(objective, *axes)
    if keep == "all" and cost.evaluations > MOST_KEPT:
        raise ValueError(
            f"`keep='all'` holds at most {MOST_KEPT:.0e} points, the grid has "
            f"{cost.evaluations:.4g}"
        )
    if cost.seconds > time_limit:
        raise ValueError(
            f"the grid has {cost.evaluations:.4g} points: about {_duration(cost)} at the "
            f"{cost.per_second:.2g} evaluations a second just measured, over the `time_limit` of "
            f"{time_limit:g} s"
        )
    if keep == "all":
        values = torch.cat([value for _, value in _chunks(objective, axes)])
        shape = tuple(len(axis) for axis in axes)
        return Lowest(torch.meshgrid(*axes, indexing="ij"), values.reshape(shape), cost.evaluations)
    return _lowest(objective, axes, cost.evaluations)


def search_cost(objective: Objective, *axes: Tensor) -> Cost:
    """Count a grid's points and measure the speed of evaluating them, without walking the grid.

    Args, Raises: as :func:`brute_force`.

    >>> from gd_torch import curve
    >>> search_cost(curve, torch.linspace(0, 1, 100)).evaluations
    100
    """
    for axis in axes or (None,):
        if not isinstance(axis, Tensor) or not axis.is_floating_point():
            raise TypeError(f"`axes` must be floating tensors, one per weight, got {axis!r:.60}")
        if axis.dim() != 1 or axis.numel() == 0:
            raise ValueError(f"every axis must have shape (k,), k >= 1, got {tuple(axis.shape)}")
        check_held("axes", axis)
    walk = _chunks(objective, axes)
    points, _ = next(walk)  # the first chunk warms up and validates the objective
    walk = _chunks(objective, axes)
    begin = time.perf_counter()
    next(walk)
    seconds = max(time.perf_counter() - begin, 1e-9)
    return Cost(math.prod(len(axis) for axis in axes), len(points[0]) / seconds)


def _lowest(objective: Objective, axes: tuple[Tensor, ...], evaluations: int) -> Lowest:
    """Walk the grid and keep the first of the lowest points."""
    best: tuple[Weights, Tensor] | None = None
    for points, values in _chunks(objective, axes):
        i = values.nan_to_num(nan=math.inf, posinf=math.inf, neginf=-math.inf).argmin()
        if not values[i].isnan() and (best is None or bool(values[i] < best[1])):
            best = tuple(w[i] for w in points), values[i]
    if best is None:
        raise ValueError(f"`objective` is NaN at all {evaluations} points of the grid")
    return Lowest(*best, evaluations)


def _chunks(objective: Objective, axes: tuple[Tensor, ...]) -> Iterator[tuple[Weights, Tensor]]:
    """Yield (points, values) chunk by chunk: one tensor of shape (chunk,) per axis, and one."""
    evaluate, chunk = _many_at_once(objective, tuple(axis[0] for axis in axes))
    evaluations = math.prod(len(axis) for axis in axes)
    for start in range(0, evaluations, chunk):
        stop = min(start + chunk, evaluations)
        place = torch.arange(start, stop, device=axes[0].device)  # (chunk,)
        points: list[Tensor] = []
        for axis in reversed(axes):
            points.insert(0, axis[place % len(axis)])
            place = place // len(axis)
        with torch.no_grad():
            yield tuple(points), evaluate(*points)


def _many_at_once(objective: Objective, point: Weights) -> tuple[Objective, int]:
    """The objective over many points, by vmap where it allows that, and how many at once."""
    check_scalar(objective(*point))
    many: Objective = torch.func.vmap(objective)
    try:
        many(*(w.expand(2) for w in point))
    except RuntimeError:  # what vmap raises for a Python branch on a weight, .item(), randomness
        return lambda *columns: torch.stack([objective(*w) for w in zip(*columns, strict=True)]), 64
    return many, CHUNK


def _duration(cost: Cost) -> str:
    """The estimated time in the unit a person would use."""
    for unit, seconds in (("years", YEAR), ("days", 86400), ("hours", 3600), ("minutes", 60)):
        if cost.seconds >= 2 * seconds:
            return f"{cost.seconds / seconds:.2g} {unit}"
    return f"{cost.seconds:.2g} seconds"
