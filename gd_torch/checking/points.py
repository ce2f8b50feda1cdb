"""The given point and moved ones, with what autograd says at each and how far it can be trusted."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gd_torch.gradients import evaluate
from gd_torch.typing import Objective, Weights

_MOVE = 0.25  # of an entry's magnitude
_TRIES = 6


@dataclass(frozen=True)
class Point:
    """Weights, the objective's value and autograd's partials there.

    Attributes:
        noise: per argument, how far rounding alone can move its partial.
    """

    weights: Weights
    value: Tensor
    autograd: Weights
    noise: tuple[float, ...]


def point_at(objective: Objective, weights: Weights, generator: torch.Generator) -> Point | None:
    """One point, or None where value or partials are not finite."""
    value, slopes = evaluate(objective, copies(weights))
    if not bool(torch.isfinite(value)) or not all(bool(torch.isfinite(d).all()) for d in slopes):
        return None
    eps = torch.finfo(weights[0].dtype).eps
    shaken = tuple(w * (1 + 4 * eps * _signs(w, generator)) for w in weights)
    _, others = evaluate(objective, copies(shaken))
    noise = []
    for d, other in zip(slopes, others, strict=True):
        largest = float(d.abs().amax())
        apart = float((d - other).abs().nan_to_num(0.0).amax())
        noise.append(
            max(
                64 * eps * largest,
                min(16 * apart, max(eps**0.5 * largest, 16 * apart if largest == 0 else 0.0)),
            )
        )
    return Point(weights, value, slopes, tuple(noise))


def moved_points(
    objective: Objective, weights: Weights, count: int, generator: torch.Generator
) -> list[Point]:
    """Points around the given one, nearer where the objective is not finite further out."""
    found = []
    for _ in range(count):
        steps = tuple(_step(w, generator) for w in weights)
        for shrink in range(_TRIES):
            moved = tuple(w + s * 0.4**shrink for w, s in zip(weights, steps, strict=True))
            try:
                point = point_at(objective, moved, generator)
            except Exception:  # whatever the objective raises away from the given point
                point = None
            if point is not None:
                found.append(point)
                break
    return found


def copies(weights: Weights) -> Weights:
    """Fresh tensors, so that nothing the caller passed in can be modified."""
    return tuple(w.clone() for w in weights)


def _step(w: Tensor, generator: torch.Generator) -> Tensor:
    """A random step that no entry is too small or too large for."""
    typical = float(w.square().mean().sqrt()) or 1.0
    drawn = torch.randn(w.shape, generator=generator, dtype=torch.float64).clamp(-2, 2)
    return drawn.to(w.device, w.dtype) * _MOVE * torch.clamp_min(w.abs(), 0.3 * typical)


def _signs(w: Tensor, generator: torch.Generator) -> Tensor:
    return (torch.randint(0, 2, w.shape, generator=generator) * 2 - 1).to(w.device, w.dtype)
