"""Expressions that stand, by mistake, where a derivative belongs."""

from __future__ import annotations

import torch
from torch import Tensor


def formulas(a: Tensor, one: Tensor) -> list[tuple[str, float, Tensor]]:
    """Expressions in one value that stand where a derivative belongs."""
    return [
        ("a (1 - a)", 0.0, a * (1 - a)),
        ("1 - a^2", 0.0, 1 - a * a),
        ("1 - a", 0.2, 1 - a),
        ("a", 0.4, a),
        ("a^2", 0.4, a * a),
        ("1 + a^2", 0.4, one + a * a),
        ("1 + a", 0.4, one + a),
        ("1 / a", 0.4, 1 / a),
        ("1 / a^2", 0.4, 1 / (a * a)),
        ("(1 - a)^2", 0.6, (1 - a) ** 2),
        ("a > 0", 0.2, (a > 0).to(a.dtype)),
        ("sign a", 0.2, a.sign()),
        ("1 / (1 + a)", 0.4, 1 / (one + a)),
        ("1 / (1 + a^2)", 0.4, 1 / (one + a * a)),
        ("1 / (1 - a^2)", 0.4, 1 / (one - a * a)),
    ]


def other_functions(z: Tensor) -> list[tuple[str, float, Tensor]]:
    """Derivatives and values of other functions at z."""
    s, t = torch.sigmoid(z), torch.tanh(z)
    return [
        ("s'(z) of the sigmoid", 0.1, s * (1 - s)),
        ("tanh'(z)", 0.1, 1 - t * t),
        ("tanh(z)", 0.3, t),
        ("sigmoid(z)", 0.3, s),
        ("tanh(z)^2", 0.5, t * t),
        ("exp(z)", 0.2, z.exp()),
        ("exp(-z)", 0.4, (-z).exp()),
        ("cos(z)", 0.2, z.cos()),
        ("sin(z)", 0.2, z.sin()),
        ("log(z)", 0.3, z.log()),
        ("1 / cos(z)", 0.6, 1 / z.cos()),
        ("1 / sqrt(z)", 0.3, z.rsqrt()),
        ("sqrt(z)", 0.3, z.sqrt()),
        ("cosh(z)", 0.5, z.cosh()),
        ("sinh(z)", 0.5, z.sinh()),
        ("1 / sqrt(1 - z^2)", 0.5, (1 - z * z).rsqrt()),
    ]
