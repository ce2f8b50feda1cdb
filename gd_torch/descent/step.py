"""One step: the update, the gradient norm, and the only place that decides how a run stops.

A run ends at a point for the first of these reasons: the loss is not finite, a partial is not
finite, the gradient norm is below the tolerance, the step limit is reached, the next update would
make a weight that is not finite. It is decided before the update is made.
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
    """One step of gradient descent: w - alpha dy/dw for every weight, as new tensors.

    >>> import torch
    >>> update((torch.tensor(2.0),), (torch.tensor(3.0),), (0.5,))
    (tensor(0.5000),)
    """
    triples = zip(weights, partials, learning_rates)  # noqa: B905 (strict=True costs time here)
    return tuple([w.sub(d, alpha=alpha) for w, d, alpha in triples])


SAFE_NORM = 1e-15
"""Above this the squares inside a norm are normal numbers, in float32 too."""


def gradient_norm(partials: Weights) -> float:
    """The Euclidean norm over the partials of all weights.

    >>> import torch
    >>> gradient_norm((torch.tensor(3.0), torch.tensor([4.0])))
    5.0
    """
    norm = math.hypot(*[torch.linalg.vector_norm(d).item() for d in partials])
    if not SAFE_NORM < norm < math.inf:  # the squares inside a norm can leave the range
        return math.hypot(*[_scaled_norm(d) for d in partials])
    return norm


def _scaled_norm(d: Tensor) -> float:
    """The norm by way of the largest entry, so that no square overflows or underflows."""
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
    """Why a run ends at a point, None if it goes on.

    Args:
        loss: the objective there.
        norm: the gradient norm there.
        partials: one per weight tensor.
        following: the weights after the next update; None if they are known to be finite, or if
            there is no next update yet.
        tolerance: the run ends if the norm is below it.
        at_limit: whether all steps have been made.
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
    """Whether every entry is finite; the sum is cheap and settles all but overflowing sums."""
    for t in tensors:
        if not math.isfinite(t.sum().item()) and not bool(torch.isfinite(t).all()):
            return False
    return True


# ---------------------------------------------------------------- many runs


def batch_update(weights: Weights, partials: Weights, learning_rates: Weights) -> Weights:
    """The update of r runs: tensors of shape (r, *shape), rates of shape (r,) per weight."""
    return tuple(
        w - alpha.reshape(-1, *[1] * (w.dim() - 1)) * d
        for w, d, alpha in zip(weights, partials, learning_rates, strict=True)
    )


def batch_gradient_norms(partials: Weights) -> tuple[Tensor, Tensor]:
    """The Euclidean norm of each run, and its largest entry: NaN or infinite if a partial is.

    Args:
        partials: one tensor of shape (r, *shape) per weight.

    Returns:
        Norms, shape (r,), and largest entries, shape (r,).
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
    """:func:`stop_reason` of r runs as numbers, 0 for a run that goes on; int64, shape (r,)."""
    zeros = [(w * 0).reshape(len(w), -1).sum(1) for w in following]  # NaN if one is not finite
    code = torch.where(functools.reduce(torch.add, zeros) == 0, 0, int(Stop.WEIGHT))
    code = torch.where(at_limit, int(Stop.STEPS), code)
    code = torch.where(norms < tolerance, int(Stop.TOLERANCE), code)
    code = torch.where(largest.isfinite(), code, int(Stop.GRADIENT))
    return torch.where(losses.isfinite(), code, int(Stop.LOSS))
