"""Compiled steps of one run, verified against eager evaluations.

A trace cannot prove that compiled code computes what the objective will compute later: the
objective may take another branch, or a callback may change its data. Therefore loss and partials
are compared with an eager evaluation at the start, at a perturbed point, after 1, 2, 4, 8, ...
steps, before and after every callback, and at the end. At these points the norm, the stop decision
and the recorded points are also checked, and after 0, 1, 2, 4, ... steps the update. Points are
stored once they are verified. If anything differs, the points since the last verified one are
discarded and the run continues eagerly from there.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gd_torch.compiler import Program, RecordBuffer, RunResult, Unsupported
from gd_torch.compiler.side_effects import fingerprint
from gd_torch.descent.driver import Stepper
from gd_torch.descent.eager import EagerStepper
from gd_torch.descent.fallback import warn
from gd_torch.descent.plan import Plan
from gd_torch.descent.recorder import Recorder
from gd_torch.descent.result import Point, Stop
from gd_torch.descent.verification import (
    Segment,
    compile_verified,
    end_agrees,
    record_agrees,
    step_agrees,
    values_agree,
)
from gd_torch.typing import Weights

MAX_PROGRAMS = 8
"""Largest number of different programs of one run, if callbacks change the objective."""

MAX_BUFFERED_POINTS = 1 << 18
"""Largest number of points recorded between two verifications."""

MAX_BUFFERED_ENTRIES = 1 << 22
"""Largest number of weight entries of these points."""


class VerifiedPoint(NamedTuple):
    """The last point at which compiled and eager values agreed; weights of shape (entries,)."""

    step: int
    weights: Tensor


def compiled_stepper(plan: Plan, recorder: Recorder, weights: Weights, step: int) -> Stepper[Point]:
    """Create the compiled stepper of one run.

    Raises:
        Unsupported: the objective cannot be compiled, has side effects, or its compiled values
            differ from eager ones.
    """
    return CompiledStepper(plan, recorder, weights, step)


class CompiledStepper:
    """Executes a compiled program from one verification to the next.

    Args:
        plan: settings of the run.
        recorder: stores the due points after their verification.
        weights: weights at ``step``.
        step: number of updates so far.
        program: a verified program of the objective; None compiles one.

    Attributes:
        current: the program's values at the present point; None at the start.
        check_next_step: whether the next step is to be compared with an eager update.
        eager: the eager stepper that has taken over after a difference, or None.

    Raises:
        Unsupported: as :func:`compiled_stepper`.
    """

    def __init__(
        self, plan: Plan, recorder: Recorder, weights: Weights, step: int,
        program: Program | None = None,
    ) -> None:  # fmt: skip
        self.plan, self.recorder, self.step = plan, recorder, step
        self.program = program or compile_verified(plan.objective, weights)
        self.fingerprint = fingerprint(plan.objective)
        self.programs = 1
        self.weights = self.program.flatten(weights)
        self.rates = self.program.rates_per_entry(plan.learning_rates)
        self.verified = VerifiedPoint(step, self.weights.clone())
        self.first, self.interval = step, 1
        self.current: RunResult | None = None
        self.check_next_step = True
        self.eager: EagerStepper | None = None

    def advance(self, until: int) -> Point:
        """Execute steps up to ``until`` or to an earlier end; see :class:`Stepper`."""
        while self.eager is None:
            point = self._advance(until)
            if point is None:
                self._continue_eagerly("compiled values differ from eager ones")
            elif point.ended or point.step == until:
                return point
        return self.eager.advance(until)

    def run_to_end(self) -> Point | None:
        """Execute all steps; None if a verification fails."""
        while True:
            point = self._advance(self.plan.steps)
            if point is None or point.ended:
                return point

    def after_callback(self) -> None:
        """Compile again if the callback has changed what the objective computes."""
        if self.eager is not None:
            return
        after = fingerprint(self.plan.objective)
        change = self.fingerprint.difference(after)
        weights = self.program.split(self.weights)
        if change is None and values_agree(self.plan.objective, weights, self._values()):
            return
        self.fingerprint = after
        eager = EagerStepper(self.plan, self.recorder, weights, self.step, self._values())
        point = eager.advance(self.step + 1)  # with the values from before the callback
        if point.ended:
            self.eager = eager
            return
        try:
            self._recompile(point)
        except Unsupported as reason:
            self.eager = eager
            warn(f"the objective cannot be compiled again: {reason}; all further steps run eagerly")

    def _recompile(self, point: Point) -> None:
        """Compile the changed objective and continue from a point."""
        program = compile_verified(self.plan.objective, point.weights)
        if not program.same_code(self.program):
            self.programs += 1
        if self.programs > MAX_PROGRAMS:
            raise Unsupported("the callback has changed what it computes too often")
        self.program, self.step = program, point.step
        self.weights = program.flatten(point.weights)
        self.verified = VerifiedPoint(point.step, self.weights.clone())
        self.first, self.interval, self.check_next_step = point.step, 1, True

    def _values(self) -> tuple[Tensor, Weights]:
        """The program's value and partials at the present point."""
        assert self.current is not None
        value = torch.tensor(self.current.loss, dtype=self.program.dtype)
        return value, self.program.split(self.program.partials.clone())

    def _next_step_agrees(self) -> bool:
        """Evaluate the present point and compare the step from there with an eager one."""
        program, step = self.program, self.step
        self.current = program.run(self.weights, self.rates, 0.0, step, step)
        self.check_next_step = False
        if not torch.equal(self.weights, self.verified.weights):
            return False
        return step_agrees(program, self.plan, self.weights, self.rates, self.current)

    def _advance(self, until: int) -> Point | None:
        """Execute steps up to the next verification; None if anything differs."""
        if self.check_next_step and not self._next_step_agrees():
            return None
        target, record = self._next_target(until)
        start = self.current
        assert start is not None
        self.current = self.program.run(
            self.weights, self.rates, self.plan.tolerance, self.step, target, record
        )
        segment = Segment(start, self.verified.weights, self.current, self.weights)
        if not self._agrees(segment, target, record):
            return None
        if record is not None:
            self._store_points(record)
        return self._verified_point(self.current)

    def _next_target(self, until: int) -> tuple[int, RecordBuffer | None]:
        """The step to execute to, and the buffers for the points on the way, if any are due."""
        target = min(until, self.first + self.interval)
        every = self.recorder.every
        if not every:
            return target, None
        count = self.program.count
        slots = max(1, min(MAX_BUFFERED_POINTS, MAX_BUFFERED_ENTRIES // count))
        target = min(target, self.step + slots * every)
        slots = min(slots, (target - self.step) // every + 1)
        dtype = self.program.dtype
        losses, norms = torch.empty(slots, dtype=dtype), torch.empty(slots, dtype=dtype)
        return target, RecordBuffer(every, losses, norms, torch.empty(slots, count, dtype=dtype))

    def _agrees(self, segment: Segment, target: int, record: RecordBuffer | None) -> bool:
        """Whether the end of a segment and its recorded points agree with eager steps."""
        weights = self.program.split(self.weights)
        values = self._values()
        if not end_agrees(self.plan, segment.end, target, weights, values[1]):
            return False
        if not values_agree(self.plan.objective, weights, values):
            return False
        return record is None or record_agrees(self.program, self.plan, record, self.rates, segment)

    def _verified_point(self, result: RunResult) -> Point:
        """Mark the present point as verified and return it."""
        self.step = result.step
        self.verified = VerifiedPoint(self.step, self.weights.clone())
        if self.step == self.first + self.interval:
            self.interval, self.check_next_step = self.interval * 2, True
        stop = None if result.code == Stop.STEPS else Stop(result.code)
        if stop is None and self.step == self.plan.steps:
            stop = Stop.STEPS
        loss = torch.tensor(result.loss, dtype=self.program.dtype)
        weights = self.program.split(self.verified.weights)
        return Point(self.step, weights, loss, result.gradient_norm, stop)

    def _store_points(self, record: RecordBuffer) -> None:
        """Pass the recorded points to the recorder."""
        every, used = record.every, record.used
        if not used:
            return
        first = -(-self.step // every) * every
        steps = torch.arange(first, first + used * every, every)
        path = self.program.split(record.path[:used])
        self.recorder.extend(steps, record.losses[:used], record.norms[:used], path)

    def _continue_eagerly(self, reason: str) -> None:
        """Return to the last verified point and execute all further steps eagerly."""
        step, flat = self.verified
        weights = tuple(w.clone() for w in self.program.split(flat))
        self.eager = EagerStepper(self.plan, self.recorder, weights, step)
        warn(f"{reason}; the steps after step {step} run eagerly")
