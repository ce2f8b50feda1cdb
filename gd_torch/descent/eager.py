"""Gradient descent on one page: evaluate, decide whether to stop, record, update."""

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
    """Evaluates the objective anew at every step.

    Args:
        plan: what the run is to do.
        recorder: stores the points that are left, if they are due.
        weights: where to go on from; they must not change while the run lasts.
        step: how many updates have led there.
        evaluated: value and partials there, if they are known.

    Attributes:
        objective: that of the plan; it may be exchanged between two calls of ``advance``.
    """

    def __init__(
        self, plan: Plan, recorder: Recorder, weights: Weights, step: int,
        evaluated: tuple[Tensor, Weights] | None = None,
    ) -> None:  # fmt: skip
        self.plan, self.recorder, self.weights, self.step = plan, recorder, weights, step
        self.objective = plan.objective
        self._evaluated = evaluated

    def advance(self, until: int) -> Point:
        """Make steps up to ``until``; the point there, or the one where the run ends before."""
        plan, recorder, objective = self.plan, self.recorder, self.objective
        weights, step = self.weights, self.step
        rates, longest = plan.learning_rates, max(plan.learning_rates)
        bound, safe = _largest_entry(weights), min(torch.finfo(w.dtype).max for w in weights) / 4
        loss, partials = self._evaluated or evaluate(objective, weights)
        while True:
            value, norm = loss.item(), gradient_norm(partials)
            following = None if step >= until else update(weights, partials, rates)
            bound += longest * norm  # no entry that follows is larger: most steps need no look
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
        """Nothing is kept of the objective but the evaluation at the point that was called back."""


def _largest_entry(weights: Weights) -> float:
    """The largest absolute value in all weights."""
    return max([float(w.abs().amax()) for w in weights])
