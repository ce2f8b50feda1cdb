"""What a run leaves behind: why it stopped, where it went."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal

import torch
from torch import Tensor

from gd_torch.objectives import Weights


class Stop(Enum):
    """Why a descent ended; the value is a sentence."""

    STEPS = "It made all the steps that were asked for."
    TOLERANCE = "The gradient norm fell below the tolerance."
    CALLBACK = "The callback asked it to stop."
    LOSS = "It diverged: the loss is not finite."
    GRADIENT = "It diverged: a partial is not finite."
    WEIGHT = "It diverged: the next update would make a weight that is not finite."

    @property
    def diverged(self) -> bool:
        """Whether a loss, a partial or a weight left the finite numbers."""
        return self in (Stop.LOSS, Stop.GRADIENT, Stop.WEIGHT)


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
            f"gradient norm {float(self.gradient_norms[-1]):.3g}. {self.stop.value}"
        )


class Record:
    """Collects points; tensors are stacked in blocks, so that a long run holds few objects."""

    BLOCK = 1024

    def __init__(self, record: Literal["all", "last"] | int) -> None:
        if record == "all":
            record = 1
        elif record == "last":
            record = 0
        elif type(record) is not int or record < 1:
            raise ValueError(
                f"`record` must be 'all', 'last' or a whole number of at least 1, got {record!r}"
            )
        self.every = min(record, 2**62)  # a step's number has 64 bits
        self.points: list[Weights] = []
        self.numbers: list[tuple[int, float, float]] = []
        self.blocks: list[Weights] = []

    def due(self, step: int) -> bool:
        """Whether the point at this step is to be kept."""
        return self.every > 0 and step % self.every == 0

    def add(self, step: int, weights: Weights, loss: float, norm: float, *, last: bool) -> None:
        """Keep this point if it is due or the last."""
        if not last and not self.due(step):
            return
        self.points.append(weights)
        self.numbers.append((step, loss, norm))
        if last or len(self.points) == self.BLOCK:
            self._stack()

    def extend(self, steps: Tensor, losses: Tensor, norms: Tensor, path: Weights) -> None:
        """Keep points that are due, given as tensors of shape (points, ...), which are copied."""
        self._stack()
        self.blocks.append((steps, losses.clone(), norms.clone(), *(w.clone() for w in path)))

    def _stack(self) -> None:
        """Pack the points collected so far into one block of tensors."""
        if self.points:
            path = [torch.stack(w) for w in zip(*self.points, strict=True)]
            steps, losses, norms = zip(*self.numbers, strict=True)
            numbers = [torch.tensor(n, dtype=torch.float64, device="cpu") for n in (losses, norms)]
            self.blocks.append((torch.tensor(steps, device="cpu"), *numbers, *path))
            self.points.clear()
            self.numbers.clear()

    def descent(self, dtype: torch.dtype, stop: Stop) -> Descent:
        """The finished run, whose last point was the last one added."""
        columns = zip(*self.blocks, strict=True)
        steps, losses, norms, *path = (torch.cat(blocks) for blocks in columns)
        device = path[0].device
        return Descent(
            weights=tuple(w[-1].clone() for w in path),
            path=tuple(path),
            losses=losses.to(device, dtype),
            gradient_norms=norms.to(device, dtype),
            recorded_steps=steps.to(device),
            steps=int(steps[-1]),
            stop=stop,
        )
