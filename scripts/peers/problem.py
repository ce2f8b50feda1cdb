"""The problem that all contenders solve: a 4-h-3 net on iris, standardised, in float32.

Other numbers of rows are drawn from the normal distribution.
"""

from __future__ import annotations

import functools

import torch

from gd_torch import init_weights, load_iris
from gd_torch.table import standardise

RATE = 0.5


ROWS = 150


@functools.cache
def data(rows: int = ROWS) -> tuple[torch.Tensor, torch.Tensor]:
    """X (rows, 4) and Y (rows, 3)."""
    if rows != ROWS:
        drawn = torch.Generator().manual_seed(0)
        classes = torch.randint(3, (rows,), generator=drawn)
        return torch.randn(rows, 4, generator=drawn), torch.eye(3)[classes]
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
