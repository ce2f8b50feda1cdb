"""Argument checks shared by the public functions; each error names the argument and its value."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

import torch
from torch import Tensor

from gd_torch.typing import Weights

Number = int | float | Tensor


def as_weights(weights: Number | Sequence[Number], name: str) -> Weights:
    """Convert a number, a tensor or a sequence of them to a tuple of detached tensors.

    A Python float takes the dtype and device of the first tensor in the sequence, else float64
    and torch's default device.

    Args:
        weights: floating-point tensors of any shape, or Python floats.
        name: the argument's name, for the error message.

    Raises:
        TypeError: an element is neither a Python float nor a dense floating-point tensor, or there
            is none.
    """
    if isinstance(weights, Tensor | float | int):
        weights = (weights,)
    if not isinstance(weights, Sequence) or isinstance(weights, str) or len(weights) == 0:
        raise TypeError(f"`{name}` must be a tensor, a float or a tuple of them, got {weights!r}")
    first = next((w for w in weights if isinstance(w, Tensor)), None)
    dtype = torch.float64 if first is None else first.dtype
    device = None if first is None else first.device
    converted = []
    for w in weights:
        if isinstance(w, float):
            converted.append(torch.tensor(w, dtype=dtype, device=device))
        elif isinstance(w, Tensor) and w.is_floating_point() and w.layout == torch.strided:
            converted.append(w.detach())
        else:
            kind = w.dtype if isinstance(w, Tensor) else type(w).__name__
            raise TypeError(f"`{name}` must be floating point (write 2.0, not 2), got {kind}")
    return tuple(converted)


def check_start(start: Number | Sequence[Number], name: str = "start") -> Weights:
    """Convert a start to weights and check that they are non-empty and finite.

    Raises:
        TypeError: as :func:`as_weights`.
        ValueError: a tensor is empty, on the meta device, or has an entry that is not finite.
    """
    weights = as_weights(start, name)
    for i, w in enumerate(weights):
        if w.numel() == 0:
            raise ValueError(
                f"`{name}` must contain numbers, its tensor {i} has shape {(*w.shape,)}"
            )
        if w.is_meta:
            raise ValueError(f"`{name}` must contain numbers, its tensor {i} is on the meta device")
        if not bool(torch.isfinite(w).all()):
            raise ValueError(f"`{name}` must be finite, its tensor {i} contains NaN or infinity")
    return weights


def check_learning_rates(
    learning_rate: float | Sequence[float] | Tensor, weights: int
) -> tuple[float, ...]:
    """Convert the argument to one rate per weight tensor.

    Args:
        learning_rate: one number, or one per weight tensor as a sequence or a tensor of shape
            (weights,); positive and finite.
        weights: number of weight tensors.

    Raises:
        TypeError: a rate is not a number.
        ValueError: a rate is not positive and finite, or there is another number of rates.
    """
    if isinstance(learning_rate, Tensor):
        check_dense_real("learning_rate", learning_rate)
    numbers = learning_rate.tolist() if isinstance(learning_rate, Tensor) else learning_rate
    rates = tuple(numbers) if isinstance(numbers, list | tuple) else (numbers,) * weights
    if len(rates) != weights:
        raise ValueError(
            f"`learning_rate` must be one number or one per weight tensor ({weights}), "
            f"got {len(rates)}"
        )
    return tuple(check_number("learning_rate", rate, above=0.0) for rate in rates)


def check_dense_real(name: str, tensor: Tensor) -> None:
    """Raise ValueError unless a tensor is dense and real, and has data (is not on meta)."""
    if tensor.is_meta or tensor.layout != torch.strided or tensor.is_complex():
        raise ValueError(
            f"`{name}` must be a dense real tensor, "
            f"got {tensor.layout}, {tensor.dtype} on {tensor.device}"
        )


def check_number(
    name: str, number: object, *, minimum: float = -math.inf, above: float = -math.inf
) -> float:
    """Convert to a float and check that it is finite, >= ``minimum`` and > ``above``."""
    if not isinstance(number, int | float) or isinstance(number, bool):
        raise TypeError(f"`{name}` must be a number, got {number!r}")
    if not (minimum <= number <= sys.float_info.max and number > above):
        rule = "positive" if above == 0 else "not negative" if minimum == 0 else "a number"
        raise ValueError(f"`{name}` must be {rule} and finite, got {number}")
    return float(number)


def check_integer(name: str, number: object, minimum: int) -> int:
    """Check that a number is an int, >= ``minimum``; 1000.0 and True are not ints."""
    if type(number) is not int:
        raise TypeError(f"`{name}` must be an integer, got {number!r}")
    if number < minimum:
        raise ValueError(f"`{name}` must be at least {minimum}, got {number}")
    return number


def check_scalar(value: object) -> None:
    """Raise unless an objective's value is one real floating-point scalar of shape ()."""
    if not isinstance(value, Tensor):
        raise TypeError(f"`objective` must return a tensor, got {type(value).__name__}")
    if value.shape != ():
        raise ValueError(
            f"`objective` must return one scalar of shape (), got {tuple(value.shape)}: "
            "did you forget `.mean()`?"
        )
    if not value.is_floating_point():
        raise TypeError(f"`objective` must return a real floating-point scalar, got {value.dtype}")
