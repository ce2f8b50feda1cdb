"""The driver loop of single runs and of batches: advance, call the callback, stop."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Protocol, TypeVar

from gd_torch.compiler.errors import Unsupported


class Progress(Protocol):
    """The result of ``Stepper.advance``: ``Point`` for one run, ``BatchProgress`` for many."""

    @property
    def progress(self) -> int:
        """Number of updates, or of runs that have ended."""

    @property
    def ended(self) -> bool:
        """Whether the run, or all runs, have ended."""


R = TypeVar("R", bound=Progress)
R_co = TypeVar("R_co", bound=Progress, covariant=True)


class Stepper(Protocol[R_co]):
    """Executes steps and passes due points to its recorder.

    A point is recorded when the stepper advances beyond it. The stepper remains at the point that
    it returned until ``advance`` is called again.
    """

    def advance(self, until: int) -> R_co:
        """Advance to at most ``until`` updates (or runs that have ended), or to an earlier end.

        The returned point is evaluated. After the end of a run, further calls return the same
        point.
        """

    def after_callback(self) -> None:
        """Called after the callback, which may have changed data of the objective."""


class Events(Protocol[R]):
    """The callback events of a run or a batch: a ``Plan`` or a ``BatchPlan``."""

    def next_event(self, progress: int, /) -> int:
        """The next progress, after this one, at which the driver must regain control."""

    def finish_step(self, reached: R, /) -> R:
        """Call the callback if it is due; return the point, with the callback's reason to stop."""


def drive(events: Events[R], stepper: Stepper[R], progress: int, until: int | None = None) -> R:
    """Advance a stepper to the end of the run or to ``until``.

    Args:
        events: the callback events.
        stepper: executes the steps.
        progress: present progress of the stepper; the callback is not called there.
        until: the progress to stop at, for a stepper that is then replaced; None for no limit.

    Returns:
        The last point.
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
    """Create the compiled stepper, or the eager one with a RuntimeWarning if that is impossible."""
    try:
        return make_compiled()
    except Unsupported as reason:
        message = f"the objective cannot be compiled, its steps run eagerly: {reason}"
        warnings.warn(message, RuntimeWarning, stacklevel=stacklevel)
        return make_eager()
