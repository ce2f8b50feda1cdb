"""Compiled steps of many runs: every run goes to its own end in C, verified against eager values.

Of all runs the first update is verified, the point where they end and the reason to stop there.
The first run of chunks 1, 2, 4, 8, ... and the last run of all are followed on the way, with eager
evaluations after 1, 2, 4, 8, ... steps. At a difference the runs of that chunk are discarded, and
they and all later ones run eagerly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from gd_torch.compiler import Program, RunEnds, Unsupported
from gd_torch.descent.agreement import FAST, fast_tolerance, rounding_tolerances
from gd_torch.descent.compiled import CompiledStepper, warn
from gd_torch.descent.driver import Stepper
from gd_torch.descent.eager_batch import evaluation_of_many
from gd_torch.descent.plan import BatchPlan, Plan
from gd_torch.descent.recorder import BatchRecorder, Recorder
from gd_torch.descent.result import BatchProgress, Descents, Stop
from gd_torch.descent.step import batch_stop_codes, batch_update
from gd_torch.descent.verification import agrees, is_update, update_agrees, verified_program
from gd_torch.typing import Weights

MAX_SINGLE_CHECKS = 64
"""Points of a chunk that are verified one by one, at most, where many at once leave doubts."""

MAX_CHECK_ENTRIES = 1 << 22
"""Entries of the weights whose end points are evaluated together, at most."""

MakeEager = Callable[[int], Stepper[BatchProgress]]
"""The eager steps of all runs from one on."""


def compiled_batch(
    plan: BatchPlan, recorder: BatchRecorder, weights: Weights, chunk: int, make_eager: MakeEager
) -> Stepper[BatchProgress]:
    """The compiled steps of all runs of a batch, from these starts, shape (runs, *shape) each.

    Raises:
        Unsupported: the objective cannot be compiled.
    """
    return CompiledBatch(plan, recorder, weights, chunk, make_eager)


class CompiledBatch:
    """Runs chunks of a batch to their ends.

    Args:
        plan: what the runs are to do.
        recorder: stores their ends.
        weights: all start weights.
        chunk: runs that are verified together.
        make_eager: the eager steps of all runs from a number on, for what is not verified.
    """

    def __init__(
        self, plan: BatchPlan, recorder: BatchRecorder, weights: Weights, chunk: int,
        make_eager: MakeEager,
    ) -> None:  # fmt: skip
        self.plan, self.recorder, self.starts, self.make_eager = plan, recorder, weights, make_eager
        self.chunk = chunk
        first = tuple(w[0] for w in weights)
        self.rows = verified_program(plan.objective, first)
        self.program = self._program_of_many(first)
        self.many = evaluation_of_many(plan.objective)
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
            return Program(self.plan.objective, first, runs_as_lanes=True)
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
        starts = weights.clone()
        ends = self._run_many(weights, rates, self.plan.tolerance, self.plan.steps)
        at = self.rows.split(weights)
        if not (
            self._make_first_steps(runs, starts, rates)
            and self._follow(runs, at, ends)
            and self._verify(at, ends)
            and torch.equal(self._codes(runs, at, ends), ends.codes)
        ):
            warn(f"compiled values differ from eager ones; the runs from {begin} on run eagerly")
            self.eager = self.make_eager(begin)
            return
        self.recorder.add(runs, Descents(at, ends.losses, ends.norms, ends.steps, ends.codes))

    def _run_many(self, weights: Tensor, rates: Tensor, tolerance: float, steps: int) -> RunEnds:
        return self.program.run_many(weights, rates, tolerance, steps, torch.get_num_threads())

    def _make_first_steps(self, runs: Tensor, starts: Tensor, rates: Tensor) -> bool:
        """Whether every run makes its first update from its own start with its own rates."""
        moved = starts.clone()
        ends = self._run_many(moved, rates, 0.0, 1)
        kept = (ends.steps == 0) & (ends.codes != Stop.STEPS) & (moved == starts).all(1)
        if not bool((kept | (ends.steps == 1)).all()):
            return False
        weights, after = self.rows.split(starts), self.rows.split(moved)
        alphas = tuple(rate[runs] for rate in self.plan.learning_rates)
        unsure = ~kept  # the others diverge at once
        partials = self._partials(weights)
        if partials is not None:
            rows = [tuple(w.reshape(len(w), -1) for w in x) for x in (after, weights, partials)]
            column = tuple(a[:, None] for a in alphas)
            unsure &= ~is_update(rows[0], rows[1], rows[2], column, roundings=FAST)
        return all(
            update_agrees(
                self.plan.objective,
                tuple(w[run] for w in weights),
                tuple(w[run] for w in after),
                tuple(a[run].item() for a in alphas),
            )
            for run in some(unsure.nonzero().flatten().tolist())
        )

    def _partials(self, weights: Weights) -> Weights | None:
        """Eager partials of many runs; None if they cannot be evaluated together."""
        size, found = max(1, MAX_CHECK_ENTRIES // self.rows.count), []
        try:
            for first in range(0, len(weights[0]), size):
                found.append(self.many(tuple(w[first : first + size] for w in weights))[1])
        except RuntimeError:
            return None
        return tuple(torch.cat(parts) for parts in zip(*found, strict=True))

    def _follow(self, runs: Tensor, weights: Weights, ends: RunEnds) -> bool:
        """Whether the runs of this chunk that are followed agree with eager ones all the way."""
        plan, number = self.plan, int(runs[0]) // self.chunk + 1
        followed = [0] if number & (number - 1) == 0 else []
        if int(runs[-1]) == self.recorder.runs - 1:
            followed.append(len(runs) - 1)
        for i in followed:
            run = int(runs[i])
            rates = tuple(rate[run].item() for rate in plan.learning_rates)
            one = Plan(plan.objective, rates, plan.steps, plan.tolerance, None, 1)
            start = tuple(w[run] for w in self.starts)
            end = CompiledStepper(one, Recorder("last"), start, 0, self.rows).end()
            if end is None or (end.step, end.stop) != (int(ends.steps[i]), int(ends.codes[i])):
                return False
            if not all(torch.equal(a, w[i]) for a, w in zip(end.weights, weights, strict=True)):
                return False
        return True

    def _codes(self, runs: Tensor, weights: Weights, ends: RunEnds) -> Tensor:
        """The reasons to stop where runs ended, as eager steps find them for the same values."""
        plan, partials = self.plan, self.rows.split(ends.partials)
        following = batch_update(weights, partials, tuple(a[runs] for a in plan.learning_rates))
        largest, limit = ends.partials.abs().amax(1), ends.steps >= plan.steps
        norms = ends.norms.double()
        return batch_stop_codes(ends.losses, norms, largest, following, plan.tolerance, limit)

    def _verify(self, weights: Weights, ends: RunEnds) -> bool:
        """Whether losses and partials where runs ended are those of eager evaluations."""
        norms = torch.linalg.vector_norm(ends.partials.double(), dim=1)
        if not bool((near(ends.norms, norms) | ~ends.losses.isfinite()).all()):
            return False
        size = max(1, MAX_CHECK_ENTRIES // self.rows.count)
        unsure: list[int] = []
        for first in range(0, len(ends.losses), size):
            part = slice(first, first + size)
            points = tuple(w[part] for w in weights)
            try:
                doubtful = self._doubtful(points, RunEnds(*(column[part] for column in ends)))
            except RuntimeError:  # it cannot be evaluated for many at once
                return self._verify_singly(weights, ends, some(range(len(ends.losses))))
            unsure += (first + doubtful).tolist()
        return self._verify_singly(weights, ends, some(unsure))

    def _doubtful(self, weights: Weights, ends: RunEnds) -> Tensor:
        """The runs whose loss or partials differ from eager ones by more than rounding, int64."""
        losses, partials = self.many(weights)
        same = near(ends.losses, losses) & near(ends.partials, in_rows(partials)).all(1)
        lost = ~ends.losses.isfinite() & ~losses.isfinite()
        unsure = (~(same | lost)).nonzero().flatten()
        if not len(unsure):
            return unsure
        points = tuple(w[unsure] for w in weights)
        losses, partials = self.many(points)
        apart = (ends.losses[unsure] - losses).abs()
        each_apart = (ends.partials[unsure] - in_rows(partials)).abs()
        differs = torch.ones_like(unsure, dtype=torch.bool)
        for tolerance, *tolerances in rounding_tolerances(self.many, points, (losses, partials)):
            agree = (apart <= tolerance) & (each_apart <= in_rows(tolerances)).all(1)
            differs &= ~agree
            if not bool(differs.any()):
                break
        return unsure[differs]

    def _verify_singly(self, weights: Weights, ends: RunEnds, runs: Iterable[int]) -> bool:
        """The same for some runs, which allows for what rounding does to each partial."""
        return all(
            agrees(
                self.plan.objective,
                tuple(w[run] for w in weights),
                (ends.losses[run], self.rows.split(ends.partials[run])),
            )
            for run in runs
        )


def some(runs: Sequence[int]) -> Sequence[int]:
    """Some of these runs, evenly spread, where they are too many to be verified one by one."""
    return runs[:: max(1, len(runs) // MAX_SINGLE_CHECKS)]


def in_rows(partials: Sequence[Tensor]) -> Tensor:
    """Tensors of shape (runs, *shape) side by side, shape (runs, entries)."""
    return torch.cat([d.reshape(len(d), -1) for d in partials], 1)


def near(compiled: Tensor, eager: Tensor) -> Tensor:
    """Where numbers are equal to rounding; those that are not finite equal each other."""
    eager = eager.to(compiled.dtype)
    apart = (compiled - eager).abs() <= fast_tolerance(eager)
    return apart | ~(compiled.isfinite() | eager.isfinite())
