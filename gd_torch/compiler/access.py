"""C expressions that read the arguments of a statement, and C statements that write its result.

Names in the C text: ``w`` the weights, ``data`` constants that vary along the rows, ``uni`` those
that do not, ``sca`` scalar constants, ``tab`` index tables, ``work`` all buffers in memory,
``x3``, ``t3`` the variable and the tile buffer of node 3. ``c`` is the first row of a tile, ``u``
counts its H * U vectors. Masks are vectors (I) or numbers (J) of all or no bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gd_torch.compiler.axis_mapping import axis_mapping
from gd_torch.compiler.constant_layout import ConstantLayout
from gd_torch.compiler.kernels import SCANS, Allocation, ScheduledStatement, same_entry
from gd_torch.compiler.schedule import Schedule
from gd_torch.compiler.strides import row_major, rows_last
from gd_torch.compiler.views import Node, View

ROW = "(c + u * LANES)"
"""C text of the first row of a vector."""


@dataclass(frozen=True)
class LoopContext:
    """A scheduled statement with the C name of the loop index along each of its axes."""

    scheduled: ScheduledStatement
    names: dict[int, str]

    @classmethod
    def of(
        cls, scheduled: ScheduledStatement, loops: Sequence[str], inner: Sequence[str]
    ) -> LoopContext:
        """Combine the index names of the group's loops and of the statement's inner loops."""
        names = dict(zip(scheduled.loops, loops, strict=True))
        names.update(zip(scheduled.inner, inner, strict=True))
        return cls(scheduled, names)

    def index(self, axes: Sequence[int], strides: Sequence[int], offset: int = 0) -> str:
        """C text of an entry: the sum of indices times strides."""
        return index_text([self.names[d] for d in axes], strides, offset)


def index_text(names: Sequence[str], strides: Sequence[int], offset: int = 0) -> str:
    """C text of offset + sum of names times strides.

    >>> index_text(["i", "j"], [3, 1], 6)
    'i * 3 + j + 6'
    """
    pairs = zip(names, strides, strict=True)
    parts = [name if step == 1 else f"{name} * {step}" for name, step in pairs if step]
    if offset or not parts:
        parts.append(str(offset))
    return " + ".join(parts)


class Access:
    """Generates the reads and writes of one program.

    Attributes:
        constants: offsets of the constants in their buffers.
        offsets: offset in ``work`` of each node in memory.
        slack: entries beyond the end of ``work`` that a strided access may touch.
    """

    def __init__(self, schedule: Schedule, constants: ConstantLayout) -> None:
        self.schedule, self.constants = schedule, constants
        self.runs_as_lanes = schedule.runs_as_lanes
        self.offsets: dict[Node, int] = {}
        self.slack = 0

    def allocation(self, scheduled: ScheduledStatement) -> Allocation:
        """The allocation of a statement's result."""
        return self.schedule.allocations[scheduled.statement.out]

    # ------------------------------------------------ reading

    def operand(self, view: View, context: LoopContext, vector: bool) -> str:
        """C text of an argument, as a vector or as a scalar."""
        text, wide = self._read(view, context)
        if vector and not wide:
            return f"KI({text})" if view.is_mask else f"K({text})"
        assert vector or not wide
        return text

    def _read(self, view: View, context: LoopContext) -> tuple[str, bool]:
        """C text of an argument, and whether it is a vector."""
        node = view.node
        if node is None:
            return self.constants.number(view.value), False
        if node.kind == "constant":
            return self._read_constant(node, view, context)
        if node.kind == "weight":
            return self._read_weight(node, view, context)
        return self._read_computed(self.schedule.allocations[node], view, context)

    def _read_weight(self, node: Node, view: View, context: LoopContext) -> tuple[str, bool]:
        """An entry of all weights, or neighbouring rows of a weight."""
        entry, step = self._address(view, context, node.strides)
        if self.runs_as_lanes:
            return f"w[({node.base} + {entry}) * U * H + u]", True
        return self._load(f"w + {node.base} + {entry}", step, "V", context.scheduled)

    def _read_computed(
        self, allocation: Allocation, view: View, context: LoopContext
    ) -> tuple[str, bool]:
        """The result of a statement, in a variable, in a tile or in memory."""
        node, reader = allocation.node, context.scheduled
        same_kernel = allocation.kernel == reader.kernel
        if self.runs_as_lanes or (same_kernel and allocation.where != "memory"):
            if allocation.where == "register":
                return f"x{allocation.number}", reader.row_axis is not None or self.runs_as_lanes
            return (
                f"t{allocation.number}[({self._in_tile(view, allocation, context)}) * U * H + u]",
                True,
            )
        first = allocation.writers[0]
        in_scope = same_kernel and allocation.group == reader.group and len(allocation.writers) == 1
        if in_scope and not first.sums_rows and same_entry(allocation, view, reader):
            return f"x{allocation.number}", reader.row_axis is not None
        entry, step = self._address(view, context, self._layout(allocation))
        pointer = f"work + {self.offsets[node]} + {entry}"
        return self._load(pointer, step, "I" if node.mask else "V", reader)

    def _read_constant(self, node: Node, view: View, context: LoopContext) -> tuple[str, bool]:
        """An entry of a block of ``uni``, or neighbouring rows of a block of ``data``."""
        row_axis = context.scheduled.row_axis
        axes = [d for d, stride in enumerate(view.strides) if stride and d != row_axis]
        axes.sort(key=lambda d: (-view.strides[d], view.shape[d]))
        sizes = [view.shape[d] for d in axes]
        strides = [view.strides[d] for d in axes]
        entry = context.index(axes, row_major(sizes))
        if row_axis is None or view.strides[row_axis] == 0:
            block = self.constants.uniform(node, view.offset, sizes, strides)
            cast = "(const J *)" if node.mask else ""
            return f"({cast}(uni + {block} + {entry}))[0]", False
        rows, row_stride = view.shape[row_axis], view.strides[row_axis]
        block = self.constants.rows(node, view.offset, [*sizes, rows], [*strides, row_stride])
        entries, width = math.prod(sizes), self.schedule.tiles.width(rows)
        kind = "I" if node.mask else "V"
        tile = "c" if entries == 1 else f"c * {entries}L"
        pointer = f"data + {block}L + {tile} + ({entry}) * {width} + u * LANES"
        return f"*(const {kind} *)({pointer})", True

    def _load(
        self, pointer: str, step: int, kind: str, reader: ScheduledStatement
    ) -> tuple[str, bool]:
        """Read from memory: a scalar, contiguous rows, or rows ``step`` entries apart."""
        if reader.row_axis is None or step == 0:
            cast = "(const J *)" if kind == "I" else ""
            return f"({cast}({pointer}))[0]", False
        self._reach(step)
        if step == 1:
            return f"*(const {kind}U *)({pointer} + {ROW})", True
        name = "load_strided_masks" if kind == "I" else "load_strided"
        return f"{name}({pointer} + {ROW} * {step}L, {step}L)", True

    def _reach(self, step: int) -> None:
        """Reserve entries for the padding rows of a strided vector access."""
        self.slack = max(self.slack, step * 64 * 8)

    # ------------------------------------------------ writing

    def store(self, context: LoopContext, value: str) -> str:
        """C statement that writes a result to its allocation."""
        scheduled = context.scheduled
        target, allocation = scheduled.statement.target, self.allocation(scheduled)
        if self.runs_as_lanes or allocation.where == "tile":
            entry = self._in_tile(target, allocation, context)
            return f"t{allocation.number}[({entry}) * U * H + u] = {value};"
        entry, step = self._address(target, context, self._layout(allocation))
        assert scheduled.statement.operation not in SCANS or step >= 0
        pointer = f"work + {self.offsets[allocation.node]} + {entry}"
        mask = allocation.node.mask
        if scheduled.row_axis is None:
            return f"({'(J *)' if mask else ''}({pointer}))[0] = {value};"
        own = allocation.row_axis
        if own is not None and not allocation.node.linear and scheduled.computes_in_row(own):
            return f"*({'I' if mask else 'V'}U *)({pointer} + {ROW}) = {value};"
        self._reach(step)
        name, rows = (
            "store_strided_masks" if mask else "store_strided",
            scheduled.statement.sizes[scheduled.row_axis],
        )
        return f"{name}({pointer} + {ROW} * {step}L, {step}L, {rows} - {ROW}, {value});"

    def entry_of_sum(self, scheduled: ScheduledStatement, loops: Sequence[str]) -> str:
        """The entry of a reduction over rows."""
        names = dict(zip(scheduled.loops, loops, strict=True))
        target = scheduled.statement.target
        axes = [d for d, stride in enumerate(target.strides) if stride]
        return index_text(
            [names[d] for d in axes], [target.strides[d] for d in axes], target.offset
        )

    # ------------------------------------------------ addresses

    def _layout(self, allocation: Allocation) -> tuple[int, ...]:
        """The strides of a node in ``work``."""
        node, row_axis = allocation.node, allocation.row_axis
        if row_axis is None or node.linear:
            return node.strides
        return rows_last(node.sizes, row_axis, self.schedule.tiles.padded(node.sizes[row_axis]))

    def _address(self, view: View, context: LoopContext, layout: Sequence[int]) -> tuple[str, int]:
        """The offset in memory without the row index, and the stride between rows."""
        row_axis = context.scheduled.row_axis
        steps = [0] * len(view.shape)
        offset = 0
        moves = None if view.node is None or view.node.linear else axis_mapping(view)
        if moves is None:
            offset, steps = view.offset, list(view.strides)
        else:
            for unit, (first, axes) in zip(layout, moves, strict=True):
                offset += unit * first
                for axis, step in axes:
                    steps[axis] += unit * step
        others = [d for d, step in enumerate(steps) if d != row_axis and step]
        entry = context.index(others, [steps[d] for d in others], offset)
        return entry, steps[row_axis] if row_axis is not None else 0

    def _in_tile(self, view: View, allocation: Allocation, context: LoopContext) -> str:
        """The offset of an entry in a tile buffer, without the row index."""
        if self.runs_as_lanes:
            axes = [d for d, stride in enumerate(view.strides) if stride]
            return context.index(axes, [view.strides[d] for d in axes], view.offset)
        row_axis = allocation.row_axis
        assert row_axis is not None
        layout = row_major([n for axis, n in enumerate(allocation.node.sizes) if axis != row_axis])
        layout.insert(row_axis, 0)
        return self._address(view, context, layout)[0]
