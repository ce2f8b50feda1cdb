"""Rules of arithmetic and of elementary functions."""

from __future__ import annotations

import math
from typing import Any

from gd_torch.compiler.lowering import Lowering
from gd_torch.compiler.registry import Operand, Rule, aten, rule
from gd_torch.compiler.strides import broadcast
from gd_torch.compiler.views import View

UNARY = [
    "neg", "exp", "exp2", "expm1", "log", "log1p", "log2", "log10", "sqrt", "sin", "cos", "tan",
    "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "sigmoid",
    "sign", "erf", "erfc", "floor", "ceil", "trunc", "round", "abs",
]  # fmt: skip
"""Operations with the same name in aten and in ``operations.py``."""

MAX_PRODUCT_EXPONENT = 64
"""Largest integer exponent computed by multiplication; others use pow."""


def _unary(name: str) -> Rule:
    """The rule of an operation on one operand."""
    return lambda lowering, out, x: lowering.number(x).apply(name)


for _name in UNARY:
    rule(getattr(aten, _name).default)(_unary(_name))


rule(aten.sgn.default)(_unary("sign"))


def binary(name: str) -> Rule:
    """The rule of an operation on two operands; ``alpha`` multiplies the second."""

    def apply(lowering: Lowering, out: Any, a: Operand, b: Operand, alpha: float = 1) -> View:
        second = lowering.number(b)
        if alpha != 1:
            second = second * float(alpha)
        return lowering.number(a).apply(name, second)

    return apply


for _name in ("add", "sub", "mul"):
    for _overload in ("Tensor", "Scalar"):
        rule(getattr(getattr(aten, _name), _overload))(binary(_name))


rule(aten.atan2.default)(binary("atan2"))


@rule(aten.rsub.Scalar, aten.rsub.Tensor)
def _rsub(lowering: Lowering, out: Any, a: Operand, b: Operand, alpha: float = 1) -> View:
    return lowering.number(b) - lowering.number(a) * float(alpha)


@rule(aten.div.Tensor, aten.div.Scalar)
def _div(lowering: Lowering, out: Any, a: Operand, b: Operand) -> View:
    return lowering.number(a) / lowering.number(b)


@rule(aten.div.Tensor_mode, aten.div.Scalar_mode)
def _div_mode(
    lowering: Lowering, out: Any, a: Operand, b: Operand, *, rounding_mode: str | None
) -> View:
    x, y = lowering.number(a), lowering.number(b)
    if rounding_mode is None:
        return x / y
    if rounding_mode == "trunc":
        return (x / y).apply("trunc")
    return _floor_quotient(x, y)


@rule(aten.floor_divide.default, aten.floor_divide.Scalar)
def _floor_divide(lowering: Lowering, out: Any, a: Operand, b: Operand) -> View:
    return _floor_quotient(lowering.number(a), lowering.number(b))


def _floor_quotient(x: View, y: View) -> View:
    """The floor of x / y, computed from the exact remainder, as in torch."""
    rest = x.apply("fmod", y)
    quotient = (x - rest) / y
    lower = rest.apply("ne", 0.0).apply("and", (y < 0.0).apply("ne_mask", rest < 0.0))
    quotient = lower.where(quotient - 1.0, quotient)
    rounded = quotient.apply("floor")
    rounded = (quotient - rounded > 0.5).where(rounded + 1.0, rounded)
    return y.equals(0.0).where(x / y, quotient.equals(0.0).where(0.0, rounded))


@rule(aten.remainder.Scalar, aten.remainder.Tensor)
def _remainder(lowering: Lowering, out: Any, a: Operand, b: Operand) -> View:
    x, y = lowering.number(a), lowering.number(b)
    rest = x.apply("fmod", y)
    other = rest.apply("ne", 0.0).apply("and", (rest < 0.0).apply("ne_mask", y < 0.0))
    return other.where(rest + y, rest)


@rule(aten.fmod.Scalar, aten.fmod.Tensor)
def _fmod(lowering: Lowering, out: Any, a: Operand, b: Operand) -> View:
    return lowering.number(a).apply("fmod", lowering.number(b))


