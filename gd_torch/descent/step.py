"""One step: the update, the gradient norm, and the decision whether to stop.

A run ends at a point for the first of these reasons: the loss is not finite, a partial is not
finite, the gradient norm is below the tolerance, the step limit is reached, an updated weight would
not be finite. The decision is made before the update.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gd_torch.descent.result import Stop
from gd_torch.typing import Weights

# ---------------------------------------------------------------- one run


def update(weights: Weights, partials: Weights, learning_rates: Sequence[float]) -> Weights:
    """One update of gradient descent: w - alpha dy/dw for every weight, as new tensors.

    Args:
        weights: one tensor per weight; not modified.
        partials: one per weight, of its shape.
        learning_rates: alpha, one number per weight tensor.

    >>> import torch
    >>> update((torch.tensor(2.0),), (torch.tensor(3.0),), (0.5,))
    (tensor(0.5000),)
    """
    triples = zip(weights, partials, learning_rates)  # noqa: B905 (strict=True is slower)
    return tuple([w.sub(d, alpha=alpha) for w, d, alpha in triples])


MIN_SAFE_NORM = 1e-15
"""For larger norms no relevant square underflows, in float32 either."""


def gradient_norm(partials: Weights) -> float:
    """The Euclidean norm over the partials of all weights.

    >>> import torch
    >>> gradient_norm((torch.tensor(3.0), torch.tensor([4.0])))
    5.0
    """
    norm = math.hypot(*[torch.linalg.vector_norm(d).item() for d in partials])
    if not MIN_SAFE_NORM < norm < math.inf:  # squares may overflow or underflow
        return math.hypot(*[_scaled_norm(d) for d in partials])
    return norm


def _scaled_norm(d: Tensor) -> float:
    """The norm, scaled by the largest entry, so that no square overflows or underflows."""
    largest = float(d.abs().amax()) if d.numel() else 0.0
    if largest == 0 or not math.isfinite(largest):
        return largest
    return largest * float(torch.linalg.vector_norm(d / largest))


def stop_reason(
    loss: float,
    norm: float,
    partials: Weights,
    following: Weights | None,
    tolerance: float,
    at_limit: bool,
) -> Stop | None:
    """Why a run ends at a point; None if it continues.

    Args:
        loss: the objective at the point.
        norm: the gradient norm at the point.
        partials: one per weight tensor.
        following: the weights after the next update; None if they are known to be finite or not
            computed.
        tolerance: the run ends if the norm is below this.
        at_limit: whether the step limit is reached.
    """
    if not math.isfinite(loss):
        return Stop.LOSS
    if not math.isfinite(norm) and not _are_finite(partials):
        return Stop.GRADIENT
    if norm < tolerance:
        return Stop.TOLERANCE
    if at_limit:
        return Stop.STEPS
    return Stop.WEIGHT if following is not None and not _are_finite(following) else None


def _are_finite(tensors: Weights) -> bool:
    """Whether every entry is finite; a finite sum proves it with one cheap operation."""
    for t in tensors:
        if not math.isfinite(t.sum().item()) and not bool(torch.isfinite(t).all()):
            return False
    return True


# ---------------------------------------------------------------- many runs


def batch_update(weights: Weights, partials: Weights, learning_rates: Weights) -> Weights:
    """The update of r runs.

    Args:
        weights, partials: one tensor of shape (r, *shape) per weight; not modified.
        learning_rates: one tensor of shape (r,) per weight.
    """
    return tuple(
        w - alpha.reshape(-1, *[1] * (w.dim() - 1)) * d
        for w, d, alpha in zip(weights, partials, learning_rates, strict=True)
    )


def batch_gradient_norms(partials: Weights) -> tuple[Tensor, Tensor]:
    """The gradient norm and the largest absolute partial of each run.

    Args:
        partials: one tensor of shape (r, *shape) per weight.

    Returns:
        Norms, shape (r,), and largest absolute partials, shape (r,), NaN or infinite if a partial
        is.
    """
    rows = [d.reshape(len(d), -1) for d in partials]
    largest = functools.reduce(torch.maximum, [d.abs().amax(1) for d in rows])
    scale = torch.where((largest > 0) & (largest < math.inf), largest, 1.0)  # as _scaled_norm
    squares = [(d / scale[:, None]).square().sum(1) for d in rows]
    return functools.reduce(torch.add, squares).sqrt() * scale, largest


def batch_stop_codes(
    losses: Tensor,
    norms: Tensor,
    largest: Tensor,
    following: Weights,
    tolerance: float,
    at_limit: Tensor,
) -> Tensor:
    """:func:`stop_reason` of r runs.

    Args:
        losses, norms, largest: of each run, shape (r,); ``largest`` as from
            :func:`batch_gradient_norms`.
        following: the weights after the next update, shape (r, *shape) each.
        tolerance: a run ends if its norm is below this.
        at_limit: whether the step limit of each run is reached, bool, shape (r,).

    Returns:
        Values of ``Stop``, 0 for a run that continues; int64, shape (r,).
    """
    zeros = [(w * 0).reshape(len(w), -1).sum(1) for w in following]  # NaN if an entry is not finite
    code = torch.where(functools.reduce(torch.add, zeros) == 0, 0, int(Stop.WEIGHT))
    code = torch.where(at_limit, int(Stop.STEPS), code)
    code = torch.where(norms < tolerance, int(Stop.TOLERANCE), code)
    code = torch.where(largest.isfinite(), code, int(Stop.GRADIENT))
    return torch.where(losses.isfinite(), code, int(Stop.LOSS))
