"""Select entries by an index: by comparison with every index of an axis, or by a table.

A constant index along a short axis, such as labels, is compared with all indices of the axis; this
is vectorised along rows, and the C text does not depend on the values. Any other index becomes a
table of entries.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gd_torch.compiler.lowering import Lowering
from gd_torch.compiler.registry import Operand
from gd_torch.compiler.rules.axes import axis_indices
from gd_torch.compiler.views import View

MAX_COMPARED_ENTRIES = 32
"""Longest axis for selection by comparison, which is a masked sum over the axis."""


def entry_ids_of(view: View) -> Tensor:
    """The index in its node of each entry of a view, int64, of the view's shape."""
    assert view.node is not None
    all_ids = torch.arange(view.node.numel)
    return all_ids.as_strided(view.shape, view.strides, view.offset)


def as_node_view(lowering: Lowering, x: Operand) -> View:
    """Convert an operand to a view of a computed or weight node."""
    view = lowering.view(x)
    if view.node is None or view.node.kind == "constant":
        placeholder = lowering.graph.placeholder(view.shape)
        return lowering.graph.write_regions(view.shape, [(placeholder, view)], mask=view.is_mask)
    return view


def gather_entries(lowering: Lowering, x: Operand, choose: Any) -> View:
    """Select entries of a tensor; ``choose`` selects from the tensor of entry indices."""
    view = as_node_view(lowering, x)
    return lowering.graph.gather(view, choose(entry_ids_of(view)))


def select_by_index(lowering: Lowering, view: View, dim: int, index: View) -> View:
    """``view`` at ``index`` along one axis; the axis then has the length of the index."""
    choices = view.unsqueeze(dim)  # (..., 1, choices, ...)
    chosen = index.unsqueeze(dim + 1)  # (..., selected, 1, ...)
    shape = [max(a, b) for a, b in zip(choices.shape, chosen.shape, strict=True)]
    at = axis_indices(lowering.graph, shape, dim + 1)
    matches = chosen.expand(shape).equals(at)
    return matches.where(choices.expand(shape), 0.0).sum([dim + 1])


def add_at_index(lowering: Lowering, g: View, dim: int, index: View, size: int) -> View:
    """The transpose of :func:`select_by_index`: add ``g`` at the entries that ``index`` selects."""
    selected, values = index.unsqueeze(dim), g.unsqueeze(dim)  # (..., 1, selected, ...)
    shape = list(values.shape)
    shape[dim] = size
    at = axis_indices(lowering.graph, shape, dim)
    return selected.expand(shape).equals(at).where(values.expand(shape), 0.0).sum([dim + 1])


def equal_except_at(a: Sequence[int], b: Sequence[int], dim: int) -> bool:
    """Whether two shapes are equal except along one axis."""
    return len(a) == len(b) and all(
        x == y for d, (x, y) in enumerate(zip(a, b, strict=True)) if d != dim
    )


def single_index_per_row(
    lowering: Lowering, shape: Sequence[int], index: Sequence[Tensor | None]
) -> tuple[int, Tensor] | None:
    """(axis, index) if an index selects one entry per row, as in x[arange(n), j]; else None."""
    tensors = [(d, lowering.values(i)) for d, i in enumerate(index) if i is not None]
    if len(tensors) != len(shape) or len(shape) < 2:
        return None
    if any(i.dtype == torch.bool or i.dim() != 1 for _, i in tensors):
        return None
    free = [
        d for d, i in tensors
        if not (len(i) == shape[d] and torch.equal(i, torch.arange(shape[d])))
    ]  # fmt: skip
    if len(free) != 1 or len(shape) != 2 or shape[free[0]] > MAX_COMPARED_ENTRIES:
        return None
    chosen = tensors[free[0]][1]
    return (free[0], chosen) if bool((chosen >= 0).all()) else None