@rule(aten.frac.default)
def _frac(lowering: Lowering, out: Any, x: Operand) -> View:
    view = lowering.number(x)
    return view - view.apply("trunc")


@rule(aten.reciprocal.default)
def _reciprocal(lowering: Lowering, out: Any, x: Operand) -> View:
    return 1.0 / lowering.number(x)


@rule(aten.rsqrt.default)
def _rsqrt(lowering: Lowering, out: Any, x: Operand) -> View:
    return 1.0 / lowering.number(x).apply("sqrt")


@rule(aten.square.default)
def _square(lowering: Lowering, out: Any, x: Operand) -> View:
    view = lowering.number(x)
    return view * view


@rule(aten.pow.Tensor_Scalar, aten.pow.Tensor_Tensor, aten.pow.Scalar)
def power(lowering: Lowering, out: Any, base: Operand, exponent: Operand) -> View:
    """x^p: products for small integer p, sqrt for +-1/2, pow otherwise."""
    x, p = lowering.number(base), lowering.number(exponent)
    if p.node is not None:
        return x.apply("pow", p)
    e, shape = p.value, broadcast([x.shape, p.shape])
    x = x.expand(shape)
    if e == 0.0:
        return lowering.graph.number(1.0, shape)
    if e == 0.5:
        return x.apply("sqrt")
    if e == -0.5:
        return 1.0 / x.apply("sqrt")
    if e == int(e) and abs(e) <= MAX_PRODUCT_EXPONENT:
        return _integer_power(x, int(e)) if e > 0 else 1.0 / _integer_power(x, int(-e))
    return x.apply("pow", p)


def _integer_power(x: View, exponent: int) -> View:
    """A positive integer power, by repeated squaring."""
    if exponent == 1:
        return x
    half = _integer_power(x, exponent // 2)
    square = half * half
    return square * x if exponent % 2 else square


@rule(aten.lerp.Scalar, aten.lerp.Tensor)
def _lerp(lowering: Lowering, out: Any, a: Operand, b: Operand, weight: Operand) -> View:
    x, y, w = lowering.number(a), lowering.number(b), lowering.number(weight)
    near = x + w * (y - x)
    far = y - (y - x) * (1.0 - w)
    return (w.apply("abs") < 0.5).where(near, far)


@rule(aten.addcmul.default)
def _addcmul(
    lowering: Lowering, out: Any, x: Operand, a: Operand, b: Operand, *, value: float = 1
) -> View:
    return lowering.number(x) + lowering.number(a) * lowering.number(b) * float(value)


@rule(aten.addcdiv.default)
def _addcdiv(
    lowering: Lowering, out: Any, x: Operand, a: Operand, b: Operand, *, value: float = 1
) -> View:
    return lowering.number(x) + lowering.number(a) / lowering.number(b) * float(value)


@rule(aten.hypot.default)
def _hypot(lowering: Lowering, out: Any, a: Operand, b: Operand) -> View:
    x, y = lowering.number(a).apply("abs"), lowering.number(b).apply("abs")
    large, small = x.apply("max", y), x.apply("min", y)
    ratio = small / large.equals(0.0).where(1.0, large)
    return large * (1.0 + ratio * ratio).apply("sqrt")


@rule(aten.logaddexp.default)
def _logaddexp(lowering: Lowering, out: Any, a: Operand, b: Operand) -> View:
    x, y = lowering.number(a), lowering.number(b)
    large = x.apply("max", y)
    entry_gradients = -((x - y).apply("abs"))
    infinite = x.equals(y).apply("and", x.apply("abs").equals(math.inf))
    return infinite.where(x, large + entry_gradients.apply("exp").apply("log1p"))


@rule(aten.xlogy.Tensor, aten.xlogy.Scalar_Other, aten.xlogy.Scalar_Self)
def _xlogy(lowering: Lowering, out: Any, a: Operand, b: Operand) -> View:
    x, y = lowering.number(a), lowering.number(b)
    value = x.equals(0.0).where(0.0, x * y.apply("log"))
    return y.apply("isnan").where(math.nan, value)
