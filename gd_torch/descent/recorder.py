"""Recorders: they store the points of one run, or the final points of many."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from gd_torch.descent.plan import MAX_STEPS
from gd_torch.descent.result import Descent, Descents, Point
from gd_torch.typing import Weights

POINTS_PER_BLOCK = 1024
"""Points that are stacked into one tensor, to limit the number of objects of a long run."""


class Recorder:
    """Stores the due points of a run and its last one.

    Args:
        record: "all", "last" or a period in steps, as for ``descend``.

    Attributes:
        every: the period in steps; 0 if only the last point is stored.

    Raises:
        ValueError: ``record`` is something else.
    """

    def __init__(self, record: Literal["all", "last"] | int) -> None:
        if record == "all":
            record = 1
        elif record == "last":
            record = 0
        elif type(record) is not int or record < 1:
            raise ValueError(
                f"`record` must be 'all', 'last' or an integer of at least 1, got {record!r}"
            )
        self.every = min(record, MAX_STEPS)
        self._points: list[tuple[int, Weights, float, float]] = []
        self._blocks: list[tuple[Tensor, ...]] = []

    def is_due(self, step: int) -> bool:
        """Whether the point at this step must be stored."""
        return self.every > 0 and step % self.every == 0

    def add(self, step: int, weights: Weights, loss: float, gradient_norm: float) -> None:
        """Store a point; the tensors must not be modified afterwards, as they are copied later."""
        self._points.append((step, weights, loss, gradient_norm))
        if len(self._points) == POINTS_PER_BLOCK:
            self._stack()

    def extend(self, steps: Tensor, losses: Tensor, gradient_norms: Tensor, path: Weights) -> None:
        """Store due points: tensors of shape (points, ...), which must not be modified later."""
        self._stack()
        self._blocks.append((steps, losses, gradient_norms, *path))

    def finish(self, last: Point) -> Descent:
        """Store the last point and return the finished run."""
        assert last.stop is not None
        self.add(last.step, last.weights, last.loss.item(), last.gradient_norm)
        self._stack()
        columns = zip(*self._blocks, strict=True)
        steps, losses, norms, *path = (torch.cat(blocks) for blocks in columns)
        device, dtype = path[0].device, last.loss.dtype
        return Descent(
            weights=tuple(w[-1].clone() for w in path),
            path=tuple(path),
            losses=losses.to(device, dtype),
            gradient_norms=norms.to(device, dtype),
            recorded_steps=steps.to(device),
            steps=last.step,
            stop=last.stop,
        )

    def _stack(self) -> None:
        """Stack the points from :meth:`add` into a block of tensors."""
        if not self._points:
            return
        steps, weights, losses, norms = zip(*self._points, strict=True)
        path = [torch.stack(w) for w in zip(*weights, strict=True)]
        numbers = [torch.tensor(n, dtype=torch.float64, device="cpu") for n in (losses, norms)]
        self._blocks.append((torch.tensor(steps, device="cpu"), *numbers, *path))
        self._points.clear()


class BatchRecorder:
    """Stores the final points of many runs, in the order of their starts.

    Args:
        weights: all starts, shape (runs, *shape) each.
        loss: a loss of one run, whose dtype and device the losses have.

    Attributes:
        runs: number of runs.
        finished: number of runs that have ended.
    """

    def __init__(self, weights: Weights, loss: Tensor) -> None:
        self.runs, self.finished = len(weights[0]), 0
        numbers = [loss.new_zeros(self.runs) for _ in range(2)]
        counts = [torch.zeros(self.runs, dtype=torch.int64, device=loss.device) for _ in range(2)]
        self._ends = Descents(tuple(torch.empty_like(w) for w in weights), *numbers, *counts)

    def add(self, runs: Tensor, ends: Descents) -> None:
        """Store the final points of the runs with these indices, int64, shape (ended,)."""
        first = int(runs[0])
        block = slice(first, first + len(runs))
        contiguous = torch.equal(runs, torch.arange(first, block.stop, device=runs.device))
        for column, end in zip(self._ends.to_tensors(), ends.to_tensors(), strict=True):
            column[block if contiguous else runs] = end.to(column.dtype)
        self.finished += len(runs)

    def add_run(self, run: int, last: Point) -> None:
        """Store the final point of one run."""
        ends = self._ends
        for column, w in zip(ends.weights, last.weights, strict=True):
            column[run] = w
        ends.losses[run], ends.gradient_norms[run] = last.loss, last.gradient_norm
        ends.steps[run], ends.codes[run] = last.step, int(last.stop or 0)
        self.finished += 1

    def finish(self) -> Descents:
        """The final points of all runs."""
        return self._ends
