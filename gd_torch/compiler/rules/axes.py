"""Axes of reductions."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gd_torch.compiler.graph import Graph
from gd_torch.compiler.views import View

Dims = int | Sequence[int] | None


def reduced_axes(dims: int | Sequence[int] | None, count: int) -> list[int]:
    """The axes of a reduction as non-negative indices; all axes if none are given."""
    if dims is None or (not isinstance(dims, int) and len(dims) == 0):
        return list(range(count))
    return [d % count for d in ([dims] if isinstance(dims, int) else dims)] if count else []


def reduced_count(shape: Sequence[int], dims: Sequence[int]) -> int:
    """Number of entries that a reduction over these axes combines into one."""
    return math.prod(shape[d] for d in dims)


def axis_indices(graph: Graph, shape: Sequence[int], dim: int) -> View:
    """The index along one axis as a number, broadcast to a shape."""
    if shape[dim] == 1:
        return graph.number(0.0, shape)
    strides = tuple(1 if d == dim else 0 for d in range(len(shape)))
    return View(graph, graph.constant_indices(shape[dim]), 0, tuple(shape), strides)


def squeeze_reduced(view: View, dims: Sequence[int], keepdim: bool) -> View:
    """Remove the reduced axes of length 1 unless ``keepdim``."""
    if not keepdim:
        for d in sorted(dims, reverse=True):
            view = view.squeeze(d)
    return view
