"""What must hold of compiled steps at a point: values, norm, the decision to stop, the next step.

An eager evaluation gives the values. The rest is computed again from them, by the functions that
eager steps use, so that a wrong rate, norm, stop or record is seen although all values are right.
"""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor

from gd_torch.compiler import Program, RecordBuffer, RunResult, Unsupported
from gd_torch.compiler.side_effects import fingerprint
from gd_torch.descent.agreement import FAST, agree, rounding_tolerances
from gd_torch.descent.plan import Plan
from gd_torch.descent.result import Stop
from gd_torch.descent.step import gradient_norm, stop_reason, update
from gd_torch.gradients import evaluate
from gd_torch.typing import Objective, Weights

MOVED = 1 / 128
"""How far the second point of the first verification is moved, relative and absolute."""

UPDATE_ROUNDINGS = 4
"""An update may differ from the eager one by this many roundings of its two terms."""

MAX_REPEATED_STEPS = 64
"""Steps made again from the last recorded point, at most."""


def agrees(objective: Objective, weights: Weights, compiled: tuple[Tensor, Weights]) -> bool:
    """Whether compiled values are those of an eager evaluation, which must not raise either."""
    weights = tuple(w.clone() for w in weights)
    try:
        eager = evaluate(objective, weights)
    except Exception:
        return False  # an eager step will raise it again
    return agree(objective, weights, eager, compiled)


def is_norm(norm: float, partials: Weights) -> bool:
    """Whether a norm is that of these partials, to rounding."""
    exact, info = gradient_norm(tuple(d.double() for d in partials)), torch.finfo(partials[0].dtype)
    if not (math.isfinite(norm) and math.isfinite(exact)):
        return not (math.isfinite(norm) or exact < info.max * (1 - FAST * info.eps))
    terms = sum(d.numel() for d in partials)
    return abs(norm - exact) <= (FAST + terms / 16) * info.eps * exact + info.tiny


def is_update(
    moved: Weights, weights: Weights, partials: Weights, rates: Weights,
    roundings: float = UPDATE_ROUNDINGS,
) -> Tensor:  # fmt: skip
    """Whether weights moved by w - rate * partial; the last axis are the entries.

    Args:
        roundings: by how many of them rate * partial may differ.
    """
    found = []
    for m, w, d, rate in zip(moved, weights, partials, rates, strict=True):
        step = rate.double() * d.double()
        info = torch.finfo(w.dtype)
        least = info.eps * (UPDATE_ROUNDINGS * w.abs() + roundings * step.abs()) + info.tiny
        found.append((m.isfinite() & ((m - (w.double() - step)).abs() <= least)).all(-1))
    return torch.stack(found).all(0)


def update_agrees(
    objective: Objective, weights: Weights, moved: Weights, rates: tuple[float, ...]
) -> bool:
    """Whether weights moved by an update whose partials equal eager ones to rounding."""
    try:
        eager = evaluate(objective, tuple(w.clone() for w in weights))
        expected = update(weights, eager[1], rates)
        least = UPDATE_ROUNDINGS * torch.finfo(weights[0].dtype).eps
        growing = rounding_tolerances(partial(evaluate, objective), weights, eager)
        for _, *partials in growing:
            parts = zip(moved, expected, weights, eager[1], partials, rates, strict=True)
            if all(
                bool(((m - e).abs() <= least * (w.abs() + rate * d.abs()) + rate * noise).all())
                for m, e, w, d, noise, rate in parts
            ):
                return True
    except Exception:  # the user's function, under a mode that it may not support
        return False
    return False


def is_right_end(
    plan: Plan, result: RunResult, target: int, weights: Weights, partials: Weights
) -> bool:
    """Whether the program came to ``target``, or stopped before it where an eager run stops too.

    Its norm must be that of the partials, and ``stop_reason`` must find the same reason.
    """
    if result.code == Stop.STEPS and result.step != target:
        return False
    if math.isfinite(result.loss) and not is_norm(result.gradient_norm, partials):
        return False
    at_limit = result.step == plan.steps
    following = None
    if result.code == Stop.WEIGHT:
        following = update(weights, partials, plan.learning_rates)
    reason = stop_reason(
        result.loss,
        result.gradient_norm,
        partials,
        following,
        plan.tolerance,
        at_limit,
    )
    return reason == (None if result.code == Stop.STEPS and not at_limit else result.code)


