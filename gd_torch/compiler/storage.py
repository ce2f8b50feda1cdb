"""Where each result is kept: in a register, in a buffer of its tile, or in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from gd_torch.compiler.kernels import (
    SCANS,
    TABLE_OPERATIONS,
    Kernel,
    Placed,
    Storage,
    same_entry,
)
from gd_torch.compiler.rows import RowAxes
from gd_torch.compiler.views import Node, View


def choose_storage(
    kernels: Sequence[Kernel], storage: dict[Node, Storage], axes: RowAxes, outputs: Iterable[View]
) -> None:
    """Set ``where`` of every node of a schedule whose statements are all placed."""
    for source, view, reader in _reads(kernels, storage):
        _require(source, view, reader, kernels[reader.kernel].rows, axes)
    for view in outputs:
        if view.node in storage:
            storage[view.node].where = "memory"
    for kept in storage.values():
        if kept.where == "register" and not _fits_register(kept):
            kept.where = "tile"
        if _needs_memory(kept, kernels[kept.placed[0].kernel].rows):
            kept.where = "memory"


def choose_storage_of_runs(
    kernels: Sequence[Kernel], storage: dict[Node, Storage], outputs: Iterable[View]
) -> None:
    """The same where vectors run along runs: registers and buffers, no memory."""
    for source, view, reader in _reads(kernels, storage):
        if not _in_register(source, view, reader):
            source.where = "tile"
    for view in outputs:
        if view.node in storage:
            storage[view.node].where = "tile"
    for kept in storage.values():
        if not _fits_register(kept):
            kept.where = "tile"


def _reads(
    kernels: Sequence[Kernel], storage: dict[Node, Storage]
) -> Iterator[tuple[Storage, View, Placed]]:
    """Every argument that a statement computes: where it is kept, the view, and its reader."""
    for kernel in kernels:
        for group in kernel.groups:
            for reader in group.members:
                for view in reader.statement.arguments:
                    if view.node in storage:
                        yield storage[view.node], view, reader


def _require(source: Storage, view: View, reader: Placed, rows: int, axes: RowAxes) -> None:
    """Keep a node where one of its readers can reach it."""
    near = source.kernel == reader.kernel
    if rows and not axes.is_local(view, reader.row_axis, rows):
        near = False
    if not near:
        source.where = "memory"
    elif source.where == "register" and not _in_register(source, view, reader):
        source.where = "tile"


def _in_register(source: Storage, view: View, reader: Placed) -> bool:
    """Whether a reader can use the variable that the loops of its group have just set."""
    together = source.kernel == reader.kernel and source.group == reader.group
    return together and same_entry(source, view, reader)


def _fits_register(kept: Storage) -> bool:
    """Whether a single statement computes one entry at a time."""
    operation = kept.placed[0].statement.operation
    return len(kept.placed) == 1 and operation not in SCANS | TABLE_OPERATIONS


def _needs_memory(kept: Storage, rows: int) -> bool:
    """Whether neither registers nor the buffers of a tile can hold a node.

    Args:
        rows: of the first kernel that writes it.
    """
    several = len({placed.kernel for placed in kept.placed}) > 1
    scalar = rows == 0 and kept.where == "tile"
    sums = kept.placed[0].sums_rows
    return kept.node.linear or sums or several or scalar or _crosses_rows(kept)


def _crosses_rows(kept: Storage) -> bool:
    """Whether some part of it is written in other rows than it is computed in."""
    if all(placed.row_axis is None for placed in kept.placed):
        return False
    own = kept.row_axis
    return own is None or any(not placed.computes_in_row(own) for placed in kept.placed)
