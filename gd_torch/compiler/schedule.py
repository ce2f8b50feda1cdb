"""Group statements into kernels and loop nests.

A kernel is either a sequence of scalar statements (``rows`` 0) or a loop over tiles of rows, where
rows are the indices along one long axis, such as that of the data. Within a kernel, statements with
equal loops form a group. A statement is added to the first kernel and group that its arguments
allow.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from gd_torch.compiler.allocation import allocate, allocate_lanes
from gd_torch.compiler.graph import Statement
from gd_torch.compiler.kernels import (
    SCANS,
    Allocation,
    Group,
    Kernel,
    ScheduledStatement,
    same_entry,
)
from gd_torch.compiler.rows import RowAxes, main_rows, row_axis_of_result
from gd_torch.compiler.tiles import MIN_BLOCKED_SUMS, Tiles, needs_large_tiles
from gd_torch.compiler.views import Node, View

MIN_BLOCKED_TERMS = 16
"""Products per row from which a sum of products is computed in blocks."""


class Schedule:
    """The kernels of a program.

    Args:
        outputs: views that must be computed.
        item_bytes: bytes of a scalar.
        along_runs: every statement is vectorised over independent runs, not along an axis.

    Attributes:
        kernels: in the order of execution. storage: of every computed node. tiles: of the rows.
    """

    def __init__(
        self,
        statements: Sequence[Statement],
        outputs: Sequence[View],
        item_bytes: int,
        *,
        runs_as_lanes: bool = False,
    ) -> None:
        self.runs_as_lanes = runs_as_lanes
        self._zeroed: dict[Node, Node] = {}
        self.kernels: list[Kernel] = []
        self.allocations: dict[Node, Allocation] = {}
        needed = needed_statements(statements, outputs)
        rows = 0 if runs_as_lanes else main_rows(needed)
        self.axes = RowAxes(self.allocations, rows)
        self.tiles = Tiles(item_bytes, any(needs_large_tiles(each, rows) for each in needed))
        for statement in needed:
            self._add(statement)
        if runs_as_lanes:
            allocate_lanes(self.kernels, self.allocations, outputs)
        else:
            allocate(self.kernels, self.allocations, self.axes, outputs)

    def all_scheduled(self) -> Iterator[ScheduledStatement]:
        """Every statement, in the order of execution."""
        for kernel in self.kernels:
            for group in kernel.groups:
                yield from group.members

    def _source(self, view: View) -> Allocation | None:
        """The allocation of an argument; None if it is not a computed node."""
        return None if view.node is None else self.allocations.get(view.node)

    # ------------------------------------------------ position of a statement

    def _add(self, statement: Statement) -> None:
        """Add a statement to a kernel and a group."""
        row_axis = None if self.runs_as_lanes else self.axes.choose(statement)
        scheduled = _with_loops(statement, row_axis)
        rows = 0 if row_axis is None else statement.sizes[row_axis]
        if scheduled.sums_rows and rows != self.tiles.padded(rows):
            self._exclude_padding(scheduled, rows)
        allocation = self._storage_of_result(scheduled)
        scheduled.kernel = self._kernel(scheduled, allocation, rows)
        scheduled.group = self._group(scheduled, allocation)
        self.kernels[scheduled.kernel].groups[scheduled.group].members.append(scheduled)
        repeats = row_axis is not None and all(
            self.axes.repeats_last_row(view, row_axis, rows) for view in statement.arguments
        )
        allocation.repeats_last_row = repeats and (
            allocation.repeats_last_row or not allocation.writers
        )
        allocation.writers.append(scheduled)

    def _storage_of_result(self, scheduled: ScheduledStatement) -> Allocation:
        """The allocation of a statement's result, created for the first writer of the node."""
        node = scheduled.statement.out
        if node not in self.allocations:
            allocation = self.allocations[node] = Allocation(node)
            allocation.number = len(self.allocations)
            if scheduled.row_axis is not None and not scheduled.sums_rows:
                allocation.row_axis = row_axis_of_result(scheduled.statement, scheduled.row_axis)
        return self.allocations[node]

    def _kernel(self, scheduled: ScheduledStatement, allocation: Allocation, rows: int) -> int:
        """The earliest kernel of these rows in which the arguments are complete."""
        first = 0
        for view in scheduled.statement.arguments:
            source = self._source(view)
            if source is not None:
                if rows:
                    accessible = self.axes.is_local(view, scheduled.row_axis, rows)
                else:
                    accessible = self.kernels[source.kernel].rows == 0
                first = max(first, source.kernel if accessible else source.kernel + 1)
        if allocation.writers:  # another statement writes to the same node
            together = self.kernels[allocation.kernel].rows == rows
            first = max(first, allocation.kernel if together else allocation.kernel + 1)
        for index in range(first, len(self.kernels)):
            if self.kernels[index].rows == rows:
                return index
        self.kernels.append(Kernel(rows))
        return len(self.kernels) - 1

    def _group(self, scheduled: ScheduledStatement, allocation: Allocation) -> int:
        """The earliest group of the same loops in which the arguments are complete."""
        statement, groups = scheduled.statement, self.kernels[scheduled.kernel].groups
        loops, first = scheduled.loop_sizes, 0
        for view in statement.arguments:
            source = self._source(view)
            if source is not None and source.kernel == scheduled.kernel:
                here = groups[source.group].loops == loops and same_entry(source, view, scheduled)
                first = max(first, source.group if here else source.group + 1)
        if allocation.writers and allocation.kernel == scheduled.kernel:
            first = max(first, allocation.group + 1)
        alone = scheduled.blocked or statement.table is not None or statement.operation in SCANS
        for index in range(first, len(groups)):
            if groups[index].loops == loops and not alone and not groups[index].closed:
                return index
        groups.append(Group(loops, closed=alone))
        return len(groups) - 1

    # ------------------------------------------------ rows of padding

    def _exclude_padding(self, scheduled: ScheduledStatement, rows: int) -> None:
        """Reduce a copy with zeros in the padding rows if possible, else mask every term."""
        statement, row_axis = scheduled.statement, scheduled.row_axis
        assert row_axis is not None
        views = statement.arguments
        if statement.operation in ("sum", "dot") and all(
            self.axes.repeats_last_row(view, row_axis, rows) for view in views
        ):
            local = [view for view in views if self.axes.is_local(view, row_axis, rows)]
            if local:
                chosen = min(
                    local, key=lambda view: view.node.numel if view.node is not None else 0
                )
                statement.arguments = [
                    self._zero_in_padding(view) if view is chosen else view for view in views
                ]
                return
        scheduled.masked, scheduled.blocked = True, False

    def _zero_in_padding(self, view: View) -> View:
        """The same view of a copy of its node that is zero in the padding rows."""
        node = view.node
        assert node is not None
        if node not in self._zeroed:
            zeroed = Node("computed", node.sizes)
            self._zeroed[node] = zeroed
            source = view.graph.all_entries(node, node.sizes)
            target = view.graph.all_entries(zeroed, node.sizes)
            self._add(Statement("valid", zeroed, node.sizes, 0, [source], target))
        return replace(view, node=self._zeroed[node])


def _with_loops(statement: Statement, row_axis: int | None) -> ScheduledStatement:
    """A statement with the loops of its group; large products are blocked."""
    outer = len(statement.outer)
    sums_rows = row_axis is not None and row_axis >= outer
    loops = [
        axis
        for axis in range(len(statement.sizes))
        if axis != row_axis and (sums_rows or axis < outer)
    ]
    scheduled = ScheduledStatement(statement, row_axis, tuple(loops))
    if row_axis is not None and statement.operation == "dot":
        if sums_rows:
            scheduled.blocked = math.prod(scheduled.loop_sizes) >= MIN_BLOCKED_SUMS
        else:
            scheduled.blocked = math.prod(scheduled.inner_sizes) >= MIN_BLOCKED_TERMS
    return scheduled


def needed_statements(statements: Sequence[Statement], outputs: Sequence[View]) -> list[Statement]:
    """The statements that the outputs depend on, in order."""
    wanted = {view.node for view in outputs if view.node is not None}
    needed = []
    for statement in reversed(statements):
        if statement.out in wanted:
            needed.append(statement)
            wanted.update(view.node for view in statement.arguments if view.node is not None)
    return needed[::-1]
