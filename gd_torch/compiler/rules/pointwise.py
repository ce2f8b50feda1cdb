"""Rules of pointwise operations: arithmetic, functions, comparisons, activations, and copies."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from gd_torch.compiler.errors import Unsupported
from gd_torch.compiler.graph import View, broadcast
from gd_torch.compiler.lowering import Lowering, Operand, aten, rule

UNARY = [
    "neg",
    "exp",
    "exp2",
    "expm1",
    "log",
    "log1p",
    "log2",
    "log10",
    "sqrt",
    "sin",
    "cos",
    "tan",
    "asin",
    "acos",
    "atan",
    "sinh",
    "cosh",
    "tanh",
    "asinh",
    "acosh",
    "atanh",
    "sigmoid",
    "sign",
    "erf",
    "erfc",
    "floor",
    "ceil",
    "trunc",
    "round",
    "abs",
]

MAX_CHAIN = 64
"""Whole exponents up to this are products; others use pow."""


def _unary(name: str) -> Any:
    return lambda L, out, x: L.number(x).apply(name)


for _name in UNARY:
    rule(getattr(aten, _name).default)(_unary(_name))

rule(aten.sgn.default)(_unary("sign"))


def _binary(name: str, masks: bool = False) -> Any:
    def apply(L: Lowering, out: Any, a: Operand, b: Operand, alpha: float = 1) -> View:
        second = L.number(b)
        if alpha != 1:
            second = second * float(alpha)
        return L.number(a).apply(name, second)

    return apply


for _name in ("add", "sub", "mul"):
    for _overload in ("Tensor", "Scalar"):
        rule(getattr(getattr(aten, _name), _overload))(_binary(_name))
for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    for _overload in ("Tensor", "Scalar"):
        rule(getattr(getattr(aten, _name), _overload))(_binary(_name))
for _name, _operation in (("maximum", "max"), ("minimum", "min")):
    rule(getattr(aten, _name).default)(_binary(_operation))
rule(aten.atan2.default)(_binary("atan2"))


@rule(aten.rsub.Scalar, aten.rsub.Tensor)
def _rsub(L: Lowering, out: Any, a: Operand, b: Operand, alpha: float = 1) -> View:
    return L.number(b) - L.number(a) * float(alpha)


@rule(aten.div.Tensor, aten.div.Scalar)
def _div(L: Lowering, out: Any, a: Operand, b: Operand) -> View:
    return L.number(a) / L.number(b)


@rule(aten.div.Tensor_mode, aten.div.Scalar_mode)
def _div_mode(L: Lowering, out: Any, a: Operand, b: Operand, *, rounding_mode: str | None) -> View:
    x, y = L.number(a), L.number(b)
    if rounding_mode is None:
        return x / y
    if rounding_mode == "trunc":
        return (x / y).apply("trunc")
    return _floor_quotient(x, y)


@rule(aten.floor_divide.default, aten.floor_divide.Scalar)
def _floor_divide(L: Lowering, out: Any, a: Operand, b: Operand) -> View:
    return _floor_quotient(L.number(a), L.number(b))


def _floor_quotient(x: View, y: View) -> View:
    """The floor of x / y, by way of the exact remainder, as torch has it."""
    rest = x.apply("fmod", y)
    quotient = (x - rest) / y
    lower = rest.apply("ne", 0.0).apply("and", (y < 0.0).apply("ne_mask", rest < 0.0))
    quotient = lower.where(quotient - 1.0, quotient)
    whole = quotient.apply("floor")
    whole = (quotient - whole > 0.5).where(whole + 1.0, whole)
    return y.equals(0.0).where(x / y, quotient.equals(0.0).where(0.0, whole))


@rule(aten.reciprocal.default)
def _reciprocal(L: Lowering, out: Any, x: Operand) -> View:
    return 1.0 / L.number(x)


@rule(aten.rsqrt.default)
def _rsqrt(L: Lowering, out: Any, x: Operand) -> View:
    return 1.0 / L.number(x).apply("sqrt")


@rule(aten.square.default)
def _square(L: Lowering, out: Any, x: Operand) -> View:
    view = L.number(x)
    return view * view


@rule(aten.pow.Tensor_Scalar, aten.pow.Tensor_Tensor, aten.pow.Scalar)
def power(L: Lowering, out: Any, base: Operand, exponent: Operand) -> View:
    """x^p: products for small whole p, sqrt for halves, pow otherwise."""
    x, p = L.number(base), L.number(exponent)
    if p.node is not None:
        return x.apply("pow", p)
    e, shape = p.value, broadcast([x.shape, p.shape])
    x = x.expand(shape)
    if e == 0.0:
        return L.graph.number(1.0, shape)
    if e == 0.5:
        return x.apply("sqrt")
    if e == -0.5:
        return 1.0 / x.apply("sqrt")
    if e == int(e) and abs(e) <= MAX_CHAIN:
        return _chain(x, int(e)) if e > 0 else 1.0 / _chain(x, int(-e))
    return x.apply("pow", p)


def _chain(x: View, exponent: int) -> View:
    if exponent == 1:
        return x
    half = _chain(x, exponent // 2)
    square = half * half
    return square * x if exponent % 2 else square


@rule(aten.relu.default)
def _relu(L: Lowering, out: Any, x: Operand) -> View:
    return L.number(x).apply("max", 0.0)


@rule(aten.where.self, aten.where.ScalarOther, aten.where.ScalarSelf, aten.where.Scalar)
def _where(L: Lowering, out: Any, condition: Operand, yes: Operand, no: Operand) -> View:
    if isinstance(out, Tensor) and out.dtype == torch.bool:
        return L.mask(condition).where(L.mask(yes), L.mask(no))
    return L.mask(condition).where(L.number(yes), L.number(no))


@rule(aten.masked_fill.Scalar, aten.masked_fill.Tensor)
def _masked_fill(L: Lowering, out: Any, x: Operand, mask: Operand, value: Operand) -> View:
    return L.mask(mask).where(L.number(value), L.number(x))


@rule(aten.clamp.default, aten.clamp.Tensor)
def _clamp(
    L: Lowering, out: Any, x: Operand, min: Operand | None = None, max: Operand | None = None
) -> View:
    view = L.number(x)
    if min is not None:
        view = view.apply("max", L.number(min))
    return view if max is None else view.apply("min", L.number(max))


@rule(aten.clamp_min.default, aten.clamp_min.Tensor)
def _clamp_min(L: Lowering, out: Any, x: Operand, min: Operand) -> View:
    return _clamp(L, out, x, min)


@rule(aten.clamp_max.default, aten.clamp_max.Tensor)
def _clamp_max(L: Lowering, out: Any, x: Operand, max: Operand) -> View:
    return _clamp(L, out, x, None, max)


@rule(aten.hardtanh.default)
def _hardtanh(L: Lowering, out: Any, x: Operand, low: float = -1.0, high: float = 1.0) -> View:
    return _clamp(L, out, x, low, high)


@rule(aten.fmax.default)
def _fmax(L: Lowering, out: Any, a: Operand, b: Operand) -> View:
    x, y = L.number(a), L.number(b)
    return x.apply("isnan").where(y, y.apply("isnan").where(x, x.apply("max", y)))


@rule(aten.fmin.default)
def _fmin(L: Lowering, out: Any, a: Operand, b: Operand) -> View:
    x, y = L.number(a), L.number(b)
    return x.apply("isnan").where(y, y.apply("isnan").where(x, x.apply("min", y)))


@rule(aten.lerp.Scalar, aten.lerp.Tensor)
def _lerp(L: Lowering, out: Any, a: Operand, b: Operand, weight: Operand) -> View:
    x, y, w = L.number(a), L.number(b), L.number(weight)
    near = x + w * (y - x)
    far = y - (y - x) * (1.0 - w)
    return (w.apply("abs") < 0.5).where(near, far)


@rule(aten.addcmul.default)
def _addcmul(
    L: Lowering, out: Any, x: Operand, a: Operand, b: Operand, *, value: float = 1
) -> View:
    return L.number(x) + L.number(a) * L.number(b) * float(value)


@rule(aten.addcdiv.default)
def _addcdiv(
    L: Lowering, out: Any, x: Operand, a: Operand, b: Operand, *, value: float = 1
) -> View:
    return L.number(x) + L.number(a) / L.number(b) * float(value)


@rule(aten.hypot.default)
def _hypot(L: Lowering, out: Any, a: Operand, b: Operand) -> View:
    x, y = L.number(a).apply("abs"), L.number(b).apply("abs")
    large, small = x.apply("max", y), x.apply("min", y)
    ratio = small / large.equals(0.0).where(1.0, large)
    return large * (1.0 + ratio * ratio).apply("sqrt")


@rule(aten.remainder.Scalar, aten.remainder.Tensor)
def _remainder(L: Lowering, out: Any, a: Operand, b: Operand) -> View:
    x, y = L.number(a), L.number(b)
    rest = x.apply("fmod", y)
    other = rest.apply("ne", 0.0).apply("and", (rest < 0.0).apply("ne_mask", y < 0.0))
    return other.where(rest + y, rest)


@rule(aten.fmod.Scalar, aten.fmod.Tensor)
def _fmod(L: Lowering, out: Any, a: Operand, b: Operand) -> View:
    return L.number(a).apply("fmod", L.number(b))


@rule(aten.frac.default)
def _frac(L: Lowering, out: Any, x: Operand) -> View:
    view = L.number(x)
    return view - view.apply("trunc")


@rule(aten.nan_to_num.default)
def _nan_to_num(
    L: Lowering, out: Tensor, x: Operand, nan: float | None = None,
    posinf: float | None = None, neginf: float | None = None,
) -> View:  # fmt: skip
    limits, view = torch.finfo(out.dtype), L.number(x)
    view = view.apply("isnan").where(nan or 0.0, view)
    view = view.equals(math.inf).where(limits.max if posinf is None else posinf, view)
    return view.equals(-math.inf).where(limits.min if neginf is None else neginf, view)


@rule(aten.logaddexp.default)
def _logaddexp(L: Lowering, out: Any, a: Operand, b: Operand) -> View:
    x, y = L.number(a), L.number(b)
    large = x.apply("max", y)
    spread = -((x - y).apply("abs"))
    infinite = x.equals(y).apply("and", x.apply("abs").equals(math.inf))
    return infinite.where(x, large + spread.apply("exp").apply("log1p"))


@rule(aten.xlogy.Tensor, aten.xlogy.Scalar_Other, aten.xlogy.Scalar_Self)
def _xlogy(L: Lowering, out: Any, a: Operand, b: Operand) -> View:
    x, y = L.number(a), L.number(b)
    value = x.equals(0.0).where(0.0, x * y.apply("log"))
    return y.apply("isnan").where(math.nan, value)


@rule(aten.logit.default)
def _logit(L: Lowering, out: Any, x: Operand, eps: float | None = None) -> View:
    view = L.number(x) if eps is None else _clamp(L, out, x, eps, 1.0 - eps)
    return (view / (1.0 - view)).apply("log")


@rule(aten.logit_backward.default)
def _logit_backward(
    L: Lowering, out: Any, g: Operand, x: Operand, eps: float | None = None
) -> View:
    view = L.number(x)
    slope = L.number(g) / (view * (1.0 - view))
    if eps is None:
        inside = (view >= 0.0).apply("and", view <= 1.0)
        return inside.where(slope, math.nan)
    return (view >= eps).apply("and", view <= 1.0 - eps).where(slope, 0.0)


# ---------------------------------------------------------------- truth values


for _name in ("and", "or"):
    for _prefix, _overload in (("bitwise", "Tensor"), ("logical", "default")):
        _function = getattr(getattr(aten, f"{_prefix}_{_name}"), _overload)
        rule(_function)(lambda L, out, a, b, name=_name: L.mask(a).apply(name, L.mask(b)))


@rule(aten.logical_not.default, aten.bitwise_not.default)
def _not(L: Lowering, out: Any, x: Operand) -> View:
    return L.mask(x).apply("not")


@rule(aten.logical_xor.default, aten.bitwise_xor.Tensor)
def _xor(L: Lowering, out: Any, a: Operand, b: Operand) -> View:
    return L.mask(a).apply("ne_mask", L.mask(b))


@rule(aten.isnan.default)
def _isnan(L: Lowering, out: Any, x: Operand) -> View:
    return L.number(x).apply("isnan")


@rule(aten.isinf.default)
def _isinf(L: Lowering, out: Any, x: Operand) -> View:
    return L.number(x).apply("abs").equals(math.inf)


@rule(aten.isfinite.default)
def _isfinite(L: Lowering, out: Any, x: Operand) -> View:
    return L.number(x).apply("abs") < math.inf


# ---------------------------------------------------------------- copies and filled tensors


@rule(aten.clone.default, aten.contiguous.default, aten.lift_fresh_copy.default)
def _same(L: Lowering, out: Any, x: Operand, **options: Any) -> View:
    return L.view(x)


@rule(aten._to_copy.default)
def _to_copy(L: Lowering, out: Tensor, x: Tensor, **options: Any) -> View:
    if out.dtype == torch.bool:
        return L.mask(x)
    if out.dtype == L.dtype:
        return L.number(x)
    if x.dtype == torch.bool and not out.dtype.is_complex:
        return L.number(x)  # 0 and 1 in any dtype
    raise Unsupported(f"it converts {x.dtype} to {out.dtype}")


def _filled(value: float) -> Any:
    return lambda L, out, *a, **k: L.graph.number(value, out.shape)


for _function in (aten.zeros_like.default, aten.new_zeros.default):
    rule(_function)(_filled(0.0))
for _function in (aten.ones_like.default, aten.new_ones.default):
    rule(_function)(_filled(1.0))


@rule(aten.full_like.default, aten.new_full.default)
def _full(L: Lowering, out: Tensor, x: Any, *rest: Any, **options: Any) -> View:
    value = rest[-1] if rest else options["fill_value"]
    return L.graph.number(float(value), out.shape)


@rule(aten.empty_like.default, aten.new_empty.default, aten.new_empty_strided.default)
def _empty(L: Lowering, out: Tensor, *arguments: Any, **options: Any) -> View:
    return L.graph.number(0.0, out.shape)  # written before it is read


@rule(aten.fill.Scalar, aten.fill.Tensor)
def _fill(L: Lowering, out: Tensor, x: Any, value: Operand) -> View:
    return L.number(value).expand(out.shape)
