"""Arithmetic on shapes and strides."""

from __future__ import annotations

from collections.abc import Sequence

from gd_torch.compiler.errors import Unsupported


def row_major(sizes: Sequence[int]) -> list[int]:
    """Row-major strides, including those of axes of length 1.

    >>> row_major((2, 1, 3))
    [3, 3, 1]
    """
    strides, step = [], 1
    for size in reversed(sizes):
        strides.append(step)
        step *= size
    return strides[::-1]


def contiguous(shape: Sequence[int]) -> tuple[int, ...]:
    """Row-major strides; 0 for axes of length 1.

    >>> contiguous((2, 1, 3))
    (3, 0, 1)
    """
    return zero_single_strides(shape, row_major(shape))


def zero_single_strides(shape: Sequence[int], strides: Sequence[int]) -> tuple[int, ...]:
    """Replace the strides of axes of length 1, which have no effect, by 0."""
    return tuple(0 if n == 1 else s for n, s in zip(shape, strides, strict=True))


def dense(shape: Sequence[int]) -> tuple[int, ...]:
    """The shape without axes of length 1."""
    return tuple(size for size in shape if size != 1)


def broadcast(shapes: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """The broadcast shape of several shapes (torch.broadcast_shapes would import sympy).

    Raises:
        Unsupported: they cannot be broadcast.
    """
    rank = max(len(shape) for shape in shapes)
    padded = [(1,) * (rank - len(shape)) + tuple(shape) for shape in shapes]
    result = tuple(next((n for n in sizes if n != 1), 1) for sizes in zip(*padded, strict=True))
    if any(n not in (1, size) for shape in padded for n, size in zip(shape, result, strict=True)):
        raise Unsupported(f"shapes {shapes} do not broadcast")
    return result


def rows_last(sizes: Sequence[int], row_axis: int, padded: int) -> tuple[int, ...]:
    """Strides of an array whose axis of rows is the last one in memory and is padded.

    Args:
        sizes: lengths of all axes.
        row_axis: the axis of rows among them.
        padded: its length in memory.
    """
    others = [size for axis, size in enumerate(sizes) if axis != row_axis]
    strides = [step * padded for step in row_major(others)]
    strides.insert(row_axis, 1)
    return tuple(strides)
