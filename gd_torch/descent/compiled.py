"""Compiled steps of one run, verified against eager evaluations on the way.

No recording proves that compiled code does what the objective will do later: a branch may open, a
callback may change what the objective reads. So loss and partials are compared with an eager
evaluation at the same point: at the start, at a moved point, after 1, 2, 4, 8, ... steps, before
and after every callback, and where the run ends. There the norm, the decision to stop and the
recorded points are checked too, and after 0, 1, 2, 4, ... steps the update. Points are recorded
once they are verified; at a difference those since the last verified point are discarded, and the
run goes on eagerly.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from gd_torch.compiler import Program, RecordBuffer, RunResult, Unsupported
from gd_torch.compiler.side_effects import fingerprint, hidden_inputs
from gd_torch.descent.driver import Stepper
from gd_torch.descent.eager import EagerStepper
from gd_torch.descent.plan import Plan
from gd_torch.descent.recorder import Recorder
from gd_torch.descent.result import Point, Stop
from gd_torch.descent.verification import (
    agrees,
    is_right_end,
    is_right_record,
    makes_the_step,
    side_effect,
    verified_program,
)
from gd_torch.typing import Objective, Weights

MAX_PROGRAMS = 8
"""Programs of one run, at most, where the callback changes what the objective computes."""

MAX_SLOTS = 1 << 18
"""Points recorded between two verifications, at most."""

MAX_ENTRIES = 1 << 22
"""Entries of the weights at those points, at most."""


class Verified(NamedTuple):
    """The last point at which compiled and eager values agreed."""

    step: int
    weights: Tensor


def compiled_stepper(plan: Plan, recorder: Recorder, weights: Weights, step: int) -> Stepper[Point]:
    """The compiled steps of one run.

    Raises:
        Unsupported: the objective cannot be compiled, has side effects, or its compiled values
            differ from eager ones.
    """
    return CompiledStepper(plan, recorder, weights, step)


class CompiledStepper:
    """Runs a program from one verification to the next.

    Args:
        plan: what the run is to do.
        recorder: stores the points that are left, if they are due, once they are verified.
        weights: where to go on from.
        step: how many updates have led there.
        program: one that is verified already.

    Attributes:
        here: the program's values where it is; None at the start.
        unproven: whether the step from there is to be checked first.
        eager: the steps that it has gone over to, if any.

    Raises:
        Unsupported: as :func:`compiled_stepper`.
    """

    def __init__(
        self, plan: Plan, recorder: Recorder, weights: Weights, step: int,
        program: Program | None = None,
    ) -> None:  # fmt: skip
        self.plan, self.recorder, self.step = plan, recorder, step
        self.program = program or verified_program(plan.objective, weights)
        self.state = fingerprint(plan.objective)
        self.programs = 1
        self.weights = self.program.flatten(weights)
        self.rates = self.program.rates_per_entry(plan.learning_rates)
        self.verified = Verified(step, self.weights.clone())
        self.first, self.interval = step, 1
        self.here: RunResult | None = None
        self.unproven = True
        self.eager: EagerStepper | None = None

    def advance(self, until: int) -> Point:
        """Make steps up to ``until``; the point there, or the one where the run ends before."""
        while self.eager is None:
            point = self._advance(until)
            if point is None:
                self._go_on_eagerly("compiled values differ from eager ones")
            elif point.ended or point.step == until:
                return point
        return self.eager.advance(until)

    def end(self) -> Point | None:
        """Make all steps; None if they did not agree with eager evaluations up to the end."""
        while True:
            point = self._advance(self.plan.steps)
            if point is None or point.ended:
                return point

    def after_callback(self) -> None:
        """Look whether the callback has changed what the objective reads, and record it again."""
        if self.eager is not None:
            return
        state = fingerprint(self.plan.objective)
        change = self.state.difference(state)
        weights = self.program.split(self.weights)
        if change is None and agrees(self.plan.objective, weights, self._values()):
            return
        self.state = state
        eager = EagerStepper(self.plan, self.recorder, weights, self.step, self._values())
        point = eager.advance(self.step + 1)  # leaves the point as it was before the callback
        if point.ended:
            self.eager = eager
            return
        try:
            self._record_again(point)
        except Unsupported as why:
            self.eager = eager
            warn(f"the objective cannot be compiled again: {why}; all further steps run eagerly")

    def _record_again(self, point: Point) -> None:
        """Go on from a point with what the objective computes now."""
        program = verified_program(self.plan.objective, point.weights)
        if not program.same_code(self.program):
            self.programs += 1
        if self.programs > MAX_PROGRAMS:
            raise Unsupported("the callback has changed what it computes too often")
        self.program, self.step = program, point.step
        self.weights = program.flatten(point.weights)
        self.verified = Verified(point.step, self.weights.clone())
        self.first, self.interval, self.unproven = point.step, 1, True

    def _values(self) -> tuple[Tensor, Weights]:
        """The objective's value and partials at the point where the program is."""
        assert self.here is not None
        value = torch.tensor(self.here.loss, dtype=self.program.dtype)
        return value, self.program.split(self.program.partials.clone())

    def _proves_a_step(self) -> bool:
        """Evaluate where the program is; whether the step from there is an eager one."""
        program, step = self.program, self.step
        self.here, self.unproven = program.run(self.weights, self.rates, 0.0, step, step), False
        if not torch.equal(self.weights, self.verified.weights):
            return False
        return makes_the_step(program, self.plan, self.weights, self.rates, self.here)

    def _advance(self, until: int) -> Point | None:
        """Make steps up to the next verification; None if anything differs there."""
        if self.unproven and not self._proves_a_step():
            return None
        check = self.first + self.interval
        slots = max(1, min(MAX_SLOTS, MAX_ENTRIES // self.program.count))
        every = self.recorder.every
        target = min(until, check)
        record = None
        if every:
            target = min(target, self.step + slots * every)
            record = self._room(min(slots, (target - self.step) // every + 1))
        result = self.program.run(
            self.weights, self.rates, self.plan.tolerance, self.step, target, record
        )
        stop = None if result.code == Stop.STEPS else Stop(result.code)
        if result.step == self.plan.steps and stop is None:
            stop = Stop.STEPS
        weights = self.program.split(self.weights)
        before, self.here = self.here, result
        assert before is not None
        value, partials = self._values()
        if not is_right_end(self.plan, result, target, weights, partials):
            return None
        if not agrees(self.plan.objective, weights, (value, partials)):
            return None
        if record is not None:
            start, end = self.verified.weights, self.weights
            given = (self.program, self.plan, record, self.rates)
            if not is_right_record(*given, before, start, result, end):
                return None
            self._hand_over(record)
        self.step = result.step
        self.verified = Verified(self.step, self.weights.clone())
        if self.step == check:
            self.interval, self.unproven = self.interval * 2, True
        loss = torch.tensor(result.loss, dtype=self.program.dtype)
        norm = result.gradient_norm
        return Point(self.step, self.program.split(self.verified.weights), loss, norm, stop)

    def _room(self, slots: int) -> RecordBuffer:
        dtype = self.program.dtype
        return RecordBuffer(
            self.recorder.every, torch.empty(slots, dtype=dtype), torch.empty(slots, dtype=dtype),
            torch.empty(slots, self.program.count, dtype=dtype),
        )  # fmt: skip

    def _hand_over(self, record: RecordBuffer) -> None:
        """Give the points left since the last verified one to the recorder."""
        every, used = record.every, record.used
        if not used:
            return
        first = -(-self.step // every) * every
        steps = torch.arange(first, first + used * every, every)
        path = self.program.split(record.path[:used])
        self.recorder.extend(steps, record.losses[:used], record.norms[:used], path)

    def _go_on_eagerly(self, why: str) -> None:
        """Discard what is not verified and make all further steps eagerly."""
        step, flat = self.verified
        weights = tuple(w.clone() for w in self.program.split(flat))
        self.eager = EagerStepper(self.plan, self.recorder, weights, step)
        warn(f"{why}; the steps after step {step} run eagerly")


def side_effects_of(objective: Objective, evaluate_it: Callable[[], object]) -> str | None:
    """Why an objective must not be compiled, as seen while it is evaluated; None if nothing is."""
    before = fingerprint(objective)
    evaluate_it()
    change = before.difference(fingerprint(objective))
    return hidden_inputs(objective) or side_effect(change)


def warn(message: str) -> None:
    """A RuntimeWarning at the line that called the library."""
    frame, level = inspect.currentframe(), 1
    while frame is not None and frame.f_globals.get("__name__", "").startswith("gd_torch."):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, RuntimeWarning, stacklevel=level)
