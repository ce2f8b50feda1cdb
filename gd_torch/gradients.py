"""Partial derivatives of any torch objective, by autograd."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gd_torch.typing import Objective, Weights
from gd_torch.validation import Number, as_weights, check_scalar


def partials(objective: Objective) -> Callable[..., Weights]:
    """The partials of an objective as a function of the same weights.

    Each weight's partial is taken with all other weights held constant, all at the same point.

    Args:
        objective: a torch function of the weights that returns one scalar of shape ().

    Returns:
        ``f(*weights)`` -> one detached tensor per weight, of that weight's shape, dtype and device.
        A weight is a floating tensor or a Python float (taken as float64). A weight that the
        objective does not use has the partial zero.

    Raises:
        TypeError, ValueError: from ``f``, when a weight is not floating, or the objective does not
            return one real scalar that depends on a weight through torch operations.

    >>> from gd_torch import bowl
    >>> partials(bowl)(-8.0, 7.0)
    (tensor(-32., dtype=torch.float64), tensor(14., dtype=torch.float64))
    """
    both = value_and_partials(objective)
    return lambda *weights: both(*weights)[1]


def value_and_partials(objective: Objective) -> Callable[..., tuple[Tensor, Weights]]:
    """Like :func:`partials`, with the objective's value before them: ``f(*weights)`` -> (y, dy).

    >>> from gd_torch import bowl
    >>> value_and_partials(bowl)(-8.0, 7.0)[0]
    tensor(177., dtype=torch.float64)
    """

    def both(*weights: Number) -> tuple[Tensor, Weights]:
        return evaluate(objective, as_weights(weights, "weights"))

    return both


def evaluate(objective: Objective, weights: Weights) -> tuple[Tensor, Weights]:
    """One forward and one backward pass; neither value nor partials keep the graph alive.

    The objective is given copies of the weights: one that edits its arguments in place changes
    nothing but what it computes itself.
    """
    if not torch.is_grad_enabled():
        with torch.enable_grad():
            return evaluate(objective, weights)
    leaves = [w.clone().requires_grad_() for w in weights]
    value = objective(*leaves)
    check_scalar(value)
    if not value.requires_grad:
        raise ValueError(
            "`objective` must depend on a weight through torch operations: its value has no "
            "gradient (detached, turned into a number, or constant?)"
        )
    partials = torch.autograd.grad(value, leaves, allow_unused=True)
    for d in partials:
        if d is None:  # the objective does not use that weight
            partials = tuple(
                torch.zeros_like(w) if d is None else d
                for w, d in zip(weights, partials, strict=True)
            )
            break
    return value.detach(), partials
