"""The outcomes of descents of the tutorial's curve."""

from __future__ import annotations

import torch
from torch import Tensor

from gd_torch import Descents, curve, partials
from gd_torch.plots import Outcome


def classify_runs(runs: Descents, rates: Tensor) -> Tensor:
    """The :class:`~gd_torch.plots.Outcome` of every run.

    A run that reached the step limit bounces if its next two updates have opposite signs, and is
    too slow otherwise.

    Args:
        runs: descents of the curve. rates: their learning rates, shape (runs,).
    """
    slope = partials(lambda w: curve(w).sum())
    (w,) = runs.weights
    bounces = slope(w)[0] * slope(w - rates * slope(w)[0])[0] < 0
    outcomes = torch.where(bounces, int(Outcome.BOUNCES), int(Outcome.TOO_SLOW))
    outcomes[runs.converged] = int(Outcome.CONVERGES)
    outcomes[runs.diverged] = int(Outcome.DIVERGES)
    return outcomes
