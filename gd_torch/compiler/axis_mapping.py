"""How the axes of a view lie along the axes of its node.

A statement loops over the axes of its domain. For a node that is kept in tiles or in registers, the
code needs the index along each axis of the node. That index is a sum over the axes of the domain
(:func:`axis_mapping`), provided that no axis of the domain crosses an axis of the node;
:func:`split_axes` cuts the axes of the domain so that this holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from gd_torch.compiler.views import View

AxisMapping = list[tuple[int, list[tuple[int, int]]]]
"""Per axis of a node: its first index, and (axis of the view, step) for each axis that moves it."""


def axis_mapping(view: View) -> AxisMapping | None:
    """The index along each axis of the node, as a sum over the axes of the view; None if not so."""
    assert view.node is not None
    sizes, strides = view.node.sizes, view.node.strides
    reach = _index_of(view.offset, strides)
    result: AxisMapping = [(index, []) for index in reach]
    for d, (size, stride) in enumerate(zip(view.shape, view.strides, strict=True)):
        if size == 1 or stride == 0:
            continue
        axis = _axis_of(stride, strides)
        if axis is None:
            return None
        step = stride // strides[axis]
        result[axis][1].append((d, step))
        reach[axis] += step * (size - 1)
    inside = all(last < size for last, size in zip(reach, sizes, strict=True))
    return result if inside else None


def _index_of(entry: int, strides: Sequence[int]) -> list[int]:
    """The index along each axis of the entry with this number."""
    index = []
    for stride in strides:
        along, entry = divmod(entry, stride)
        index.append(along)
    return index


def _axis_of(stride: int, strides: Sequence[int]) -> int | None:
    """The axis along which a stride moves; None where it moves along several."""
    axis = next((axis for axis, own in enumerate(strides) if own <= stride), None)
    return None if axis is None or stride % strides[axis] else axis


def axis_splits(view: View, dim: int) -> list[int] | None:
    """Where an axis of a view must be cut to lie within single axes of its node.

    Returns the lengths of the inner parts, each a multiple of the one before; None if it cannot.
    """
    node = view.node
    size, stride = view.shape[dim], view.strides[dim]
    if node is None or node.kind == "constant" or size == 1 or stride == 0:
        return []
    first = _index_of(view.offset, node.strides)
    found: list[int] = []
    inner = 1
    while True:
        axis = _axis_of(stride, node.strides)
        if axis is None:
            return None
        step = stride // node.strides[axis]
        if first[axis] + (size - 1) * step < node.sizes[axis]:
            return found
        if first[axis] or node.sizes[axis] % step:
            return None
        part = node.sizes[axis] // step
        if size % part or part == 1:
            return None
        inner, size, stride = inner * part, size // part, stride * part
        found.append(inner)


def split_axes(
    shape: Sequence[int], views: Sequence[View]
) -> tuple[tuple[int, ...], list[View], list[int]]:
    """Cut the axes of a domain so that every view maps onto the axes of its node.

    A view for which that is impossible makes its node lie in memory in row-major order.

    Returns:
        The new sizes without axes of length 1, the views over them, and how many new axes each
        old one became.
    """
    parts = [_parts_of_axis(size, dim, views) for dim, size in enumerate(shape)]
    sizes = tuple(length for axis in parts for length, _ in axis)
    refined = []
    for view in views:
        strides = tuple(
            stride * step
            for stride, axis in zip(view.strides, parts, strict=True)
            for _, step in axis
        )
        refined.append(replace(view, shape=sizes, strides=strides))
    for view in refined:
        if view.node is not None and view.node.kind != "constant" and axis_mapping(view) is None:
            view.node.linear = True
    return sizes, refined, [len(axis) for axis in parts]


def _parts_of_axis(size: int, dim: int, views: Sequence[View]) -> list[tuple[int, int]]:
    """(length, step) of the axes that one axis of a domain is cut into, the outermost first."""
    ends = {1, size}
    for view in views:
        wanted = axis_splits(view, dim)
        merged = sorted(ends.union(wanted or ()))
        if wanted is None or any(longer % shorter for shorter, longer in pairwise(merged)):
            assert view.node is not None
            view.node.linear = True
        else:
            ends.update(wanted)
    return [(longer // shorter, shorter) for shorter, longer in pairwise(sorted(ends))][::-1]
