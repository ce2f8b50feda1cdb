"""Eager steps of many runs: side by side in blocks, or one run after the other."""

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
"""Steps of a block before it is checked which of its runs have ended."""


class EagerBlock:
    """A block of runs that make their steps together; a run that has ended makes room for the next.

    Args:
        plan: what the runs are to do.
        recorder: stores their ends.
        weights: all start weights, shape (runs, *shape) each.
        size: how many runs make their steps at a time, at most.
        first_run: the runs before this one have ended already.
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
        self.evaluate = evaluation_of_many(plan.objective)
        self.runs = self._take(size)
        self.weights = tuple(w[self.runs] for w in weights)
        self.learning_rates = tuple(a[self.runs] for a in plan.learning_rates)
        self.steps = torch.zeros_like(self.runs)

    def advance(self, until: int) -> BatchProgress:
        """Make steps until so many runs have ended, or all."""
        while self.recorder.finished < until and len(self.runs):
            most_steps = self.plan.steps - int(self.steps.max()) + 1
            ends = self._advance_block(min(STEPS_BETWEEN_CHECKS, most_steps))
            ended = (ends.codes > 0).nonzero().squeeze(1)
            if len(ended):
                some = Descents.from_tensors([column[ended] for column in ends.to_tensors()])
                self.recorder.add(self.runs[ended], some)
                self._replace(ends.codes == 0)
        return BatchProgress(self.recorder.finished, self.recorder.runs)

    def after_callback(self) -> None:
        """Nothing is kept of the objective."""

    def _advance_block(self, steps: int) -> Descents:
        """Make steps with all runs that have not ended; where they are, code 0 for going on."""
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
                goes_on = codes == 0  # a run that has ended stays, and ends there again
                self.weights = tuple(
                    torch.where(goes_on.reshape(-1, *[1] * (w.dim() - 1)), moved, w)
                    for moved, w in zip(following, self.weights, strict=True)
                )
                self.steps = self.steps + goes_on
        return Descents(self.weights, losses, norms, self.steps, codes)

    def _take(self, most: int) -> Tensor:
        """The numbers of the next runs, ``most`` or fewer, int64."""
        first, self.next_run = self.next_run, min(self.next_run + most, self.recorder.runs)
        return torch.arange(first, self.next_run, device=self.starts[0].device)

    def _replace(self, goes_on: Tensor) -> None:
        """Drop the runs that have ended, and take in as many that wait."""
        runs = self._take(int((~goes_on).sum()))
        columns = (*self.weights, *self.learning_rates)
        sources = (*self.starts, *self.plan.learning_rates)
        columns = tuple(
            torch.cat([column[goes_on], source[runs]])
            for column, source in zip(columns, sources, strict=True)
        )
        count = len(self.weights)
        self.weights, self.learning_rates = columns[:count], columns[count:]
        self.steps = torch.cat([self.steps[goes_on], torch.zeros_like(runs)])
        self.runs = torch.cat([self.runs[goes_on], runs])


class OneByOne:
    """Runs one after the other, for an objective that cannot be evaluated for many at once.

    Args:
        plan, recorder, weights, first_run: as for :class:`EagerBlock`.
    """

    def __init__(
        self, plan: BatchPlan, recorder: BatchRecorder, weights: Weights, first_run: int = 0
    ) -> None:
        self.plan, self.recorder, self.starts, self.next_run = plan, recorder, weights, first_run

    def advance(self, until: int) -> BatchProgress:
        """Make runs until so many have ended, or all."""
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
        """Nothing is kept of the objective."""


def eager_batch(
    plan: BatchPlan,
    recorder: BatchRecorder,
    weights: Weights,
    runs_per_block: int,
    first_run: int = 0,
) -> EagerBlock | OneByOne:
    """The eager steps of all runs from ``first_run`` on: in blocks if the objective allows it."""
    try:
        evaluation_of_many(plan.objective)(tuple(w[:1] for w in weights))
    except RuntimeError:  # a Python branch on a weight, a random number, a custom backward pass
        return OneByOne(plan, recorder, weights, first_run)
    return EagerBlock(plan, recorder, weights, runs_per_block, first_run)


def evaluation_of_many(objective: Objective) -> Callable[[Weights], tuple[Tensor, Weights]]:
    """Losses, shape (r,), and partials of r runs as a function of their weights.

    The partials are those of the sum of the losses, as no run's loss depends on another's weights.
    ``torch.func.grad`` would import torch's compiler, which takes a second.
    """
    many = torch.func.vmap(objective)

    def evaluate(weights: Weights) -> tuple[Tensor, Weights]:
        leaves = [w.detach().clone().requires_grad_() for w in weights]
        with torch.enable_grad():
            losses = many(*leaves)  # (r,)
            partials = torch.autograd.grad(losses.sum(), leaves, allow_unused=True)
        zeros = (
            torch.zeros_like(w) if d is None else d for w, d in zip(weights, partials, strict=True)
        )
        return losses.detach(), tuple(zeros)

    return evaluate
