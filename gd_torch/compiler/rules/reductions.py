"""Rules of reductions: sums, means, extremes, norms, variances, softmax, running sums."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gd_torch.compiler.errors import Unsupported
from gd_torch.compiler.graph import View
from gd_torch.compiler.lowering import Lowering, Operand, aten, axes, count_of, rule

Dims = int | Sequence[int] | None


@rule(aten.sum.default, aten.sum.dim_IntList)
def _sum(
    L: Lowering, out: Any, x: Operand, dim: Dims = None, keepdim: bool = False, **options: Any
) -> View:
    view = L.number(x)
    return view.sum(axes(dim, len(view.shape)), keepdim)


@rule(aten.mean.default, aten.mean.dim)
def _mean(
    L: Lowering, out: Any, x: Operand, dim: Dims = None, keepdim: bool = False, **options: Any
) -> View:
    view = L.number(x)
    return view.mean(axes(dim, len(view.shape)), keepdim)


@rule(aten.prod.default)
def _prod_all(L: Lowering, out: Any, x: Operand, **options: Any) -> View:
    return L.graph.reduce("prod", [L.number(x)], None)


@rule(aten.prod.dim_int)
def _prod(L: Lowering, out: Any, x: Operand, dim: int, keepdim: bool = False, **o: Any) -> View:
    return L.graph.reduce("prod", [L.number(x)], [dim], keepdim)


def extreme(view: View, name: str, dim: Dims, keepdim: bool) -> View:
    """The largest ("max") or smallest ("min") entry along axes; NaN wins."""
    return view.graph.reduce(name, [view], axes(dim, len(view.shape)), keepdim)


@rule(aten.amax.default)
def _amax(L: Lowering, out: Any, x: Operand, dim: Dims = (), keepdim: bool = False) -> View:
    return extreme(L.number(x), "max", dim, keepdim)


@rule(aten.amin.default)
def _amin(L: Lowering, out: Any, x: Operand, dim: Dims = (), keepdim: bool = False) -> View:
    return extreme(L.number(x), "min", dim, keepdim)


@rule(aten.max.default)
def _max(L: Lowering, out: Any, x: Operand) -> View:
    return extreme(L.number(x), "max", None, False)


@rule(aten.min.default)
def _min(L: Lowering, out: Any, x: Operand) -> View:
    return extreme(L.number(x), "min", None, False)


def position(view: View, best: View, dim: int) -> View:
    """The first index along an axis at which ``view`` equals ``best`` (axis kept), or is NaN."""
    size = view.shape[dim]
    index = indices(view.graph, view.shape, dim)
    hit = view.equals(best).apply("or", view.apply("isnan"))
    return view.graph.reduce("min", [hit.where(index, float(size))], [dim], True)


def indices(graph: Any, shape: Sequence[int], dim: int) -> View:
    """The index along one axis, as numbers, broadcast to a shape."""
    from gd_torch.compiler.graph import Node  # the constant needs no dtype rule of its own

    size = shape[dim]
    if size == 1:
        return graph.number(0.0, shape)  # type: ignore[no-any-return]
    node = graph.constant_indices(size)
    assert isinstance(node, Node)
    strides = tuple(1 if d == dim else 0 for d in range(len(shape)))
    return View(graph, node, 0, tuple(shape), strides)


def _along(name: str) -> Any:
    def apply(L: Lowering, out: Any, x: Operand, dim: int, keepdim: bool = False) -> Any:
        view = L.number(x)
        if not view.shape:
            return view, L.graph.number(0.0)
        dim %= len(view.shape)
        best = extreme(view, name, dim, True)
        where = position(view, best, dim)
        return (best, where) if keepdim else (best.squeeze(dim), where.squeeze(dim))

    return apply


rule(aten.max.dim)(_along("max"))
rule(aten.min.dim)(_along("min"))


@rule(aten.any.default, aten.any.dim, aten.any.dims)
def _any(L: Lowering, out: Any, x: Operand, dim: Dims = None, keepdim: bool = False) -> View:
    ones = L.mask(x).where(1.0, 0.0)
    return extreme(ones, "max", dim, keepdim).apply("ne", 0.0)


@rule(aten.all.default, aten.all.dim, aten.all.dims)
def _all(L: Lowering, out: Any, x: Operand, dim: Dims = None, keepdim: bool = False) -> View:
    ones = L.mask(x).where(1.0, 0.0)
    return extreme(ones, "min", dim, keepdim).apply("ne", 0.0)


# ---------------------------------------------------------------- norms and variances


@rule(aten.linalg_vector_norm.default)
def _vector_norm(
    L: Lowering, out: Any, x: Operand, ord: float = 2, dim: Dims = None, keepdim: bool = False,
    **options: Any,
) -> View:  # fmt: skip
    view = L.number(x).apply("abs")
    over = axes(dim, len(view.shape))
    if ord == math.inf:
        return extreme(view, "max", over, keepdim)
    if ord == -math.inf:
        return extreme(view, "min", over, keepdim)
    if ord == 0:
        return view.apply("ne", 0.0).where(1.0, 0.0).sum(over, keepdim)
    if ord == 1:
        return view.sum(over, keepdim)
    if ord == 2:
        return (view * view).sum(over, keepdim).apply("sqrt")
    return view.apply("pow", float(ord)).sum(over, keepdim).apply("pow", 1.0 / ord)


@rule(aten.norm.ScalarOpt_dim, aten.norm.Scalar)
def _norm(
    L: Lowering, out: Any, x: Operand, p: float | None = 2, dim: Dims = None, keepdim: bool = False
) -> View:
    return _vector_norm(L, out, x, 2 if p is None else p, dim, keepdim)


def variance(view: View, dims: list[int], correction: float, keepdim: bool) -> tuple[View, View]:
    """The variance and the mean (axes kept) along axes."""
    mean = view.mean(dims, True)
    centred = view - mean
    total = (centred * centred).sum(dims, keepdim)
    return total / max(0.0, count_of(view.shape, dims) - correction), mean


@rule(aten.var.correction)
def _var(
    L: Lowering, out: Any, x: Operand, dim: Dims = None, *, correction: float | None = None,
    keepdim: bool = False,
) -> View:  # fmt: skip
    view = L.number(x)
    over = axes(dim, len(view.shape))
    return variance(view, over, 1.0 if correction is None else correction, keepdim)[0]


@rule(aten.std.correction)
def _std(L: Lowering, out: Any, x: Operand, dim: Dims = None, **options: Any) -> View:
    return _var(L, out, x, dim, **options).apply("sqrt")


def _squeezed(view: View, dims: list[int], keepdim: bool) -> View:
    if not keepdim:
        for d in sorted(dims, reverse=True):
            view = view.squeeze(d)
    return view


@rule(aten.var_mean.correction)
def _var_mean(
    L: Lowering, out: Any, x: Operand, dim: Dims = None, *, correction: float | None = None,
    keepdim: bool = False,
) -> Any:  # fmt: skip
    view = L.number(x)
    over = axes(dim, len(view.shape))
    var, mean = variance(view, over, 1.0 if correction is None else correction, keepdim)
    return var, _squeezed(mean, over, keepdim)


@rule(aten.std_mean.correction)
def _std_mean(L: Lowering, out: Any, x: Operand, dim: Dims = None, **options: Any) -> Any:
    var, mean = _var_mean(L, out, x, dim, **options)
    return var.apply("sqrt"), mean


# ---------------------------------------------------------------- softmax and its kind


@rule(aten._softmax.default)
def _softmax(L: Lowering, out: Any, x: Operand, dim: int, half_to_float: bool) -> View:
    view = L.number(x)
    if not view.shape:
        return L.graph.number(1.0)
    e = (view - extreme(view, "max", dim, True)).apply("exp")
    return e / e.sum([dim], True)


@rule(aten._log_softmax.default)
def _log_softmax(L: Lowering, out: Any, x: Operand, dim: int, half_to_float: bool) -> View:
    view = L.number(x)
    if not view.shape:
        return L.graph.number(0.0)
    shifted = view - extreme(view, "max", dim, True)
    return shifted - shifted.apply("exp").sum([dim], True).apply("log")


@rule(aten._softmax_backward_data.default)
def _softmax_backward(
    L: Lowering, out: Any, g: Operand, y: Operand, dim: int, dtype: torch.dtype
) -> View:
    grad, value = L.number(g), L.number(y)
    product = grad * value
    return product - value * product.sum([dim] if value.shape else None, bool(value.shape))


@rule(aten._log_softmax_backward_data.default)
def _log_softmax_backward(
    L: Lowering, out: Any, g: Operand, y: Operand, dim: int, dtype: torch.dtype
) -> View:
    grad, value = L.number(g), L.number(y)
    return grad - value.apply("exp") * grad.sum([dim] if value.shape else None, bool(value.shape))


@rule(aten.logsumexp.default)
def _logsumexp(L: Lowering, out: Any, x: Operand, dim: Dims, keepdim: bool = False) -> View:
    view = L.number(x)
    over = axes(dim, len(view.shape))
    largest = extreme(view, "max", over, True)
    finite = largest.apply("abs").equals(math.inf).where(0.0, largest)
    total = (view - finite).apply("exp").sum(over, keepdim).apply("log")
    return total + _squeezed(finite, over, keepdim)


# ---------------------------------------------------------------- running sums


@rule(aten.cumsum.default)
def _cumsum(L: Lowering, out: Any, x: Operand, dim: int, **options: Any) -> View:
    view = L.number(x)
    return L.graph.scan("cumsum", view, dim) if view.shape else view


@rule(aten.cumprod.default)
def _cumprod(L: Lowering, out: Any, x: Operand, dim: int, **options: Any) -> View:
    view = L.number(x)
    return L.graph.scan("cumprod", view, dim) if view.shape else view


@rule(aten.native_layer_norm.default)
def _layer_norm(
    L: Lowering, out: Any, x: Operand, shape: Sequence[int], weight: Operand | None,
    bias: Operand | None, eps: float,
) -> Any:  # fmt: skip
    view = L.number(x)
    over = list(range(len(view.shape) - len(shape), len(view.shape)))
    var, mean = variance(view, over, 0.0, True)
    scale = 1.0 / (var + float(eps)).apply("sqrt")
    value = (view - mean) * scale
    if weight is not None:
        value = value * L.number(weight)
    if bias is not None:
        value = value + L.number(bias)
    return value, mean, scale


@rule(aten.native_layer_norm_backward.default)
def _layer_norm_backward(
    L: Lowering, out: Any, g: Operand, x: Operand, shape: Sequence[int], mean: Operand,
    scale: Operand, weight: Operand | None, bias: Operand | None, wanted: Sequence[bool],
) -> Any:  # fmt: skip
    grad, view, rstd = L.number(g), L.number(x), L.number(scale)
    over = list(range(len(view.shape) - len(shape), len(view.shape)))
    lead = list(range(len(view.shape) - len(shape)))
    normal = (view - L.number(mean)) * rstd
    inner = grad if weight is None else grad * L.number(weight)
    first, second = inner.mean(over, True), (inner * normal).mean(over, True)
    return (
        (inner - first - normal * second) * rstd if wanted[0] else None,
        (grad * normal).sum(lead) if wanted[1] and lead else None,
        grad.sum(lead) if wanted[2] and lead else None,
    )


@rule(aten.value_selecting_reduction_backward.default)
def _selecting(
    L: Lowering, out: Any, g: Operand, dim: int, index: Tensor, sizes: Sequence[int], keepdim: bool
) -> View:
    grad, place = L.number(g), L.number(index)
    if not sizes:
        return grad
    dim %= len(sizes)
    if not keepdim:
        grad, place = grad.unsqueeze(dim), place.unsqueeze(dim)
    at = indices(L.graph, sizes, dim)
    return place.expand(tuple(sizes)).equals(at).where(grad, 0.0)


@rule(aten.dist.default)
def _dist(L: Lowering, out: Any, a: Operand, b: Operand, p: float = 2) -> View:
    return _vector_norm(L, out, L.number(a) - L.number(b), p)


@rule(aten.renorm.default)
def _renorm(L: Lowering, out: Any, *arguments: Any) -> View:
    raise Unsupported("renorm has no compiled form")
