"""The backward pass without checks of arguments, which take a fifth of a small net's eager step.

``torch.autograd.grad`` ends in ``run_backward`` of torch's engine, which is not public: where a
release has changed it, and for everything but the CPU, ``torch.autograd.grad`` itself is called.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

Slopes = tuple[Tensor | None, ...]


def backward(value: Tensor, leaves: list[Tensor]) -> Slopes:
    """The slope of a scalar along each leaf, None where it does not depend on it.

    >>> x, y = (torch.tensor(w, requires_grad=True) for w in (3.0, 4.0))
    >>> backward(x * x, [x, y])
    (tensor(6.), None)
    """
    one = _one(value.dtype, value.device)
    if value.device.type == "cpu" and _known():
        return _run(value, leaves, one)
    return torch.autograd.grad((value,), leaves, (one,), allow_unused=True)


def _run(value: Tensor, leaves: list[Tensor], one: Tensor) -> Slopes:
    """What torch.autograd.grad calls: no graph is kept, none is made, no ``.grad`` is set."""
    slopes: Slopes = _engine().run_backward(
        (value,), (one,), False, False, tuple(leaves), True, accumulate_grad=False
    )
    return slopes


def _engine() -> Any:
    return torch.autograd.Variable._execution_engine


@functools.cache
def _known() -> bool:
    """Whether the engine of this torch does as expected."""
    with torch.enable_grad():
        x, y = (torch.tensor(w, requires_grad=True) for w in (3.0, 4.0))
        try:
            slope, none = _run(x * x, [x, y], torch.ones(()))
            return none is None and slope is not None and (slope.item(), x.grad) == (6.0, None)
        except (AttributeError, TypeError, ValueError, RuntimeError):
            return False


@functools.cache
def _one(dtype: torch.dtype, device: torch.device) -> Tensor:
    """The slope of a value along itself, made once."""
    return torch.ones((), dtype=dtype, device=device)
