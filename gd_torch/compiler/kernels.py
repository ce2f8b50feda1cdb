"""Elements of a schedule: kernels, groups, scheduled statements and allocations of results."""

from __future__ import annotations

from dataclasses import dataclass, field

from gd_torch.compiler.axis_mapping import axis_mapping
from gd_torch.compiler.graph import Statement
from gd_torch.compiler.views import Node, View

REDUCTIONS = {"sum", "dot", "prod", "max", "min"}
SCANS = {"cumsum", "cumprod"}
TABLE_OPERATIONS = {"gather", "scatter", "scatter_add"}


@dataclass(eq=False)
class Group:
    """Statements in the same loop nest; no statement is added to a closed group."""

    loops: tuple[int, ...]
    closed: bool = False
    members: list[ScheduledStatement] = field(default_factory=list)


@dataclass(eq=False)
class Kernel:
    """Groups executed in order, for each tile of ``rows`` (0: scalar code without rows)."""

    rows: int
    groups: list[Group] = field(default_factory=list)


@dataclass(eq=False)
class ScheduledStatement:
    """A statement with its position in the schedule.

    Attributes:
        row_axis: the axis of its domain along which it is vectorised, or None.
        loops: the axes of its domain that its group loops over; the others are inner loops.
        kernel, group: their indices; -1 if in no kernel.
        masked: a reduction over rows in which each term must be masked in the padding rows.
        blocked: a large product, computed in blocks that fit in registers, in its own group.
    """

    statement: Statement
    row_axis: int | None
    loops: tuple[int, ...]
    kernel: int = -1
    group: int = -1
    masked: bool = False
    blocked: bool = False

    @property
    def sums_rows(self) -> bool:
        """Whether it reduces over the rows of its kernel."""
        if self.statement.operation not in REDUCTIONS:
            return False
        return self.row_axis is not None and self.row_axis >= len(self.statement.outer)

    @property
    def inner(self) -> list[int]:
        """Axes of inner loops."""
        axes = range(len(self.statement.sizes))
        return [axis for axis in axes if axis not in (self.row_axis, *self.loops)]

    @property
    def loop_sizes(self) -> tuple[int, ...]:
        """The lengths of the loops of its group."""
        return tuple(self.statement.sizes[axis] for axis in self.loops)

    @property
    def inner_sizes(self) -> tuple[int, ...]:
        """The lengths of its inner loops."""
        return tuple(self.statement.sizes[axis] for axis in self.inner)

    def computes_in_row(self, row_axis: int) -> bool:
        """Whether it writes each row of its node, along ``row_axis``, in that same row."""
        target, node = self.statement.target, self.statement.out
        if self.row_axis is None or self.sums_rows:
            return False
        moves = axis_mapping(target)
        return (
            moves is not None
            and node.sizes[row_axis] == self.statement.sizes[self.row_axis]
            and moves[row_axis] == (0, [(self.row_axis, 1)])
        )


@dataclass(eq=False)
class Allocation:
    """The storage of a computed node.

    Attributes:
        row_axis: its axis of rows in the kernel that computes it, or None.
        writers: the statements that write it.
        where: "register" (used in its own group only), "tile" (in its own kernel), "memory".
        number: of its variable or buffer in the C text.
        repeats_last_row: the padding rows repeat the last row.
    """

    node: Node
    row_axis: int | None = None
    writers: list[ScheduledStatement] = field(default_factory=list)
    where: str = "register"
    number: int = 0
    repeats_last_row: bool = False

    @property
    def kernel(self) -> int:
        """The kernel after which it is complete."""
        return max(scheduled.kernel for scheduled in self.writers)

    @property
    def group(self) -> int:
        """The group of that kernel after which it is complete."""
        last = self.kernel
        return max(scheduled.group for scheduled in self.writers if scheduled.kernel == last)


def same_entry(source: Allocation, view: View, reader: ScheduledStatement) -> bool:
    """Whether ``reader`` reads the entry that the same loop iteration has computed.

    Args:
        source: the allocation of the node of ``view``.
        view: an argument of ``reader``.
    """
    producer = source.writers[0]
    if reader.inner or len(source.writers) > 1 or producer.sums_rows:
        return False
    if producer.inner and producer.statement.operation not in REDUCTIONS:
        return False
    if (producer.row_axis is None) != (reader.row_axis is None):
        return False
    target = producer.statement.target
    read_strides = [view.strides[axis] for axis in reader.loops]
    written_strides = [target.strides[axis] for axis in producer.loops]
    return view.offset == 0 and target.offset == 0 and read_strides == written_strides
