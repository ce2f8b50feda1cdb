"""C text that reads the arguments of a statement and writes its result.

Names in the C text: ``w`` the weights, ``data`` constants that vary along the rows, ``uni`` those
that do not, ``sca`` scalar constants, ``tab`` index tables, ``work`` all buffers in memory,
``x3``, ``t3`` the variable and the tile buffer of node 3. ``c`` is the first row of a tile, ``u``
counts its H * U vectors. Masks are vectors (I) or numbers (J) of all or no bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gd_torch.compiler.data import Data
from gd_torch.compiler.kernels import SCANS, Placed, Storage, same_entry
from gd_torch.compiler.mapping import mapping
from gd_torch.compiler.schedule import Schedule
from gd_torch.compiler.strides import row_major, rows_last
from gd_torch.compiler.views import Node, View

ROW = "(c + u * LANES)"
"""C text of the first row of a vector."""


@dataclass(frozen=True)
class Context:
    """A statement and the C names of the indices along its axes."""

    placed: Placed
    names: dict[int, str]

    @classmethod
    def of(cls, placed: Placed, loops: Sequence[str], inner: Sequence[str]) -> Context:
        """The names of the group's loops and of the statement's inner loops."""
        names = dict(zip(placed.loops, loops, strict=True))
        names.update(zip(placed.inner, inner, strict=True))
        return cls(placed, names)

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
    """Reads and writes of one program.

    Attributes:
        data: where its constants lie. offsets: where its nodes lie in ``work``.
        slack: entries behind ``work`` that a read of strided rows may reach.
    """

    def __init__(self, schedule: Schedule, data: Data) -> None:
        self.schedule, self.data = schedule, data
        self.runs = schedule.along_runs
        self.offsets: dict[Node, int] = {}
        self.slack = 0

    def storage(self, placed: Placed) -> Storage:
        """Where the result of a statement is kept."""
        return self.schedule.storage[placed.statement.out]

    # ------------------------------------------------ reading

    def operand(self, view: View, context: Context, vector: bool) -> str:
        """C text of an argument, as a vector or as a number."""
        text, wide = self._read(view, context)
        if vector and not wide:
            return f"KI({text})" if view.is_mask else f"K({text})"
        assert vector or not wide
        return text

    def _read(self, view: View, context: Context) -> tuple[str, bool]:
        """C text of an argument, and whether it is a vector."""
        node = view.node
        if node is None:
            return self.data.number(view.value), False
        if node.kind == "constant":
            return self._read_constant(node, view, context)
        if node.kind == "weight":
            return self._read_weight(node, view, context)
        return self._read_computed(self.schedule.storage[node], view, context)

    def _read_weight(self, node: Node, view: View, context: Context) -> tuple[str, bool]:
        """An entry of all weights, or neighbouring rows of a weight."""
        entry, step = self._address(view, context, node.strides)
        if self.runs:
            return f"w[({node.base} + {entry}) * U * H + u]", True
        return self._load(f"w + {node.base} + {entry}", step, "V", context.placed)

    def _read_computed(self, storage: Storage, view: View, context: Context) -> tuple[str, bool]:
        """What a statement has computed: in a variable, in a tile or in memory."""
        node, reader = storage.node, context.placed
        here = storage.kernel == reader.kernel
        if self.runs or (here and storage.where != "memory"):
            if storage.where == "register":
                return f"x{storage.number}", reader.row_axis is not None or self.runs
            return f"t{storage.number}[({self._in_tile(view, storage, context)}) * U * H + u]", True
        first = storage.placed[0]
        just_made = here and storage.group == reader.group and len(storage.placed) == 1
        if just_made and not first.sums_rows and same_entry(storage, view, reader):
            return f"x{storage.number}", reader.row_axis is not None
        entry, step = self._address(view, context, self._layout(storage))
        pointer = f"work + {self.offsets[node]} + {entry}"
        return self._load(pointer, step, "I" if node.mask else "V", reader)

    def _read_constant(self, node: Node, view: View, context: Context) -> tuple[str, bool]:
        """An entry of a block of ``uni``, or neighbouring rows of a block of ``data``."""
        row_axis = context.placed.row_axis
        axes = [d for d, stride in enumerate(view.strides) if stride and d != row_axis]
        axes.sort(key=lambda d: (-view.strides[d], view.shape[d]))
        sizes = [view.shape[d] for d in axes]
        strides = [view.strides[d] for d in axes]
        entry = context.index(axes, row_major(sizes))
        if row_axis is None or view.strides[row_axis] == 0:
            block = self.data.uniform(node, view.offset, sizes, strides)
            cast = "(const J *)" if node.mask else ""
            return f"({cast}(uni + {block} + {entry}))[0]", False
        rows, row_stride = view.shape[row_axis], view.strides[row_axis]
        block = self.data.rows(node, view.offset, [*sizes, rows], [*strides, row_stride])
        places, width = math.prod(sizes), self.schedule.tiles.width(rows)
        kind = "I" if node.mask else "V"
        tile = "c" if places == 1 else f"c * {places}L"
        pointer = f"data + {block}L + {tile} + ({entry}) * {width} + u * LANES"
        return f"*(const {kind} *)({pointer})", True

    def _load(self, pointer: str, step: int, kind: str, reader: Placed) -> tuple[str, bool]:
        """Read memory: a number, neighbouring rows, or rows some entries apart."""
        if reader.row_axis is None or step == 0:
            cast = "(const J *)" if kind == "I" else ""
            return f"({cast}({pointer}))[0]", False
        self._reach(step)
        if step == 1:
            return f"*(const {kind}U *)({pointer} + {ROW})", True
        name = "apart_masks" if kind == "I" else "apart"
        return f"{name}({pointer} + {ROW} * {step}L, {step}L)", True

    def _reach(self, step: int) -> None:
        """Keep room for the rows of padding of a vector that is read or written in steps."""
        self.slack = max(self.slack, step * 64 * 8)

    # ------------------------------------------------ writing

    def store(self, context: Context, value: str) -> str:
        """Write a result where it is kept."""
        placed = context.placed
        place, storage = placed.statement.place, self.storage(placed)
        if self.runs or storage.where == "tile":
            entry = self._in_tile(place, storage, context)
            return f"t{storage.number}[({entry}) * U * H + u] = {value};"
        entry, step = self._address(place, context, self._layout(storage))
        assert placed.statement.operation not in SCANS or step >= 0
        pointer = f"work + {self.offsets[storage.node]} + {entry}"
        mask = storage.node.mask
        if placed.row_axis is None:
            return f"({'(J *)' if mask else ''}({pointer}))[0] = {value};"
        own = storage.row_axis
        if own is not None and not storage.node.linear and placed.computes_in_row(own):
            return f"*({'I' if mask else 'V'}U *)({pointer} + {ROW}) = {value};"
        self._reach(step)
        name, rows = "put_masks" if mask else "put", placed.statement.sizes[placed.row_axis]
        return f"{name}({pointer} + {ROW} * {step}L, {step}L, {rows} - {ROW}, {value});"

    def entry_of_sum(self, placed: Placed, loops: Sequence[str]) -> str:
        """The entry of a reduction over rows."""
        names = dict(zip(placed.loops, loops, strict=True))
        place = placed.statement.place
        axes = [d for d, stride in enumerate(place.strides) if stride]
        return index_text([names[d] for d in axes], [place.strides[d] for d in axes], place.offset)

    # ------------------------------------------------ addresses

    def _layout(self, storage: Storage) -> tuple[int, ...]:
        """The strides of a node in ``work``."""
        node, row_axis = storage.node, storage.row_axis
        if row_axis is None or node.linear:
            return node.strides
        return rows_last(node.sizes, row_axis, self.schedule.tiles.padded(node.sizes[row_axis]))

    def _address(self, view: View, context: Context, layout: Sequence[int]) -> tuple[str, int]:
        """The entry in memory without the part of the rows, and the step between rows."""
        row_axis = context.placed.row_axis
        steps = [0] * len(view.shape)
        offset = 0
        moves = None if view.node is None or view.node.linear else mapping(view)
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

    def _in_tile(self, view: View, storage: Storage, context: Context) -> str:
        """The place of an entry within a tile buffer, rows left out."""
        if self.runs:
            axes = [d for d, stride in enumerate(view.strides) if stride]
            return context.index(axes, [view.strides[d] for d in axes], view.offset)
        row_axis = storage.row_axis
        assert row_axis is not None
        layout = row_major([n for axis, n in enumerate(storage.node.sizes) if axis != row_axis])
        layout.insert(row_axis, 0)
        return self._address(view, context, layout)[0]
