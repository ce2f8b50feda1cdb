"""An independent referee: the slope along a direction from values of the objective alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gd_torch.typing import Objective, Weights

_ROWS = 7
_STEP = 2.0  # each row's step is the last one's over this


@dataclass(frozen=True)
class Slope:
    """A directional derivative by differences.

    Attributes:
        value: the extrapolated central difference.
        error: its own estimate of its error, rounding included.
        kink: whether the slopes from the two sides differ however small the step.
    """

    value: float
    error: float
    kink: bool = False


def slope(objective: Objective, weights: Weights, direction: Weights) -> Slope | None:
    """The slope of the objective along a direction of the weights; None where it is not finite.

    Source: C. J. F. Ridders, "Accurate computation of F'(x) and F'(x) F''(x)", Advances in
    Engineering Software 4 (1982): central differences at shrinking steps, extrapolated to zero.
    """
    size = max(float(d.abs().amax()) for d in direction)
    if size == 0:
        return None
    reach = max(
        float(w.abs().amax()) for w, d in zip(weights, direction, strict=True) if bool(d.any())
    )
    eps = torch.finfo(weights[0].dtype).eps
    unit = max(reach, 1e-3) / size

    def along(t: float) -> float:
        moved = tuple(w + t * d for w, d in zip(weights, direction, strict=True))
        with torch.no_grad():
            return float(objective(*moved))

    middle = along(0.0)
    first = _ridders(along, middle, unit * (1e-2 if eps < 1e-10 else 0.1), eps)
    if first is None or first.kink or first.error > 1e-4 * abs(first.value):
        nearer = _ridders(along, middle, unit * (1e-4 if eps < 1e-10 else 1e-2), eps)
        if nearer is not None and (first is None or first.kink or nearer.error < first.error):
            first = nearer
    doubtful = first is None or first.kink or first.error > 1e-4 * abs(first.value)
    if doubtful and eps < 1e-10:  # a kink nearby is none here
        nearest = _ridders(along, middle, unit * 1e-7, eps, rows=3)
        if nearest is not None and (first is None or first.kink or nearest.error < first.error):
            first = nearest
    return first


def _ridders(
    along: Callable[[float], float], middle: float, h: float, eps: float, rows: int = _ROWS
) -> Slope | None:
    """Neville's tableau over central differences at h, h/2, h/4, ..."""
    best, error = math.nan, math.inf
    before: list[float] = []
    jumps, noises = [], []
    for _ in range(rows):
        right, left = along(h), along(-h)
        if not (math.isfinite(right) and math.isfinite(left)):
            return None
        noise = eps * max(abs(right), abs(left), abs(middle)) / h
        jumps.append(abs(right + left - 2 * middle) / h)
        noises.append(noise)
        row = [(right - left) / (2 * h)]
        factor = 1.0
        for k, coarse in enumerate(before):
            factor *= _STEP**2
            row.append((factor * row[k] - coarse) / (factor - 1))
            estimate = max(abs(row[k + 1] - row[k]), abs(row[k + 1] - coarse)) + noise
            if estimate <= error:
                best, error = row[k + 1], estimate
        before = row
        h /= _STEP
    return Slope(best, error, _kinked(jumps, noises, best, error))


def _kinked(jumps: list[float], noises: list[float], best: float, error: float) -> bool:
    """Whether the difference of the one-sided slopes stays as the step shrinks.

    On a smooth function it shrinks with the step; at a kink its last value is that of the middle.
    """
    last, middle = jumps[-1], jumps[len(jumps) // 2]
    size = max(abs(best) + last, 1e-300)
    shrinks = last < 0.75 * middle
    return not shrinks and last > 1e-4 * size and last > 20 * noises[-1]


def basis(weights: Weights, i: int, index: tuple[int, ...]) -> Weights:
    """The direction of one entry of argument ``i``."""
    found = [torch.zeros_like(w) for w in weights]
    found[i][index] = 1
    return tuple(found)


def random_direction(weights: Weights, i: int, generator: torch.Generator) -> Weights:
    """Signs drawn at random for the entries of argument ``i``; the direction has length 1."""
    found = [torch.zeros_like(w) for w in weights]
    w = weights[i]
    signs = torch.randint(0, 2, w.shape, generator=generator).to(w.device, w.dtype) * 2 - 1
    found[i] = signs / math.sqrt(w.numel())
    return tuple(found)


def inner(a: Weights, b: Weights) -> float:
    """The directional derivative that a gradient stands for."""
    return sum(float((x * y).sum()) for x, y in zip(a, b, strict=True))


def entry(d: Tensor) -> tuple[int, ...]:
    """The place of the entry of the largest magnitude, NaN first."""
    flat = int(d.abs().nan_to_num(nan=math.inf, posinf=math.inf).reshape(-1).argmax())
    place: list[int] = []
    for n in reversed(d.shape):
        flat, k = divmod(flat, n)
        place.insert(0, k)
    return tuple(place)
