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
    """Values and derivatives of other functions at ``z``."""
    s, t = torch.sigmoid(z), torch.tanh(z)
    return [
        Formula("s'(z) of the sigmoid", 0.1, s * (1 - s)),
        Formula("tanh'(z)", 0.1, 1 - t * t),
        Formula("tanh(z)", 0.3, t),
        Formula("sigmoid(z)", 0.3, s),
        Formula("tanh(z)^2", 0.5, t * t),
        Formula("exp(z)", 0.2, z.exp()),
        Formula("exp(-z)", 0.4, (-z).exp()),
        Formula("cos(z)", 0.2, z.cos()),
        Formula("sin(z)", 0.2, z.sin()),
        Formula("log(z)", 0.3, z.log()),
        Formula("1 / cos(z)", 0.6, 1 / z.cos()),
        Formula("1 / sqrt(z)", 0.3, z.rsqrt()),
        Formula("sqrt(z)", 0.3, z.sqrt()),
        Formula("cosh(z)", 0.5, z.cosh()),
        Formula("sinh(z)", 0.5, z.sinh()),
        Formula("1 / sqrt(1 - z^2)", 0.5, (1 - z * z).rsqrt()),
    ]
