"""torch as its users write it: an optimiser and backward(), or a batch of nets, eagerly."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.problem import RATE, Net, data, start


def optimiser(net: Net, steps: int) -> tuple[Tensor, ...]:
    """torch.optim.SGD and backward()."""
    mse = net.objective()
    weights = [W.clone().requires_grad_() for W in start(net)]
    sgd = torch.optim.SGD(weights, lr=RATE)
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
        slopes = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            for W, d in zip(weights, slopes, strict=True):
                W -= RATE * d
    return tuple(W.detach() for W in weights)
