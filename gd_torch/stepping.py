"""What a descent is to do, and its steps one by one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from gd_torch.objectives import Objective, Weights
from gd_torch.partials import evaluate
from gd_torch.record import Descent, Record, Stop

UNSEEN = 64
"""Eager steps between looks whether the weights are finite, at most."""

ROOM = 1 << 16
"""Entries of the weights of such steps, at most: they are kept until that look."""

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

    def next_look(self, step: int, every: int) -> int:
        """The first step, from this one on, that is to be recorded, called back or stopped at."""
        if self.tolerance > 0:
            return step
        periods = [every] if every else []
        periods += [self.callback_every] if self.callback else []
        return min([self.steps, *(-(-step // period) * period for period in periods)])

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


class Made(NamedTuple):
    """A step that was made: the point it left, what was found there, and the point it led to."""

    step: int
    weights: Weights
    loss: Tensor
    value: float
    slopes: Weights
    following: Weights


def march(
    plan: Plan, kept: Record, weights: Weights, step: int, until: float
) -> tuple[int, Weights, Descent | None]:
    """Steps one by one from ``step`` to ``until``: where that led, and the run if it has ended.

    A weight that is not finite never becomes finite again, so it is enough to look now and then,
    and to go back to the step where it happened.
    """
    unseen: list[Made] = []
    most = max(1, min(UNSEEN, ROOM // max(1, sum(w.numel() for w in weights))))
    pause = -1.0
    while step < until:
        if not unseen:
            pause = min(plan.next_look(step, kept.every), step + most - 1, until - 1)
        try:
            loss, slopes = evaluate(plan.objective, weights)
        except Exception:
            if not unseen or _finite(weights):
                raise
            return step, weights, _look(plan, kept, unseen)
        value, following = loss.item(), update(weights, slopes, plan.rates)
        unseen.append(Made(step, weights, loss, value, slopes, following))
        if step == pause or not math.isfinite(value):
            run = _look(plan, kept, unseen)
            if run is not None:
                return step, weights, run
            unseen.clear()
        weights = following
        step += 1
    return step, weights, None


def _look(plan: Plan, kept: Record, unseen: list[Made]) -> Descent | None:
    """Record the last of these steps, or the first one that did harm; the run if it ends there."""
    finite = _finite(unseen[-1].following)
    made = unseen[-1] if finite else next(m for m in unseen if not _finite(m.following))
    norm = gradient_norm(made.slopes)
    stop = _why_stop(made.value, norm, made.slopes, plan.tolerance)
    stop = plan.settle(stop, made.step, made.value, made.weights)
    stop = stop if stop or finite else Stop.WEIGHT
    kept.add(made.step, made.weights, made.value, norm, last=stop is not None)
    return kept.descent(made.loss.dtype, stop) if stop else None


def update(weights: Weights, slopes: Weights, rates: Sequence[float]) -> Weights:
    """One step of gradient descent: w - alpha dy/dw for every weight, as new tensors."""
    return tuple(
        [w.sub(d, alpha=alpha) for w, d, alpha in zip(weights, slopes, rates, strict=True)]
    )


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
    return all(math.isfinite(w.sum().item()) or bool(torch.isfinite(w).all()) for w in weights)
