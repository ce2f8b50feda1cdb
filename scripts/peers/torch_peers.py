"""torch as its users write it: an optimiser and backward(), or a batch of nets, eagerly."""

from __future__ import annotations

import torch
from torch import Tensor

from gd_torch import network_mse
from peers.problem import RATE, data, start


def optimiser(hidden: int, steps: int) -> tuple[Tensor, ...]:
    """torch.optim.SGD and backward()."""
    mse = network_mse(*data())
    weights = [W.clone().requires_grad_() for W in start(hidden)]
    sgd = torch.optim.SGD(weights, lr=RATE)
    for _ in range(steps):
        sgd.zero_grad()
        mse(*weights).backward()
        sgd.step()
    return tuple(W.detach() for W in weights)


def batch(hidden: int, runs: int, steps: int) -> tuple[Tensor, ...]:
    """All nets in one eager batch of matrix products."""
    X, Y = data()
    weights = [W.clone().requires_grad_() for W in start(hidden, runs)]
    for _ in range(steps):
        P = torch.sigmoid(torch.sigmoid(X @ weights[0]) @ weights[1])
        loss = ((P - Y) ** 2).mean((1, 2)).sum()
        slopes = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            for W, d in zip(weights, slopes, strict=True):
                W -= RATE * d
    return tuple(W.detach() for W in weights)
