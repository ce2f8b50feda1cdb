"""Rules of sums, products, extrema and cumulative sums."""

from __future__ import annotations

from typing import Any

from gd_torch.compiler.lowering import Lowering
from gd_torch.compiler.registry import Operand, Rule, aten, rule
from gd_torch.compiler.rules.axes import Dims, axis_indices, reduced_axes
from gd_torch.compiler.views import View


@rule(aten.sum.default, aten.sum.dim_IntList)
def _sum(
    lowering: Lowering,
    out: Any,
    x: Operand,
    dim: Dims = None,
    keepdim: bool = False,
    **options: Any,
) -> View:
    view = lowering.number(x)
    return view.sum(reduced_axes(dim, len(view.shape)), keepdim)


@rule(aten.mean.default, aten.mean.dim)
def _mean(
    lowering: Lowering,
    out: Any,
    x: Operand,
    dim: Dims = None,
    keepdim: bool = False,
    **options: Any,
) -> View:
    view = lowering.number(x)
    return view.mean(reduced_axes(dim, len(view.shape)), keepdim)


@rule(aten.prod.default)
def _prod_all(lowering: Lowering, out: Any, x: Operand, **options: Any) -> View:
    return lowering.graph.reduce("prod", [lowering.number(x)], None)


@rule(aten.prod.dim_int)
def _prod(
    lowering: Lowering, out: Any, x: Operand, dim: int, keepdim: bool = False, **o: Any
) -> View:
    return lowering.graph.reduce("prod", [lowering.number(x)], [dim], keepdim)


def extremum(view: View, name: str, dim: Dims, keepdim: bool) -> View:
    """The largest ("max") or smallest ("min") entry along axes; NaN if one is NaN."""
    return view.graph.reduce(name, [view], reduced_axes(dim, len(view.shape)), keepdim)


@rule(aten.amax.default)
def _amax(lowering: Lowering, out: Any, x: Operand, dim: Dims = (), keepdim: bool = False) -> View:
    return extremum(lowering.number(x), "max", dim, keepdim)


@rule(aten.amin.default)
def _amin(lowering: Lowering, out: Any, x: Operand, dim: Dims = (), keepdim: bool = False) -> View:
    return extremum(lowering.number(x), "min", dim, keepdim)


@rule(aten.max.default)
def _max(lowering: Lowering, out: Any, x: Operand) -> View:
    return extremum(lowering.number(x), "max", None, False)


@rule(aten.min.default)
def _min(lowering: Lowering, out: Any, x: Operand) -> View:
    return extremum(lowering.number(x), "min", None, False)


def first_position(view: View, best: View, dim: int) -> View:
    """The first index along an axis where ``view`` equals ``best`` or is NaN; the axis is kept."""
    size = view.shape[dim]
    index = axis_indices(view.graph, view.shape, dim)
    hit = view.equals(best).apply("or", view.apply("isnan"))
    return view.graph.reduce("min", [hit.where(index, float(size))], [dim], True)


def _along(name: str) -> Rule:
    """The rule of "max" or "min" along an axis: values and indices."""

    def apply(lowering: Lowering, out: Any, x: Operand, dim: int, keepdim: bool = False) -> Any:
        view = lowering.number(x)
        if not view.shape:
            return view, lowering.graph.number(0.0)
        dim %= len(view.shape)
        best = extremum(view, name, dim, True)
        index = first_position(view, best, dim)
        return (best, index) if keepdim else (best.squeeze(dim), index.squeeze(dim))

    return apply


rule(aten.max.dim)(_along("max"))


rule(aten.min.dim)(_along("min"))


@rule(aten.any.default, aten.any.dim, aten.any.dims)
def _any(lowering: Lowering, out: Any, x: Operand, dim: Dims = None, keepdim: bool = False) -> View:
    ones = lowering.mask(x).where(1.0, 0.0)
    return extremum(ones, "max", dim, keepdim).apply("ne", 0.0)


@rule(aten.all.default, aten.all.dim, aten.all.dims)
def _all(lowering: Lowering, out: Any, x: Operand, dim: Dims = None, keepdim: bool = False) -> View:
    ones = lowering.mask(x).where(1.0, 0.0)
    return extremum(ones, "min", dim, keepdim).apply("ne", 0.0)


@rule(aten.cumsum.default)
def _cumsum(lowering: Lowering, out: Any, x: Operand, dim: int, **options: Any) -> View:
    view = lowering.number(x)
    return lowering.graph.scan("cumsum", view, dim) if view.shape else view


@rule(aten.cumprod.default)
def _cumprod(lowering: Lowering, out: Any, x: Operand, dim: int, **options: Any) -> View:
    view = lowering.number(x)
    return lowering.graph.scan("cumprod", view, dim) if view.shape else view
