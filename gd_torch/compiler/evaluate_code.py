"""Generate the C function ``evaluate`` (value and partials) of a schedule, with its buffers."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from gd_torch.compiler.access import Access, LoopContext
from gd_torch.compiler.buffers import Buffers
from gd_torch.compiler.constant_layout import ConstantLayout
from gd_torch.compiler.graph import Statement
from gd_torch.compiler.kernels import Allocation, ScheduledStatement
from gd_torch.compiler.row_kernels import row_kernel
from gd_torch.compiler.schedule import Schedule
from gd_torch.compiler.statements import StatementWriter
from gd_torch.compiler.views import Node, View


class EvaluateCode:
    """The C text of one schedule.

    Args:
        schedule: the kernels.
        dtype: dtype of the program.
        count: number of entries of all weights.
        value: view of the objective's value.
        partials: one view per weight.

    Attributes:
        body: lines of the function.
        kernels: C functions that it calls.
        functions: names of the elementary functions that it calls.
        buffers: the constants that it reads.
    """

    def __init__(
        self, schedule: Schedule, dtype: torch.dtype, count: int, value: View,
        partials: Sequence[View],
    ) -> None:  # fmt: skip
        self.schedule, self.dtype, self.count = schedule, dtype, count
        self.value, self.partials = value, partials
        constants = ConstantLayout(dtype, schedule.tiles)
        self.buffers: Buffers = constants.buffers
        self._access = Access(schedule, constants)
        self._statements = StatementWriter(self._access)
        self.functions = self._statements.functions
        self.body: list[str] = []
        self.kernels: list[str] = []
        for allocation in schedule.allocations.values():
            if allocation.where == "memory":
                self._allocate(allocation)
        for number in range(len(schedule.kernels)):
            self._add_kernel(number)
        self.buffers.work += self._access.slack + 64

    def _allocate(self, allocation: Allocation) -> None:
        """Reserve memory for a node, including its padding rows."""
        entries = allocation.node.numel
        if allocation.row_axis is not None and not allocation.node.linear:
            rows = allocation.node.sizes[allocation.row_axis]
            entries = entries // rows * self.schedule.tiles.padded(rows)
        self._access.offsets[allocation.node] = self.buffers.reserve(entries)

    def _add_kernel(self, number: int) -> None:
        """Add a kernel as a function and a call, or as a block of scalar statements."""
        kernel = self.schedule.kernels[number]
        if kernel.rows:
            self.kernels.append(row_kernel(number, kernel, self._access, self._statements))
            self.body.append(f"  kernel{number}(w, data, uni, sca, tab, work);")
        else:
            lines = [line for group in kernel.groups for line in self._statements.group(group, 0)]
            self.body += ["  {", *lines, "  }"]

    def result(self, view: View, names: Sequence[str]) -> str:
        """C text of an entry of an output after all kernels; ``names`` are the indices per axis."""
        statement = Statement("copy", Node("computed", ()), tuple(view.shape), 0, [], view)
        scheduled = ScheduledStatement(statement, None, tuple(range(len(view.shape))))
        return self._access.operand(
            view, LoopContext.of(scheduled, names, []), self._access.runs_as_lanes
        )
