"""Eager steps of many runs: in blocks by vmap, or one run after the other."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gd_torch.descent.driver import drive
from gd_torch.descent.eager import EagerStepper
from gd_torch.descent.plan import BatchPlan, Plan
from gd_torch.descent.recorder import BatchRecorder, Recorder
from gd_torch.descent.result import BatchProgress, Descents
from gd_torch.descent.step import batch_gradient_norms, batch_stop_codes, batch_update
from gd_torch.typing import Objective, Weights

STEPS_BETWEEN_CHECKS = 64
"""Steps of a block between two checks for runs that have ended."""


class EagerBlock:
    """Advances a block of runs together; a run that has ended is replaced by the next one.

    Args:
        plan: settings of the runs.
        recorder: stores the final points.
        weights: all starts, shape (runs, *shape) each.
        size: maximum number of runs in the block.
        first_run: the first run to execute.
    """

    def __init__(
        self,
        plan: BatchPlan,
        recorder: BatchRecorder,
        weights: Weights,
        size: int,
        first_run: int = 0,
    ) -> None:
        self.plan, self.recorder, self.starts = plan, recorder, weights
        self.next_run = first_run
        self.evaluate = batch_evaluation(plan.objective)
        self.runs = self._next_runs(size)
        self.weights = tuple(w[self.runs] for w in weights)
        self.learning_rates = tuple(a[self.runs] for a in plan.learning_rates)
        self.steps = torch.zeros_like(self.runs)

    def advance(self, until: int) -> BatchProgress:
        """Execute steps until at least ``until`` runs have ended, or all."""
        while self.recorder.finished < until and len(self.runs):
            max_steps = self.plan.steps - int(self.steps.max()) + 1
            ends = self._advance_block(min(STEPS_BETWEEN_CHECKS, max_steps))
            ended = (ends.codes > 0).nonzero().squeeze(1)
            if len(ended):
                final = Descents.from_tensors([column[ended] for column in ends.to_tensors()])
                self.recorder.add(self.runs[ended], final)
                self._replace(ends.codes == 0)
        return BatchProgress(self.recorder.finished, self.recorder.runs)

    def after_callback(self) -> None:
        """Do nothing: the objective is evaluated again at every step."""

    def _advance_block(self, steps: int) -> Descents:
        """Advance all runs by up to ``steps`` steps; code 0 means that a run has not ended."""
        rates, plan = self.learning_rates, self.plan
        with torch.no_grad():
            for _ in range(steps):
                losses, partials = self.evaluate(self.weights)
                following = batch_update(self.weights, partials, rates)
                norms, largest = batch_gradient_norms(partials)
                at_limit = self.steps >= plan.steps
                codes = batch_stop_codes(
                    losses, norms, largest, following, plan.tolerance, at_limit
                )
                running = codes == 0  # a run that has ended keeps its weights and ends again
                self.weights = tuple(
                    torch.where(running.reshape(-1, *[1] * (w.dim() - 1)), updated, w)
                    for updated, w in zip(following, self.weights, strict=True)
                )
                self.steps = self.steps + running
        return Descents(self.weights, losses, norms, self.steps, codes)

    def _next_runs(self, count: int) -> Tensor:
        """Indices of the next runs, at most ``count``, int64."""
        first, self.next_run = self.next_run, min(self.next_run + count, self.recorder.runs)
        return torch.arange(first, self.next_run, device=self.starts[0].device)

    def _replace(self, running: Tensor) -> None:
        """Replace the runs that have ended by the next ones."""
        runs = self._next_runs(int((~running).sum()))
        columns = (*self.weights, *self.learning_rates)
        sources = (*self.starts, *self.plan.learning_rates)
        columns = tuple(
            torch.cat([column[running], source[runs]])
            for column, source in zip(columns, sources, strict=True)
        )
        split = len(self.weights)
        self.weights, self.learning_rates = columns[:split], columns[split:]
        self.steps = torch.cat([self.steps[running], torch.zeros_like(runs)])
        self.runs = torch.cat([self.runs[running], runs])


class SequentialRuns:
    """Executes one run after the other, for an objective that vmap cannot batch.

    Args:
        plan, recorder, weights, first_run: as for :class:`EagerBlock`.
    """

    def __init__(
        self, plan: BatchPlan, recorder: BatchRecorder, weights: Weights, first_run: int = 0
    ) -> None:
        self.plan, self.recorder, self.starts, self.next_run = plan, recorder, weights, first_run

    def advance(self, until: int) -> BatchProgress:
        """Execute runs until at least ``until`` have ended, or all."""
        for run in range(self.next_run, min(until, self.recorder.runs)):
            rates = tuple(a[run].item() for a in self.plan.learning_rates)
            plan = Plan(self.plan.objective, rates, self.plan.steps, self.plan.tolerance, None, 1)
            start = tuple(w[run] for w in self.starts)
            self.recorder.add_run(
                run, drive(plan, EagerStepper(plan, Recorder("last"), start, 0), 0)
            )
            self.next_run = run + 1
        return BatchProgress(self.recorder.finished, self.recorder.runs)

    def after_callback(self) -> None:
        """Do nothing: the objective is evaluated again at every step."""


def eager_batch(
    plan: BatchPlan,
    recorder: BatchRecorder,
    weights: Weights,
    runs_per_block: int,
    first_run: int = 0,
) -> EagerBlock | SequentialRuns:
    """Create the eager stepper of all runs from ``first_run``: in blocks if vmap allows it."""
    try:
        batch_evaluation(plan.objective)(tuple(w[:1] for w in weights))
    except RuntimeError:  # a Python branch on a weight, a random number, a custom backward pass
        return SequentialRuns(plan, recorder, weights, first_run)
    return EagerBlock(plan, recorder, weights, runs_per_block, first_run)


def batch_evaluation(objective: Objective) -> Callable[[Weights], tuple[Tensor, Weights]]:
    """Return the function that computes losses, shape (r,), and partials of r runs.

    The partials are those of the sum of the losses, as a loss does not depend on the weights of
    other runs. ``torch.func.grad`` would import torch's compiler, which takes a second.
    """
    batched = torch.func.vmap(objective)

    def evaluate(weights: Weights) -> tuple[Tensor, Weights]:
        leaves = [w.detach().clone().requires_grad_() for w in weights]
        with torch.enable_grad():
            losses = batched(*leaves)  # (r,)
            partials = torch.autograd.grad(losses.sum(), leaves, allow_unused=True)
        zeros = (
            torch.zeros_like(w) if d is None else d for w, d in zip(weights, partials, strict=True)
        )
        return losses.detach(), tuple(zeros)

    return evaluate
