"""Settings of a run or a batch, and their callbacks."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

from gd_torch.descent.result import BatchProgress, Point, Stop
from gd_torch.typing import Objective, Weights

Callback = Callable[[int, float, Weights], bool | None]
"""``callback(step, loss, weights)``; the run stops if it returns False."""

MAX_STEPS = 2**62
"""Limit of step numbers, which are 64-bit integers in tensors and in compiled code."""


@dataclass(frozen=True)
class Plan:
    """The validated settings of one run; see ``descend`` for their meaning.

    Attributes:
        learning_rates: one per weight tensor; infinity if it exceeds the range of its dtype.
    """

    objective: Objective
    learning_rates: tuple[float, ...]
    steps: int
    tolerance: float
    callback: Callback | None
    callback_every: int
    first_step: int = 0

    def next_event(self, step: int) -> int:
        """The next step at which the callback is due or the step limit is reached."""
        if self.callback is None:
            return self.steps
        return min(self.steps, (step // self.callback_every + 1) * self.callback_every)

    def finish_step(self, point: Point) -> Point:
        """Call the callback if it is due; return the point, with ``Stop.CALLBACK`` if it stops.

        The callback is not called if the run has diverged. Any other reason to stop has precedence
        over that of the callback.
        """
        diverged = point.stop is not None and point.stop.diverged
        if self.callback is None or point.step % self.callback_every or diverged:
            return point
        copies = tuple(w.clone() for w in point.weights)
        stopped = self.callback(point.step, point.loss.item(), copies) is False
        return point if not stopped or point.ended else point._replace(stop=Stop.CALLBACK)


@dataclass(frozen=True)
class BatchPlan:
    """The validated settings of many runs; see ``descend_many`` for their meaning.

    Attributes:
        learning_rates: per weight tensor, shape (runs,), in its dtype.
    """

    objective: Objective
    learning_rates: Weights
    steps: int
    tolerance: float
    callback: Callable[[int], object] | None

    def next_event(self, finished: int) -> int:
        """The callback is due when another run has ended."""
        return finished + 1

    def finish_step(self, reached: BatchProgress) -> BatchProgress:
        """Call the callback with the number of runs that have ended."""
        if self.callback is not None:
            self.callback(reached.finished)
        return reached


def check_stepper(stepper: object, stacklevel: int = 3) -> str:
    """Check the argument ``stepper``: "auto", "eager" or "compiled"; "fused" is deprecated.

    Raises:
        ValueError: it is something else.
    """
    if not isinstance(stepper, str) or stepper not in ("auto", "eager", "compiled", "fused"):
        raise ValueError(f"`stepper` must be 'auto', 'eager' or 'compiled', got {stepper!r}")
    if stepper == "fused":
        message = "`stepper='fused'` is deprecated, use 'compiled'"
        warnings.warn(message, DeprecationWarning, stacklevel=stacklevel)
        return "compiled"
    return stepper
