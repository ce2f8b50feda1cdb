"""The tutorial's two formulas as torch functions, with their starts and exact minimisers."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from gd_torch.typing import Objective


def curve(w: Tensor) -> Tensor:
    """One weight: y = w^6/6 + w^2/2 - w.

    Source: "Basics of Deep Learning p.7: Gradient Descent and Partial Derivatives", part 1. The
    slides are lost; the formula is reconstructed from the slopes printed in the text.

    Args:
        w: shape () for an objective; any shape is evaluated entry by entry.

    Returns:
        y, of the shape of ``w``.

    >>> import torch
    >>> round(curve(torch.tensor(0.75, dtype=torch.float64)).item(), 9)
    -0.439086914
    """
    return w**6 / 6 + w**2 / 2 - w


def bowl(w1: Tensor, w2: Tensor) -> Tensor:
    """Two weights: y = 2 w1^2 + w2^2, twice as curved along w1 as along w2.

    Source: the same tutorial, part 2.

    Args:
        w1, w2: shape () for an objective; shapes that broadcast are evaluated entry by entry.

    Returns:
        y, of the broadcast shape.

    >>> import torch
    >>> bowl(torch.tensor(-8.0), torch.tensor(7.0)).item()
    177.0
    """
    return 2 * w1**2 + w2**2


@dataclass(frozen=True)
class Problem:
    """An objective with its start and its exact minimiser, for tests and figures.

    Attributes:
        name: its name in tables and figures.
        objective: the torch function.
        start: one number per weight: the start of the tutorial's descent.
        minimiser: one number per weight, correctly rounded to float64.
        source: origin of the formula.
    """

    name: str
    objective: Objective
    start: tuple[float, ...]
    minimiser: tuple[float, ...]
    source: str


# dy/dw = w^5 + w - 1 = (w^2 - w + 1)(w^3 + w^2 - 1): the real root is 1/rho, rho the plastic ratio.
_PLASTIC_RATIO = ((9 + 69**0.5) / 18) ** (1 / 3) + ((9 - 69**0.5) / 18) ** (1 / 3)

CURVE = Problem("curve", curve, (1.9,), (1 / _PLASTIC_RATIO,), "tutorial, part 1")
BOWL = Problem("bowl", bowl, (-8.0, 7.0), (0.0, 0.0), "tutorial, part 2")
