"""Finite differences: the slope along a direction, from values of the objective alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gd_torch.typing import Objective, Weights

_STEPS = {
    torch.float64: ((1e-2, 7), (1e-4, 7), (1e-7, 3)),
    torch.float32: ((0.1, 7), (1e-2, 7)),
}
"""First step, in proportion to the weights, and rows of the tableau; later ones if need be.

A kink that is near, but not at the point, is out of reach of the last ones.
"""
_STEP_RATIO = 2.0  # each step is the last one divided by this
_ACCURATE = 1e-4  # a larger relative error calls for smaller steps


@dataclass(frozen=True)
class SlopeEstimate:
    """A directional derivative by finite differences.

    Attributes:
        value: the extrapolated central difference.
        error: the estimated error of ``value``, rounding noise included.
        kink: whether the one-sided slopes differ however small the step.
    """

    value: float
    error: float
    kink: bool = False

    @property
    def accurate(self) -> bool:
        """Whether smaller steps are not needed."""
        return not self.kink and self.error <= _ACCURATE * abs(self.value)


def estimate_slope(
    objective: Objective, weights: Weights, direction: Weights
) -> SlopeEstimate | None:
    """The slope of the objective at ``weights`` along ``direction``.

    Source: C. J. F. Ridders, "Accurate computation of F'(x) and F'(x) F''(x)", Advances in
    Engineering Software 4 (1982): central differences at shrinking steps, extrapolated to zero.

    Args:
        objective: a torch function of the weights that returns one scalar.
        weights: the point.
        direction: one tensor per weight, of its shape; not all zero.

    Returns:
        The estimate, or None where the direction is zero or a value nearby is not finite.
    """
    size = max(float(d.abs().amax()) for d in direction)
    if size == 0:
        return None
    largest = max(
        float(w.abs().amax()) for w, d in zip(weights, direction, strict=True) if bool(d.any())
    )
    dtype = weights[0].dtype
    unit = max(largest, 1e-3) / size

    def along(t: float) -> float:
        moved = tuple(w + t * d for w, d in zip(weights, direction, strict=True))
        with torch.no_grad():
            return float(objective(*moved))

    middle = along(0.0)
    eps = torch.finfo(dtype).eps
    best: SlopeEstimate | None = None
    for step, rows in _STEPS.get(dtype, _STEPS[torch.float32]):
        if best is None or not best.accurate:
            best = _better(best, _extrapolate(along, middle, unit * step, eps, rows))
    return best


def _better(first: SlopeEstimate | None, second: SlopeEstimate | None) -> SlopeEstimate | None:
    """The second estimate, from smaller steps, where the first one is worse or sees a kink."""
    if second is not None and (first is None or first.kink or second.error < first.error):
        return second
    return first


def _extrapolate(
    along: Callable[[float], float], middle: float, step: float, eps: float, rows: int
) -> SlopeEstimate | None:
    """Neville's tableau over central differences at ``step``, ``step`` / 2, ``step`` / 4, ..."""
    best, error = math.nan, math.inf
    previous: list[float] = []
    jumps, noises = [], []
    for _ in range(rows):
        right, left = along(step), along(-step)
        if not (math.isfinite(right) and math.isfinite(left)):
            return None
        noise = eps * max(abs(right), abs(left), abs(middle)) / step
        jumps.append(abs(right + left - 2 * middle) / step)
        noises.append(noise)
        row = [(right - left) / (2 * step)]
        factor = 1.0
        for k, coarser in enumerate(previous):
            factor *= _STEP_RATIO**2
            row.append((factor * row[k] - coarser) / (factor - 1))
            estimate = max(abs(row[k + 1] - row[k]), abs(row[k + 1] - coarser)) + noise
            if estimate <= error:
                best, error = row[k + 1], estimate
        previous = row
        step /= _STEP_RATIO
    return SlopeEstimate(best, error, _has_kink(jumps, noises, best))


def _has_kink(jumps: list[float], noises: list[float], best: float) -> bool:
    """Whether the one-sided slopes still differ at the smallest step.

    Their difference shrinks with the step on a smooth function; at a kink it stays.
    """
    last, middle = jumps[-1], jumps[len(jumps) // 2]
    size = max(abs(best) + last, 1e-300)
    shrinks = last < 0.75 * middle
    return not shrinks and last > 1e-4 * size and last > 20 * noises[-1]


def entry_direction(weights: Weights, argument: int, index: tuple[int, ...]) -> Weights:
    """The unit vector of one entry of one argument."""
    direction = [torch.zeros_like(w) for w in weights]
    direction[argument][index] = 1
    return tuple(direction)


def random_direction(weights: Weights, argument: int, generator: torch.Generator) -> Weights:
    """A unit vector with random signs in the entries of one argument, zero in the others."""
    direction = [torch.zeros_like(w) for w in weights]
    w = weights[argument]
    signs = torch.randint(0, 2, w.shape, generator=generator).to(w.device, w.dtype) * 2 - 1
    direction[argument] = signs / math.sqrt(w.numel())
    return tuple(direction)


def inner_product(gradient: Weights, direction: Weights) -> float:
    """The directional derivative that a gradient predicts."""
    return sum(float((g * d).sum()) for g, d in zip(gradient, direction, strict=True))


def largest_entry(d: Tensor) -> tuple[int, ...]:
    """The index of the entry of the largest magnitude; NaN and infinity count as the largest."""
    flat = d.abs().nan_to_num(nan=math.inf, posinf=math.inf).reshape(-1).argmax()
    return tuple(int(k) for k in torch.unravel_index(flat, d.shape))
