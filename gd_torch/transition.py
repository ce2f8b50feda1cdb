"""One step of a descent as a function of tensors alone, its decision to stop included.

Nothing in it asks the host, so that it can be traced, compiled, and mapped over many runs.
"""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gd_torch.objectives import Objective, Weights
from gd_torch.record import Stop

PLAIN = (int, float, str, list, dict, set)
"""Types of closed-over objects that are watched for side effects."""

CODES = (None, Stop.LOSS, Stop.GRADIENT, Stop.TOLERANCE, Stop.STEPS, Stop.WEIGHT)
"""What the kernel's code means; Stop.STEPS also where the host asked it to wait."""


class After(NamedTuple):
    """What a step makes of a point: the next point, or the same one where ``code`` says stop."""

    weights: Weights
    step: Tensor
    code: Tensor
    loss: Tensor
    norm: Tensor

    def flat(self) -> tuple[Tensor, ...]:
        """All tensors in a row."""
        return (*self.weights, self.step, self.code, self.loss, self.norm)


Advance = Callable[[Weights, Weights, Tensor, Tensor, Tensor], After]


def transition(objective: Objective) -> Advance:
    """The step of an objective: (weights, rates, tolerance, step, limit) -> :class:`After`.

    ``step`` counts the updates made, ``limit`` those to make; loss and norm belong to the point
    that came in. Each rate is a tensor of shape (), one per weight tensor.
    """

    def advance(
        weights: Weights, rates: Weights, tolerance: Tensor, step: Tensor, limit: Tensor
    ) -> After:
        slope = torch.func.grad_and_value(objective, argnums=tuple(range(len(weights))))
        slopes, loss = slope(*weights)
        moved = [w - a * d for w, a, d in zip(weights, rates, slopes, strict=True)]
        largest, norm = _norm(slopes)
        nothing = _total([(w * 0).sum() for w in moved])  # NaN if a weight is not finite
        code = torch.where(nothing == 0, 0, torch.full_like(step, 5))
        code = torch.where(step >= limit, 4, code)
        code = torch.where(norm < tolerance, 3, code)
        code = torch.where(largest.isfinite(), code, 2)
        code = torch.where(loss.isfinite(), code, 1)
        going = code == 0
        chosen = [torch.where(going, m, w) for m, w in zip(moved, weights, strict=True)]
        return After(tuple(chosen), step + going, code, loss, norm)

    return advance


def _norm(slopes: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """The largest entry and the Euclidean norm, whose squares must not leave the range."""
    largest = functools.reduce(torch.maximum, [d.abs().amax() for d in slopes])  # NaN if one is
    scale = torch.where((largest > 0) & (largest < math.inf), largest, 1.0)
    return largest, _total([(d / scale).square().sum() for d in slopes]).sqrt() * scale


def _total(parts: Sequence[Tensor]) -> Tensor:
    """Their sum, term by term: stacking them first would cost a pass over memory."""
    return functools.reduce(torch.add, parts)


def outside(objective: Objective) -> tuple[object, ...]:
    """What an evaluation may change outside itself: random generators, closed-over objects."""
    code = getattr(objective, "__code__", None)
    cells = [cell.cell_contents for cell in getattr(objective, "__closure__", None) or ()]
    names = code.co_names if code else ()
    shared = getattr(objective, "__globals__", {})
    things = [*cells, *(shared[name] for name in names if name in shared)]
    things += vars(objective).values() if hasattr(objective, "__dict__") else []
    seen = tuple(repr(thing) for thing in things if isinstance(thing, PLAIN))
    return (*seen, random.getstate(), bytes(torch.get_rng_state().tolist()))
