"""The problems that all programs solve: nets on iris or on random rows, logistic regression."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from gd_torch import init_weights, load_iris, network_mse
from gd_torch.data.dataset import standardise
from gd_torch.typing import Objective

LEARNING_RATE = 0.5

IRIS_ROWS = 150


@dataclass(frozen=True)
class Net:
    """A net of two weight matrices: 4-h-3 on standardised iris, or other sizes on random rows.

    Attributes:
        entropy: use tanh in the hidden layer and the cross entropy, instead of sigmoids and the
            mean squared error.
    """

    hidden: int
    rows: int = IRIS_ROWS
    features: int = 4
    outputs: int = 3
    dtype: torch.dtype = torch.float32
    entropy: bool = False

    def objective(self) -> Objective:
        """The cost as a function of W1 and W2."""
        X, Y = data(self)
        if not self.entropy:
            return network_mse(X, Y)
        classes = Y.argmax(1)
        return lambda W1, W2: torch.nn.functional.cross_entropy(torch.tanh(X @ W1) @ W2, classes)


@functools.cache
def data(net: Net) -> tuple[Tensor, Tensor]:
    """X (rows, features) and Y (rows, outputs)."""
    if (net.rows, net.features, net.outputs) == (IRIS_ROWS, 4, 3):
        X, Y, _ = load_iris(dtype=net.dtype)
        return standardise(X), Y
    drawn = torch.Generator().manual_seed(0)
    classes = torch.randint(net.outputs, (net.rows,), generator=drawn)
    X = torch.randn(net.rows, net.features, generator=drawn)
    return X.to(net.dtype), torch.eye(net.outputs, dtype=net.dtype)[classes]


def start(net: Net, runs: int = 0) -> tuple[Tensor, Tensor]:
    """W1 and W2, or a stack of them for ``runs`` runs.

    With many features W1 is scaled down, so that the sigmoids do not saturate.
    """
    widths = (net.features, net.hidden, net.outputs)
    if not runs:
        W1, W2 = init_weights(widths, seed=0, dtype=net.dtype)
        return W1 * min(1.0, 2 / net.features**0.5), W2
    drawn = torch.Generator().manual_seed(0)
    return (
        torch.randn(runs, *widths[:2], generator=drawn),
        torch.randn(runs, *widths[1:], generator=drawn),
    )


@functools.cache
def logistic(rows: int = 1000, features: int = 20) -> tuple[Tensor, Tensor]:
    """X (rows, features) and labels 0 or 1, shape (rows,)."""
    drawn = torch.Generator().manual_seed(0)
    X = torch.randn(rows, features, generator=drawn)
    chance = torch.sigmoid(X @ torch.randn(features, generator=drawn))
    return X, (torch.rand(rows, generator=drawn) < chance).float()
