"""Entries picked by an index: by comparison with every index, or by a table.

An index that may change between objectives of one shape, such as labels, is compared with all
indices of a short axis; the comparison runs along rows. Any other index becomes a table of entries.
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
"""Picking one of up to this many entries is a sum over all of them, each times 0 or 1."""


def entry_ids_of(view: View) -> Tensor:
    """For each index of a view, the entry of its node, int64."""
    assert view.node is not None
    everything = torch.arange(view.node.numel)
    return everything.as_strided(view.shape, view.strides, view.offset)


def as_node_view(lowering: Lowering, x: Operand) -> View:
    """The operand as a view of a node."""
    view = lowering.view(x)
    if view.node is None or view.node.kind == "constant":
        placeholder = lowering.graph.placeholder(view.shape)
        return lowering.graph.write_regions(view.shape, [(placeholder, view)], mask=view.is_mask)
    return view


def gather_entries(lowering: Lowering, x: Operand, choose: Any) -> View:
    """What ``choose`` picks out of a tensor, as it picks out of the tensor of its entries."""
    view = as_node_view(lowering, x)
    return lowering.graph.gather(view, choose(entry_ids_of(view)))


def select_by_index(lowering: Lowering, view: View, dim: int, index: View) -> View:
    """``view`` at ``index`` along one axis (kept, of the index's length)."""
    choices = view.unsqueeze(dim)  # (..., 1, choices, ...)
    chosen = index.unsqueeze(dim + 1)  # (..., picks, 1, ...)
    shape = [max(a, b) for a, b in zip(choices.shape, chosen.shape, strict=True)]
    at = axis_indices(lowering.graph, shape, dim + 1)
    matches = chosen.expand(shape).equals(at)
    return matches.where(choices.expand(shape), 0.0).sum([dim + 1])


def add_at_index(lowering: Lowering, g: View, dim: int, index: View, size: int) -> View:
    """The transpose of :func:`select_by_index`: add ``g`` at the entries that ``index`` selects."""
    picks, values = index.unsqueeze(dim), g.unsqueeze(dim)  # (..., 1, picks, ...)
    shape = list(values.shape)
    shape[dim] = size
    at = axis_indices(lowering.graph, shape, dim)
    return picks.expand(shape).equals(at).where(values.expand(shape), 0.0).sum([dim + 1])


def equal_except_at(a: Sequence[int], b: Sequence[int], dim: int) -> bool:
    """Whether two shapes differ along one axis at most."""
    return len(a) == len(b) and all(
        x == y for d, (x, y) in enumerate(zip(a, b, strict=True)) if d != dim
    )


def single_index_per_row(
    lowering: Lowering, shape: Sequence[int], index: Sequence[Tensor | None]
) -> tuple[int, Tensor] | None:
    """(axis, index) where x[i, j] picks one entry of an axis in every row: x[arange(n), j]."""
    given = [(d, lowering.values(i)) for d, i in enumerate(index) if i is not None]
    if len(given) != len(shape) or len(shape) < 2:
        return None
    if any(i.dtype == torch.bool or i.dim() != 1 for _, i in given):
        return None
    free = [
        d for d, i in given
        if not (len(i) == shape[d] and torch.equal(i, torch.arange(shape[d])))
    ]  # fmt: skip
    if len(free) != 1 or len(shape) != 2 or shape[free[0]] > MAX_COMPARED_ENTRIES:
        return None
    chosen = given[free[0]][1]
    return (free[0], chosen) if bool((chosen >= 0).all()) else None
