"""The steps of a descent with nothing between them: one is compiled, then launched in a row."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gd_torch.kernel import Kernel, Untraceable
from gd_torch.objectives import Objective, Weights
from gd_torch.partials import evaluate
from gd_torch.record import Descent, Record, Stop
from gd_torch.stepping import Plan, update
from gd_torch.transition import CODES, transition

LAUNCHES = 1000
"""Steps launched before the host looks whether the run has stopped."""

SLOTS = 4096
"""Points recorded before the host fetches them, at most."""

ROOM = 1 << 22
"""Entries of the weights recorded before the host fetches them, at most."""

CHECKED = 3
"""Steps compared with eager ones before a compiled step is trusted."""


class FusedSteps:
    """The state of a descent, moved by a compiled step.

    A launch evaluates the current point, records it, decides whether to stop there and otherwise
    moves on. At a stop it changes nothing, so that launches beyond one do no harm.

    Args:
        plan: what the descent is to do.
        every: record every so many steps; 0 records nothing.
        start: the weights to go on from.
        step: how many updates have led there.

    Raises:
        Untraceable: the objective cannot be traced or compiled, or its first steps differ from
            eager ones.
    """

    def __init__(self, plan: Plan, every: int, start: Weights, step: int) -> None:
        self.plan, self.every = plan, every
        loss, _ = evaluate(plan.objective, start)
        self.weights = [w.clone() for w in start]
        self.rates = [
            torch.tensor(a, dtype=w.dtype) for a, w in zip(plan.rates, start, strict=True)
        ]
        self.tolerance = torch.tensor(plan.tolerance, dtype=torch.float64)
        self.step, self.limit, self.code, self.base, self.period = (
            torch.tensor(0) for _ in "12345"
        )
        self.loss, self.norm = torch.zeros_like(loss), torch.zeros_like(loss)
        self.slots = max(1, min(SLOTS, ROOM // sum(w.numel() for w in start)))
        slots = self.slots + 1 if every else 0  # the last slot takes what is not to be recorded
        self.losses, self.norms = loss.new_zeros(slots), loss.new_zeros(slots)
        self.path = [w.new_zeros((slots, *w.shape)) for w in start]
        self.period.fill_(max(every, 1))
        state = [*self.weights, *self.rates, self.tolerance, self.step, self.limit, self.code]
        state += [self.loss, self.norm]
        if every:
            state += [self.period, self.base, self.losses, self.norms, *self.path]
        self.kernel = Kernel(_one_step(plan.objective, len(start), every > 0, self.slots), state)
        self._check(start)
        self._place(start, step)

    def descend(self, kept: Record) -> Descent:
        """Launch until the run ends, pausing for the callback and to fetch what was recorded."""
        settled = int(self.step) - 1  # the callback has seen the points up to here
        while True:
            step, stop = self._run(self._next_pause(settled))
            settled = step
            value, weights = float(self.loss), tuple(self.weights)
            paused = None if stop is Stop.STEPS else stop
            ended = self.plan.settle(paused, step, value, weights)
            if self.every and (ended or step == self._full()):
                self._fetch(kept, step)
            if ended is not None:
                last = tuple(w.clone() for w in weights)
                kept.add(step, last, value, float(self.norm), last=True)
                return kept.descent(self.loss.dtype, ended)

    def _next_pause(self, settled: int) -> int:
        """The step after ``settled`` at which the host has something to do."""
        pauses = [self.plan.steps]
        if self.plan.callback:
            pauses.append((settled // self.plan.callback_every + 1) * self.plan.callback_every)
        if self.every:
            pauses.append(self._full())
        return min(pauses)

    def _full(self) -> int:
        """The step after the last one that the buffers have a slot for."""
        return (int(self.base) + self.slots) * self.every

    def _fetch(self, kept: Record, step: int) -> None:
        """Hand over what was recorded before ``step``, and start again from the first slot."""
        first = int(self.base)
        count = -(-step // self.every) - first
        steps = torch.arange(first, first + count) * self.every
        parts = (buffer[:count] for buffer in (self.losses, self.norms, *self.path))
        losses, norms, *path = parts
        kept.extend(steps, losses, norms, tuple(path))
        self.base.add_(count)

    def _run(self, limit: int) -> tuple[int, Stop]:
        """Launch until the run stops by itself or has made ``limit`` steps, evaluated there."""
        self.limit.fill_(limit)
        ahead = limit - int(self.step) + 1
        while True:
            self.kernel.run(min(ahead, LAUNCHES))
            ahead -= LAUNCHES
            stop = CODES[int(self.code)]
            if stop is not None:
                return int(self.step), stop

    def _check(self, start: Weights) -> None:
        """A few steps must be those of eager mode; a counter or a die in the objective shows."""
        self._place(start, 0)
        self._run(CHECKED)
        weights = start
        for _ in range(int(self.step)):
            _, slopes = evaluate(self.plan.objective, weights)
            weights = update(weights, slopes, self.plan.rates)
        loss, _ = evaluate(self.plan.objective, weights)
        pairs = [*zip(self.weights, weights, strict=True), (self.loss, loss)]
        near = 1e4 * torch.finfo(loss.dtype).eps
        for ours, eagerly in pairs:
            scale = float(eagerly.abs().amax())
            if not torch.allclose(ours, eagerly, rtol=near, atol=near * scale, equal_nan=True):
                raise Untraceable("its compiled steps differ from eager ones")

    def _place(self, weights: Weights, step: int) -> None:
        """Go to a point."""
        for w, there in zip(self.weights, weights, strict=True):
            w.copy_(there)
        self.step.fill_(step)
        self.base.fill_(-(-step // max(self.every, 1)))


def _one_step(objective: Objective, count: int, record: bool, slots: int) -> Callable[..., None]:
    """The step that is compiled, of count weights, count rates and the rest of the state."""
    advance = transition(objective)

    def one_step(*state: Tensor) -> None:
        weights, rates = state[:count], state[count : 2 * count]
        tolerance, step, limit, code, loss, norm = state[2 * count : 2 * count + 6]
        after = advance(weights, rates, tolerance, step, limit)
        if record:
            period, base, losses, norms, *path = state[2 * count + 6 :]
            due = (step % period == 0) & (step // period >= base)
            slot = torch.where(due, step // period - base, slots)
            now = (after.loss, after.norm, *weights)
            for buffer, value in zip((losses, norms, *path), now, strict=True):
                buffer.index_put_((slot[None],), value[None])
        for old, new in zip((*weights, step, code, loss, norm), after.flat(), strict=True):
            old.copy_(new)

    return one_step
