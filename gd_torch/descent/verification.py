"""Checks of compiled steps against eager ones: values, norm, stop decision, update and record.

Loss and partials are compared with an eager evaluation. The other quantities are recomputed from
them with the functions of eager steps, so that a wrong learning rate, norm, stop or record is
detected even if all values are correct.
"""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from gd_torch.compiler import Program, RecordBuffer, RunResult, Unsupported
from gd_torch.compiler.side_effects import fingerprint
from gd_torch.descent.agreement import FAST_TOLERANCE_EPS, results_agree, rounding_tolerances
from gd_torch.descent.plan import Plan
from gd_torch.descent.result import Stop
from gd_torch.descent.step import gradient_norm, stop_reason, update
from gd_torch.gradients import evaluate
from gd_torch.typing import Objective, Weights

PERTURBATION = 1 / 128
"""Size of the perturbation of the second point of the first verification, relative and absolute."""

UPDATE_TOLERANCE_EPS = 4
"""Tolerance of an update, in eps times each of its two terms."""

MAX_REPEATED_STEPS = 64
"""Largest number of steps that are repeated from the last recorded point."""


class Segment(NamedTuple):
    """Consecutive steps executed by one call of the program.

    Attributes:
        start, end: the program's results at the first and at the last point.
        start_weights, end_weights: all entries of the weights there, shape (entries,).
    """

    start: RunResult
    start_weights: Tensor
    end: RunResult
    end_weights: Tensor


def values_agree(objective: Objective, weights: Weights, compiled: tuple[Tensor, Weights]) -> bool:
    """Whether compiled value and partials agree with an eager evaluation, which must not raise."""
    weights = tuple(w.clone() for w in weights)
    try:
        eager = evaluate(objective, weights)
    except Exception:
        return False  # the eager step will raise it again
    return results_agree(objective, weights, eager, compiled)


def norm_agrees(norm: float, partials: Weights) -> bool:
    """Whether a norm is that of these partials, to rounding."""
    exact, info = gradient_norm(tuple(d.double() for d in partials)), torch.finfo(partials[0].dtype)
    if not (math.isfinite(norm) and math.isfinite(exact)):
        overflow = info.max * (1 - FAST_TOLERANCE_EPS * info.eps)
        return not (math.isfinite(norm) or exact < overflow)
    terms = sum(d.numel() for d in partials)
    tolerance = (FAST_TOLERANCE_EPS + terms / 16) * info.eps * exact + info.tiny
    return abs(norm - exact) <= tolerance


def updates_agree(
    updated: Weights, weights: Weights, partials: Weights, rates: Weights,
    step_tolerance_eps: float = UPDATE_TOLERANCE_EPS,
) -> Tensor:  # fmt: skip
    """Whether updated weights equal w - rate * partial, to rounding.

    Args:
        updated, weights, partials: per weight tensor, shape (..., entries).
        rates: per weight tensor, broadcast against these.
        step_tolerance_eps: tolerance of rate * partial, in eps.

    Returns:
        Whether all entries agree, bool, shape (...).
    """
    agree = []
    for after, w, d, rate in zip(updated, weights, partials, rates, strict=True):
        step = rate.double() * d.double()
        info = torch.finfo(w.dtype)
        terms = UPDATE_TOLERANCE_EPS * w.abs() + step_tolerance_eps * step.abs()
        tolerance = info.eps * terms + info.tiny
        difference = (after - (w.double() - step)).abs()
        agree.append((after.isfinite() & (difference <= tolerance)).all(-1))
    return torch.stack(agree).all(0)


def update_agrees_with_eager(
    objective: Objective, weights: Weights, updated: Weights, rates: tuple[float, ...]
) -> bool:
    """Whether an update agrees with the eager one, given the rounding errors of the partials."""
    try:
        eager = evaluate(objective, tuple(w.clone() for w in weights))
        expected = update(weights, eager[1], rates)
        eps = UPDATE_TOLERANCE_EPS * torch.finfo(weights[0].dtype).eps
        tolerances = rounding_tolerances(partial(evaluate, objective), weights, eager)
        for _, *partial_tolerances in tolerances:
            columns = zip(
                updated, expected, weights, eager[1], partial_tolerances, rates, strict=True
            )
            if all(
                bool(((u - e).abs() <= eps * (w.abs() + rate * d.abs()) + rate * tolerance).all())
                for u, e, w, d, tolerance, rate in columns
            ):
                return True
    except Exception:  # from the user's function, under a dispatch mode that it may not support
        return False
    return False


