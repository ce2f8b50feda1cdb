"""The two-layer net without biases: weight tensors, prediction and its mean squared error."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gd_torch.typing import Objective


def init_weights(
    widths: Sequence[int],
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str | None = None,
) -> tuple[Tensor, Tensor]:
    """Draw W1 and W2 from the standard normal distribution.

    The numbers depend only on ``widths`` and ``seed``: they are drawn in float64 on the CPU, then
    converted, so that a seed gives the same start on every device and, to rounding, in every dtype.

    Args:
        widths: (inputs, hidden, outputs), each at least 1; (4, 2, 3) has 14 weights.
        seed: an integer from 0 to 2^64 - 1.
        dtype: floating-point dtype of both tensors.
        device: device of both tensors; None is torch's default device.

    Returns:
        W1 of shape (inputs, hidden) and W2 of shape (hidden, outputs).

    Raises:
        ValueError, TypeError: ``widths``, ``seed`` or ``dtype`` breaks a rule above.

    >>> W1, W2 = init_weights((4, 2, 3), seed=0)
    >>> W1.shape, W2.shape, W1.numel() + W2.numel()
    (torch.Size([4, 2]), torch.Size([2, 3]), 14)
    """
    widths = tuple(widths)
    if len(widths) != 3 or not all(type(width) is int and width >= 1 for width in widths):
        raise ValueError(
            f"`widths` must be three integers (inputs, hidden, outputs) of at least 1, got {widths}"
        )
    if type(seed) is not int or not 0 <= seed < 2**64:
        raise ValueError(f"`seed` must be an integer from 0 to 2^64 - 1, got {seed!r}")
    if not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise TypeError(f"`dtype` must be a floating-point torch dtype, got {dtype}")
    inputs, hidden, outputs = widths
    generator = torch.Generator().manual_seed(seed)
    device = torch.get_default_device() if device is None else device

    def normal(rows: int, columns: int) -> Tensor:
        sample = torch.randn(rows, columns, generator=generator, dtype=torch.float64, device="cpu")
        return sample.to(device, dtype)

    return normal(inputs, hidden), normal(hidden, outputs)


def predict(X: Tensor, W1: Tensor, W2: Tensor) -> Tensor:
    """The net's outputs: P = s(s(X W1) W2), s the logistic sigmoid.

    Args:
        X: inputs, shape (n, inputs); converted to the dtype and device of ``W1``.
        W1: shape (inputs, hidden).
        W2: shape (hidden, outputs).

    Returns:
        P of shape (n, outputs), every entry between 0 and 1.

    >>> predict(torch.zeros(1, 4), torch.zeros(4, 2), torch.zeros(2, 3))
    tensor([[0.5000, 0.5000, 0.5000]])
    """
    H = torch.sigmoid(X.to(W1.device, W1.dtype) @ W1)  # (n, hidden)
    return torch.sigmoid(H @ W2)  # (n, outputs)


def network_mse(X: Tensor, Y: Tensor) -> Objective:
    """The mean squared error of the net: MSE(W1, W2) = mean((P - Y)^2) over n * outputs entries.

    Source: the tutorial, part 3; the sigmoid in both layers and the mean over all entries are
    choices of this library.

    Args:
        X: inputs, shape (n, inputs), floating-point and finite.
        Y: targets, shape (n, outputs), floating-point and finite. Both are converted to the dtype
            and device of the weights in every evaluation, without a copy if these are the same.

    Returns:
        ``objective(W1, W2)``, a scalar tensor of shape ().

    Raises:
        ValueError, TypeError: the data break a rule above. The objective raises ValueError if the
            number of outputs of its weights is not that of ``Y``.

    >>> mse = network_mse(torch.zeros(5, 4), torch.ones(5, 3))
    >>> mse(torch.zeros(4, 2), torch.zeros(2, 3))
    tensor(0.2500)
    """
    check_data(X, Y)

    def mse(W1: Tensor, W2: Tensor) -> Tensor:
        P = predict(X, W1, W2)  # (n, outputs)
        if P.shape != Y.shape:  # (n, 1) and (n, 3) would broadcast without an error
            raise ValueError(
                f"the net's outputs must have the targets' shape {tuple(Y.shape)}, "
                f"got {tuple(P.shape)}: W2 must have {Y.shape[1]} columns"
            )
        return (P - Y.to(P.device, P.dtype)).square().mean()

    return mse


def check_data(X: Tensor, Y: Tensor) -> None:
    """Raise unless X (n, inputs) and Y (n, outputs) are floating-point and finite, with n >= 1."""
    for name, data in (("X", X), ("Y", Y)):
        if not isinstance(data, Tensor) or not data.is_floating_point():
            kind = data.dtype if isinstance(data, Tensor) else type(data).__name__
            raise TypeError(f"`{name}` must be a floating-point tensor, got {kind}")
        if data.dim() != 2 or data.numel() == 0:
            raise ValueError(f"`{name}` must have shape (n, columns), got {tuple(data.shape)}")
        if not data.is_meta and not bool(torch.isfinite(data).all()):
            raise ValueError(f"`{name}` must be finite, got NaN or infinity")
    if len(X) != len(Y):
        raise ValueError(
            f"`X` and `Y` must have the same number of rows, got {len(X)} and {len(Y)}"
        )


def accuracy(P: Tensor, Y: Tensor) -> float:
    """The fraction of rows whose largest output is the target's class, from 0 to 1.

    Args:
        P: outputs, shape (n, classes).
        Y: one-hot targets, shape (n, classes).

    >>> accuracy(torch.tensor([[0.9, 0.1], [0.8, 0.2]]), torch.eye(2))
    0.5
    """
    return float((P.argmax(-1) == Y.argmax(-1)).double().mean())


def confusion_matrix(P: Tensor, Y: Tensor) -> Tensor:
    """Counts by true class (row) and predicted class (column), int64, shape (classes, classes).

    Args:
        P: outputs, shape (n, classes).
        Y: one-hot targets, shape (n, classes).

    >>> confusion_matrix(torch.tensor([[0.9, 0.1], [0.8, 0.2]]), torch.eye(2))
    tensor([[1, 0],
            [1, 0]])
    """
    classes = Y.shape[1]
    pairs = Y.argmax(-1) * classes + P.argmax(-1)  # (n,)
    return torch.bincount(pairs, minlength=classes**2).reshape(classes, classes)
