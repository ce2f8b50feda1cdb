"""Runs side by side: a queue of runs, and a block of places through which they pass."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gd_torch.kernel import Kernel, Untraceable
from gd_torch.objectives import Objective, Weights
from gd_torch.transition import transition

CHECK = 64
"""Steps between looks at which runs have finished."""

CHECKED = 3
"""Steps compared with eager ones before a compiled block is trusted."""


class Queue:
    """All runs: those that wait, and the results of those that have finished.

    Args:
        weights: start weights, (runs, *shape) each. rates: (runs,) each, one per weight tensor.
        steps, tolerance: of every run.
        like: a tensor of the dtype and device of a loss.
        callback: told how many runs have finished.
    """

    def __init__(
        self,
        weights: Weights,
        rates: Weights,
        steps: int,
        tolerance: float,
        like: Tensor,
        callback: Callable[[int], object] | None,
    ) -> None:
        self.weights, self.rates, self.steps, self.tolerance = weights, rates, steps, tolerance
        self.runs, self.waiting, self.finished = len(weights[0]), 0, 0
        self.callback = callback
        counts = torch.zeros(self.runs, dtype=torch.int64, device=like.device)
        losses = torch.zeros(self.runs, dtype=like.dtype, device=like.device)
        ends = [torch.empty_like(w) for w in weights]
        self.results = (*ends, counts, counts.clone(), losses, losses.clone())

    def take(self, most: int) -> Tensor:
        """The numbers of the next runs in line, ``most`` or fewer."""
        first, self.waiting = self.waiting, min(self.waiting + most, self.runs)
        return torch.arange(first, self.waiting, device=self.weights[0].device)

    def put(self, runs: Tensor, ends: tuple[Tensor, ...]) -> None:
        """The weights, step, code, loss and norm with which these runs have finished."""
        for result, end in zip(self.results, ends, strict=True):
            result[runs] = end
        self.finished += len(runs)
        if self.callback:
            self.callback(self.finished)


class Block:
    """Places for runs; a place whose run has finished takes the next run in line.

    Args:
        objective: of one run.
        queue: where runs come from and go to.
        places: how many runs are under way at a time.
        compiled: launch compiled steps; raises Untraceable where that cannot be.
    """

    def __init__(self, objective: Objective, queue: Queue, places: int, *, compiled: bool) -> None:
        self.queue, self.count = queue, len(queue.weights)
        device = queue.weights[0].device
        like = queue.results[-1]
        self.tolerance = torch.tensor(queue.tolerance, dtype=torch.float64, device=device)
        self.limit = torch.tensor(queue.steps, device=device)
        self.who = torch.full((places,), -1, device=device)  # (places,), -1: nobody
        self.state = [
            *(w[:1].expand(places, *w.shape[1:]).clone() for w in queue.weights),
            *(rate[:1].expand(places).clone() for rate in queue.rates),
            *(torch.zeros(places, dtype=torch.int64, device=device) for _ in ("step", "code")),
            *(torch.zeros(places, dtype=like.dtype, device=device) for _ in ("loss", "norm")),
        ]
        self.one_step = self._one_step(objective)
        self.kernel = self._compile() if compiled else None

    def run(self) -> None:
        """Until the queue is empty and every place is."""
        self._fill(torch.arange(len(self.who), device=self.who.device))
        while True:
            step, code = self.state[2 * self.count : 2 * self.count + 2]
            busy = self.who >= 0
            if not bool(busy.any()):
                return
            ahead = self.queue.steps - int(step[busy].max())
            self._advance(min(CHECK, ahead + 1))
            done = (busy & (code != 0)).nonzero().squeeze(1)
            if len(done):
                ends = (*self.state[: self.count], *self.state[2 * self.count :])
                self.queue.put(self.who[done], tuple(part[done] for part in ends))
                self._fill(done)
                self._shrink()

    def _advance(self, times: int) -> None:
        if self.kernel:
            self.kernel.run(times)
            return
        with torch.no_grad():
            for _ in range(times):
                self.one_step(*self.state, self.tolerance, self.limit)

    def _fill(self, places: Tensor) -> None:
        """Put the next runs in line into these places; nobody into those left over."""
        runs = self.queue.take(len(places))
        self.who[places] = -1
        places = places[: len(runs)]
        self.who[places] = runs
        sources = (*self.queue.weights, *self.queue.rates)
        for part, source in zip(self.state, sources, strict=False):
            part[places] = source[runs]
        for part in self.state[2 * self.count :]:
            part[places] = 0

    def _shrink(self) -> None:
        """Drop the empty places of an eager block once they are the greater part."""
        busy = self.who >= 0
        if self.kernel is None and 2 * int(busy.sum()) < len(busy):
            self.state = [part[busy] for part in self.state]
            self.who = self.who[busy]

    def _one_step(self, objective: Objective) -> Callable[..., None]:
        """The step of all places, in place on (*weights, *rates, step, code, loss, norm)."""
        count = self.count
        many = torch.func.vmap(transition(objective), in_dims=(0, 0, None, 0, None))

        def one_step(*state: Tensor) -> None:
            weights, rates = state[:count], state[count : 2 * count]
            step, code, loss, norm, tolerance, limit = state[2 * count :]
            after = many(weights, rates, tolerance, step, limit)
            for old, new in zip((*weights, step, code, loss, norm), after.flat(), strict=True):
                old.copy_(new)

        return one_step

    def _compile(self) -> Kernel:
        """The compiled step, once its first steps have been seen to equal eager ones."""
        runs = torch.arange(len(self.who)) % self.queue.runs
        for part, source in zip(self.state, (*self.queue.weights, *self.queue.rates), strict=False):
            part.copy_(source[runs])
        state = [*self.state, self.tolerance, self.limit]
        kernel = Kernel(self.one_step, state, leading=1)
        eager = [part.clone() for part in state]
        with torch.no_grad():
            for _ in range(CHECKED):
                self.one_step(*eager)
        kernel.run(CHECKED)
        for ours, theirs in zip(self.state, eager, strict=False):
            near = 1e4 * torch.finfo(ours.dtype).eps if ours.is_floating_point() else 0.0
            scale = theirs.abs().nan_to_num(0.0, 0.0).amax().item()
            if not torch.allclose(ours, theirs, rtol=near, atol=near * scale, equal_nan=True):
                raise Untraceable("its compiled steps differ from eager ones")
        return kernel
