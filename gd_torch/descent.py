"""Gradient descent as a manual update loop."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Sequence
from typing import Literal, cast

import torch

from gd_torch.arguments import (
    Number,
    check_learning_rates,
    check_number,
    check_start,
    check_whole,
)
from gd_torch.gauge import Gauge
from gd_torch.objectives import Objective, Weights
from gd_torch.partials import evaluate
from gd_torch.record import Descent, Record
from gd_torch.stepping import Callback, Plan, march

COMPILING = 3.6
"""Seconds of eager steps ahead from which "auto" compiles: about what compiling takes."""

TRIAL = 0.13
"""Seconds of eager steps that "auto" makes before, since a run that diverges does so soon."""

FEW = 256
"""Fewer steps than this are made eagerly without a look at how long one takes."""


def descend(
    objective: Objective,
    start: Number | Sequence[Number],
    *,
    learning_rate: float | Sequence[float],
    steps: int = 1000,
    tolerance: float = 0.0,
    record: Literal["all", "last"] | int = "all",
    stepper: Literal["auto", "eager", "fused"] = "auto",
    callback: Callback | None = None,
    callback_every: int = 100,
    first_step: int = 0,
) -> Descent:
    """Follow the negative gradient: every step makes w <- w - alpha dy/dw for all weights at once.

    All partials of a step are taken at the same point, by autograd. Divergence is a result, not an
    error: at the first loss, partial or next weight that is not finite the run stops before that
    update and keeps the last finite weights; to find such a weight the objective may be evaluated
    up to 63 times beyond it. No graph outlives its step.

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
        stepper: how a step is executed. "eager" evaluates the objective anew at every step; "fused"
            traces and compiles one step, at a cost of seconds, and then launches it in a row,
            about a hundred times faster for small objectives; it must not branch on a weight or
            draw random numbers. "auto" compiles if more than some 3.6 s of eager steps lie ahead
            (30 000 of a small net), as counted from the operations of the first one: after
            some 1000 of them, or after those 3.6 s where a tolerance may end the run. Compiled
            steps are for the CPU; what cannot be compiled runs eagerly, with one RuntimeWarning.
        callback: ``callback(step, loss, weights)`` after every ``callback_every`` updates, with
            the loss at ``weights`` (copies); returning False stops the run.
        callback_every: a positive whole number of steps.
        first_step: how many updates have led to ``start``, from 0 to ``steps``, for a run that is
            taken up again: all counts go on from there, ``steps`` among them, and every step is
            executed as it would have been in one go, so that the weights are the same bits.

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
    if not isinstance(stepper, str) or stepper not in STEPPERS:
        raise ValueError(f"`stepper` must be 'auto', 'eager' or 'fused', got {stepper!r}")
    check_whole("first_step", first_step, 0)
    if first_step > steps:
        raise ValueError(f"`first_step` must be at most `steps`, {steps}, got {first_step}")
    pairs = zip(rates, weights, strict=True)  # a rate beyond the dtype's range is infinite there
    rates = tuple(a if a <= torch.finfo(w.dtype).max else math.inf for a, w in pairs)
    plan = Plan(objective, rates, steps, tolerance, callback, callback_every, first_step)
    return STEPPERS[stepper](plan, Record(record), weights)


def eager(plan: Plan, kept: Record, weights: Weights) -> Descent:
    """Every step evaluates the objective anew."""
    return cast(Descent, march(plan, kept, weights, plan.first_step, math.inf)[2])


def fused(
    plan: Plan, kept: Record, weights: Weights, step: int | None = None, origin: int = 0
) -> Descent:
    """One step is compiled and launched in a row; what cannot be compiled goes on eagerly.

    The steps up to ``origin`` are eager ones, that one included. They show whether the objective
    leaves traces outside itself, which a compiled step would lose.
    """
    from gd_torch.fused import FusedSteps  # imports the compiler, which is heavy
    from gd_torch.kernel import Untraceable
    from gd_torch.transition import outside

    before, step = outside(plan.objective), plan.first_step if step is None else step
    if step <= origin:
        step, weights, run = march(plan, kept, weights, step, origin + 1)
        if run is not None:
            return run
    else:  # a run taken up again, beyond its eager steps
        evaluate(plan.objective, weights)
    try:
        if outside(plan.objective) != before:
            raise Untraceable("it draws random numbers or changes something outside itself")
        steps = FusedSteps(plan, kept.every, weights, step)
    except Untraceable as why:
        message = f"the objective cannot be compiled, its steps run eagerly: {why}"
        warnings.warn(message, RuntimeWarning, stacklevel=3)
        return cast(Descent, march(plan, kept, weights, step, math.inf)[2])
    return steps.descend(kept)


def auto(plan: Plan, kept: Record, weights: Weights) -> Descent:
    """Compile once enough work is known to lie ahead; a rule of counts alone, not of clocks.

    A tolerance may end the run at any time; then as much work is done eagerly as would have paid
    for compiling, which at most doubles the time of the better way.
    """
    if plan.steps < FEW or any(w.device.type != "cpu" for w in weights):
        return eager(plan, kept, weights)
    gauge, step, run = Gauge(), plan.first_step, None
    watched = dataclasses.replace(plan, objective=gauge.watch(plan.objective))
    if step == 0:
        step, weights, run = march(watched, kept, weights, 0, 1)
    else:
        evaluate(watched.objective, weights)
    origin = last_eager(gauge.seconds, plan.steps, plan.tolerance)
    if run is None and origin is not None:
        return fused(plan, kept, weights, step, origin)
    return run or cast(Descent, march(plan, kept, weights, step, math.inf)[2])


def last_eager(seconds: float, steps: int, tolerance: float) -> int | None:
    """After which step of so many seconds "auto" compiles; None if that does not pay."""
    origin = math.ceil((COMPILING if tolerance > 0 else TRIAL) / seconds)
    return origin if (steps - origin) * seconds > COMPILING else None


STEPPERS = {"auto": auto, "eager": eager, "fused": fused}
