"""Map the axes of a view to the axes of its node.

A statement loops over the axes of its domain. For a node in tiles or registers the code needs the
index along each axis of the node. It is a linear function of the indices of the domain
(:func:`axis_mapping`) if no axis of the domain extends over several axes of the node;
:func:`split_axes` splits the axes of the domain so that this holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from gd_torch.compiler.views import View

AxisMapping = list[tuple[int, list[tuple[int, int]]]]
"""Per axis of a node: the index of the first entry, and (axis of the view, step) for each axis of
the view that changes the index."""


def axis_mapping(view: View) -> AxisMapping | None:
    """The index along each axis of the node, linear in the view's indices; None if it is not."""
    assert view.node is not None
    sizes, strides = view.node.sizes, view.node.strides
    last_index = _index_of(view.offset, strides)
    result: AxisMapping = [(index, []) for index in last_index]
    for d, (size, stride) in enumerate(zip(view.shape, view.strides, strict=True)):
        if size == 1 or stride == 0:
            continue
        axis = _axis_of(stride, strides)
        if axis is None:
            return None
        step = stride // strides[axis]
        result[axis][1].append((d, step))
        last_index[axis] += step * (size - 1)
    inside = all(last < size for last, size in zip(last_index, sizes, strict=True))
    return result if inside else None


def _index_of(entry: int, strides: Sequence[int]) -> list[int]:
    """The index along each axis of an entry, given by its row-major number."""
    index = []
    for stride in strides:
        along, entry = divmod(entry, stride)
        index.append(along)
    return index


def _axis_of(stride: int, strides: Sequence[int]) -> int | None:
    """The axis that a stride belongs to; None if it changes the index along several axes."""
    axis = next((axis for axis, own in enumerate(strides) if own <= stride), None)
    return None if axis is None or stride % strides[axis] else axis


def axis_splits(view: View, dim: int) -> list[int] | None:
    """How to split an axis of a view so that each part lies within one axis of its node.

    Returns:
        The lengths of the inner parts, each a multiple of the one before; None if impossible.
    """
    node = view.node
    size, stride = view.shape[dim], view.strides[dim]
    if node is None or node.kind == "constant" or size == 1 or stride == 0:
        return []
    first = _index_of(view.offset, node.strides)
    splits: list[int] = []
    inner = 1
    while True:
        axis = _axis_of(stride, node.strides)
        if axis is None:
            return None
        step = stride // node.strides[axis]
        if first[axis] + (size - 1) * step < node.sizes[axis]:
            return splits
        if first[axis] or node.sizes[axis] % step:
            return None
        part = node.sizes[axis] // step
        if size % part or part == 1:
            return None
        inner, size, stride = inner * part, size // part, stride * part
        splits.append(inner)


def split_axes(
    shape: Sequence[int], views: Sequence[View]
) -> tuple[tuple[int, ...], list[View], list[int]]:
    """Split the axes of a domain so that every view has a mapping to the axes of its node.

    If that is impossible for a view, its node is marked as ``linear``: row-major in memory.

    Returns:
        The new sizes without axes of length 1, the views over them, and the number of new axes for
        each old axis.
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
    """(length, step) of the parts of one axis of a domain, outermost first."""
    ends = {1, size}
    for view in views:
        splits = axis_splits(view, dim)
        merged = sorted(ends.union(splits or ()))
        if splits is None or any(longer % shorter for shorter, longer in pairwise(merged)):
            assert view.node is not None
            view.node.linear = True
        else:
            ends.update(splits)
    return [(longer // shorter, shorter) for shorter, longer in pairwise(sorted(ends))][::-1]
