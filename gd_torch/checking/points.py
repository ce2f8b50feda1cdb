"""The points of a check: the given one and random ones around it, with autograd's partials."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gd_torch.gradients import evaluate
from gd_torch.typing import Objective, Weights

_RELATIVE_STEP = 0.25  # of the magnitude of an entry
_STEP_FACTOR = 0.4  # a step is shortened by this where the objective is not finite
_MAX_TRIES = 6


@dataclass(frozen=True)
class Point:
    """A point with the objective's value and autograd's partials there.

    Attributes:
        weights: one tensor per argument.
        value: the objective's value, shape ().
        autograd: one partial per weight, of its shape.
        noise: per argument, how much rounding alone can change an entry of its partial.
    """

    weights: Weights
    value: Tensor
    autograd: Weights
    noise: tuple[float, ...]


def evaluate_point(
    objective: Objective, weights: Weights, generator: torch.Generator
) -> Point | None:
    """Evaluate one point; None where the value or a partial is not finite.

    The noise is estimated from the partials at weights changed by a few units in the last place.
    """
    value, partials = evaluate(objective, copy_weights(weights))
    if not bool(torch.isfinite(value)) or not all(bool(torch.isfinite(d).all()) for d in partials):
        return None
    eps = torch.finfo(weights[0].dtype).eps
    perturbed = tuple(w * (1 + 4 * eps * _random_signs(w, generator)) for w in weights)
    _, perturbed_partials = evaluate(objective, copy_weights(perturbed))
    noise = tuple(
        _rounding_noise(d, other, eps)
        for d, other in zip(partials, perturbed_partials, strict=True)
    )
    return Point(weights, value, partials, noise)


def _rounding_noise(d: Tensor, perturbed: Tensor, eps: float) -> float:
    """A bound for the effect of rounding on a partial, at most sqrt(eps) of its largest entry."""
    largest = float(d.abs().amax())
    change = 16 * float((d - perturbed).abs().nan_to_num(0.0).amax())
    ceiling = eps**0.5 * largest if largest > 0 else change
    return max(64 * eps * largest, min(change, ceiling))


def random_points(
    objective: Objective, weights: Weights, count: int, generator: torch.Generator
) -> list[Point]:
    """Up to ``count`` random points around the given one.

    A point where the objective or a partial is not finite is moved nearer; after some tries it is
    left out.
    """
    points = []
    for _ in range(count):
        steps = tuple(_random_step(w, generator) for w in weights)
        for tries in range(_MAX_TRIES):
            shrink = _STEP_FACTOR**tries
            moved = tuple(w + s * shrink for w, s in zip(weights, steps, strict=True))
            try:
                point = evaluate_point(objective, moved, generator)
            except Exception:  # whatever the objective raises away from the given point
                point = None
            if point is not None:
                points.append(point)
                break
    return points


def copy_weights(weights: Weights) -> Weights:
    """Fresh tensors, so that nothing that the caller passed in can be modified."""
    return tuple(w.clone() for w in weights)


def _random_step(w: Tensor, generator: torch.Generator) -> Tensor:
    """A random step for every entry, in proportion to its magnitude or to the typical one."""
    typical = float(w.square().mean().sqrt()) or 1.0
    drawn = torch.randn(w.shape, generator=generator, dtype=torch.float64).clamp(-2, 2)
    return drawn.to(w.device, w.dtype) * _RELATIVE_STEP * torch.clamp_min(w.abs(), 0.3 * typical)


def _random_signs(w: Tensor, generator: torch.Generator) -> Tensor:
    return (torch.randint(0, 2, w.shape, generator=generator) * 2 - 1).to(w.device, w.dtype)
