"""Gradient descent as a manual update loop."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from gd_torch.arguments import (
    Number,
    check_learning_rates,
    check_number,
    check_start,
    check_whole,
)
from gd_torch.objectives import Objective, Weights
from gd_torch.partials import evaluate
from gd_torch.record import Descent, Record, Stop

Callback = Callable[[int, float, Weights], bool | None]


def descend(
    objective: Objective,
    start: Number | Sequence[Number],
    *,
    learning_rate: float | Sequence[float],
    steps: int = 1000,
    tolerance: float = 0.0,
    record: Literal["all", "last"] | int = "all",
    stepper: Literal["auto", "eager"] = "auto",
    callback: Callback | None = None,
    callback_every: int = 100,
) -> Descent:
    """Follow the negative gradient: every step makes w <- w - alpha dy/dw for all weights at once.

    All partials of a step are taken at the same point, by autograd. Divergence is a result, not an
    error: at the first loss, partial or next weight that is not finite the run stops before that
    update and keeps the last finite weights. No graph outlives its step.

    Source: A. Cauchy, "Methode generale pour la resolution des systemes d'equations simultanees",
    Comptes rendus 25 (1847); the tutorial, parts 1 to 3.

    Args:
        objective: a torch function of the weights that returns one scalar of shape ().
        start: one floating, finite tensor per argument of the objective; a Python float (float64)
            or a single tensor is short for a tuple of one. It is not modified. The run keeps its
            dtype and device.
        learning_rate: alpha, positive and finite: one number, or one per weight tensor.
        steps: the most updates to make, 0 or more; the objective is evaluated once more than that.
        tolerance: stop once the gradient norm is below this; 0 never does.
        record: "all" keeps the start and every step, an int k every k-th step, "last" none; the
            last point is always kept.
        stepper: how a step is executed; "auto" means "eager" as long as there is no other.
        callback: ``callback(step, loss, weights)`` after every ``callback_every`` updates, with
            the loss at ``weights`` (copies); returning False stops the run.
        callback_every: a positive whole number of steps.

    Returns:
        A :class:`Descent`.

    Raises:
        ValueError, TypeError: an argument breaks a rule above. What the objective or the callback
            raises passes through.

    >>> from gd_torch import curve
    >>> run = descend(curve, 1.9, learning_rate=0.1, tolerance=1e-8)
    >>> print(run)
    74 steps, loss -0.439118, gradient norm 8.4e-09. The gradient norm fell below the tolerance.
    >>> [round(w, 2) for w in descend(curve, 1.9, learning_rate=0.01, steps=2).path[0].tolist()]
    [1.9, 1.64, 1.52]
    """
    weights = check_start(start)
    rates = check_learning_rates(learning_rate, len(weights))
    check_whole("steps", steps, 0)
    check_whole("callback_every", callback_every, 1)
    check_number("tolerance", tolerance, least=0.0)
    if stepper not in ("auto", "eager"):
        raise ValueError(f"`stepper` must be 'auto' or 'eager', got {stepper!r}")
    kept = Record(record)

    step = 0
    while True:
        loss, slopes = evaluate(objective, weights)
        value, norm = _on_host(loss, slopes)
        stop = _why_stop(value, norm, slopes, tolerance)
        due = callback and step and step % callback_every == 0
        if callback and due and not (stop and stop.diverged):
            going_on = callback(step, value, tuple(w.clone() for w in weights))
            stop = stop or (Stop.CALLBACK if going_on is False else None)
        if step == steps and stop in (None, Stop.CALLBACK):
            stop = Stop.STEPS
        following = update(weights, slopes, rates)
        if stop is None and not _finite(following):
            stop = Stop.WEIGHT
        kept.add(step, weights, value, norm, last=stop is not None)
        if stop is not None:
            return kept.descent(loss.dtype, stop)
        weights = following
        step += 1


def update(weights: Weights, slopes: Weights, rates: Sequence[float]) -> Weights:
    """One step of gradient descent: w - alpha dy/dw for every weight, as new tensors."""
    return tuple(w - alpha * d for w, d, alpha in zip(weights, slopes, rates, strict=True))


def _on_host(loss: Tensor, slopes: Weights) -> tuple[float, float]:
    """The loss and the Euclidean norm of all partials, brought to the host at once."""
    norms = [torch.linalg.vector_norm(d) for d in slopes]
    value, *parts = torch.stack([loss, *norms]).tolist()
    norm = math.hypot(*parts)
    if norm == 0 or not math.isfinite(norm):  # the squares inside a norm can leave the range
        parts = [_scaled_norm(d) for d in slopes]
        norm = math.hypot(*parts)
    return value, norm


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
