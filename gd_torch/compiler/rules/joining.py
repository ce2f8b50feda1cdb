"""Rules of joining and padding, and of the derivatives of views."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gd_torch.compiler.lowering import Lowering
from gd_torch.compiler.registry import Operand, Rule, aten, rule
from gd_torch.compiler.tensors import strides_of
from gd_torch.compiler.views import View


@rule(aten.cat.default)
def _cat(lowering: Lowering, out: Tensor, operands: Sequence[Operand], dim: int = 0) -> View:
    dim %= out.dim()
    views = [lowering.view(x) for x in operands if not (isinstance(x, Tensor) and x.numel() == 0)]
    mask = out.dtype == torch.bool
    if not mask:
        views = [v.where(1.0, 0.0) if v.is_mask else v for v in views]
    placeholder, at, regions = lowering.graph.placeholder(out.shape), 0, []
    for view in views:
        regions.append((placeholder.narrow(dim, at, view.shape[dim]), view))
        at += view.shape[dim]
    return lowering.graph.write_regions(out.shape, regions, mask=mask)


@rule(aten.stack.default)
def _stack(lowering: Lowering, out: Tensor, operands: Sequence[Operand], dim: int = 0) -> View:
    dim %= out.dim()
    placeholder = lowering.graph.placeholder(out.shape)
    regions = [(placeholder.select(dim, i), lowering.number(x)) for i, x in enumerate(operands)]
    return lowering.graph.write_regions(out.shape, regions)


@rule(aten.block_diag.default)
def _block_diag(lowering: Lowering, out: Tensor, operands: Sequence[Operand]) -> View:
    placeholder, row, column = lowering.graph.placeholder(out.shape), 0, 0
    regions = [(placeholder, lowering.graph.number(0.0))]
    for operand in operands:
        view = lowering.number(operand)
        view = view.expand((1,) * (2 - len(view.shape)) + view.shape)
        rows, columns = view.shape
        regions.append((placeholder.narrow(0, row, rows).narrow(1, column, columns), view))
        row, column = row + rows, column + columns
    return lowering.graph.write_regions(out.shape, regions)


def _with_region(
    lowering: Lowering, shape: Sequence[int], region: Any, value: View, fill: View
) -> View:
    """A tensor ``fill`` with ``value`` written to one region."""
    placeholder = lowering.graph.placeholder(shape)
    return lowering.graph.write_regions(shape, [(placeholder, fill), (region(placeholder), value)])


def _slice(view: View, dim: int, start: int | None, end: int | None, step: int) -> View:
    """view[..., start:end:step, ...] along one axis."""
    size = view.shape[dim % len(view.shape)]
    chosen = range(size)[slice(start, end, step)]
    return view.narrow(dim, chosen.start, len(chosen), step)


@rule(aten.slice_backward.default)
def _slice_backward(
    lowering: Lowering,
    out: Any,
    g: Operand,
    shape: Sequence[int],
    dim: int,
    start: int,
    end: int,
    step: int,
) -> View:
    zero = lowering.graph.number(0.0)
    return _with_region(
        lowering, shape, lambda b: _slice(b, dim, start, end, step), lowering.number(g), zero
    )


@rule(aten.slice_scatter.default)
def _slice_scatter(
    lowering: Lowering, out: Any, x: Operand, value: Operand, dim: int = 0,
    start: int | None = None, end: int | None = None, step: int = 1,
) -> View:  # fmt: skip
    view = lowering.number(x)
    return _with_region(
        lowering,
        view.shape,
        lambda b: _slice(b, dim, start, end, step),
        lowering.number(value),
        view,
    )


@rule(aten.select_backward.default)
def _select_backward(
    lowering: Lowering, out: Any, g: Operand, shape: Sequence[int], dim: int, index: int
) -> View:
    zero, index = lowering.graph.number(0.0), index % shape[dim]
    return _with_region(lowering, shape, lambda b: b.select(dim, index), lowering.number(g), zero)


@rule(aten.select_scatter.default)
def _select_scatter(
    lowering: Lowering, out: Any, x: Operand, value: Operand, dim: int, index: int
) -> View:
    view = lowering.number(x)
    index %= view.shape[dim]
    return _with_region(
        lowering, view.shape, lambda b: b.select(dim, index), lowering.number(value), view
    )


@rule(aten.diagonal_backward.default)
def _diagonal_backward(
    lowering: Lowering,
    out: Any,
    g: Operand,
    shape: Sequence[int],
    offset: int,
    dim1: int,
    dim2: int,
) -> View:
    def region(placeholder: View) -> View:
        like = torch.empty(list(shape), device="meta").diagonal(offset, dim1, dim2)
        first = int(like.storage_offset())
        return View(placeholder.graph, placeholder.node, first, tuple(like.shape), strides_of(like))

    return _with_region(lowering, shape, region, lowering.number(g), lowering.graph.number(0.0))


@rule(aten.diag_embed.default)
def _diag_embed(
    lowering: Lowering, out: Tensor, x: Operand, offset: int = 0, dim1: int = -2, dim2: int = -1
) -> View:
    return _diagonal_backward(lowering, out, x, out.shape, offset, dim1, dim2)


@rule(aten.constant_pad_nd.default)
def _pad(lowering: Lowering, out: Tensor, x: Operand, pad: Sequence[int], value: float = 0) -> View:
    view, shape = lowering.number(x), tuple(out.shape)
    starts = [0] * len(shape)
    for i in range(0, len(pad), 2):
        dim = len(shape) - 1 - i // 2
        before, after = pad[i], pad[i + 1]
        first, last = max(0, -before), view.shape[dim] - max(0, -after)
        view = view.narrow(dim, first, last - first)
        starts[dim] = max(0, before)

    def region(placeholder: View) -> View:
        for dim, start in enumerate(starts):
            placeholder = placeholder.narrow(dim, start, view.shape[dim])
        return placeholder

    return _with_region(lowering, shape, region, view, lowering.graph.number(float(value)))


@rule(aten.repeat.default)
def _repeat(lowering: Lowering, out: Tensor, x: Operand, repeats: Sequence[int]) -> View:
    view = lowering.number(x)
    view = view.expand((1,) * (len(repeats) - len(view.shape)) + view.shape)
    for d in range(len(repeats)):
        view = view.unsqueeze(2 * d)
    shape = [
        n for count, size in zip(repeats, view.shape[1::2], strict=True) for n in (count, size)
    ]
    copied = lowering.graph.copy(view.expand(shape))
    if copied.node is None:
        return lowering.graph.number(copied.value, out.shape)
    return lowering.graph.all_entries(copied.node, tuple(out.shape))


def _triangle(name: str) -> Rule:
    """The rule of "tril" or "triu"."""

    def apply(lowering: Lowering, out: Tensor, x: Operand, diagonal: int = 0) -> View:
        keep = getattr(torch.ones(out.shape[-2:]), name)(diagonal).bool()
        return lowering.view(keep).expand(out.shape).where(lowering.number(x), 0.0)

    return apply


rule(aten.tril.default)(_triangle("tril"))


rule(aten.triu.default)(_triangle("triu"))