def end_agrees(
    plan: Plan, result: RunResult, target: int, weights: Weights, partials: Weights
) -> bool:
    """Whether the program reached ``target``, or stopped earlier where an eager run stops too.

    Its norm must be that of the partials, and ``stop_reason`` must return the same reason.
    """
    if result.code == Stop.STEPS and result.step != target:
        return False
    if math.isfinite(result.loss) and not norm_agrees(result.gradient_norm, partials):
        return False
    at_limit = result.step == plan.steps
    following = None
    if result.code == Stop.WEIGHT:
        following = update(weights, partials, plan.learning_rates)
    reason = stop_reason(
        result.loss, result.gradient_norm, partials, following, plan.tolerance, at_limit
    )
    return reason == (None if result.code == Stop.STEPS and not at_limit else result.code)


def step_agrees(
    program: Program, plan: Plan, flat: Tensor, rates: Tensor, current: RunResult
) -> bool:
    """Whether one compiled step is the update of an eager step.

    Args:
        flat: the weights, shape (entries,); not modified.
        rates: the learning rate of each entry, as passed to the program.
        current: the program's values at these weights; the partials in the program are preserved.
    """
    if current.code != Stop.STEPS:
        return True  # the run ends here
    updated, partials = flat.clone(), program.partials.clone()
    after = program.run(updated, rates, 0.0, current.step, current.step + 1)
    program.partials.copy_(partials)
    weights, partials_by_weight = program.split(flat), program.split(partials)
    if after.step == current.step:
        following = update(weights, partials_by_weight, plan.learning_rates)
        return after.code == Stop.WEIGHT and not all(bool(w.isfinite().all()) for w in following)
    if after.step != current.step + 1:
        return False
    columns = (program.split(updated), weights, partials_by_weight)
    alphas = tuple(torch.tensor(rate, dtype=flat.dtype) for rate in plan.learning_rates)
    u, w, d = (tuple(x.reshape(-1) for x in column) for column in columns)
    return bool(updates_agree(u, w, d, alphas))


def record_agrees(
    program: Program, plan: Plan, record: RecordBuffer, rates: Tensor, segment: Segment
) -> bool:
    """Whether the program recorded the due points of a segment, and should have stopped at none.

    The first point is compared with the start of the segment, if it is due. From the last point
    the steps to the end are repeated, if they are few.
    """
    start, start_weights, end, end_weights = segment
    every, used = record.every, record.used
    first = -(-start.step // every) * every
    if used != max(0, -(-(end.step - first) // every)):
        return False
    if not used:
        return True
    if bool((record.norms[:used].double() < plan.tolerance).any()):
        return False
    if first == start.step:
        numbers = (record.losses[0].item(), record.norms[0].item())
        if numbers != (start.loss, start.gradient_norm):
            return False
        if not torch.equal(record.path[0], start_weights):
            return False
    last = first + (used - 1) * every
    if end.step - last > MAX_REPEATED_STEPS:
        return True
    repeated, partials = record.path[used - 1].clone(), program.partials.clone()
    reached = program.run(repeated, rates, 0.0, last, end.step)
    program.partials.copy_(partials)
    return reached.step == end.step and torch.equal(repeated, end_weights)


def side_effect_reason(change: str | None) -> str | None:
    """Why an objective that changes state must not be compiled; None if it changes nothing."""
    return None if change is None else f"evaluating it has side effects: {change}"


def compile_verified(objective: Objective, weights: Weights) -> Program:
    """Compile an objective and verify its values at the weights and at a perturbed point.

    Raises:
        Unsupported: it cannot be compiled, evaluating it has side effects, or compiled values
            differ from eager ones.
    """
    before = fingerprint(objective)
    program = Program(objective, weights)
    reason = side_effect_reason(before.difference(fingerprint(objective)))
    if reason is not None:
        raise Unsupported(reason)
    for point in (weights, perturb(weights)):
        if not values_agree(objective, point, program.evaluate(point)):
            raise Unsupported("compiled values differ from eager ones")
    return program


def perturb(weights: Weights) -> Weights:
    """A point near the weights; every entry is changed by a different, deterministic amount."""
    points = []
    for w in weights:
        ramp = torch.linspace(-1.0, 1.0, w.numel() + 1, dtype=w.dtype)[1:].reshape(w.shape)
        points.append(w.detach() + PERTURBATION * ramp * (1.0 + w.detach().abs()))
    return tuple(points)
