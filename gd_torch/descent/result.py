"""Where runs stand and how they end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import torch
from torch import Tensor

from gd_torch.typing import Weights


class Stop(IntEnum):
    """Why a run ended; 0 stands for a run that has not ended. ``str(stop)`` is a sentence.

    Compiled steps return these numbers and files of sweeps hold them: they must not change.

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
        """The reason in words."""
        return _SENTENCES[self]

    @property
    def diverged(self) -> bool:
        """Whether a loss, a partial or a weight left the finite numbers."""
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
    """A point of a run, evaluated and not left yet.

    Attributes:
        step: how many updates have led there.
        weights: one tensor per argument of the objective; the holder does not change them.
        loss: the objective there, shape (), in the objective's dtype.
        gradient_norm: the Euclidean norm over the partials of all weights there.
        stop: why the run ends there, None if it may go on.
    """

    step: int
    weights: Weights
    loss: Tensor
    gradient_norm: float
    stop: Stop | None = None

    @property
    def progress(self) -> int:
        """How many updates have been made."""
        return self.step

    @property
    def ended(self) -> bool:
        """Whether the run ends here."""
        return self.stop is not None


class BatchProgress(NamedTuple):
    """How far a batch has come.

    Attributes:
        finished: how many runs have ended.
        runs: how many there are.
    """

    finished: int
    runs: int

    @property
    def progress(self) -> int:
        """How many runs have ended."""
        return self.finished

    @property
    def ended(self) -> bool:
        """Whether all have."""
        return self.finished == self.runs


@dataclass(frozen=True, eq=False)
class Descent:
    """A finished run; all tensors are detached.

    Attributes:
        weights: the last finite weights, one tensor per argument of the objective.
        path: per weight the recorded weights, shape (recorded, *shape); the last is ``weights``.
        losses: the objective at each recorded point, shape (recorded,).
        gradient_norms: the Euclidean norm over the partials of all weights there, (recorded,).
        recorded_steps: how many updates had been made at each recorded point, int64, (recorded,).
        steps: how many updates were made.
        stop: why it ended.
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
    """The ends of r finished runs; all tensors are detached.

    Attributes:
        weights: the last finite weights, one tensor of shape (r, *shape) per argument.
        losses: the objective there, shape (r,).
        gradient_norms: the Euclidean norm over the partials of all weights there, shape (r,).
        steps: how many updates each run made, int64, shape (r,).
        codes: why each run ended, as the number of its :class:`Stop`, int64, shape (r,).
    """

    weights: Weights
    losses: Tensor
    gradient_norms: Tensor
    steps: Tensor
    codes: Tensor

    def to_tensors(self) -> list[Tensor]:
        """All tensors in a row."""
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
        """Which runs ended below the tolerance, bool, shape (r,)."""
        return self.codes == Stop.TOLERANCE

    @property
    def diverged(self) -> Tensor:
        """Which runs left the finite numbers, bool, shape (r,)."""
        diverged = [int(stop) for stop in Stop if stop.diverged]
        return torch.isin(self.codes, torch.tensor(diverged, device=self.codes.device))
