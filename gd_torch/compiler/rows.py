"""Choose the axis along which a statement is vectorised: its axis of rows."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gd_torch.compiler.axis_mapping import axis_mapping
from gd_torch.compiler.graph import Statement
from gd_torch.compiler.kernels import SCANS, Allocation
from gd_torch.compiler.views import Node, View

MIN_ROWS = 8
"""Shortest axis to vectorise along."""


class RowAxes:
    """Chooses the axis of rows of each statement.

    Args:
        storage: of the nodes scheduled so far.
        main: the number of rows with the most work.
    """

    def __init__(self, allocations: dict[Node, Allocation], main: int) -> None:
        self.allocations, self.main = allocations, main

    def choose(self, statement: Statement) -> int | None:
        """The axis to vectorise along, by a score of its arguments; None for scalar code."""
        if statement.table is not None:
            return None
        scanned = statement.operation in SCANS
        best, chosen = 0.0, None
        for axis, size in enumerate(statement.sizes):
            if size < MIN_ROWS or (scanned and axis >= len(statement.outer)):
                continue
            score = self._score(statement, axis)
            if score > best:
                best, chosen = score, axis
        return chosen

    def _score(self, statement: Statement, axis: int) -> float:
        """The score of an axis: highest for the main rows with all arguments in the same row."""
        size = statement.sizes[axis]
        score = 10.0 if size == self.main else 0.0
        if axis >= len(statement.outer):
            score -= 0.5
        elif statement.target.strides[axis] != 1:
            score -= 0.1
        for view in statement.arguments:
            score += self._score_of_argument(view, axis, size)
        return score + min(size, 4096) / 1e4

    def _score_of_argument(self, view: View, axis: int, size: int) -> float:
        """The score of an argument: same row > contiguous rows > strided rows."""
        if view.node is None or view.strides[axis] == 0:
            return 0.0
        if view.node.kind == "constant":
            return 2.0
        if self.is_local(view, axis, size):
            return 3.0
        return 1.0 if self._step(view, axis) == 1 else -2.0

    def _step(self, view: View, axis: int) -> int:
        """The stride in memory between neighbouring rows."""
        assert view.node is not None
        allocation = self.allocations.get(view.node)
        if allocation is None or allocation.row_axis is None or view.node.linear:
            return view.strides[axis]
        moves = axis_mapping(view)
        assert moves is not None
        step = dict(moves[allocation.row_axis][1]).get(axis, 0)
        others = any(axis in dict(m[1]) for j, m in enumerate(moves) if j != allocation.row_axis)
        return 2 if others else step

    def is_local(self, view: View, row_axis: int | None, rows: int) -> bool:
        """Whether each row reads only the same row of this argument."""
        if row_axis is None or view.node is None or view.node.linear:
            return False
        allocation = self.allocations.get(view.node)
        if allocation is None or allocation.row_axis is None:
            return False
        own = allocation.row_axis
        if any(not scheduled.computes_in_row(own) for scheduled in allocation.writers):
            return False
        moves = axis_mapping(view)
        return (
            moves is not None
            and view.node.sizes[own] == rows
            and moves[own] == (0, [(row_axis, 1)])
            and all(row_axis not in dict(m[1]) for j, m in enumerate(moves) if j != own)
        )

    def repeats_last_row(self, view: View, row_axis: int, rows: int) -> bool:
        """Whether an argument has in the padding rows the value of the last row."""
        if view.node is None or view.strides[row_axis] == 0 or view.node.kind == "constant":
            return True
        source = self.allocations.get(view.node)
        if source is None or not source.repeats_last_row:
            return False
        return self.is_local(view, row_axis, rows)


def row_axis_of_result(statement: Statement, row_axis: int) -> int | None:
    """The axis of the result that corresponds to the axis of rows; None if there is none."""
    if statement.out.linear:
        return None
    moves = axis_mapping(statement.target)
    if moves is None:
        return None
    axes = [j for j, (_, steps) in enumerate(moves) if row_axis in dict(steps)]
    return axes[0] if len(axes) == 1 and dict(moves[axes[0]][1])[row_axis] == 1 else None


def main_rows(statements: Sequence[Statement]) -> int:
    """The axis length with the most work; of equal ones, that of constant data."""
    score: dict[int, float] = {}
    for statement in statements:
        work = math.prod(statement.sizes)
        for size in set(statement.sizes):
            if size >= MIN_ROWS:
                score[size] = score.get(size, 0.0) + work
        for view in statement.arguments:
            if view.node is not None and view.node.kind == "constant":
                for size, stride in zip(view.shape, view.strides, strict=True):
                    if size >= MIN_ROWS and stride:
                        score[size] += 1e-3 * work
    return max(score, key=lambda size: (score[size], size)) if score else 0
