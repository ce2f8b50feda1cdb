"""NumPy with the gradient derived by hand, and a grid searched in chunks."""

from __future__ import annotations

import numpy as np

from benchmarks.problem import LEARNING_RATE, Net, data, start


def by_hand(hidden: int, steps: int) -> tuple[np.ndarray, ...]:
    """Descent of a net with the chain rule written out; returns W1 and W2."""
    X, Y = (part.numpy() for part in data(Net(hidden)))
    W1, W2 = (W.numpy().copy() for W in start(Net(hidden)))
    scale = np.float32(2 / Y.size)
    for _ in range(steps):
        H = 1 / (1 + np.exp(-(X @ W1)))
        P = 1 / (1 + np.exp(-(H @ W2)))
        D2 = scale * (P - Y) * P * (1 - P)
        D1 = (D2 @ W2.T) * H * (1 - H)
        W1 -= LEARNING_RATE * (X.T @ D1)
        W2 -= LEARNING_RATE * (H.T @ D2)
    return W1, W2


def curves(runs: int, steps: int) -> np.ndarray:
    """Descents of the tutorial's curve, all at once."""
    w = np.linspace(-2, 2, runs)
    for _ in range(steps):
        square = w * w
        w -= 1e-3 * (square * square * w + w - 1)
    return w


def grid(points: int, chunk: int = 1 << 16) -> float:
    """The weight with the lowest value of the tutorial's curve on a grid over [-2, 2]."""
    best, where = np.inf, 0.0
    axis = np.linspace(-2, 2, points)
    for first in range(0, points, chunk):
        w = axis[first : first + chunk]
        y = w**6 / 6 + w**2 / 2 - w
        i = y.argmin()
        if y[i] < best:
            best, where = y[i], w[i]
    return float(where)
