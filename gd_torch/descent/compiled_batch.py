"""Compiled steps of many runs: every run goes to its own end in C, verified against eager values.

The first runs of a batch are followed step by step, with eager evaluations after 1, 2, 4, 8, ...
steps; of all runs the points where they end are verified. At a difference the runs of that chunk
are discarded, and they and all later ones run eagerly.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gd_torch.compiler import Program, Unsupported
from gd_torch.descent.agreement import fast_tolerance
from gd_torch.descent.compiled import CompiledStepper, agrees, verified_program, warn
from gd_torch.descent.driver import Stepper
from gd_torch.descent.eager_batch import evaluation_of_many
from gd_torch.descent.plan import BatchPlan, Plan
from gd_torch.descent.recorder import BatchRecorder, Recorder
from gd_torch.descent.result import BatchProgress, Descents
from gd_torch.objectives import Weights

CHUNKS = 16
"""Into how many chunks a batch is cut, for the callback and for verification."""

MIN_CHUNK = 256
"""Runs of a chunk, at least."""

FOLLOWED_RUNS = 2
"""Runs of every chunk that are followed from verification to verification."""

MAX_SINGLE_CHECKS = 64
"""End points of a chunk that are verified one by one, at most."""

MAX_CHECK_ENTRIES = 1 << 22
"""Entries of the weights whose end points are evaluated together, at most."""

MakeEager = Callable[[int], Stepper[BatchProgress]]
"""The eager steps of all runs from one on."""


def compiled_batch(
    plan: BatchPlan, recorder: BatchRecorder, weights: Weights, make_eager: MakeEager
) -> Stepper[BatchProgress]:
    """The compiled steps of all runs of a batch, from these starts, shape (runs, *shape) each.

    Raises:
        Unsupported: the objective cannot be compiled.
    """
    return CompiledBatch(plan, recorder, weights, make_eager)


class CompiledBatch:
    """Runs chunks of a batch to their ends.

    Args:
        plan: what the runs are to do.
        recorder: stores their ends.
        weights: all start weights.
        make_eager: the eager steps of all runs from a number on, for what is not verified.
    """

    def __init__(
        self, plan: BatchPlan, recorder: BatchRecorder, weights: Weights, make_eager: MakeEager
    ) -> None:
        self.plan, self.recorder, self.starts, self.make_eager = plan, recorder, weights, make_eager
        first = tuple(w[0] for w in weights)
        self.rows = verified_program(plan.objective, first)
        self.program = self._program_of_many(first)
        self.chunk = max(MIN_CHUNK, -(-recorder.runs // CHUNKS))
        self.many = evaluation_of_many(plan.objective, len(weights))
        self.eager: Stepper[BatchProgress] | None = None

    def advance(self, until: int) -> BatchProgress:
        """Run chunks until so many runs have ended, or all."""
        while self.eager is None and self.recorder.finished < min(until, self.recorder.runs):
            self._run_chunk()
        if self.eager is not None:
            return self.eager.advance(until)
        return BatchProgress(self.recorder.finished, self.recorder.runs)

    def after_callback(self) -> None:
        """The callback only counts; where the runs end is verified in any case."""

    def _program_of_many(self, first: Weights) -> Program:
        """Runs as lanes of vectors where the objective has no rows of its own."""
        if self.rows.source.rows or self.plan.steps >= 2**31:
            return self.rows
        try:
            return Program(self.plan.objective, first, along_runs=True)
        except Unsupported:
            return self.rows

    def _run_chunk(self) -> None:
        begin = self.recorder.finished
        runs = torch.arange(begin, min(begin + self.chunk, self.recorder.runs))
        weights = torch.cat([w[runs].reshape(len(runs), -1) for w in self.starts], 1)
        rates = torch.cat([
            rate[runs, None].expand(-1, size)
            for rate, size in zip(self.plan.learning_rates, self.rows.sizes, strict=True)
        ], 1).contiguous()  # fmt: skip
        steps, codes, losses, norms = self.program.run_many(
            weights, rates, self.plan.tolerance, self.plan.steps, torch.get_num_threads()
        )
        ends = Descents(self.rows.split(weights), losses, norms, steps, codes)
        if not (self._follow(runs[:FOLLOWED_RUNS]) and self._verify(ends)):
            warn(f"compiled values differ from eager ones; the runs from {begin} on run eagerly")
            self.eager = self.make_eager(begin)
            return
        self.recorder.add(runs, ends)

    def _follow(self, runs: Tensor) -> bool:
        """Whether these runs agree with eager evaluations all the way."""
        plan = self.plan
        for run in runs.tolist():
            rates = tuple(rate[run].item() for rate in plan.learning_rates)
            one = Plan(plan.objective, rates, plan.steps, plan.tolerance, None, 1)
            start = tuple(w[run] for w in self.starts)
            stepper = CompiledStepper(one, Recorder("last"), start, 0, self.rows)
            if not stepper.reaches_end():
                return False
        return True

    def _verify(self, ends: Descents) -> bool:
        """Whether loss and gradient norm at the ends are those of eager evaluations."""
        size = max(1, MAX_CHECK_ENTRIES // max(1, self.rows.count))
        unsure: list[int] = []
        for first in range(0, len(ends.losses), size):
            part = slice(first, first + size)
            try:
                losses, partials = self.many(tuple(w[part] for w in ends.weights))
            except RuntimeError:  # it cannot be evaluated for many at once
                step = max(1, len(ends.losses) // MAX_SINGLE_CHECKS)
                return self._verify_singly(ends, list(range(0, len(ends.losses), step)))
            squares = [d.double().reshape(len(d), -1).square().sum(1) for d in partials]
            norms = torch.stack(squares).sum(0).sqrt()
            same = near(ends.losses[part], losses) & near(ends.gradient_norms[part], norms)
            unsure += (first + (~same).nonzero().flatten()).tolist()
        step = max(1, len(unsure) // MAX_SINGLE_CHECKS)
        return self._verify_singly(ends, unsure[::step])

    def _verify_singly(self, ends: Descents, runs: list[int]) -> bool:
        return all(
            agrees(self.plan.objective, w, self.rows.evaluate(w))
            for w in (tuple(w[run] for w in ends.weights) for run in runs)
        )


def near(compiled: Tensor, eager: Tensor) -> Tensor:
    """Where two numbers are equal to rounding; numbers that are not finite equal each other."""
    apart = (compiled.double() - eager.double()).abs() <= fast_tolerance(eager.to(compiled.dtype))
    return apart | ~(compiled.isfinite() | eager.isfinite())
