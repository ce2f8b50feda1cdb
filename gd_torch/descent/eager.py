"""Eager steps of one run: evaluate, decide whether to stop, record, update."""

from __future__ import annotations

import torch
from torch import Tensor

from gd_torch.descent.plan import Plan
from gd_torch.descent.recorder import Recorder
from gd_torch.descent.result import Point
from gd_torch.descent.step import gradient_norm, stop_reason, update
from gd_torch.gradients import evaluate
from gd_torch.typing import Weights


class EagerStepper:
    """Evaluates the objective in Python at every step.

    Args:
        plan: settings of the run.
        recorder: stores the due points.
        weights: weights at ``step``; they must not be modified during the run.
        step: number of updates so far.
        evaluated: value and partials at these weights; None evaluates them.

    Attributes:
        objective: the objective of the plan; it may be replaced between calls of ``advance``.
    """

    def __init__(
        self, plan: Plan, recorder: Recorder, weights: Weights, step: int,
        evaluated: tuple[Tensor, Weights] | None = None,
    ) -> None:  # fmt: skip
        self.plan, self.recorder, self.weights, self.step = plan, recorder, weights, step
        self.objective = plan.objective
        self._evaluated = evaluated

    def advance(self, until: int) -> Point:
        """Execute steps up to ``until`` or to an earlier end; see :class:`Stepper`."""
        plan, recorder, objective = self.plan, self.recorder, self.objective
        weights, step = self.weights, self.step
        rates, largest_rate = plan.learning_rates, max(plan.learning_rates)
        bound, safe = _largest_entry(weights), min(torch.finfo(w.dtype).max for w in weights) / 4
        loss, partials = self._evaluated or evaluate(objective, weights)
        while True:
            value, norm = loss.item(), gradient_norm(partials)
            following = None if step >= until else update(weights, partials, rates)
            # A bound of all entries of `following`: while it is small, they need no finite check.
            bound += largest_rate * norm
            stop = stop_reason(
                value,
                norm,
                partials,
                None if bound < safe else following,
                plan.tolerance,
                step == plan.steps,
            )
            if stop is not None or following is None:
                break
            if recorder.is_due(step):
                recorder.add(step, weights, value, norm)
            if not bound < safe:
                bound = _largest_entry(following)
            weights, step = following, step + 1
            loss, partials = evaluate(objective, weights)
        self.weights, self.step, self._evaluated = weights, step, (loss, partials)
        return Point(step, weights, loss, norm, stop)

    def after_callback(self) -> None:
        """Do nothing: the objective is evaluated again at every step."""


def _largest_entry(weights: Weights) -> float:
    """The largest absolute value in all weights."""
    return max([float(w.abs().amax()) for w in weights])
