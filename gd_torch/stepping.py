"""What a descent is to do, and its steps one by one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gd_torch.objectives import Objective, Weights
from gd_torch.partials import evaluate
from gd_torch.record import Descent, Record, Stop

Callback = Callable[[int, float, Weights], bool | None]


@dataclass(frozen=True)
class Plan:
    """What a descent is to do, validated; see descend for the meaning of each part."""

    objective: Objective
    rates: tuple[float, ...]
    steps: int
    tolerance: float
    callback: Callback | None
    callback_every: int
    first_step: int = 0

    def looks(self, step: int) -> bool:
        """Whether the gradient norm matters at this step; elsewhere it need not be computed."""
        called = self.callback is not None and step % self.callback_every == 0
        return self.tolerance > 0 or step == self.steps or called

    def settle(self, stop: Stop | None, step: int, loss: float, weights: Weights) -> Stop | None:
        """Call the callback if it is due, then say whether the run ends at this point."""
        due = (
            step > self.first_step
            and step % self.callback_every == 0
            and not (stop and stop.diverged)
        )
        if self.callback and due:
            going_on = self.callback(step, loss, tuple(w.clone() for w in weights))
            stop = stop or (Stop.CALLBACK if going_on is False else None)
        return Stop.STEPS if step == self.steps and stop in (None, Stop.CALLBACK) else stop


def march(
    plan: Plan, kept: Record, weights: Weights, step: int, until: float
) -> tuple[int, Weights, Descent | None]:
    """Steps one by one from ``step`` to ``until``: where that led, and the run if it has ended."""
    while step < until:
        loss, slopes = evaluate(plan.objective, weights)
        value, stop = float(loss), None
        following = update(weights, slopes, plan.rates)
        finite = math.isfinite(value) and _finite(following)
        if not finite or plan.looks(step) or kept.due(step):
            norm = gradient_norm(slopes)
            stop = _why_stop(value, norm, slopes, plan.tolerance)
            stop = plan.settle(stop, step, value, weights)
            stop = stop if stop or finite else Stop.WEIGHT
            kept.add(step, weights, value, norm, last=stop is not None)
        if stop is not None:
            return step, weights, kept.descent(loss.dtype, stop)
        weights = following
        step += 1
    return step, weights, None


def update(weights: Weights, slopes: Weights, rates: Sequence[float]) -> Weights:
    """One step of gradient descent: w - alpha dy/dw for every weight, as new tensors."""
    return tuple(w - alpha * d for w, d, alpha in zip(weights, slopes, rates, strict=True))


def gradient_norm(slopes: Weights) -> float:
    """The Euclidean norm over the partials of all weights."""
    norm = math.hypot(*(float(torch.linalg.vector_norm(d)) for d in slopes))
    if norm == 0 or not math.isfinite(norm):  # the squares inside a norm can leave the range
        return math.hypot(*(_scaled_norm(d) for d in slopes))
    return norm


def _scaled_norm(d: Tensor) -> float:
    """The norm by way of the largest entry, so that no square overflows or underflows."""
    largest = float(d.abs().amax()) if d.numel() else 0.0
    if largest == 0 or not math.isfinite(largest):
        return largest
    return largest * float(torch.linalg.vector_norm(d / largest))


def _why_stop(value: float, norm: float, slopes: Weights, tolerance: float) -> Stop | None:
    """What ends the run at this point, before any update from it."""
    if not math.isfinite(value):
        return Stop.LOSS
    if not math.isfinite(norm) and not _finite(slopes):
        return Stop.GRADIENT
    return Stop.TOLERANCE if norm < tolerance else None


def _finite(weights: Weights) -> bool:
    """Whether every entry is finite; the sum is cheap and settles all but overflowing sums."""
    return all(math.isfinite(float(w.sum())) or bool(torch.isfinite(w).all()) for w in weights)
