"""What a run or a batch of runs is to do."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

from gd_torch.descent.result import BatchProgress, Point, Stop
from gd_torch.typing import Objective, Weights

Callback = Callable[[int, float, Weights], bool | None]
"""``callback(step, loss, weights)``; False asks the run to stop."""

MAX_STEPS = 2**62
"""A step's number has 64 bits in tensors and in compiled code; no run comes near this."""


@dataclass(frozen=True)
class Plan:
    """The validated description of one run; see ``descend`` for the meaning of each part.

    Attributes:
        learning_rates: one per weight tensor, infinite where it is beyond the tensor's dtype.
    """

    objective: Objective
    learning_rates: tuple[float, ...]
    steps: int
    tolerance: float
    callback: Callback | None
    callback_every: int
    first_step: int = 0

    def next_event(self, step: int) -> int:
        """The first step after this one at which the callback is due or the run must end."""
        if self.callback is None:
            return self.steps
        return min(self.steps, (step // self.callback_every + 1) * self.callback_every)

    def finish_step(self, point: Point) -> Point:
        """Call the callback if it is due at this point; the point with the reason to stop there.

        A run that has diverged is not shown to the callback; any other reason to stop goes before
        the callback's.
        """
        diverged = point.stop is not None and point.stop.diverged
        if self.callback is None or point.step % self.callback_every or diverged:
            return point
        copies = tuple(w.clone() for w in point.weights)
        goes_on = self.callback(point.step, point.loss.item(), copies) is not False
        return point if goes_on or point.ended else point._replace(stop=Stop.CALLBACK)


@dataclass(frozen=True)
class BatchPlan:
    """The validated description of many runs; see ``descend_many`` for the meaning of each part.

    Attributes:
        learning_rates: per weight tensor one for every run, shape (runs,), in its dtype.
    """

    objective: Objective
    learning_rates: Weights
    steps: int
    tolerance: float
    callback: Callable[[int], object] | None

    def next_event(self, finished: int) -> int:
        """The callback is due as soon as more runs than these have finished."""
        return finished + 1

    def finish_step(self, reached: BatchProgress) -> BatchProgress:
        """Tell the callback how many runs have finished."""
        if self.callback is not None:
            self.callback(reached.finished)
        return reached


def check_stepper(stepper: object, stacklevel: int = 3) -> str:
    """One of "auto", "eager" and "compiled"."""
    if not isinstance(stepper, str) or stepper not in ("auto", "eager", "compiled", "fused"):
        raise ValueError(f"`stepper` must be 'auto', 'eager' or 'compiled', got {stepper!r}")
    if stepper == "fused":
        message = "`stepper`: 'fused' is called 'compiled' now"
        warnings.warn(message, DeprecationWarning, stacklevel=stacklevel)
        return "compiled"
    return stepper
