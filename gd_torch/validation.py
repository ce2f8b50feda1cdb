"""What callers may pass: the rules, checked once, and the errors that name them."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

import torch
from torch import Tensor

from gd_torch.typing import Weights

Number = int | float | Tensor


def as_weights(given: Number | Sequence[Number], name: str) -> Weights:
    """A tuple of detached floating tensors from a number, a tensor or a sequence of them.

    A Python float takes the dtype and device of the first tensor beside it, else float64.
    """
    if isinstance(given, Tensor | float | int):
        given = (given,)
    if not isinstance(given, Sequence) or isinstance(given, str) or len(given) == 0:
        raise TypeError(f"`{name}` must be a tensor, a float or a tuple of them, got {given!r}")
    beside = next((w for w in given if isinstance(w, Tensor)), None)
    dtype = torch.float64 if beside is None else beside.dtype
    device = None if beside is None else beside.device
    weights = []
    for w in given:
        if isinstance(w, float):
            weights.append(torch.tensor(w, dtype=dtype, device=device))
        elif isinstance(w, Tensor) and w.is_floating_point() and w.layout == torch.strided:
            weights.append(w.detach())
        else:
            kind = w.dtype if isinstance(w, Tensor) else type(w).__name__
            raise TypeError(f"`{name}` must be floating point (write 2.0, not 2), got {kind}")
    return tuple(weights)


def check_start(start: Number | Sequence[Number], name: str = "start") -> Weights:
    """The start as weights, or an error that names the rule it breaks."""
    weights = as_weights(start, name)
    for i, w in enumerate(weights):
        if w.numel() == 0:
            raise ValueError(f"`{name}` must hold numbers, its tensor {i} has shape {(*w.shape,)}")
        if w.is_meta:
            raise ValueError(f"`{name}` must hold numbers, its tensor {i} is on the meta device")
        if not bool(torch.isfinite(w).all()):
            raise ValueError(f"`{name}` must be finite, its tensor {i} holds NaN or infinity")
    return weights


def check_learning_rates(
    learning_rate: float | Sequence[float] | Tensor, weights: int
) -> tuple[float, ...]:
    """One positive, finite rate per weight tensor."""
    if isinstance(learning_rate, Tensor):
        check_held("learning_rate", learning_rate)
    given = learning_rate.tolist() if isinstance(learning_rate, Tensor) else learning_rate
    rates = tuple(given) if isinstance(given, list | tuple) else (given,) * weights
    if len(rates) != weights:
        raise ValueError(
            f"`learning_rate` must be one number or one per weight tensor ({weights}), "
            f"got {len(rates)}"
        )
    return tuple(check_number("learning_rate", rate, above=0.0) for rate in rates)


def check_held(name: str, given: Tensor) -> None:
    """Raise unless a tensor holds real numbers one by one."""
    if given.is_meta or given.layout != torch.strided or given.is_complex():
        raise ValueError(
            f"`{name}` must hold real numbers, got {given.layout}, {given.dtype} on {given.device}"
        )


def check_number(
    name: str, given: object, *, least: float = -math.inf, above: float = -math.inf
) -> float:
    """A finite number of at least ``least`` and greater than ``above``."""
    if not isinstance(given, int | float) or isinstance(given, bool):
        raise TypeError(f"`{name}` must be a number, got {given!r}")
    if not (least <= given <= sys.float_info.max and given > above):
        rule = "positive" if above == 0 else "not negative" if least == 0 else "a number"
        raise ValueError(f"`{name}` must be {rule} and finite, got {given}")
    return float(given)


def check_whole(name: str, given: object, least: int) -> int:
    """A whole number of at least ``least``; 1000.0 and True are none."""
    if type(given) is not int:
        raise TypeError(f"`{name}` must be a whole number, got {given!r}")
    if given < least:
        raise ValueError(f"`{name}` must be at least {least}, got {given}")
    return given


def check_scalar(value: object) -> None:
    """Raise unless an objective's value is one real floating scalar of shape ()."""
    if not isinstance(value, Tensor):
        raise TypeError(f"`objective` must return a tensor, got {type(value).__name__}")
    if value.shape != ():
        raise ValueError(
            f"`objective` must return one scalar of shape (), got {tuple(value.shape)}: "
            "did you forget `.mean()`?"
        )
    if not value.is_floating_point():
        raise TypeError(f"`objective` must return a real floating scalar, got {value.dtype}")
