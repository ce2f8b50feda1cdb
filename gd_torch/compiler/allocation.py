"""Choose where each result is stored: in a register, in a tile buffer, or in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from gd_torch.compiler.kernels import (
    SCANS,
    TABLE_OPERATIONS,
    Allocation,
    Kernel,
    ScheduledStatement,
    same_entry,
)
from gd_torch.compiler.rows import RowAxes
from gd_torch.compiler.views import Node, View


def allocate(
    kernels: Sequence[Kernel],
    allocations: dict[Node, Allocation],
    axes: RowAxes,
    outputs: Iterable[View],
) -> None:
    """Set ``where`` of every computed node, after all statements have been scheduled."""
    for source, view, reader in _reads(kernels, allocations):
        _make_accessible(source, view, reader, kernels[reader.kernel].rows, axes)
    for view in outputs:
        if view.node in allocations:
            allocations[view.node].where = "memory"
    for allocation in allocations.values():
        if allocation.where == "register" and not _fits_register(allocation):
            allocation.where = "tile"
        if _needs_memory(allocation, kernels[allocation.writers[0].kernel].rows):
            allocation.where = "memory"


def allocate_lanes(
    kernels: Sequence[Kernel], allocations: dict[Node, Allocation], outputs: Iterable[View]
) -> None:
    """The same if every run is a lane: registers and buffers on the stack only."""
    for source, view, reader in _reads(kernels, allocations):
        if not _in_register(source, view, reader):
            source.where = "tile"
    for view in outputs:
        if view.node in allocations:
            allocations[view.node].where = "tile"
    for allocation in allocations.values():
        if not _fits_register(allocation):
            allocation.where = "tile"


def _reads(
    kernels: Sequence[Kernel], allocations: dict[Node, Allocation]
) -> Iterator[tuple[Allocation, View, ScheduledStatement]]:
    """Yield each argument that is a computed node: its allocation, the view, and the reader."""
    for kernel in kernels:
        for group in kernel.groups:
            for reader in group.members:
                for view in reader.statement.arguments:
                    if view.node in allocations:
                        yield allocations[view.node], view, reader


def _make_accessible(
    source: Allocation, view: View, reader: ScheduledStatement, rows: int, axes: RowAxes
) -> None:
    """Move a node to a location that is accessible to one of its readers."""
    near = source.kernel == reader.kernel
    if rows and not axes.is_local(view, reader.row_axis, rows):
        near = False
    if not near:
        source.where = "memory"
    elif source.where == "register" and not _in_register(source, view, reader):
        source.where = "tile"


def _in_register(source: Allocation, view: View, reader: ScheduledStatement) -> bool:
    """Whether a reader can use the variable assigned in the same loop iteration."""
    together = source.kernel == reader.kernel and source.group == reader.group
    return together and same_entry(source, view, reader)


def _fits_register(allocation: Allocation) -> bool:
    """Whether a single statement computes one entry at a time."""
    operation = allocation.writers[0].statement.operation
    return len(allocation.writers) == 1 and operation not in SCANS | TABLE_OPERATIONS


def _needs_memory(allocation: Allocation, rows: int) -> bool:
    """Whether neither registers nor the buffers of a tile can store a node.

    Args:
        rows: of the first kernel that writes it.
    """
    several = len({scheduled.kernel for scheduled in allocation.writers}) > 1
    scalar = rows == 0 and allocation.where == "tile"
    sums = allocation.writers[0].sums_rows
    return allocation.node.linear or sums or several or scalar or _crosses_rows(allocation)


def _crosses_rows(allocation: Allocation) -> bool:
    """Whether a statement writes to another row than the one that it computes."""
    if all(scheduled.row_axis is None for scheduled in allocation.writers):
        return False
    own = allocation.row_axis
    return own is None or any(
        not scheduled.computes_in_row(own) for scheduled in allocation.writers
    )
