"""``descend``: one run of gradient descent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch

from gd_torch.compiler.errors import Unsupported
from gd_torch.compiler.operation_counter import OperationCounter
from gd_torch.descent.compiled import compiled_stepper
from gd_torch.descent.cost_model import (
    MIN_STEPS_BETWEEN_CALLBACKS,
    MIN_STEPS_TO_COMPILE,
    compile_after_step,
)
from gd_torch.descent.driver import Stepper, compile_or_warn, drive
from gd_torch.descent.eager import EagerStepper
from gd_torch.descent.fallback import side_effects_of
from gd_torch.descent.plan import MAX_STEPS, Callback, Plan, check_stepper
from gd_torch.descent.recorder import Recorder
from gd_torch.descent.result import Descent, Point
from gd_torch.typing import Objective, Weights
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
    """Minimise an objective by gradient descent: w <- w - alpha dy/dw for all weights at once.

    All partials of a step are taken at the same point, by autograd. Divergence is a result, not an
    error: the run stops before the first update for which the loss, a partial or an updated weight
    is not finite, and returns the last finite weights. Eager steps do not evaluate the objective
    beyond that point. No autograd graph outlives its step.

    Source: A. Cauchy, "Methode generale pour la resolution des systemes d'equations simultanees",
    Comptes rendus 25 (1847); the tutorial, parts 1 to 3.

    Args:
        objective: a torch function of the weights that returns one scalar of shape (). It receives
            copies of the weights; in-place edits of them do not change the run.
        start: one floating-point, finite tensor of any shape per argument of the objective, on one
            device; a Python float (converted to float64) or a single tensor stands for a tuple of
            one. Not modified. The run has its dtype and device.
        learning_rate: alpha, positive and finite: one number, or one per weight tensor.
        steps: maximum number of updates, >= 0; the objective is evaluated once more than that.
        tolerance: the run stops if the gradient norm is below this; >= 0, and 0 never stops it.
        record: the points to record: "all", an int k >= 1 for every k-th step from step 0, or
            "last". The last point is always recorded.
        stepper: "eager" evaluates the objective in Python at every step. "compiled" generates and
            compiles C code once, in about 0.3 s, and is about a hundred times faster for small
            objectives; the objective must not branch on a weight in Python or draw random numbers.
            "auto" compiles if the remaining eager steps are estimated to take more than 0.15 s
            (1300 steps of a small net). The estimate counts the operations of the first step, so
            the decision is reproducible. It compiles after an estimated 0.01 s of eager steps, or
            after 0.1 s if there is a tolerance. Compiled steps support only the CPU. Objectives
            that cannot be compiled run eagerly, with one RuntimeWarning. "fused" is a deprecated
            synonym of "compiled".
        callback: ``callback(step, loss, weights)``, called after every ``callback_every`` updates
            with copies of the weights; the run stops if it returns False.
        callback_every: period of the callback in steps, an int >= 1.
        first_step: the number of updates that led to ``start``, from 0 to ``steps``, to resume a
            run: all counts continue from there, including ``steps``, and every step is executed as
            in an uninterrupted run, so that the weights are bit-identical.

    Returns:
        A :class:`Descent`.

    Raises:
        TypeError, ValueError: an argument breaks a rule above. Exceptions of the objective and the
            callback are passed on.

    >>> from gd_torch import curve
    >>> run = descend(curve, 1.9, learning_rate=0.1, tolerance=1e-8)
    >>> print(run)
    74 steps, loss -0.439118, gradient norm 8.4e-09. The gradient norm fell below the tolerance.
    >>> [round(w, 2) for w in descend(curve, 1.9, learning_rate=0.01, steps=2).path[0].tolist()]
    [1.9, 1.64, 1.52]
    """
    weights = tuple(w.clone() for w in check_start(start))
    stepper_name = check_stepper(stepper)
    rates = check_learning_rates(learning_rate, len(weights))
    check_integer("steps", steps, 0)
    check_integer("callback_every", callback_every, 1)
    check_integer("first_step", first_step, 0)
    if first_step > steps:
        raise ValueError(f"`first_step` must be at most `steps`, {steps}, got {first_step}")
    plan = Plan(
        objective,
        _in_dtype_range(rates, weights),
        min(steps, MAX_STEPS),
        check_number("tolerance", tolerance, minimum=0.0),
        callback,
        callback_every,
        min(first_step, MAX_STEPS),
    )
    return _run(plan, Recorder(record), weights, stepper_name)


def _in_dtype_range(rates: Sequence[float], weights: Weights) -> tuple[float, ...]:
    """Replace each rate that exceeds the range of its weight's dtype by infinity."""
    pairs = zip(rates, weights, strict=True)
    return tuple(a if a <= torch.finfo(w.dtype).max else math.inf for a, w in pairs)


def _run(plan: Plan, recorder: Recorder, weights: Weights, stepper: str) -> Descent:
    """Execute eager steps, then compiled ones if they are chosen and possible."""
    eager = EagerStepper(plan, recorder, weights, plan.first_step)
    compile_step, obstacle = _choose_compile_step(stepper, eager)
    point = drive(plan, eager, plan.first_step, until=compile_step)
    if compile_step is None or point.ended:
        return recorder.finish(point)

    def compiled() -> Stepper[Point]:
        if obstacle is not None:
            raise Unsupported(obstacle)
        return compiled_stepper(plan, recorder, point.weights, point.step)

    successor = compile_or_warn(compiled, lambda: eager, stacklevel=4)
    return recorder.finish(drive(plan, successor, point.step))


class CompileChoice(NamedTuple):
    """When compiled steps begin.

    Attributes:
        step: the first compiled step, None if all steps are eager.
        obstacle: the reason why the objective must not be compiled, None if there is none.
    """

    step: int | None
    obstacle: str | None = None


def _choose_compile_step(stepper: str, eager: EagerStepper) -> CompileChoice:
    """Choose the step from which steps are compiled, by one evaluation at the start.

    The steps before it are always eager, so that a resumed run executes every step as in an
    uninterrupted one. The evaluation is that of the first eager step: it is not repeated, so that
    objectives that count their evaluations or draw random numbers are not affected.
    """
    plan = eager.plan
    on_cpu = all(w.device.type == "cpu" for w in eager.weights)
    frequent = plan.callback is not None and plan.callback_every < MIN_STEPS_BETWEEN_CALLBACKS
    if stepper == "eager" or (
        stepper == "auto" and (plan.steps < MIN_STEPS_TO_COMPILE or frequent or not on_cpu)
    ):
        return CompileChoice(None)
    counter = OperationCounter()
    eager.objective = counter.counting(plan.objective)
    obstacle = side_effects_of(plan.objective, lambda: eager.advance(plan.first_step))
    eager.objective = plan.objective
    if stepper == "compiled":
        return CompileChoice(plan.first_step, obstacle)
    step = compile_after_step(counter.seconds, plan.steps, plan.tolerance)
    return CompileChoice(None if step is None else max(step, plan.first_step), obstacle)
