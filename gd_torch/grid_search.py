"""Grid search: evaluate an objective at every point of a grid and keep the lowest."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from gd_torch.typing import Objective, Weights
from gd_torch.validation import check_dense_real, check_number, check_scalar

CHUNK_POINTS = 1 << 14
"""Points per batched evaluation; memory use grows with it."""

SEQUENTIAL_CHUNK_POINTS = 64
"""Points per chunk for an objective that is evaluated one point at a time."""

YEAR_SECONDS = 365.25 * 86400
"""Seconds in a Julian year."""

MAX_STORED_POINTS = 10**8
"""Largest grid for ``keep="all"``, in points (0.8 GB of values in float64)."""


class GridResult(NamedTuple):
    """The result of :func:`brute_force`.

    Attributes:
        weights: one tensor per axis: the coordinates of the lowest point, shape (); with
            ``keep="all"`` those of every grid point, shape (len(axis 1), len(axis 2), ...).
        value: the objective at these points, of the same shape.
        evaluations: number of points evaluated.
    """

    weights: Weights
    value: Tensor
    evaluations: int


class GridCost(NamedTuple):
    """The estimated cost of a grid search.

    Attributes:
        evaluations: number of grid points, exact.
        per_second: measured evaluations per second.
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
        return self.seconds / YEAR_SECONDS


def brute_force(
    objective: Objective,
    *axes: Tensor,
    keep: Literal["lowest", "all"] = "lowest",
    time_limit: float = 3600.0,
) -> GridResult:
    """Evaluate ``objective`` on the product of ``axes`` and take the lowest value.

    The grid is evaluated in chunks of 16 384 points, the last axis fastest, so memory use is
    bounded. Of equal values the first point is returned; NaN is ignored. An objective that
    ``torch.func.vmap`` cannot batch (a Python branch on a weight) is evaluated point by point.

    Args:
        objective: a torch function of one scalar weight per axis that returns one scalar.
        axes: one floating-point tensor of shape (k,) per weight: the values to try.
        keep: "lowest" returns one point, "all" every point and value (at most 1e8 points).
        time_limit: seconds, positive; a grid estimated to take longer is refused.

    Returns:
        :class:`GridResult`, which unpacks as ``weights, value, evaluations``.

    Raises:
        ValueError, TypeError: an argument breaks a rule above, the objective is not scalar or is
            NaN at every point, or the estimated time exceeds ``time_limit``.

    >>> from gd_torch import curve
    >>> weights, value, evaluations = brute_force(curve, torch.linspace(-1, 2, 301).double())
    >>> round(weights[0].item(), 2), round(value.item(), 9), evaluations
    (0.75, -0.439086914, 301)
    """
    if keep not in ("lowest", "all"):
        raise ValueError(f"`keep` must be 'lowest' or 'all', got {keep!r}")
    check_number("time_limit", time_limit, above=0.0)
    cost = search_cost(objective, *axes)
    if keep == "all" and cost.evaluations > MAX_STORED_POINTS:
        raise ValueError(
            f"`keep='all'` stores at most {MAX_STORED_POINTS:.0e} points, the grid has "
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
        return GridResult(
            torch.meshgrid(*axes, indexing="ij"), values.reshape(shape), cost.evaluations
        )
    return _lowest(objective, axes, cost.evaluations)


def search_cost(objective: Objective, *axes: Tensor) -> GridCost:
    """Count a grid's points and time the evaluation of one chunk.

    Args:
        objective, axes: as for :func:`brute_force`.

    Raises:
        ValueError, TypeError: as for :func:`brute_force`, except for ``time_limit``.

    >>> from gd_torch import curve
    >>> search_cost(curve, torch.linspace(0, 1, 100)).evaluations
    100
    """
    for axis in axes or (None,):
        if not isinstance(axis, Tensor) or not axis.is_floating_point():
            raise TypeError(
                f"`axes` must be floating-point tensors, one per weight, got {axis!r:.60}"
            )
        if axis.dim() != 1 or axis.numel() == 0:
            raise ValueError(f"every axis must have shape (k,), k >= 1, got {tuple(axis.shape)}")
        check_dense_real("axes", axis)
    points, _ = next(_chunks(objective, axes))  # warm-up; also validates the objective
    chunks = _chunks(objective, axes)
    start = time.perf_counter()
    next(chunks)
    seconds = max(time.perf_counter() - start, 1e-9)
    return GridCost(math.prod(len(axis) for axis in axes), len(points[0]) / seconds)


def _lowest(objective: Objective, axes: tuple[Tensor, ...], evaluations: int) -> GridResult:
    """Evaluate the grid and return the first of its lowest points."""
    best: tuple[Weights, Tensor] | None = None
    for points, values in _chunks(objective, axes):
        i = values.nan_to_num(nan=math.inf, posinf=math.inf, neginf=-math.inf).argmin()
        if not values[i].isnan() and (best is None or bool(values[i] < best[1])):
            best = tuple(w[i] for w in points), values[i]
    if best is None:
        raise ValueError(f"`objective` is NaN at all {evaluations} points of the grid")
    return GridResult(*best, evaluations)


def _chunks(objective: Objective, axes: tuple[Tensor, ...]) -> Iterator[tuple[Weights, Tensor]]:
    """Yield (points, values) per chunk: one tensor of shape (chunk,) per axis, and the values."""
    evaluate, chunk = _batched(objective, tuple(axis[0] for axis in axes))
    evaluations = math.prod(len(axis) for axis in axes)
    for start in range(0, evaluations, chunk):
        stop = min(start + chunk, evaluations)
        index = torch.arange(start, stop, device=axes[0].device)  # (chunk,), in the flattened grid
        points: list[Tensor] = []
        for axis in reversed(axes):
            points.insert(0, axis[index % len(axis)])
            index = index // len(axis)
        with torch.no_grad():
            yield tuple(points), evaluate(*points)


def _batched(objective: Objective, point: Weights) -> tuple[Objective, int]:
    """The objective over a batch of points, by vmap if possible, and the points per chunk."""
    check_scalar(objective(*point))
    batched: Objective = torch.func.vmap(objective)
    try:
        batched(*(w.expand(2) for w in point))
    except RuntimeError:  # raised by vmap for a Python branch on a weight, .item(), randomness
        return (
            lambda *columns: torch.stack([objective(*w) for w in zip(*columns, strict=True)]),
            SEQUENTIAL_CHUNK_POINTS,
        )
    return batched, CHUNK_POINTS


def _duration(cost: GridCost) -> str:
    """The estimated time, in a readable unit."""
    for unit, seconds in (
        ("years", YEAR_SECONDS),
        ("days", 86400),
        ("hours", 3600),
        ("minutes", 60),
    ):
        if cost.seconds >= 2 * seconds:
            return f"{cost.seconds / seconds:.2g} {unit}"
    return f"{cost.seconds:.2g} seconds"
