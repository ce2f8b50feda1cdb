"""torch with an optimiser and backward(), and with a batch of nets."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.problem import LEARNING_RATE, Net, data, start


def optimiser(net: Net, steps: int) -> tuple[Tensor, ...]:
    """torch.optim.SGD and backward()."""
    mse = net.objective()
    weights = [W.clone().requires_grad_() for W in start(net)]
    sgd = torch.optim.SGD(weights, lr=LEARNING_RATE)
    for _ in range(steps):
        sgd.zero_grad()
        mse(*weights).backward()
        sgd.step()
    return tuple(W.detach() for W in weights)


def batch(net: Net, runs: int, steps: int) -> tuple[Tensor, ...]:
    """All nets in one eager batch of matrix products."""
    X, Y = data(net)
    weights = [W.clone().requires_grad_() for W in start(net, runs)]
    for _ in range(steps):
        P = torch.sigmoid(torch.sigmoid(X @ weights[0]) @ weights[1])
        loss = ((P - Y) ** 2).mean((1, 2)).sum()
        gradient = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            for W, d in zip(weights, gradient, strict=True):
                W -= LEARNING_RATE * d
    return tuple(W.detach() for W in weights)
