"""Rules of operations that write or add to some entries of a tensor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gd_torch.compiler.errors import Unsupported
from gd_torch.compiler.lowering import Lowering
from gd_torch.compiler.registry import Operand, aten, rule
from gd_torch.compiler.rules.axes import indices
from gd_torch.compiler.rules.picking import (
    MAX_CHOICES,
    entries,
    in_node,
    one_pick_a_row,
    same_but_for,
    spread_to,
)
from gd_torch.compiler.views import View


def scattered(lowering: Lowering, view: View, operation: str, values: View, choose: Any) -> View:
    """A copy of ``view`` with values written or added at the entries that ``choose`` picks."""
    blank = lowering.graph.blank(view.shape)
    everything = torch.arange(math.prod(view.shape)).reshape(view.shape)
    table = choose(everything)
    return lowering.graph.assemble(
        view.shape, [(blank, view)], scatter=(operation, values.expand(table.shape), table)
    )


@rule(aten.scatter_add.default)
def _scatter_add(
    lowering: Lowering, out: Any, x: Operand, dim: int, index: Tensor, g: Operand
) -> View:
    view, at, grad = lowering.number(x), lowering.number(index), lowering.number(g)
    dim %= max(1, len(view.shape))
    if not view.shape:
        return view + grad
    same = at.shape == grad.shape and same_but_for(view.shape, at.shape, dim)
    if same and view.shape[dim] <= MAX_CHOICES:
        return view + spread_to(lowering, grad, dim, at, view.shape[dim])
    constant = lowering.values(index)
    cut = grad
    for d, size in enumerate(constant.shape):
        cut = cut.narrow(d, 0, size)
    return scattered(
        lowering, view, "scatter_add", cut, lambda places: places.gather(dim, constant)
    )


@rule(aten.scatter.src, aten.scatter.value)
def _scatter(
    lowering: Lowering, out: Any, x: Operand, dim: int, index: Tensor, value: Operand
) -> View:
    view, source, at = lowering.number(x), lowering.number(value), lowering.number(index)
    if not view.shape:
        return source
    dim %= len(view.shape)
    if at.shape[dim] == 1 and same_but_for(view.shape, at.shape, dim):
        if source.shape and source.shape[dim] != 1:
            source = source.narrow(dim, 0, 1)
        if not source.shape or same_but_for(view.shape, source.shape, dim):
            hits = at.expand(view.shape).equals(indices(lowering.graph, view.shape, dim))
            return hits.where(source.expand(view.shape), view)
    constant = lowering.values(index)
    if isinstance(value, Tensor):
        for d, size in enumerate(constant.shape):
            source = source.narrow(d, 0, size)
    return scattered(lowering, view, "scatter", source, lambda places: places.gather(dim, constant))


@rule(aten.index_add.default)
def _index_add(
    lowering: Lowering,
    out: Any,
    x: Operand,
    dim: int,
    index: Tensor,
    g: Operand,
    *,
    alpha: float = 1,
) -> View:
    constant, grad = lowering.values(index), lowering.number(g)
    if alpha != 1:
        grad = grad * float(alpha)
    return scattered(
        lowering,
        lowering.number(x),
        "scatter_add",
        grad,
        lambda places: places.index_select(dim, constant),
    )


@rule(aten.index_copy.default)
def _index_copy(
    lowering: Lowering, out: Any, x: Operand, dim: int, index: Tensor, source: Operand
) -> View:
    constant = lowering.values(index)
    return scattered(
        lowering,
        lowering.number(x),
        "scatter",
        lowering.number(source),
        lambda places: places.index_select(dim, constant),
    )


@rule(aten.index_fill.int_Scalar, aten.index_fill.int_Tensor)
def _index_fill(
    lowering: Lowering, out: Any, x: Operand, dim: int, index: Tensor, value: Operand
) -> View:
    constant = lowering.values(index)
    return scattered(
        lowering,
        lowering.number(x),
        "scatter",
        lowering.number(value),
        lambda places: places.index_select(dim, constant),
    )


@rule(aten.masked_scatter.default)
def _masked_scatter(
    lowering: Lowering, out: Any, x: Operand, mask: Tensor, source: Operand
) -> View:
    constant, values = lowering.values(mask), in_node(lowering, source)
    view = lowering.number(x)
    everything = torch.arange(math.prod(view.shape)).reshape(view.shape)
    table = everything.masked_select(constant.expand(view.shape))
    chosen = lowering.graph.gather(values, entries(values).reshape(-1)[: len(table)])
    return scattered(lowering, view, "scatter", chosen, lambda places: table)


@rule(aten.put.default)
def _put(
    lowering: Lowering,
    out: Any,
    x: Operand,
    index: Tensor,
    value: Operand,
    accumulate: bool = False,
) -> View:
    constant = lowering.values(index)
    operation = "scatter_add" if accumulate else "scatter"
    return scattered(
        lowering,
        lowering.number(x),
        operation,
        lowering.number(value),
        lambda places: places.take(constant),
    )


@rule(aten.index_put.default, aten._unsafe_index_put.default)
def _index_put(
    lowering: Lowering, out: Any, x: Operand, where: Sequence[Tensor | None], value: Operand,
    accumulate: bool = False, *rest: Any,
) -> View:  # fmt: skip
    view, values = lowering.number(x), lowering.number(value)
    pick = one_pick_a_row(lowering, view.shape, where)
    if pick is not None:
        dim, index = pick
        at = lowering.number(index).unsqueeze(dim)
        values = values.expand((view.shape[1 - dim],)).unsqueeze(dim)
        if accumulate:
            return view + spread_to(lowering, values, dim, at, view.shape[dim])
        hits = at.expand(view.shape).equals(indices(lowering.graph, view.shape, dim))
        return hits.where(values.expand(view.shape), view)
    constant = [None if i is None else lowering.values(i) for i in where]
    operation = "scatter_add" if accumulate else "scatter"
    return scattered(
        lowering, view, operation, values, lambda places: aten.index.Tensor(places, constant)
    )


rule(aten._index_put_impl.default)(_index_put)


@rule(aten.embedding_dense_backward.default)
def _embedding_backward(
    lowering: Lowering,
    out: Any,
    g: Operand,
    index: Tensor,
    count: int,
    padding: int,
    by_frequency: bool,
) -> View:
    constant, grad = lowering.values(index), lowering.number(g)
    if by_frequency or bool((constant == padding).any()):
        raise Unsupported("embedding with padding or scaling has no compiled form")
    zero = lowering.graph.number(0.0, (count, grad.shape[-1]))
    return scattered(lowering, zero, "scatter_add", grad, lambda places: places[constant])


@rule(aten.unfold_backward.default)
def _unfold_backward(
    lowering: Lowering, out: Any, g: Operand, shape: Sequence[int], dim: int, size: int, step: int
) -> View:
    zero = lowering.graph.number(0.0, tuple(shape))
    return scattered(
        lowering,
        zero,
        "scatter_add",
        lowering.number(g),
        lambda places: places.unfold(dim, size, step),
    )


@rule(aten.value_selecting_reduction_backward.default)
def _selecting(
    lowering: Lowering,
    out: Any,
    g: Operand,
    dim: int,
    index: Tensor,
    sizes: Sequence[int],
    keepdim: bool,
) -> View:
    grad, place = lowering.number(g), lowering.number(index)
    if not sizes:
        return grad
    dim %= len(sizes)
    if not keepdim:
        grad, place = grad.unsqueeze(dim), place.unsqueeze(dim)
    at = indices(lowering.graph, sizes, dim)
    return place.expand(tuple(sizes)).equals(at).where(grad, 0.0)
