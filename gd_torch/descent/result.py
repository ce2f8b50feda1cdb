"""Points and results of runs, and the reasons why they end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import torch
from torch import Tensor

from gd_torch.typing import Weights


class Stop(IntEnum):
    """Why a run ended. ``str(stop)`` is a sentence.

    The values must not change: compiled code returns them, and files of sweeps contain them. 0
    means that a run has not ended.

    >>> print(Stop(4), Stop.STEPS.diverged)
    It reached the step limit. False
    """

    LOSS = 1
    GRADIENT = 2
    TOLERANCE = 3
    STEPS = 4
    WEIGHT = 5
    CALLBACK = 6

    @property
    def sentence(self) -> str:
        """The reason as a sentence."""
        return _SENTENCES[self]

    @property
    def diverged(self) -> bool:
        """Whether a loss, a partial or an updated weight is not finite."""
        return self in (Stop.LOSS, Stop.GRADIENT, Stop.WEIGHT)

    def __str__(self) -> str:
        return self.sentence

    def __format__(self, spec: str) -> str:
        return format(self.sentence, spec)


_SENTENCES = {
    Stop.LOSS: "It diverged: the loss is not finite.",
    Stop.GRADIENT: "It diverged: a partial is not finite.",
    Stop.TOLERANCE: "The gradient norm fell below the tolerance.",
    Stop.STEPS: "It reached the step limit.",
    Stop.WEIGHT: "It diverged: the next update would make a weight that is not finite.",
    Stop.CALLBACK: "The callback asked it to stop.",
}


class Point(NamedTuple):
    """The present point of a run, with the objective evaluated there.

    Attributes:
        step: number of updates so far.
        weights: one tensor per argument of the objective; must not be modified.
        loss: the objective there, shape (), in the objective's dtype.
        gradient_norm: the Euclidean norm over the partials of all weights there.
        stop: why the run ends there, None if it does not.
    """

    step: int
    weights: Weights
    loss: Tensor
    gradient_norm: float
    stop: Stop | None = None

    @property
    def progress(self) -> int:
        """Number of updates."""
        return self.step

    @property
    def ended(self) -> bool:
        """Whether the run ends here."""
        return self.stop is not None


class BatchProgress(NamedTuple):
    """The progress of a batch.

    Attributes:
        finished: number of runs that have ended.
        runs: number of runs.
    """

    finished: int
    runs: int

    @property
    def progress(self) -> int:
        """Number of runs that have ended."""
        return self.finished

    @property
    def ended(self) -> bool:
        """Whether all runs have ended."""
        return self.finished == self.runs


@dataclass(frozen=True, eq=False)
class Descent:
    """The result of one run; all tensors are detached.

    Attributes:
        weights: the last finite weights, one tensor per argument of the objective.
        path: per weight the recorded values, shape (recorded, *shape); the last is ``weights``.
        losses: the objective at each recorded point, shape (recorded,).
        gradient_norms: the Euclidean norm over the partials of all weights there, (recorded,).
        recorded_steps: number of updates before each recorded point, int64, (recorded,).
        steps: number of updates.
        stop: why the run ended.
    """

    weights: Weights
    path: tuple[Tensor, ...]
    losses: Tensor
    gradient_norms: Tensor
    recorded_steps: Tensor
    steps: int
    stop: Stop

    @property
    def converged(self) -> bool:
        """Whether the gradient norm fell below the tolerance."""
        return self.stop is Stop.TOLERANCE

    def __str__(self) -> str:
        return (
            f"{self.steps} steps, loss {float(self.losses[-1]):.6g}, "
            f"gradient norm {float(self.gradient_norms[-1]):.3g}. {self.stop.sentence}"
        )


@dataclass(frozen=True, eq=False)
class Descents:
    """The final points of r runs; all tensors are detached.

    Attributes:
        weights: the last finite weights, one tensor of shape (r, *shape) per argument.
        losses: the objective there, shape (r,).
        gradient_norms: the Euclidean norm over the partials of all weights there, shape (r,).
        steps: number of updates of each run, int64, shape (r,).
        codes: why each run ended, as the value of a :class:`Stop`, int64, shape (r,).
    """

    weights: Weights
    losses: Tensor
    gradient_norms: Tensor
    steps: Tensor
    codes: Tensor

    def to_tensors(self) -> list[Tensor]:
        """All tensors as a list: weights, losses, gradient norms, steps, codes."""
        return [*self.weights, self.losses, self.gradient_norms, self.steps, self.codes]

    @classmethod
    def from_tensors(cls, tensors: Sequence[Tensor]) -> Descents:
        """The inverse of :meth:`to_tensors`."""
        *weights, losses, gradient_norms, steps, codes = tensors
        return cls(tuple(weights), losses, gradient_norms, steps, codes)

    @property
    def stop(self) -> tuple[Stop, ...]:
        """Why each run ended."""
        return tuple(Stop(code) for code in self.codes.tolist())

    @property
    def converged(self) -> Tensor:
        """Which runs ended with a gradient norm below the tolerance, bool, shape (r,)."""
        return self.codes == Stop.TOLERANCE

    @property
    def diverged(self) -> Tensor:
        """Which runs diverged, bool, shape (r,)."""
        diverged = [int(stop) for stop in Stop if stop.diverged]
        return torch.isin(self.codes, torch.tensor(diverged, device=self.codes.device))
