"""The one loop: advance from event to event, call back, stop. For single runs and for batches."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Protocol, TypeVar

from gd_torch.compiler.errors import Unsupported


class Reached(Protocol):
    """Where a stepper has come to: a ``Point`` of a run, or the ``BatchProgress`` of many."""

    @property
    def progress(self) -> int:
        """Updates made, or runs finished."""

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to do."""


R = TypeVar("R", bound=Reached)
R_co = TypeVar("R_co", bound=Reached, covariant=True)


class Stepper(Protocol[R_co]):
    """Executes steps.

    It holds the recorder and stores the points that it leaves, if they are due. It never leaves
    the point that it returned last before it is called again.
    """

    def advance(self, until: int) -> R_co:
        """Make progress up to ``until``, or to an end before it, and return where that is.

        A run is evaluated at the point returned, which has no more than ``until`` updates. If the
        run ends there, every further call returns the same point.
        """

    def after_callback(self) -> None:
        """The callback was called, and may have changed what the objective reads."""


class Events(Protocol[R]):
    """What happens on the way: a ``Plan`` or a ``BatchPlan``."""

    def next_event(self, progress: int, /) -> int:
        """Up to where the stepper need not stop."""

    def finish_step(self, reached: R, /) -> R:
        """Call the callback if it is due; where that leaves the run."""


def drive(events: Events[R], stepper: Stepper[R], progress: int, until: int | None = None) -> R:
    """Advance to the end, or to ``until``; where that is.

    Args:
        events: when to pause, and what to do then.
        stepper: executes the steps.
        progress: where the stepper is; the callback has been called there, or is not due.
        until: where to stop at the latest, for a stepper that another one takes over from.
    """
    while True:
        event = events.next_event(progress)
        reached = stepper.advance(event if until is None else min(event, until))
        if reached.progress > progress:
            reached = events.finish_step(reached)
            progress = reached.progress
        if reached.ended or progress == until:
            return reached
        stepper.after_callback()


def compile_or_warn(
    make_compiled: Callable[[], Stepper[R]], make_eager: Callable[[], Stepper[R]], stacklevel: int
) -> Stepper[R]:
    """The compiled stepper; the eager one, with a RuntimeWarning, if it cannot be compiled."""
    try:
        return make_compiled()
    except Unsupported as why:
        message = f"the objective cannot be compiled, its steps run eagerly: {why}"
        warnings.warn(message, RuntimeWarning, stacklevel=stacklevel)
        return make_eager()
