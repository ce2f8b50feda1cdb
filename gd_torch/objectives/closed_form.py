"""Partials derived by hand, with their formulas. This module does not use autograd."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def curve_partials(w: Tensor) -> tuple[Tensor]:
    """dy/dw = w^5 + w - 1, the derivative of y = w^6/6 + w^2/2 - w.

    Args:
        w: floating-point, any shape.

    Returns:
        A tuple of one tensor of the shape of ``w``.

    >>> curve_partials(torch.tensor(1.9, dtype=torch.float64))
    (tensor(25.6610, dtype=torch.float64),)
    """
    # d(w^6/6) = w^5, d(w^2/2) = w, d(-w) = -1
    return (w**5 + w - 1,)


def bowl_partials(w1: Tensor, w2: Tensor) -> tuple[Tensor, Tensor]:
    """dy/dw1 = 4 w1 and dy/dw2 = 2 w2, the partials of y = 2 w1^2 + w2^2.

    Args:
        w1, w2: floating-point, any shapes.

    Returns:
        (dy/dw1, dy/dw2), each of its weight's shape.

    >>> bowl_partials(torch.tensor(-8.0), torch.tensor(7.0))
    (tensor(-32.), tensor(14.))
    """
    # each with the other weight held constant
    return 4 * w1, 2 * w2


def network_partials(X: Tensor, Y: Tensor) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """dMSE/dW1 and dMSE/dW2 of the net P = s(s(X W1) W2), by the chain rule.

    With H = s(X W1), P = s(H W2), N = n*k entries and * elementwise::

        D2 = (2/N) (P - Y) * P * (1 - P)        dMSE/dW2 = H^T D2
        D1 = (D2 W2^T) * H * (1 - H)            dMSE/dW1 = X^T D1

    Source: the chain rule with s' = s (1 - s); Rumelhart, Hinton and Williams, "Learning
    representations by back-propagating errors", Nature 323 (1986), equations 4 to 7.

    Args:
        X: inputs, shape (n, inputs).
        Y: targets, shape (n, outputs). Both are converted to the dtype and device of the weights.

    Returns:
        ``hand(W1, W2)`` -> (dW1, dW2), each of its weight's shape.

    >>> hand = network_partials(torch.ones(1, 1), torch.ones(1, 1))
    >>> hand(torch.zeros(1, 1), torch.zeros(1, 1))
    (tensor([[0.]]), tensor([[-0.1250]]))
    """

    def hand(W1: Tensor, W2: Tensor) -> tuple[Tensor, Tensor]:
        x, y = X.to(W1.device, W1.dtype), Y.to(W1.device, W1.dtype)
        # forward: Z1 = X W1, H = s(Z1), Z2 = H W2, P = s(Z2)
        H = _sigmoid(x @ W1)  # (n, hidden)
        P = _sigmoid(H @ W2)  # (n, outputs)
        # dMSE/dZ2: d(mean (P - Y)^2)/dP = (2/N)(P - Y), and s'(Z2) = P (1 - P)
        D2 = 2 / P.numel() * (P - y) * P * (1 - P)  # (n, outputs)
        # dMSE/dZ1: back through W2, and s'(Z1) = H (1 - H)
        D1 = (D2 @ W2.T) * H * (1 - H)  # (n, hidden)
        return x.T @ D1, H.T @ D2

    return hand


def _sigmoid(z: Tensor) -> Tensor:
    """s(z) = 1 / (1 + e^-z)."""
    return 1 / (1 + torch.exp(-z))
