"""Simplify pointwise operations: constant folding, factors of 1, division by powers of two."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import replace

from gd_torch.compiler.views import View

FOLDED: dict[str, Callable[[float, float], float]] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": operator.truediv,
}  # fmt: skip
"""Operations on two numbers; rounding the float64 result to float32 gives the same bits."""


def simplify(operation: str, views: list[View]) -> View | None:
    """A simpler form of a pointwise operation with bit-identical results, or None."""
    values = [view.value if view.node is None else None for view in views]
    first = views[0]
    if operation == "neg" and values[0] is not None:
        return replace(first, value=-values[0])
    numbers = [value for value in values if value is not None]
    if len(numbers) == len(values) == 2 and operation in FOLDED:
        try:
            return first.graph.number(FOLDED[operation](*numbers), first.shape)
        except (ZeroDivisionError, OverflowError):
            return None
    if operation in ("mul", "div") and values[1] == 1.0:
        return first
    if operation == "mul" and values[0] == 1.0:
        return views[1]
    if operation == "div" and values[1] and math.frexp(values[1])[0] in (0.5, -0.5):
        return first * first.graph.number(1.0 / values[1], first.shape)  # a power of two: exact
    if operation == "copy" and first.node is None:
        return first
    return None
