"""Compiled steps of many runs, verified against eager evaluations.

The C code executes every run to its end. Verified are the first update of all runs, and the final
point of all runs with its reason to stop. In addition, the first run of the chunks 1, 2, 4, 8, ...
and the last run of all are repeated with verifications after 1, 2, 4, 8, ... steps. If anything
differs, the runs of that chunk are discarded, and they and all later runs are executed eagerly.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gd_torch.compiler import Program, RunEnds, Unsupported
from gd_torch.descent.agreement import (
    FAST_TOLERANCE_EPS,
    flatten_runs,
)
from gd_torch.descent.compiled import CompiledStepper
from gd_torch.descent.driver import Stepper
from gd_torch.descent.eager_batch import batch_evaluation
from gd_torch.descent.end_verification import EndVerification, evenly_spaced
from gd_torch.descent.fallback import warn
from gd_torch.descent.plan import BatchPlan, Plan
from gd_torch.descent.recorder import BatchRecorder, Recorder
from gd_torch.descent.result import BatchProgress, Descents, Stop
from gd_torch.descent.step import batch_stop_codes, batch_update
from gd_torch.descent.verification import (
    compile_verified,
    update_agrees_with_eager,
    updates_agree,
)
from gd_torch.typing import Weights

MAX_CHECK_ENTRIES = 1 << 22
"""Largest number of weight entries whose points are evaluated together."""

MakeEager = Callable[[int], Stepper[BatchProgress]]
"""Creates the eager stepper of all runs from a given one."""


def compiled_batch(
    plan: BatchPlan, recorder: BatchRecorder, weights: Weights, chunk: int, make_eager: MakeEager
) -> Stepper[BatchProgress]:
    """Create the compiled stepper of a batch; arguments as for :class:`CompiledBatch`.

    Raises:
        Unsupported: the objective cannot be compiled.
    """
    return CompiledBatch(plan, recorder, weights, chunk, make_eager)


class CompiledBatch:
    """Executes the chunks of a batch.

    Args:
        plan: settings of the runs.
        recorder: stores the final points.
        weights: all starts, shape (runs, *shape) each.
        chunk: number of runs that are executed and verified together.
        make_eager: creates the eager stepper of all runs from a given one.

    Attributes:
        single_program: executes one run; its vectors extend along rows.
        program: executes many runs; its vectors extend along runs if possible.
        eager: the eager stepper that has taken over after a difference, or None.
    """

    def __init__(
        self, plan: BatchPlan, recorder: BatchRecorder, weights: Weights, chunk: int,
        make_eager: MakeEager,
    ) -> None:  # fmt: skip
        self.plan, self.recorder, self.starts, self.make_eager = plan, recorder, weights, make_eager
        self.chunk = chunk
        first = tuple(w[0] for w in weights)
        self.single_program = compile_verified(plan.objective, first)
        self.program = self._batch_program(first)
        self.evaluate = batch_evaluation(plan.objective)
        self.end_verification = EndVerification(
            plan.objective, self.single_program, self.evaluate, self._check_size()
        )
        self.eager: Stepper[BatchProgress] | None = None

    def advance(self, until: int) -> BatchProgress:
        """Execute chunks until at least ``until`` runs have ended, or all."""
        while self.eager is None and self.recorder.finished < min(until, self.recorder.runs):
            self._run_chunk()
        if self.eager is not None:
            return self.eager.advance(until)
        return BatchProgress(self.recorder.finished, self.recorder.runs)

    def after_callback(self) -> None:
        """Do nothing: the final points are verified in any case."""

    def _batch_program(self, first: Weights) -> Program:
        """A program with runs as lanes of vectors, if the objective has no rows of its own."""
        if self.single_program.source.rows or self.plan.steps >= 2**31:
            return self.single_program
        try:
            return Program(self.plan.objective, first, runs_as_lanes=True)
        except Unsupported:
            return self.single_program

    def _run_chunk(self) -> None:
        """Execute, verify and store the next chunk, or create the eager stepper."""
        first = self.recorder.finished
        runs = torch.arange(first, min(first + self.chunk, self.recorder.runs))
        starts, rates = self._flat_starts(runs), self._flat_rates(runs)
        weights = starts.clone()
        ends = self._run_many(weights, rates, self.plan.tolerance, self.plan.steps)
        final = self.single_program.split(weights)
        if not (
            self._first_steps_agree(runs, starts, rates)
            and self._repeated_runs_agree(runs, final, ends)
            and self.end_verification.agrees(final, ends)
            and torch.equal(self._expected_codes(runs, final, ends), ends.codes)
        ):
            warn(f"compiled values differ from eager ones; the runs from {first} on run eagerly")
            self.eager = self.make_eager(first)
            return
        self.recorder.add(runs, Descents(final, ends.losses, ends.norms, ends.steps, ends.codes))

    def _flat_starts(self, runs: Tensor) -> Tensor:
        """The starts of these runs, shape (runs, entries)."""
        return flatten_runs([w[runs] for w in self.starts])

    def _flat_rates(self, runs: Tensor) -> Tensor:
        """The learning rates of these runs, shape (runs, entries)."""
        columns = zip(self.plan.learning_rates, self.single_program.sizes, strict=True)
        return torch.cat([rate[runs, None].expand(-1, n) for rate, n in columns], 1).contiguous()

    def _run_many(self, weights: Tensor, rates: Tensor, tolerance: float, steps: int) -> RunEnds:
        return self.program.run_many(weights, rates, tolerance, steps, torch.get_num_threads())

    # ------------------------------------------------ first update

    def _first_steps_agree(self, runs: Tensor, starts: Tensor, rates: Tensor) -> bool:
        """Whether the first update of every run is that of its start and learning rates."""
        updated = starts.clone()
        ends = self._run_many(updated, rates, 0.0, 1)
        unmoved = (ends.steps == 0) & (ends.codes != Stop.STEPS) & (updated == starts).all(1)
        if not bool((unmoved | (ends.steps == 1)).all()):
            return False
        before, after = self.single_program.split(starts), self.single_program.split(updated)
        alphas = tuple(rate[runs] for rate in self.plan.learning_rates)
        uncertain = ~unmoved  # the others diverge at the start
        partials = self._partials(before)
        if partials is not None:
            u, w, d = (tuple(t.reshape(len(t), -1) for t in x) for x in (after, before, partials))
            column = tuple(a[:, None] for a in alphas)
            uncertain &= ~updates_agree(u, w, d, column, step_tolerance_eps=FAST_TOLERANCE_EPS)
        return all(
            update_agrees_with_eager(
                self.plan.objective,
                tuple(w[run] for w in before),
                tuple(w[run] for w in after),
                tuple(a[run].item() for a in alphas),
            )
            for run in evenly_spaced(uncertain.nonzero().flatten().tolist())
        )

    def _partials(self, weights: Weights) -> Weights | None:
        """Eager partials of many runs; None if the objective cannot be batched."""
        size, blocks = self._check_size(), []
        try:
            for first in range(0, len(weights[0]), size):
                blocks.append(self.evaluate(tuple(w[first : first + size] for w in weights))[1])
        except RuntimeError:
            return None
        return tuple(torch.cat(block) for block in zip(*blocks, strict=True))

    def _check_size(self) -> int:
        """Number of runs that are evaluated together."""
        return max(1, MAX_CHECK_ENTRIES // self.single_program.count)

    # ------------------------------------------------ repeated runs

    def _repeated_runs_agree(self, runs: Tensor, weights: Weights, ends: RunEnds) -> bool:
        """Whether the selected runs of this chunk end equally if repeated with verifications."""
        number = int(runs[0]) // self.chunk + 1
        selected = [0] if number & (number - 1) == 0 else []
        if int(runs[-1]) == self.recorder.runs - 1:
            selected.append(len(runs) - 1)
        return all(self._repeated_run_agrees(int(runs[i]), i, weights, ends) for i in selected)

    def _repeated_run_agrees(self, run: int, i: int, weights: Weights, ends: RunEnds) -> bool:
        """Whether a run, at index ``i`` of the chunk, ends equally if repeated."""
        plan = self.plan
        rates = tuple(rate[run].item() for rate in plan.learning_rates)
        single = Plan(plan.objective, rates, plan.steps, plan.tolerance, None, 1)
        start = tuple(w[run] for w in self.starts)
        stepper = CompiledStepper(single, Recorder("last"), start, 0, self.single_program)
        end = stepper.run_to_end()
        if end is None or (end.step, end.stop) != (int(ends.steps[i]), int(ends.codes[i])):
            return False
        return all(torch.equal(a, w[i]) for a, w in zip(end.weights, weights, strict=True))

    # ------------------------------------------------ final points

    def _expected_codes(self, runs: Tensor, weights: Weights, ends: RunEnds) -> Tensor:
        """The stop codes of eager steps for the final values, int64, shape (runs,)."""
        plan, partials = self.plan, self.single_program.split(ends.partials)
        following = batch_update(weights, partials, tuple(a[runs] for a in plan.learning_rates))
        largest, at_limit = ends.partials.abs().amax(1), ends.steps >= plan.steps
        norms = ends.norms.double()
        return batch_stop_codes(ends.losses, norms, largest, following, plan.tolerance, at_limit)
