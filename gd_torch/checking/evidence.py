"""The numbers a diagnosis rests on: hand and autograd at several points, and what is equal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from gd_torch.checking.replay import Replay
from gd_torch.typing import Weights


@dataclass(frozen=True)
class Evidence:
    """One point: the weights, hand and autograd partials there, and the replay if there is one."""

    weights: Weights
    hand: tuple[Tensor, ...]
    autograd: Weights
    replay: Replay | None


def same(hand: Tensor, guess: Tensor, autograd: Tensor) -> float | None:
    """The relative error of a guess of the hand's numbers, None where they differ.

    The guess must meet the hand to rounding, and far better than autograd does: otherwise a small
    difference between hand and autograd would prove any small alteration.
    """
    if hand.shape != guess.shape or not bool(torch.isfinite(guess).all()):
        return None
    size = max(_largest(hand), _largest(guess), _largest(autograd))
    if size == 0:
        return 0.0
    miss = _largest(hand - guess) / size
    apart = _largest(hand - autograd) / size if hand.shape == autograd.shape else 1.0
    bound = 2e-9 if hand.dtype == torch.float64 else 2e-4
    return miss if miss <= bound and miss <= 1e-2 * apart else None


def all_same(guesses: Sequence[Tensor | None], points: Sequence[Evidence], i: int) -> float | None:
    """The worst relative error over the points, None where one of them differs."""
    worst = 0.0
    for guess, point in zip(guesses, points, strict=True):
        error = None if guess is None else same(point.hand[i], guess, point.autograd[i])
        if error is None:
            return None
        worst = max(worst, error)
    return worst


def _largest(x: Tensor) -> float:
    return float(x.abs().amax()) if x.numel() else 0.0


def ratio(target: Sequence[Tensor], source: Sequence[Tensor]) -> float | None:
    """The constant c with target = c source, by least squares over all points.

    Every point is divided by its own size first, so that none outweighs the rest.
    """
    above = below = 0.0
    for t, s in zip(target, source, strict=True):
        size = max(_largest(s), _largest(t))
        if t.shape != s.shape:
            return None
        if size > 0:
            above += float((t / size * (s / size)).sum())
            below += float(((s / size) ** 2).sum())
    return above / below if below > 0 else None


def sizes(replay: Replay | None, weights: Weights) -> dict[int, str]:
    """Counts that an average could divide by: lengths of axes and products of two of them."""
    shapes = [w.shape for w in weights]
    if replay is not None:
        shapes += [v.shape for v in replay.values]
        for node in replay.trace.nodes:
            shapes += [x.shape for x in node.leaves if isinstance(x, Tensor)]
    single = sorted({int(n) for shape in shapes for n in shape if n > 1})
    found = {n: f"{n}, the length of an axis" for n in single}
    for shape in shapes:
        if shape.numel() > 1:
            found.setdefault(shape.numel(), f"{shape.numel()} = {' x '.join(map(str, shape))}")
    return found


def plain(c: float) -> str:
    """A constant as people write it: 2, -1/3, 0.3717."""
    near = Fraction(c).limit_denominator(64)
    if near and abs(float(near) - c) <= 1e-7 * abs(c):
        return str(near)
    return f"{c:.6g}"


def simple(c: float, counts: dict[int, str]) -> bool:
    """Whether a constant is a small fraction, or a count or its reciprocal."""
    near = Fraction(c).limit_denominator(6)
    if near and abs(near.numerator) <= 6 and abs(float(near) - c) <= 1e-8 * abs(c):
        return True
    return any(abs(abs(c) - m) <= 1e-8 * m for n in counts for m in (n, 1 / n))


def average(c: float, counts: dict[int, str]) -> str | None:
    """How a constant reads as a forgotten or superfluous average, if it does."""
    for n, text in counts.items():
        if abs(c - n) <= 1e-8 * n:
            return f"1/{n} is missing: a sum where a mean belongs ({text})"
        if abs(c * n - 1) <= 1e-8:
            return f"1/{n} too much: a mean where a sum belongs ({text})"
    return None
