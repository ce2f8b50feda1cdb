"""From a schedule to C: one function that evaluates value and partials, with its buffers."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from gd_torch.compiler.access import Access, Context
from gd_torch.compiler.buffers import Buffers
from gd_torch.compiler.data import Data
from gd_torch.compiler.graph import Statement
from gd_torch.compiler.kernels import Placed, Storage
from gd_torch.compiler.row_kernels import row_kernel
from gd_torch.compiler.schedule import Schedule
from gd_torch.compiler.statements import Statements
from gd_torch.compiler.views import Node, View


class Evaluation:
    """C text of the evaluation of one schedule.

    Args:
        schedule: the kernels. dtype: of all numbers. count: entries of all weights.
        value: the objective. partials: one view per weight.

    Attributes:
        body: lines of the evaluation. kernels: functions that it calls.
        functions: the elementary functions that the text calls. buffers: what it reads.
    """

    def __init__(
        self, schedule: Schedule, dtype: torch.dtype, count: int, value: View,
        partials: Sequence[View],
    ) -> None:  # fmt: skip
        self.schedule, self.dtype, self.count = schedule, dtype, count
        self.value, self.partials = value, partials
        data = Data(dtype, schedule.tiles)
        self.buffers: Buffers = data.buffers
        self._access = Access(schedule, data)
        self._statements = Statements(self._access)
        self.functions = self._statements.functions
        self.body: list[str] = []
        self.kernels: list[str] = []
        for storage in schedule.storage.values():
            if storage.where == "memory":
                self._allocate(storage)
        for number in range(len(schedule.kernels)):
            self._add_kernel(number)
        self.buffers.work += self._access.slack + 64

    def _allocate(self, storage: Storage) -> None:
        """Reserve memory for a node, rows of padding included."""
        entries = storage.node.numel
        if storage.row_axis is not None and not storage.node.linear:
            rows = storage.node.sizes[storage.row_axis]
            entries = entries // rows * self.schedule.tiles.padded(rows)
        self._access.offsets[storage.node] = self.buffers.reserve(entries)

    def _add_kernel(self, number: int) -> None:
        """A function with a call of it, or a block of scalar statements."""
        kernel = self.schedule.kernels[number]
        if kernel.rows:
            self.kernels.append(row_kernel(number, kernel, self._access, self._statements))
            self.body.append(f"  kernel{number}(w, data, uni, sca, tab, work);")
        else:
            lines = [line for group in kernel.groups for line in self._statements.group(group, 0)]
            self.body += ["  {", *lines, "  }"]

    def result(self, view: View, names: Sequence[str]) -> str:
        """C text of an output, indexed by one name per axis, outside every kernel."""
        statement = Statement("copy", Node("computed", ()), tuple(view.shape), 0, [], view)
        placed = Placed(statement, None, tuple(range(len(view.shape))))
        return self._access.operand(view, Context.of(placed, names, []), self._access.runs)
