"""Rules of comparisons, boolean operations and elementwise selection."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from gd_torch.compiler.lowering import Lowering
from gd_torch.compiler.registry import Operand, aten, rule
from gd_torch.compiler.rules.arithmetic import binary
from gd_torch.compiler.views import View

for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    for _overload in ("Tensor", "Scalar"):
        rule(getattr(getattr(aten, _name), _overload))(binary(_name))


for _name, _operation in (("maximum", "max"), ("minimum", "min")):
    rule(getattr(aten, _name).default)(binary(_operation))


@rule(aten.relu.default)
def _relu(lowering: Lowering, out: Any, x: Operand) -> View:
    return lowering.number(x).apply("max", 0.0)


@rule(aten.where.self, aten.where.ScalarOther, aten.where.ScalarSelf, aten.where.Scalar)
def _where(lowering: Lowering, out: Any, condition: Operand, yes: Operand, no: Operand) -> View:
    if isinstance(out, Tensor) and out.dtype == torch.bool:
        return lowering.mask(condition).where(lowering.mask(yes), lowering.mask(no))
    return lowering.mask(condition).where(lowering.number(yes), lowering.number(no))


@rule(aten.masked_fill.Scalar, aten.masked_fill.Tensor)
def _masked_fill(lowering: Lowering, out: Any, x: Operand, mask: Operand, value: Operand) -> View:
    return lowering.mask(mask).where(lowering.number(value), lowering.number(x))


@rule(aten.clamp.default, aten.clamp.Tensor)
def clamp(
    lowering: Lowering, out: Any, x: Operand, min: Operand | None = None, max: Operand | None = None
) -> View:
    view = lowering.number(x)
    if min is not None:
        view = view.apply("max", lowering.number(min))
    return view if max is None else view.apply("min", lowering.number(max))


@rule(aten.clamp_min.default, aten.clamp_min.Tensor)
def _clamp_min(lowering: Lowering, out: Any, x: Operand, min: Operand) -> View:
    return clamp(lowering, out, x, min)


@rule(aten.clamp_max.default, aten.clamp_max.Tensor)
def _clamp_max(lowering: Lowering, out: Any, x: Operand, max: Operand) -> View:
    return clamp(lowering, out, x, None, max)


@rule(aten.hardtanh.default)
def _hardtanh(
    lowering: Lowering, out: Any, x: Operand, low: float = -1.0, high: float = 1.0
) -> View:
    return clamp(lowering, out, x, low, high)


@rule(aten.fmax.default)
def _fmax(lowering: Lowering, out: Any, a: Operand, b: Operand) -> View:
    x, y = lowering.number(a), lowering.number(b)
    return x.apply("isnan").where(y, y.apply("isnan").where(x, x.apply("max", y)))


@rule(aten.fmin.default)
def _fmin(lowering: Lowering, out: Any, a: Operand, b: Operand) -> View:
    x, y = lowering.number(a), lowering.number(b)
    return x.apply("isnan").where(y, y.apply("isnan").where(x, x.apply("min", y)))


@rule(aten.nan_to_num.default)
def _nan_to_num(
    lowering: Lowering, out: Tensor, x: Operand, nan: float | None = None,
    posinf: float | None = None, neginf: float | None = None,
) -> View:  # fmt: skip
    limits, view = torch.finfo(out.dtype), lowering.number(x)
    view = view.apply("isnan").where(nan or 0.0, view)
    view = view.equals(math.inf).where(limits.max if posinf is None else posinf, view)
    return view.equals(-math.inf).where(limits.min if neginf is None else neginf, view)


@rule(aten.logit.default)
def _logit(lowering: Lowering, out: Any, x: Operand, eps: float | None = None) -> View:
    view = lowering.number(x) if eps is None else clamp(lowering, out, x, eps, 1.0 - eps)
    return (view / (1.0 - view)).apply("log")


@rule(aten.logit_backward.default)
def _logit_backward(
    lowering: Lowering, out: Any, g: Operand, x: Operand, eps: float | None = None
) -> View:
    view = lowering.number(x)
    slope = lowering.number(g) / (view * (1.0 - view))
    if eps is None:
        inside = (view >= 0.0).apply("and", view <= 1.0)
        return inside.where(slope, math.nan)
    return (view >= eps).apply("and", view <= 1.0 - eps).where(slope, 0.0)


for _name in ("and", "or"):
    for _prefix, _overload in (("bitwise", "Tensor"), ("logical", "default")):
        _function = getattr(getattr(aten, f"{_prefix}_{_name}"), _overload)
        rule(_function)(
            lambda lowering, out, a, b, name=_name: lowering.mask(a).apply(name, lowering.mask(b))
        )


@rule(aten.logical_not.default, aten.bitwise_not.default)
def _not(lowering: Lowering, out: Any, x: Operand) -> View:
    return lowering.mask(x).apply("not")


@rule(aten.logical_xor.default, aten.bitwise_xor.Tensor)
def _xor(lowering: Lowering, out: Any, a: Operand, b: Operand) -> View:
    return lowering.mask(a).apply("ne_mask", lowering.mask(b))


@rule(aten.isnan.default)
def _isnan(lowering: Lowering, out: Any, x: Operand) -> View:
    return lowering.number(x).apply("isnan")


@rule(aten.isinf.default)
def _isinf(lowering: Lowering, out: Any, x: Operand) -> View:
    return lowering.number(x).apply("abs").equals(math.inf)


@rule(aten.isfinite.default)
def _isfinite(lowering: Lowering, out: Any, x: Operand) -> View:
    return lowering.number(x).apply("abs") < math.inf
