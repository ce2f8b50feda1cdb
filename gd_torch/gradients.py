"""Partial derivatives of any torch objective, by autograd."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gd_torch.typing import Objective, Weights
from gd_torch.validation import Number, as_weights, check_scalar


def partials(objective: Objective) -> Callable[..., Weights]:
    """Return the function that computes the partials of an objective by autograd.

    All partials are taken at the same point, each with the other weights held constant.

    Args:
        objective: a torch function of the weights that returns one scalar of shape ().

    Returns:
        ``f(*weights)`` -> one detached tensor per weight, of that weight's shape, dtype and device.
        A weight is a floating-point tensor of any shape or a Python float (converted to float64).
        The partial of a weight that the objective does not use is zero. The arguments of ``f`` are
        not modified.

    Raises:
        TypeError: from ``f``: a weight is not floating-point, or the objective does not return a
            real floating-point tensor.
        ValueError: from ``f``: the value is not of shape (), or does not depend on a weight
            through torch operations.

    >>> from gd_torch import bowl
    >>> partials(bowl)(-8.0, 7.0)
    (tensor(-32., dtype=torch.float64), tensor(14., dtype=torch.float64))
    """
    both = value_and_partials(objective)
    return lambda *weights: both(*weights)[1]


def value_and_partials(objective: Objective) -> Callable[..., tuple[Tensor, Weights]]:
    """Return the function that computes the value and the partials of an objective.

    Args:
        objective: as for :func:`partials`.

    Returns:
        ``f(*weights)`` -> (value of shape (), partials), with the partials and errors of
        :func:`partials`.

    >>> from gd_torch import bowl
    >>> value_and_partials(bowl)(-8.0, 7.0)[0]
    tensor(177., dtype=torch.float64)
    """

    def both(*weights: Number) -> tuple[Tensor, Weights]:
        return evaluate(objective, as_weights(weights, "weights"))

    return both


def evaluate(objective: Objective, weights: Weights) -> tuple[Tensor, Weights]:
    """Run one forward and one backward pass; value and partials are detached from the graph.

    The objective receives copies of the weights, so that in-place edits of its arguments do not
    modify ``weights``.

    Raises:
        TypeError, ValueError: as :func:`partials`.
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
            "gradient (detached, converted to a Python number, or constant?)"
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
