"""The problem that all contenders solve: a 4-h-3 net on iris, standardised, in float32."""

from __future__ import annotations

import torch

from gd_torch import init_weights, load_iris
from gd_torch.table import standardise

RATE = 0.5


def data() -> tuple[torch.Tensor, torch.Tensor]:
    """X (150, 4) and Y (150, 3)."""
    X, Y, _ = load_iris(dtype=torch.float32)
    return standardise(X), Y


def start(hidden: int, runs: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """W1 and W2, or a stack of them for so many runs."""
    if not runs:
        return init_weights((4, hidden, 3), seed=0, dtype=torch.float32)
    drawn = torch.Generator().manual_seed(0)
    return (
        torch.randn(runs, 4, hidden, generator=drawn),
        torch.randn(runs, hidden, 3, generator=drawn),
    )
