"""Training of a net with every pair of two learning rates, for figure 17."""

from __future__ import annotations

import os

import torch
from torch import Tensor
from tqdm import tqdm

from gd_torch import descend_many, init_weights, load_iris, network_mse
from gd_torch.data.dataset import standardise
from gd_torch.plots import LossGrid
from gd_torch.typing import Objective

STEPS = 1000
POINTS, ZOOM_POINTS = 256, 192
"""The number of learning rates of each matrix, in the map and in the enlarged part."""

LIMITS = (-1.5, 4.0)
"""log10 of the learning rates, the same for both matrices."""

WINDOW = ((-0.2, 1.6), (2.3, 3.3))
"""log10 of the learning rates of the enlarged part, of W1 and of W2."""

QUIET = False
"""Show no progress bar, even on a terminal."""


def standardised_mse() -> Objective:
    """MSE(W1, W2) on the iris data with standardised features."""
    X, Y, _ = load_iris(dtype=torch.float32)
    return network_mse(standardise(X), Y)


def learnt_threshold() -> float:
    """The lowest MSE of a net that distinguishes only one species from the other two: 1/9."""
    Y = load_iris().Y
    known = Y[:, 0] == 1
    shares = Y[~known].mean(0)  # a half each
    return float(((Y[~known] - shares) ** 2).sum() / Y.numel())


def train_grid(first: Tensor, second: Tensor) -> LossGrid:
    """The final MSE of the 28-weight net of seed 0 for every pair of learning rates.

    Args:
        first: learning rates of W1, shape (c,). second: those of W2, shape (r,).
    """
    rates = torch.stack([t.flatten() for t in torch.meshgrid(second, first, indexing="ij")], 1)
    rates = rates.flip(1)  # (runs, 2): W1, W2
    start = init_weights((4, 4, 3), seed=0, dtype=torch.float32)
    starts = tuple(W.expand(len(rates), *W.shape) for W in start)
    silent = True if QUIET else None
    with tqdm(total=len(rates), unit="run", leave=False, disable=silent) as bar:
        runs = descend_many(
            standardised_mse(),
            starts,
            rates,
            steps=STEPS,
            callback=lambda finished: bar.update(finished - bar.n),
        )
    return LossGrid(first, second, runs.losses.reshape(len(second), len(first)))


def trainability() -> tuple[LossGrid, LossGrid]:
    """The whole map, and a part of it with more learning rates."""

    def rates(limits: tuple[float, float], points: int) -> Tensor:
        return torch.logspace(*limits, points, dtype=torch.float64)

    threads = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or 1)  # the bits do not depend on the number of threads
    try:
        whole = train_grid(rates(LIMITS, POINTS), rates(LIMITS, POINTS))
        first, second = (rates(limits, ZOOM_POINTS) for limits in WINDOW)
        return whole, train_grid(first, second)
    finally:
        torch.set_num_threads(threads)
