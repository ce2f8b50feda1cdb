"""Gradient descent as a manual update loop."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch

from gd_torch.compiler.errors import Unsupported
from gd_torch.compiler.operation_counter import OperationCounter
from gd_torch.descent.compiled import compiled_stepper, side_effects_of
from gd_torch.descent.cost_model import (
    MIN_STEPS_BETWEEN_CALLBACKS,
    MIN_STEPS_TO_COMPILE,
    compile_after_step,
)
from gd_torch.descent.driver import Stepper, compile_or_warn, drive
from gd_torch.descent.eager import EagerStepper
from gd_torch.descent.plan import MAX_STEPS, Callback, Plan, check_stepper
from gd_torch.descent.recorder import Recorder
from gd_torch.descent.result import Descent, Point
from gd_torch.typing import Objective
from gd_torch.validation import (
    Number,
    check_integer,
    check_learning_rates,
    check_number,
    check_start,
)


def descend(
    objective: Objective,
    start: Number | Sequence[Number],
    *,
    learning_rate: float | Sequence[float],
    steps: int = 1000,
    tolerance: float = 0.0,
    record: Literal["all", "last"] | int = "all",
    stepper: Literal["auto", "eager", "compiled", "fused"] = "auto",
    callback: Callback | None = None,
    callback_every: int = 100,
    first_step: int = 0,
) -> Descent:
    """Follow the negative gradient: every step makes w <- w - alpha dy/dw for all weights at once.

    All partials of a step are taken at the same point, by autograd. Divergence is a result, not an
    error: at the first loss, partial or next weight that is not finite the run stops before that
    update and keeps the last finite weights. Eager steps evaluate the objective at no point beyond
    that one. No graph outlives its step.

    Source: A. Cauchy, "Methode generale pour la resolution des systemes d'equations simultanees",
    Comptes rendus 25 (1847); the tutorial, parts 1 to 3.

    Args:
        objective: a torch function of the weights that returns one scalar of shape (). It gets
            copies of the weights: what it writes into them does not move the run.
        start: one floating, finite tensor per argument of the objective; a Python float (float64)
            or a single tensor is short for a tuple of one. It is not modified. The run keeps its
            dtype and device.
        learning_rate: alpha, positive and finite: one number, or one per weight tensor.
        steps: the most updates to make, 0 or more; the objective is evaluated once more than that.
        tolerance: stop once the gradient norm is below this; 0 never does.
        record: "all" keeps the start and every step, an int k every k-th step, "last" none; the
            last point is always kept.
        stepper: how a step is executed. "eager" evaluates the objective in Python at every step;
            "compiled" generates and compiles C code for a step once, in about 0.3 s, and is about
            a hundred times faster for small objectives; the objective must not branch on a weight
            or draw random numbers. "auto" compiles if more than 0.15 s of eager steps are
            estimated to lie ahead (1300 of a small net), by the number of operations in the first
            one: after 0.01 s of them, or after 0.1 s where a tolerance may end the run. Compiled
            steps are for the CPU. What cannot be compiled runs eagerly, with one RuntimeWarning.
            "fused" is a deprecated synonym of "compiled".
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
    weights = tuple(w.clone() for w in check_start(start))
    rates = check_learning_rates(learning_rate, len(weights))
    check_integer("steps", steps, 0)
    check_integer("callback_every", callback_every, 1)
    tolerance = check_number("tolerance", tolerance, minimum=0.0)
    stepper_name = check_stepper(stepper)
    check_integer("first_step", first_step, 0)
    if first_step > steps:
        raise ValueError(f"`first_step` must be at most `steps`, {steps}, got {first_step}")
    pairs = zip(rates, weights, strict=True)  # a rate beyond the dtype's range is infinite there
    rates = tuple(a if a <= torch.finfo(w.dtype).max else math.inf for a, w in pairs)
    steps, first_step = min(steps, MAX_STEPS), min(first_step, MAX_STEPS)
    plan = Plan(objective, rates, steps, tolerance, callback, callback_every, first_step)
    recorder = Recorder(record)

    eager = EagerStepper(plan, recorder, weights, first_step)
    switch, why_not = _compile_at(stepper_name, eager)
    if switch is None:
        return recorder.finish(drive(plan, eager, first_step))
    point = drive(plan, eager, first_step, until=switch)
    if point.ended:
        return recorder.finish(point)

    def compiled() -> Stepper[Point]:
        if why_not is not None:
            raise Unsupported(why_not)
        return compiled_stepper(plan, recorder, point.weights, point.step)

    takes_over = compile_or_warn(compiled, lambda: eager, stacklevel=3)
    return recorder.finish(drive(plan, takes_over, point.step))


def _compile_at(stepper: str, eager: EagerStepper) -> tuple[int | None, str | None]:
    """The step from which compiled steps take over, None for never, and why they cannot, if so.

    The steps before are eager in any case, so that a run that is taken up again executes every
    step as it would have been in one go. The start is evaluated once, for everything: objectives
    that count their evaluations or draw random numbers are not disturbed.
    """
    plan = eager.plan
    on_cpu = all(w.device.type == "cpu" for w in eager.weights)
    often = plan.callback is not None and plan.callback_every < MIN_STEPS_BETWEEN_CALLBACKS
    if stepper == "eager" or (
        stepper == "auto" and (plan.steps < MIN_STEPS_TO_COMPILE or often or not on_cpu)
    ):
        return None, None
    counter = OperationCounter()
    eager.objective = counter.counting(plan.objective)
    why_not = side_effects_of(plan.objective, lambda: eager.advance(plan.first_step))
    eager.objective = plan.objective
    if stepper == "compiled":
        return plan.first_step, why_not
    step = compile_after_step(counter.seconds, plan.steps, plan.tolerance)
    return None if step is None else max(step, plan.first_step), why_not