def makes_the_step(
    program: Program, plan: Plan, flat: Tensor, rates: Tensor, here: RunResult
) -> bool:
    """Whether one compiled step is the update of eager steps.

    Args:
        flat: the weights, shape (entries,); the step is made with a copy.
        rates: what the program takes as the rate of each entry.
        here: the program's values at these weights, whose partials it holds; it keeps them.
    """
    if here.code != Stop.STEPS:
        return True  # the run ends here
    moved, partials = flat.clone(), program.partials.clone()
    after = program.run(moved, rates, 0.0, here.step, here.step + 1)
    program.partials.copy_(partials)
    weights, partials_of = program.split(flat), program.split(partials)
    if after.step == here.step:
        following = update(weights, partials_of, plan.learning_rates)
        return after.code == Stop.WEIGHT and not all(bool(w.isfinite().all()) for w in following)
    if after.step != here.step + 1:
        return False
    rows = tuple(x.reshape(-1) for x in program.split(moved))
    alphas = tuple(torch.tensor(rate, dtype=flat.dtype) for rate in plan.learning_rates)
    before, slopes = (tuple(x.reshape(-1) for x in views) for views in (weights, partials_of))
    return bool(is_update(rows, before, slopes, alphas))


def is_right_record(
    program: Program, plan: Plan, record: RecordBuffer, rates: Tensor, here: RunResult,
    start: Tensor, end: RunResult, flat: Tensor,
) -> bool:  # fmt: skip
    """Whether as many points were recorded as are due, the first and the last of them rightly.

    At none of them the run should have stopped.

    Args:
        here, start: the values and the weights from which the program went.
        end, flat: those at which it arrived, and which the steps from the last point lead to.
    """
    every, used = record.every, record.used
    first = -(-here.step // every) * every
    if used != max(0, -(-(end.step - first) // every)):
        return False
    if not used:
        return True
    if bool((record.norms[:used].double() < plan.tolerance).any()):
        return False
    if first == here.step:
        numbers = (record.losses[0].item(), record.norms[0].item())
        if numbers != (here.loss, here.gradient_norm) or not torch.equal(record.path[0], start):
            return False
    last = first + (used - 1) * every
    if end.step - last > MAX_REPEATED_STEPS:
        return True
    again, partials = record.path[used - 1].clone(), program.partials.clone()
    reached = program.run(again, rates, 0.0, last, end.step)
    program.partials.copy_(partials)
    return reached.step == end.step and torch.equal(again, flat)


def side_effect(change: str | None) -> str | None:
    """Why a change that an evaluation makes keeps its objective from being compiled."""
    return None if change is None else f"evaluating it has side effects: {change}"


def verified_program(objective: Objective, weights: Weights) -> Program:
    """A program whose values agree with eager ones at two points.

    Raises:
        Unsupported: there is none, or evaluating the objective has side effects.
    """
    before = fingerprint(objective)
    program = Program(objective, weights)
    why_not = side_effect(before.difference(fingerprint(objective)))
    if why_not is not None:
        raise Unsupported(why_not)
    for point in (weights, moved(weights)):
        if not agrees(objective, point, program.evaluate(point)):
            raise Unsupported("compiled values differ from eager ones")
    return program


def moved(weights: Weights) -> Weights:
    """A point near these weights: every entry moved by its own amount, always the same."""
    points = []
    for w in weights:
        ramp = torch.linspace(-1.0, 1.0, w.numel() + 1, dtype=w.dtype)[1:].reshape(w.shape)
        points.append(w.detach() + MOVED * ramp * (1.0 + w.detach().abs()))
    return tuple(points)
