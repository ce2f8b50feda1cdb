"""Constants in a mistake: which are plausible, and how they are written."""

from __future__ import annotations

from fractions import Fraction

from torch import Tensor

from gd_torch.checking.replay import Replay
from gd_torch.typing import Weights


def axis_sizes(replay: Replay | None, weights: Weights) -> dict[int, str]:
    """What an average could divide by: number -> its description.

    These are the lengths of axes and the numbers of entries of all tensors in the trace.
    """
    shapes = [w.shape for w in weights]
    if replay is not None:
        shapes += [v.shape for v in replay.values]
        for node in replay.trace.nodes:
            shapes += [leaf.shape for leaf in node.leaves if isinstance(leaf, Tensor)]
    lengths = sorted({int(n) for shape in shapes for n in shape if n > 1})
    sizes = {n: f"{n}, the length of an axis" for n in lengths}
    for shape in shapes:
        if shape.numel() > 1:
            sizes.setdefault(shape.numel(), f"{shape.numel()} = {' x '.join(map(str, shape))}")
    return sizes


def format_constant(c: float) -> str:
    """A constant as a fraction with a small denominator, else in decimals: 2, -1/3, 0.3717."""
    near = Fraction(c).limit_denominator(64)
    if near and abs(float(near) - c) <= 1e-7 * abs(c):
        return str(near)
    return f"{c:.6g}"


def is_simple(c: float, sizes: dict[int, str]) -> bool:
    """Whether a constant is a fraction of small integers, or a size or its reciprocal."""
    near = Fraction(c).limit_denominator(6)
    if near and abs(near.numerator) <= 6 and abs(float(near) - c) <= 1e-8 * abs(c):
        return True
    return any(abs(abs(c) - m) <= 1e-8 * m for n in sizes for m in (n, 1 / n))


def describe_average(c: float, sizes: dict[int, str]) -> str | None:
    """The message for a factor ``c`` that is a missing or an extra average, None if it is not."""
    for n, text in sizes.items():
        if abs(c - n) <= 1e-8 * n:
            return f"1/{n} is missing: a sum where a mean belongs ({text})"
        if abs(c * n - 1) <= 1e-8:
            return f"1/{n} too much: a mean where a sum belongs ({text})"
    return None
