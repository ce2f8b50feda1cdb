"""Rules of operations that select entries of a tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from gd_torch.compiler.errors import Unsupported
from gd_torch.compiler.lowering import Lowering
from gd_torch.compiler.registry import Operand, aten, rule
from gd_torch.compiler.rules.index_selection import (
    MAX_COMPARED_ENTRIES,
    equal_except_at,
    gather_entries,
    select_by_index,
    single_index_per_row,
)
from gd_torch.compiler.views import View


@rule(aten.gather.default)
def _gather(
    lowering: Lowering, out: Any, x: Operand, dim: int, index: Tensor, **options: Any
) -> View:
    view, at = lowering.number(x), lowering.number(index)
    if not view.shape:
        return view
    dim %= len(view.shape)
    if equal_except_at(view.shape, at.shape, dim) and view.shape[dim] <= MAX_COMPARED_ENTRIES:
        return select_by_index(lowering, view, dim, at)
    constant = lowering.values(index)
    return gather_entries(lowering, view, lambda entry_ids: entry_ids.gather(dim, constant))


@rule(aten.index_select.default)
def _index_select(lowering: Lowering, out: Any, x: Operand, dim: int, index: Tensor) -> View:
    constant = lowering.values(index)
    return gather_entries(lowering, x, lambda entry_ids: entry_ids.index_select(dim, constant))


@rule(aten.index.Tensor)
def _index(lowering: Lowering, out: Any, x: Operand, indices: Sequence[Tensor | None]) -> View:
    view = lowering.number(x)
    single_index = single_index_per_row(lowering, view.shape, indices)
    if single_index is not None:
        dim, index = single_index
        return select_by_index(lowering, view, dim, lowering.number(index).unsqueeze(dim)).squeeze(
            dim
        )
    constant = [None if i is None else lowering.values(i) for i in indices]
    return gather_entries(lowering, view, lambda entry_ids: aten.index.Tensor(entry_ids, constant))


@rule(aten.embedding.default)
def _embedding(lowering: Lowering, out: Any, weight: Operand, index: Tensor, *rest: Any) -> View:
    constant = lowering.values(index)
    return gather_entries(lowering, weight, lambda entry_ids: entry_ids[constant])


@rule(aten.masked_select.default)
def _masked_select(lowering: Lowering, out: Any, x: Operand, mask: Tensor) -> View:
    constant = lowering.values(mask)
    return gather_entries(lowering, x, lambda entry_ids: entry_ids.masked_select(constant))


@rule(aten.take.default)
def _take(lowering: Lowering, out: Any, x: Operand, index: Tensor) -> View:
    constant = lowering.values(index)
    return gather_entries(lowering, x, lambda entry_ids: entry_ids.take(constant))


@rule(aten.flip.default)
def _flip(lowering: Lowering, out: Any, x: Operand, dims: Sequence[int]) -> View:
    return gather_entries(lowering, x, lambda entry_ids: entry_ids.flip(dims))


@rule(aten.roll.default)
def _roll(
    lowering: Lowering,
    out: Any,
    x: Operand,
    shifts: Sequence[int] | int,
    dims: Sequence[int] | int = (),
) -> View:
    return gather_entries(
        lowering, x, lambda entry_ids: entry_ids.roll(shifts, dims if dims != () else None)
    )


@rule(aten.rot90.default)
def _rot90(
    lowering: Lowering, out: Any, x: Operand, k: int = 1, dims: Sequence[int] = (0, 1)
) -> View:
    return gather_entries(lowering, x, lambda entry_ids: entry_ids.rot90(k, dims))


@rule(aten.diagonal_copy.default)
def _diagonal_copy(
    lowering: Lowering, out: Any, x: Operand, offset: int = 0, dim1: int = 0, dim2: int = 1
) -> View:
    return gather_entries(lowering, x, lambda entry_ids: entry_ids.diagonal(offset, dim1, dim2))


@rule(aten.im2col.default)
def _im2col(lowering: Lowering, out: Any, *arguments: Any) -> View:
    raise Unsupported("unfolding an image has no compiled form")
