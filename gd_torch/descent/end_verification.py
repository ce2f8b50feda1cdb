"""Verification of the final points of a batch against eager evaluations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from gd_torch.compiler import Program, RunEnds
from gd_torch.descent.agreement import entries_agree, flatten_runs, rounding_tolerances
from gd_torch.descent.verification import values_agree
from gd_torch.typing import Objective, Weights

BatchEvaluation = Callable[[Weights], tuple[Tensor, Weights]]
"""Returns the losses, shape (r,), and the partials of r points."""

TARGET_SINGLE_CHECKS = 64
"""Runs of a chunk that are verified one by one if the batch leaves doubts."""


class EndVerification:
    """Compares final points with batched evaluations, and those in doubt with single ones.

    Args:
        objective: the objective of all runs.
        program: splits the flat partials of a run into its weights.
        evaluate: losses and partials of many points at once.
        size: number of points that are evaluated together.
    """

    def __init__(
        self, objective: Objective, program: Program, evaluate: BatchEvaluation, size: int
    ) -> None:
        self.objective, self.program, self.evaluate, self.size = objective, program, evaluate, size

    def agrees(self, weights: Weights, ends: RunEnds) -> bool:
        """Whether losses, partials and norms at the final points agree with eager evaluations."""
        norms = torch.linalg.vector_norm(ends.partials.double(), dim=1)
        if not bool((entries_agree(ends.norms, norms) | ~ends.losses.isfinite()).all()):
            return False
        uncertain: list[int] = []
        for first in range(0, len(ends.losses), self.size):
            block = slice(first, first + self.size)
            points = tuple(w[block] for w in weights)
            try:
                differing = self._differing(points, RunEnds(*(column[block] for column in ends)))
            except RuntimeError:  # the objective cannot be batched
                return self._agree_singly(weights, ends, evenly_spaced(range(len(ends.losses))))
            uncertain += (first + differing).tolist()
        return self._agree_singly(weights, ends, evenly_spaced(uncertain))

    def _differing(self, weights: Weights, ends: RunEnds) -> Tensor:
        """Indices of the runs whose loss or partials differ from batched eager ones, int64."""
        losses, partials = self.evaluate(weights)
        agree = entries_agree(ends.losses, losses)
        agree &= entries_agree(ends.partials, flatten_runs(partials)).all(1)
        agree |= ~ends.losses.isfinite() & ~losses.isfinite()
        indices = (~agree).nonzero().flatten()
        if not len(indices):
            return indices
        points = tuple(w[indices] for w in weights)
        losses, partials = self.evaluate(points)
        loss_difference = (ends.losses[indices] - losses).abs()
        partial_difference = (ends.partials[indices] - flatten_runs(partials)).abs()
        differs = torch.ones_like(indices, dtype=torch.bool)
        samples = rounding_tolerances(self.evaluate, points, (losses, partials))
        for tolerance, *tolerances in samples:
            within = (partial_difference <= flatten_runs(tolerances)).all(1)
            differs &= ~((loss_difference <= tolerance) & within)
            if not bool(differs.any()):
                break
        return indices[differs]

    def _agree_singly(self, weights: Weights, ends: RunEnds, runs: Iterable[int]) -> bool:
        """Whether some runs agree with single evaluations, given their rounding errors."""
        return all(
            values_agree(
                self.objective,
                tuple(w[run] for w in weights),
                (ends.losses[run], self.program.split(ends.partials[run])),
            )
            for run in runs
        )


def evenly_spaced(runs: Sequence[int]) -> Sequence[int]:
    """An evenly spaced selection of 64 to 127 runs; all if they are fewer."""
    return runs[:: max(1, len(runs) // TARGET_SINGLE_CHECKS)]
