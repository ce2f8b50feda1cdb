"""Rules of norms, variances and normalisation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gd_torch.compiler.errors import Unsupported
from gd_torch.compiler.lowering import Lowering
from gd_torch.compiler.registry import Operand, aten, rule
from gd_torch.compiler.rules.axes import Dims, reduced_axes, reduced_count, squeeze_reduced
from gd_torch.compiler.rules.reductions import extremum
from gd_torch.compiler.views import View


@rule(aten.linalg_vector_norm.default)
def _vector_norm(
    lowering: Lowering, out: Any, x: Operand, ord: float = 2, dim: Dims = None,
    keepdim: bool = False, **options: Any,
) -> View:  # fmt: skip
    view = lowering.number(x).apply("abs")
    over = reduced_axes(dim, len(view.shape))
    if ord == math.inf:
        return extremum(view, "max", over, keepdim)
    if ord == -math.inf:
        return extremum(view, "min", over, keepdim)
    if ord == 0:
        return view.apply("ne", 0.0).where(1.0, 0.0).sum(over, keepdim)
    if ord == 1:
        return view.sum(over, keepdim)
    if ord == 2:
        return (view * view).sum(over, keepdim).apply("sqrt")
    return view.apply("pow", float(ord)).sum(over, keepdim).apply("pow", 1.0 / ord)


@rule(aten.norm.ScalarOpt_dim, aten.norm.Scalar)
def _norm(
    lowering: Lowering,
    out: Any,
    x: Operand,
    p: float | None = 2,
    dim: Dims = None,
    keepdim: bool = False,
) -> View:
    return _vector_norm(lowering, out, x, 2 if p is None else p, dim, keepdim)


@rule(aten.dist.default)
def _dist(lowering: Lowering, out: Any, a: Operand, b: Operand, p: float = 2) -> View:
    return _vector_norm(lowering, out, lowering.number(a) - lowering.number(b), p)


def variance(view: View, dims: list[int], correction: float, keepdim: bool) -> tuple[View, View]:
    """The variance along axes, and the mean with these axes of length 1."""
    mean = view.mean(dims, True)
    centred = view - mean
    total = (centred * centred).sum(dims, keepdim)
    return total / max(0.0, reduced_count(view.shape, dims) - correction), mean


@rule(aten.var.correction)
def _var(
    lowering: Lowering, out: Any, x: Operand, dim: Dims = None, *, correction: float | None = None,
    keepdim: bool = False,
) -> View:  # fmt: skip
    view = lowering.number(x)
    over = reduced_axes(dim, len(view.shape))
    return variance(view, over, 1.0 if correction is None else correction, keepdim)[0]


@rule(aten.std.correction)
def _std(lowering: Lowering, out: Any, x: Operand, dim: Dims = None, **options: Any) -> View:
    return _var(lowering, out, x, dim, **options).apply("sqrt")


@rule(aten.var_mean.correction)
def _var_mean(
    lowering: Lowering, out: Any, x: Operand, dim: Dims = None, *, correction: float | None = None,
    keepdim: bool = False,
) -> Any:  # fmt: skip
    view = lowering.number(x)
    over = reduced_axes(dim, len(view.shape))
    var, mean = variance(view, over, 1.0 if correction is None else correction, keepdim)
    return var, squeeze_reduced(mean, over, keepdim)


@rule(aten.std_mean.correction)
def _std_mean(lowering: Lowering, out: Any, x: Operand, dim: Dims = None, **options: Any) -> Any:
    var, mean = _var_mean(lowering, out, x, dim, **options)
    return var.apply("sqrt"), mean


@rule(aten.native_layer_norm.default)
def _layer_norm(
    lowering: Lowering, out: Any, x: Operand, shape: Sequence[int], weight: Operand | None,
    bias: Operand | None, eps: float,
) -> Any:  # fmt: skip
    view = lowering.number(x)
    over = list(range(len(view.shape) - len(shape), len(view.shape)))
    var, mean = variance(view, over, 0.0, True)
    scale = 1.0 / (var + float(eps)).apply("sqrt")
    value = (view - mean) * scale
    if weight is not None:
        value = value * lowering.number(weight)
    if bias is not None:
        value = value + lowering.number(bias)
    return value, mean, scale


@rule(aten.native_layer_norm_backward.default)
def _layer_norm_backward(
    lowering: Lowering, out: Any, g: Operand, x: Operand, shape: Sequence[int], mean: Operand,
    scale: Operand, weight: Operand | None, bias: Operand | None, output_mask: Sequence[bool],
) -> Any:  # fmt: skip
    grad, view, rstd = lowering.number(g), lowering.number(x), lowering.number(scale)
    over = list(range(len(view.shape) - len(shape), len(view.shape)))
    lead = list(range(len(view.shape) - len(shape)))
    normal = (view - lowering.number(mean)) * rstd
    inner = grad if weight is None else grad * lowering.number(weight)
    first, second = inner.mean(over, True), (inner * normal).mean(over, True)
    return (
        (inner - first - normal * second) * rstd if output_mask[0] else None,
        (grad * normal).sum(lead) if output_mask[1] and lead else None,
        grad.sum(lead) if output_mask[2] and lead else None,
    )


@rule(aten.renorm.default)
def _renorm(lowering: Lowering, out: Any, *arguments: Any) -> View:
    raise Unsupported("renorm has no compiled form")
