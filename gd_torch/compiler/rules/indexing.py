"""Rules of indexing, of tensors put together, and of the derivatives of views."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gd_torch.compiler.errors import Unsupported
from gd_torch.compiler.graph import View, contiguous
from gd_torch.compiler.lowering import Lowering, Operand, aten, rule
from gd_torch.compiler.rules.reductions import indices

MAX_CHOICES = 32
"""Picking one of up to this many entries is a sum over all of them, each times 0 or 1."""


def entries(view: View) -> Tensor:
    """For each index of a view, the entry of its node, int64."""
    assert view.node is not None
    everything = torch.arange(view.node.numel)
    return everything.as_strided(view.shape, view.strides, view.offset)


def in_node(L: Lowering, x: Operand) -> View:
    """The operand as a view of a node."""
    view = L.view(x)
    if view.node is None or view.node.kind == "constant":
        blank = L.graph.blank(view.shape)
        return L.graph.assemble(view.shape, [(blank, view)], mask=view.is_mask)
    return view


def picked(L: Lowering, x: Operand, choose: Any) -> View:
    """What ``choose`` picks out of a tensor, as it picks out of the tensor of its entries."""
    view = in_node(L, x)
    return L.graph.gather(view, choose(entries(view)))


def _one_of(L: Lowering, view: View, dim: int, index: View) -> View:
    """``view`` at ``index`` along one axis (kept, of the index's length)."""
    rank = len(view.shape)
    lanes = view.unsqueeze(dim)  # (..., 1, choices, ...)
    chosen = index.unsqueeze(dim + 1)  # (..., picks, 1, ...)
    shape = [max(a, b) for a, b in zip(lanes.shape, chosen.shape, strict=True)]
    at = indices(L.graph, shape, dim + 1)
    hits = chosen.expand(shape).equals(at)
    assert rank + 1 == len(shape)
    return hits.where(lanes.expand(shape), 0.0).sum([dim + 1])


def _spread_to(L: Lowering, g: View, dim: int, index: View, size: int) -> View:
    """The transpose of :func:`_one_of`: ``g`` added where ``index`` points along one axis."""
    picks, values = index.unsqueeze(dim), g.unsqueeze(dim)  # (..., 1, picks, ...)
    shape = list(values.shape)
    shape[dim] = size
    at = indices(L.graph, shape, dim)
    return picks.expand(shape).equals(at).where(values.expand(shape), 0.0).sum([dim + 1])


def _same_but(a: Sequence[int], b: Sequence[int], dim: int) -> bool:
    return len(a) == len(b) and all(
        x == y for d, (x, y) in enumerate(zip(a, b, strict=True)) if d != dim
    )


@rule(aten.gather.default)
def _gather(L: Lowering, out: Any, x: Operand, dim: int, index: Tensor, **options: Any) -> View:
    view, at = L.number(x), L.number(index)
    if not view.shape:
        return view
    dim %= len(view.shape)
    if _same_but(view.shape, at.shape, dim) and view.shape[dim] <= MAX_CHOICES:
        return _one_of(L, view, dim, at)
    constant = L.values(index)
    return picked(L, view, lambda e: e.gather(dim, constant))


@rule(aten.scatter_add.default)
def _scatter_add(L: Lowering, out: Any, x: Operand, dim: int, index: Tensor, g: Operand) -> View:
    view, at, grad = L.number(x), L.number(index), L.number(g)
    dim %= max(1, len(view.shape))
    if not view.shape:
        return view + grad
    same = at.shape == grad.shape and _same_but(view.shape, at.shape, dim)
    if same and view.shape[dim] <= MAX_CHOICES:
        return view + _spread_to(L, grad, dim, at, view.shape[dim])
    constant = L.values(index)
    cut = grad
    for d, size in enumerate(constant.shape):
        cut = cut.narrow(d, 0, size)
    return _scattered(L, view, "scatter_add", cut, lambda e: e.gather(dim, constant))


def _scattered(L: Lowering, view: View, operation: str, values: View, choose: Any) -> View:
    """A copy of ``view`` with values written or added at the entries that ``choose`` picks."""
    blank = L.graph.blank(view.shape)
    everything = torch.arange(math.prod(view.shape)).reshape(view.shape)
    table = choose(everything)
    return L.graph.assemble(
        view.shape, [(blank, view)], scatter=(operation, values.expand(table.shape), table)
    )


@rule(aten.scatter.src, aten.scatter.value)
def _scatter(L: Lowering, out: Any, x: Operand, dim: int, index: Tensor, value: Operand) -> View:
    view, source, at = L.number(x), L.number(value), L.number(index)
    if not view.shape:
        return source
    dim %= len(view.shape)
    if at.shape[dim] == 1 and _same_but(view.shape, at.shape, dim):
        if source.shape and source.shape[dim] != 1:
            source = source.narrow(dim, 0, 1)
        if not source.shape or _same_but(view.shape, source.shape, dim):
            hits = at.expand(view.shape).equals(indices(L.graph, view.shape, dim))
            return hits.where(source.expand(view.shape), view)
    constant = L.values(index)
    if isinstance(value, Tensor):
        for d, size in enumerate(constant.shape):
            source = source.narrow(d, 0, size)
    return _scattered(L, view, "scatter", source, lambda e: e.gather(dim, constant))


@rule(aten.index_select.default)
def _index_select(L: Lowering, out: Any, x: Operand, dim: int, index: Tensor) -> View:
    constant = L.values(index)
    return picked(L, x, lambda e: e.index_select(dim, constant))


@rule(aten.index_add.default)
def _index_add(
    L: Lowering, out: Any, x: Operand, dim: int, index: Tensor, g: Operand, *, alpha: float = 1
) -> View:
    constant, grad = L.values(index), L.number(g)
    if alpha != 1:
        grad = grad * float(alpha)
    return _scattered(L, L.number(x), "scatter_add", grad, lambda e: e.index_select(dim, constant))


@rule(aten.index_copy.default)
def _index_copy(
    L: Lowering, out: Any, x: Operand, dim: int, index: Tensor, source: Operand
) -> View:
    constant = L.values(index)
    return _scattered(
        L, L.number(x), "scatter", L.number(source), lambda e: e.index_select(dim, constant)
    )


@rule(aten.index_fill.int_Scalar, aten.index_fill.int_Tensor)
def _index_fill(L: Lowering, out: Any, x: Operand, dim: int, index: Tensor, value: Operand) -> View:
    constant = L.values(index)
    return _scattered(
        L, L.number(x), "scatter", L.number(value), lambda e: e.index_select(dim, constant)
    )


@rule(aten.masked_select.default)
def _masked_select(L: Lowering, out: Any, x: Operand, mask: Tensor) -> View:
    constant = L.values(mask)
    return picked(L, x, lambda e: e.masked_select(constant))


@rule(aten.masked_scatter.default)
def _masked_scatter(L: Lowering, out: Any, x: Operand, mask: Tensor, source: Operand) -> View:
    constant, values = L.values(mask), in_node(L, source)
    view = L.number(x)
    everything = torch.arange(math.prod(view.shape)).reshape(view.shape)
    table = everything.masked_select(constant.expand(view.shape))
    chosen = L.graph.gather(values, entries(values).reshape(-1)[: len(table)])
    return _scattered(L, view, "scatter", chosen, lambda e: table)


@rule(aten.take.default)
def _take(L: Lowering, out: Any, x: Operand, index: Tensor) -> View:
    constant = L.values(index)
    return picked(L, x, lambda e: e.take(constant))


@rule(aten.put.default)
def _put(
    L: Lowering, out: Any, x: Operand, index: Tensor, value: Operand, accumulate: bool = False
) -> View:
    constant = L.values(index)
    operation = "scatter_add" if accumulate else "scatter"
    return _scattered(L, L.number(x), operation, L.number(value), lambda e: e.take(constant))


# ---------------------------------------------------------------- x[i, j]


def _one_pick_a_row(
    L: Lowering, shape: Sequence[int], indices_: Sequence[Tensor | None]
) -> tuple[int, Tensor] | None:
    """(axis, index) where x[i, j] picks one entry of an axis in every row: x[arange(n), j]."""
    given = [(d, L.values(i)) for d, i in enumerate(indices_) if i is not None]
    if len(given) != len(shape) or len(shape) < 2:
        return None
    if any(i.dtype == torch.bool or i.dim() != 1 for _, i in given):
        return None
    free = [
        d for d, i in given
        if not (len(i) == shape[d] and torch.equal(i, torch.arange(shape[d])))
    ]  # fmt: skip
    if len(free) != 1 or len(shape) != 2 or shape[free[0]] > MAX_CHOICES:
        return None
    index = given[free[0]][1]
    return (free[0], index) if bool((index >= 0).all()) else None


@rule(aten.index.Tensor)
def _index(L: Lowering, out: Any, x: Operand, where: Sequence[Tensor | None]) -> View:
    view = L.number(x)
    pick = _one_pick_a_row(L, view.shape, where)
    if pick is not None:
        dim, index = pick
        return _one_of(L, view, dim, L.number(index).unsqueeze(dim)).squeeze(dim)
    constant = [None if i is None else L.values(i) for i in where]
    return picked(L, view, lambda e: aten.index.Tensor(e, constant))


@rule(aten.index_put.default, aten._unsafe_index_put.default)
def _index_put(
    L: Lowering, out: Any, x: Operand, where: Sequence[Tensor | None], value: Operand,
    accumulate: bool = False, *rest: Any,
) -> View:  # fmt: skip
    view, values = L.number(x), L.number(value)
    pick = _one_pick_a_row(L, view.shape, where)
    if pick is not None:
        dim, index = pick
        at = L.number(index).unsqueeze(dim)
        values = values.expand((view.shape[1 - dim],)).unsqueeze(dim)
        if accumulate:
            return view + _spread_to(L, values, dim, at, view.shape[dim])
        hits = at.expand(view.shape).equals(indices(L.graph, view.shape, dim))
        return hits.where(values.expand(view.shape), view)
    constant = [None if i is None else L.values(i) for i in where]
    operation = "scatter_add" if accumulate else "scatter"
    return _scattered(L, view, operation, values, lambda e: aten.index.Tensor(e, constant))


rule(aten._index_put_impl.default)(_index_put)


@rule(aten.embedding.default)
def _embedding(L: Lowering, out: Any, weight: Operand, index: Tensor, *rest: Any) -> View:
    constant = L.values(index)
    return picked(L, weight, lambda e: e[constant])


@rule(aten.embedding_dense_backward.default)
def _embedding_backward(
    L: Lowering, out: Any, g: Operand, index: Tensor, count: int, padding: int, by_frequency: bool
) -> View:
    constant, grad = L.values(index), L.number(g)
    if by_frequency or bool((constant == padding).any()):
        raise Unsupported("embedding with padding or scaling has no compiled form")
    zero = L.graph.number(0.0, (count, grad.shape[-1]))
    return _scattered(L, zero, "scatter_add", grad, lambda e: e[constant])


# ---------------------------------------------------------------- put together


@rule(aten.cat.default)
def _cat(L: Lowering, out: Tensor, given: Sequence[Operand], dim: int = 0) -> View:
    dim %= out.dim()
    views = [L.view(x) for x in given if not (isinstance(x, Tensor) and x.numel() == 0)]
    mask = out.dtype == torch.bool
    if not mask:
        views = [v.where(1.0, 0.0) if v.is_mask else v for v in views]
    blank, at, parts = L.graph.blank(out.shape), 0, []
    for view in views:
        parts.append((blank.narrow(dim, at, view.shape[dim]), view))
        at += view.shape[dim]
    return L.graph.assemble(out.shape, parts, mask=mask)


@rule(aten.stack.default)
def _stack(L: Lowering, out: Tensor, given: Sequence[Operand], dim: int = 0) -> View:
    dim %= out.dim()
    blank = L.graph.blank(out.shape)
    parts = [(blank.select(dim, i), L.number(x)) for i, x in enumerate(given)]
    return L.graph.assemble(out.shape, parts)


def _placed(L: Lowering, shape: Sequence[int], region: Any, value: View, fill: View) -> View:
    """A filled tensor with a value written to one region."""
    blank = L.graph.blank(shape)
    return L.graph.assemble(shape, [(blank, fill), (region(blank), value)])


def _cut(view: View, dim: int, start: int | None, end: int | None, step: int) -> View:
    size = view.shape[dim % len(view.shape)]
    chosen = range(size)[slice(start, end, step)]
    return view.narrow(dim, chosen.start, len(chosen), step)


@rule(aten.slice_backward.default)
def _slice_backward(
    L: Lowering,
    out: Any,
    g: Operand,
    shape: Sequence[int],
    dim: int,
    start: int,
    end: int,
    step: int,
) -> View:
    zero = L.graph.number(0.0)
    return _placed(L, shape, lambda b: _cut(b, dim, start, end, step), L.number(g), zero)


@rule(aten.slice_scatter.default)
def _slice_scatter(
    L: Lowering, out: Any, x: Operand, value: Operand, dim: int = 0, start: int | None = None,
    end: int | None = None, step: int = 1,
) -> View:  # fmt: skip
    view = L.number(x)
    return _placed(L, view.shape, lambda b: _cut(b, dim, start, end, step), L.number(value), view)


@rule(aten.select_backward.default)
def _select_backward(
    L: Lowering, out: Any, g: Operand, shape: Sequence[int], dim: int, index: int
) -> View:
    zero, index = L.graph.number(0.0), index % shape[dim]
    return _placed(L, shape, lambda b: b.select(dim, index), L.number(g), zero)


@rule(aten.select_scatter.default)
def _select_scatter(
    L: Lowering, out: Any, x: Operand, value: Operand, dim: int, index: int
) -> View:
    view = L.number(x)
    index %= view.shape[dim]
    return _placed(L, view.shape, lambda b: b.select(dim, index), L.number(value), view)


@rule(aten.diagonal_backward.default)
def _diagonal_backward(
    L: Lowering, out: Any, g: Operand, shape: Sequence[int], offset: int, dim1: int, dim2: int
) -> View:
    def region(blank: View) -> View:
        base = torch.empty(0).expand(0)
        like = torch.empty(list(shape), device="meta").diagonal(offset, dim1, dim2)
        strides = like.stride() if like.dim() else base.stride()
        strides = tuple(0 if n == 1 else s for n, s in zip(like.shape, strides, strict=True))
        return View(blank.graph, blank.node, like.storage_offset(), tuple(like.shape), strides)

    return _placed(L, shape, region, L.number(g), L.graph.number(0.0))


@rule(aten.unfold_backward.default)
def _unfold_backward(
    L: Lowering, out: Any, g: Operand, shape: Sequence[int], dim: int, size: int, step: int
) -> View:
    zero = L.graph.number(0.0, tuple(shape))
    return _scattered(L, zero, "scatter_add", L.number(g), lambda e: e.unfold(dim, size, step))


@rule(aten.constant_pad_nd.default)
def _pad(L: Lowering, out: Tensor, x: Operand, pad: Sequence[int], value: float = 0) -> View:
    view, shape = L.number(x), tuple(out.shape)
    starts = [0] * len(shape)
    for i in range(0, len(pad), 2):
        dim = len(shape) - 1 - i // 2
        before, after = pad[i], pad[i + 1]
        first, last = max(0, -before), view.shape[dim] - max(0, -after)
        view = view.narrow(dim, first, last - first)
        starts[dim] = max(0, before)

    def region(blank: View) -> View:
        for dim, start in enumerate(starts):
            blank = blank.narrow(dim, start, view.shape[dim])
        return blank

    return _placed(L, shape, region, view, L.graph.number(float(value)))


@rule(aten.repeat.default)
def _repeat(L: Lowering, out: Tensor, x: Operand, repeats: Sequence[int]) -> View:
    view = L.number(x)
    view = view.expand((1,) * (len(repeats) - len(view.shape)) + view.shape)
    for d in range(len(repeats)):
        view = view.unsqueeze(2 * d)
    shape = [
        n for count, size in zip(repeats, view.shape[1::2], strict=True) for n in (count, size)
    ]
    copied = L.graph.copy(view.expand(shape))
    if copied.node is None:
        return L.graph.number(copied.value, out.shape)
    return L.graph.whole(copied.node, tuple(out.shape))


@rule(aten.flip.default)
def _flip(L: Lowering, out: Any, x: Operand, dims: Sequence[int]) -> View:
    return picked(L, x, lambda e: e.flip(dims))


@rule(aten.roll.default)
def _roll(
    L: Lowering, out: Any, x: Operand, shifts: Sequence[int] | int, dims: Sequence[int] | int = ()
) -> View:
    return picked(L, x, lambda e: e.roll(shifts, dims if dims != () else None))


@rule(aten.rot90.default)
def _rot90(L: Lowering, out: Any, x: Operand, k: int = 1, dims: Sequence[int] = (0, 1)) -> View:
    return picked(L, x, lambda e: e.rot90(k, dims))


@rule(aten.diagonal_copy.default)
def _diagonal_copy(
    L: Lowering, out: Any, x: Operand, offset: int = 0, dim1: int = 0, dim2: int = 1
) -> View:
    return picked(L, x, lambda e: e.diagonal(offset, dim1, dim2))


@rule(aten.diag_embed.default)
def _diag_embed(
    L: Lowering, out: Tensor, x: Operand, offset: int = 0, dim1: int = -2, dim2: int = -1
) -> View:
    return _diagonal_backward(L, out, x, out.shape, offset, dim1, dim2)


@rule(aten.block_diag.default)
def _block_diag(L: Lowering, out: Tensor, given: Sequence[Operand]) -> View:
    blank, row, column = L.graph.blank(out.shape), 0, 0
    parts = [(blank, L.graph.number(0.0))]
    for operand in given:
        view = L.number(operand)
        view = view.expand((1,) * (2 - len(view.shape)) + view.shape)
        rows, columns = view.shape
        parts.append((blank.narrow(0, row, rows).narrow(1, column, columns), view))
        row, column = row + rows, column + columns
    return L.graph.assemble(out.shape, parts)


@rule(aten.im2col.default)
def _im2col(L: Lowering, out: Any, *arguments: Any) -> View:
    raise Unsupported("unfolding an image has no compiled form")


def _triangle(name: str) -> Any:
    def apply(L: Lowering, out: Tensor, x: Operand, diagonal: int = 0) -> View:
        keep = getattr(torch.ones(out.shape[-2:]), name)(diagonal).bool()
        return L.view(keep).expand(out.shape).where(L.number(x), 0.0)

    return apply


rule(aten.tril.default)(_triangle("tril"))
rule(aten.triu.default)(_triangle("triu"))


@rule(aten._unsafe_view.default, aten._reshape_copy.default, aten.view_copy.default)
def _reshaped(L: Lowering, out: Tensor, x: Operand, *shape: Any) -> View:
    copied = L.graph.copy(L.view(x))
    if copied.node is None:
        return L.graph.number(copied.value, out.shape)
    return View(L.graph, copied.node, 0, tuple(out.shape), contiguous(out.shape))
