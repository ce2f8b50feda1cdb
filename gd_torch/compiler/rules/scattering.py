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
from gd_torch.compiler.rules.axes import axis_indices
from gd_torch.compiler.rules.index_selection import (
    MAX_COMPARED_ENTRIES,
    add_at_index,
    as_node_view,
    entry_ids_of,
    equal_except_at,
    single_index_per_row,
)
from gd_torch.compiler.views import View


def scatter_entries(
    lowering: Lowering, view: View, operation: str, values: View, choose: Any
) -> View:
    """A copy of ``view`` with values written or added at the entries that ``choose`` selects."""
    placeholder = lowering.graph.placeholder(view.shape)
    all_ids = torch.arange(math.prod(view.shape)).reshape(view.shape)
    table = choose(all_ids)
    return lowering.graph.write_regions(
        view.shape, [(placeholder, view)], scatter=(operation, values.expand(table.shape), table)
    )


@rule(aten.scatter_add.default)
def _scatter_add(
    lowering: Lowering, out: Any, x: Operand, dim: int, index: Tensor, g: Operand
) -> View:
    view, at, grad = lowering.number(x), lowering.number(index), lowering.number(g)
    dim %= max(1, len(view.shape))
    if not view.shape:
        return view + grad
    same = at.shape == grad.shape and equal_except_at(view.shape, at.shape, dim)
    if same and view.shape[dim] <= MAX_COMPARED_ENTRIES:
        return view + add_at_index(lowering, grad, dim, at, view.shape[dim])
    constant = lowering.values(index)
    source = grad
    for d, size in enumerate(constant.shape):
        source = source.narrow(d, 0, size)
    return scatter_entries(
        lowering, view, "scatter_add", source, lambda entry_ids: entry_ids.gather(dim, constant)
    )


@rule(aten.scatter.src, aten.scatter.value)
def _scatter(
    lowering: Lowering, out: Any, x: Operand, dim: int, index: Tensor, value: Operand
) -> View:
    view, source, at = lowering.number(x), lowering.number(value), lowering.number(index)
    if not view.shape:
        return source
    dim %= len(view.shape)
    if at.shape[dim] == 1 and equal_except_at(view.shape, at.shape, dim):
        if source.shape and source.shape[dim] != 1:
            source = source.narrow(dim, 0, 1)
        if not source.shape or equal_except_at(view.shape, source.shape, dim):
            matches = at.expand(view.shape).equals(axis_indices(lowering.graph, view.shape, dim))
            return matches.where(source.expand(view.shape), view)
    constant = lowering.values(index)
    if isinstance(value, Tensor):
        for d, size in enumerate(constant.shape):
            source = source.narrow(d, 0, size)
    return scatter_entries(
        lowering, view, "scatter", source, lambda entry_ids: entry_ids.gather(dim, constant)
    )


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
    return scatter_entries(
        lowering,
        lowering.number(x),
        "scatter_add",
        grad,
        lambda entry_ids: entry_ids.index_select(dim, constant),
    )


@rule(aten.index_copy.default)
def _index_copy(
    lowering: Lowering, out: Any, x: Operand, dim: int, index: Tensor, source: Operand
) -> View:
    constant = lowering.values(index)
    return scatter_entries(
        lowering,
        lowering.number(x),
        "scatter",
        lowering.number(source),
        lambda entry_ids: entry_ids.index_select(dim, constant),
    )


@rule(aten.index_fill.int_Scalar, aten.index_fill.int_Tensor)
def _index_fill(
    lowering: Lowering, out: Any, x: Operand, dim: int, index: Tensor, value: Operand
) -> View:
    constant = lowering.values(index)
    return scatter_entries(
        lowering,
        lowering.number(x),
        "scatter",
        lowering.number(value),
        lambda entry_ids: entry_ids.index_select(dim, constant),
    )


@rule(aten.masked_scatter.default)
def _masked_scatter(
    lowering: Lowering, out: Any, x: Operand, mask: Tensor, source: Operand
) -> View:
    constant, values = lowering.values(mask), as_node_view(lowering, source)
    view = lowering.number(x)
    all_ids = torch.arange(math.prod(view.shape)).reshape(view.shape)
    table = all_ids.masked_select(constant.expand(view.shape))
    chosen = lowering.graph.gather(values, entry_ids_of(values).reshape(-1)[: len(table)])
    return scatter_entries(lowering, view, "scatter", chosen, lambda entry_ids: table)


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
    return scatter_entries(
        lowering,
        lowering.number(x),
        operation,
        lowering.number(value),
        lambda entry_ids: entry_ids.take(constant),
    )


@rule(aten.index_put.default, aten._unsafe_index_put.default)
def _index_put(
    lowering: Lowering, out: Any, x: Operand, indices: Sequence[Tensor | None], value: Operand,
    accumulate: bool = False, *rest: Any,
) -> View:  # fmt: skip
    view, values = lowering.number(x), lowering.number(value)
    single_index = single_index_per_row(lowering, view.shape, indices)
    if single_index is not None:
        dim, index = single_index
        at = lowering.number(index).unsqueeze(dim)
        values = values.expand((view.shape[1 - dim],)).unsqueeze(dim)
        if accumulate:
            return view + add_at_index(lowering, values, dim, at, view.shape[dim])
        matches = at.expand(view.shape).equals(axis_indices(lowering.graph, view.shape, dim))
        return matches.where(values.expand(view.shape), view)
    constant = [None if i is None else lowering.values(i) for i in indices]
    operation = "scatter_add" if accumulate else "scatter"
    return scatter_entries(
        lowering, view, operation, values, lambda entry_ids: aten.index.Tensor(entry_ids, constant)
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
    return scatter_entries(
        lowering, zero, "scatter_add", grad, lambda entry_ids: entry_ids[constant]
    )


@rule(aten.unfold_backward.default)
def _unfold_backward(
    lowering: Lowering, out: Any, g: Operand, shape: Sequence[int], dim: int, size: int, step: int
) -> View:
    zero = lowering.graph.number(0.0, tuple(shape))
    return scatter_entries(
        lowering,
        zero,
        "scatter_add",
        lowering.number(g),
        lambda entry_ids: entry_ids.unfold(dim, size, step),
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
    grad, position = lowering.number(g), lowering.number(index)
    if not sizes:
        return grad
    dim %= len(sizes)
    if not keepdim:
        grad, position = grad.unsqueeze(dim), position.unsqueeze(dim)
    at = axis_indices(lowering.graph, sizes, dim)
    return position.expand(tuple(sizes)).equals(at).where(grad, 0.0)
