"""Expressions that are used, by mistake, in the place of a derivative."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Formula(NamedTuple):
    """An expression in ``a`` or ``z``, its rank among the others, and its values."""

    text: str
    rank: float
    values: Tensor


def formulas_of(a: Tensor) -> list[Formula]:
    """Expressions in one tensor ``a``, such as a (1 - a)."""
    one = torch.ones_like(a)
    return [
        Formula("a (1 - a)", 0.0, a * (1 - a)),
        Formula("1 - a^2", 0.0, 1 - a * a),
        Formula("1 - a", 0.2, 1 - a),
        Formula("a", 0.4, a),
        Formula("a^2", 0.4, a * a),
        Formula("1 + a^2", 0.4, one + a * a),
        Formula("1 + a", 0.4, one + a),
        Formula("1 / a", 0.4, 1 / a),
        Formula("1 / a^2", 0.4, 1 / (a * a)),
        Formula("(1 - a)^2", 0.6, (1 - a) ** 2),
        Formula("a > 0", 0.2, (a > 0).to(a.dtype)),
        Formula("sign a", 0.2, a.sign()),
        Formula("1 / (1 + a)", 0.4, 1 / (one + a)),
        Formula("1 / (1 + a^2)", 0.4, 1 / (one + a * a)),
        Formula("1 / (1 - a^2)", 0.4, 1 / (one - a * a)),
    ]


def other_functions(z: Tensor) -> list[Formula]:
    """Functions that are mistaken for the derivative of another one, such as tanh for sigmoid."""
    s, t = torch.sigmoid(z), torch.tanh(z)
    return [
        Formula("sigmoid(z)", 0.3, s),
        Formula("tanh(z)", 0.3, t),
        Formula("exp(z)", 0.2, z.exp()),
        Formula("log(z)", 0.3, z.log()),
        Formula("sigmoid'(z)", 0.1, s * (1 - s)),
        Formula("tanh'(z)", 0.1, 1 - t * t),
        Formula("1 / sqrt(1 - z^2)", 0.5, (1 - z * z).rsqrt()),
    ]
