"""Rules of operations that read some entries of a tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from gd_torch.compiler.errors import Unsupported
from gd_torch.compiler.lowering import Lowering
from gd_torch.compiler.registry import Operand, aten, rule
from gd_torch.compiler.rules.picking import (
    MAX_CHOICES,
    one_of,
    one_pick_a_row,
    picked,
    same_but_for,
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
    if same_but_for(view.shape, at.shape, dim) and view.shape[dim] <= MAX_CHOICES:
        return one_of(lowering, view, dim, at)
    constant = lowering.values(index)
    return picked(lowering, view, lambda places: places.gather(dim, constant))


@rule(aten.index_select.default)
def _index_select(lowering: Lowering, out: Any, x: Operand, dim: int, index: Tensor) -> View:
    constant = lowering.values(index)
    return picked(lowering, x, lambda places: places.index_select(dim, constant))


@rule(aten.index.Tensor)
def _index(lowering: Lowering, out: Any, x: Operand, where: Sequence[Tensor | None]) -> View:
    view = lowering.number(x)
    pick = one_pick_a_row(lowering, view.shape, where)
    if pick is not None:
        dim, index = pick
        return one_of(lowering, view, dim, lowering.number(index).unsqueeze(dim)).squeeze(dim)
    constant = [None if i is None else lowering.values(i) for i in where]
    return picked(lowering, view, lambda places: aten.index.Tensor(places, constant))


@rule(aten.embedding.default)
def _embedding(lowering: Lowering, out: Any, weight: Operand, index: Tensor, *rest: Any) -> View:
    constant = lowering.values(index)
    return picked(lowering, weight, lambda places: places[constant])


@rule(aten.masked_select.default)
def _masked_select(lowering: Lowering, out: Any, x: Operand, mask: Tensor) -> View:
    constant = lowering.values(mask)
    return picked(lowering, x, lambda places: places.masked_select(constant))


@rule(aten.take.default)
def _take(lowering: Lowering, out: Any, x: Operand, index: Tensor) -> View:
    constant = lowering.values(index)
    return picked(lowering, x, lambda places: places.take(constant))


@rule(aten.flip.default)
def _flip(lowering: Lowering, out: Any, x: Operand, dims: Sequence[int]) -> View:
    return picked(lowering, x, lambda places: places.flip(dims))


@rule(aten.roll.default)
def _roll(
    lowering: Lowering,
    out: Any,
    x: Operand,
    shifts: Sequence[int] | int,
    dims: Sequence[int] | int = (),
) -> View:
    return picked(lowering, x, lambda places: places.roll(shifts, dims if dims != () else None))


@rule(aten.rot90.default)
def _rot90(
    lowering: Lowering, out: Any, x: Operand, k: int = 1, dims: Sequence[int] = (0, 1)
) -> View:
    return picked(lowering, x, lambda places: places.rot90(k, dims))


@rule(aten.diagonal_copy.default)
def _diagonal_copy(
    lowering: Lowering, out: Any, x: Operand, offset: int = 0, dim1: int = 0, dim2: int = 1
) -> View:
    return picked(lowering, x, lambda places: places.diagonal(offset, dim1, dim2))


@rule(aten.im2col.default)
def _im2col(lowering: Lowering, out: Any, *arguments: Any) -> View:
    raise Unsupported("unfolding an image has no compiled form")
