"""From a schedule to C: one function that evaluates value and partials, with its buffers.

Names in the C text: ``w`` the weights, ``g`` their partials, ``data`` constants that vary along
the rows, ``uni`` those that do not, ``sca`` scalar constants, ``tab`` index tables, ``work`` all
buffers in memory. A tile is U virtual vectors of 64 bytes; ``u`` counts its H * U vectors.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from gd_torch.compiler.graph import Node, Statement, View, mapping
from gd_torch.compiler.operations import FUNCTIONS, accumulate, expression, start_of
from gd_torch.compiler.schedule import (
    BLOCK_ROWS,
    REDUCTIONS,
    Group,
    Kernel,
    Placed,
    Schedule,
    Storage,
    contiguous_all,
    row_major,
    same_row,
)

LITERALS = {0.0, 1.0, -1.0, 2.0, 0.5, 3.0, math.inf, -math.inf}
"""Numbers written into the source; others lie in a table, so that a changed one needs no compile."""

MAX_SUMS = 12
"""Sums that a block of a product holds in registers, at most."""

BLOCK_TERMS = 64
"""Terms of a long product that are added before the next block of entries, so that they are read
from the nearest cache."""

MAX_TILE_BYTES = 1 << 15
"""Tile buffers of one function on the stack, at most; larger ones lie in ``work``."""


@dataclass
class Buffers:
    """What the C function reads beside the weights.

    Attributes:
        rows: (view over [places..., rows], padded rows, tile) of each block of ``data``.
        uniform: tensors of ``uni`` in order. scalars: numbers of ``sca``. tables: of ``tab``.
        work: entries of ``work``.
    """

    rows: list[tuple[Tensor, int, int]] = field(default_factory=list)
    uniform: list[Tensor] = field(default_factory=list)
    scalars: list[float] = field(default_factory=list)
    tables: list[Tensor] = field(default_factory=list)
    work: int = 0


class Emitter:
    """C text of the evaluation of one schedule.

    Args:
        schedule: the kernels. dtype: of all numbers. count: entries of all weights.
        value: the objective. partials: one view per weight.
    """

    def __init__(
        self, schedule: Schedule, dtype: torch.dtype, count: int, value: View,
        partials: Sequence[View],
    ) -> None:  # fmt: skip
        self.schedule, self.dtype, self.count = schedule, dtype, count
        self.size = 4 if dtype == torch.float32 else 8
        self.value, self.partials = value, partials
        self.runs = schedule.along_runs
        self.buffers = Buffers()
        self.functions: set[str] = set()
        self._offsets: dict[int, int] = {}
        self._known: dict[tuple[object, ...], int] = {}
        self._numbers: dict[float, int] = {}
        self._uniform_size = self._row_size = self._table_size = 0
        self._slack = 0
        self.body: list[str] = []  # of the evaluation
        self.kernels: list[str] = []  # functions that it calls

    # ------------------------------------------------ the whole

    def emit(self) -> None:
        """Fill ``kernels`` and ``body``."""
        for storage in self.schedule.storage.values():
            if storage.where == "memory":
                self._allocate(storage)
        for number, kernel in enumerate(self.schedule.kernels):
            if kernel.rows:
                self.kernels.append(self._row_kernel(number, kernel))
                self.body.append(f"  kernel{number}(w, data, uni, sca, tab, work);")
            else:
                self.body += self._scalar_kernel(number, kernel)
        self.buffers.work += self._slack + 64

    def _allocate(self, storage: Storage) -> None:
        entries = storage.node.numel
        if storage.lane is not None and not storage.node.linear:
            rows = storage.node.sizes[storage.lane]
            entries = entries // rows * self.schedule.padded(rows)
        self._offsets[id(storage.node)] = self.buffers.work
        self.buffers.work += -(-entries // 16) * 16

    # ------------------------------------------------ kernels

    def _scalar_kernel(self, number: int, kernel: Kernel) -> list[str]:
        lines = ["  {"]
        for index, group in enumerate(kernel.groups):
            lines += self._group(group, number, index, rows=0)
        return [*lines, "  }"]

    def _row_kernel(self, number: int, kernel: Kernel) -> str:
        rows, tile = kernel.rows, self.schedule.tile(kernel.rows)
        width = tile * 64 // self.size
        padded = self.schedule.padded(rows)
        sums = [p for g in kernel.groups for p in g.members if p.sums_rows]
        local, used = [], 0
        for storage in self.schedule.storage.values():
            if storage.where == "tile" and storage.kernel == number:
                vectors = storage.node.numel // rows * tile
                kind = "I" if storage.node.mask else "V"
                if used + 64 * vectors > MAX_TILE_BYTES and vectors > tile:
                    at = self._reserve(vectors * 64 // self.size)
                    local.append(f"  {kind} *const t{storage.number} = ({kind} *)(work + {at});")
                else:
                    used += 64 * vectors
                    local.append(f"  {kind} t{storage.number}[{vectors} * H];")
        for p in sums:
            out = self._storage(p.statement.out)
            entries = p.statement.out.numel
            if entries > 64:
                at = self._reserve(entries * 64 // self.size)
                local.append(f"  V *const s{out.number} = (V *)(work + {at});")
            else:
                local.append(f"  V s{out.number}[{entries} * H];")
        block = max(1, BLOCK_ROWS // width) * width
        blocks = padded > block
        inner: list[str] = []
        for index, group in enumerate(kernel.groups):
            inner += self._group(group, number, index, rows=rows)
        clear = []
        finish = []
        for p in sums:
            out = self._storage(p.statement.out)
            entries, operation = p.statement.out.numel, p.statement.operation
            clear.append(
                f"  for (int i = 0; i < {entries} * H; i++) s{out.number}[i] = "
                f"{start_of(operation, vector=True)};"
            )
            finish += self._finish(p, out, entries, blocks)
        begin = "a" if blocks else "0"
        end = f"(a + {block} < {padded} ? a + {block} : {padded})" if blocks else str(padded)
        text = [
            f"static __attribute__((noinline)) void kernel{number}(const T *restrict w, "
            "const T *restrict data, const T *restrict uni, const T *restrict sca, "
            "const int *restrict tab, T *restrict work) {",
            "  FTZ_ON;" if self.size == 4 else "",
            f"  enum {{ U = {tile} }};",
            *local,
        ]
        if blocks:
            text.append(f"  for (long a = 0; a < {padded}; a += {block}) {{")
        text += clear
        text.append(f"  for (long c = {begin}; c < {end}; c += {width}) {{")
        text += inner
        text.append("  }")
        text += finish
        if blocks:
            text.append("  }")
        text.append("  FTZ_OFF;" if self.size == 4 else "")
        return "\n".join([*text, "}"])

    def _finish(self, placed: Placed, out: Storage, entries: int, blocks: bool) -> list[str]:
        """Take a reduction over rows out of its vectors."""
        at = self._offsets[id(out.node)]
        operation = placed.statement.operation
        if operation in ("sum", "dot"):
            one = f"total(s{out.number} + i * H)"
            more = f"work[{at} + i] += {one};"
        elif operation in ("max", "min"):
            one = f"{'largest' if operation == 'max' else 'smallest'}(s{out.number} + i * H)"
            more = f"work[{at} + i] = s_{operation}(work[{at} + i], {one});"
        else:
            one = f"product_of(s{out.number} + i * H)"
            more = f"work[{at} + i] *= {one};"
        first = f"work[{at} + i] = {one};"
        term = f"if (a) {more} else {first}" if blocks else first
        return [f"  for (int i = 0; i < {entries}; i++) {{ {term} }}"]

    def _reserve(self, entries: int) -> int:
        at = self.buffers.work
        self.buffers.work += -(-entries // 16) * 16
        return at

    # ------------------------------------------------ groups

    def _group(self, group: Group, number: int, index: int, rows: int) -> list[str]:
        if group.members[0].blocked:
            return self._blocked(group.members[0], number, index, rows)
        names = [f"a{i}" for i in range(len(group.loops))]
        lines = [
            f"  for (int {n} = 0; {n} < {s}; {n}++) {{"
            for n, s in zip(names, group.loops, strict=True)
        ]
        vector = rows > 0 or self.runs
        sums = [p for p in group.members if p.sums_rows]
        for p in sums:
            out = self._storage(p.statement.out)
            at = self._index(p.statement.place, p, names)
            lines.append(f"  V *const r{out.number} = s{out.number} + ({at}) * H;")
            lines.append(
                f"  V q{out.number}[H]; for (int h = 0; h < H; h++) q{out.number}[h] = r{out.number}[h];"
            )
        if vector:
            lines.append("  for (int u = 0; u < U * H; u++) {")
        if any(p.masked or p.statement.operation == "valid" for p in group.members):
            lines.append(f"    const I valid = rows_left(c + u * LANES, {rows});")
        for p in group.members:
            lines += self._statement(p, names, number, index, rows)
        if vector:
            lines.append("  }")
        for p in sums:
            out = self._storage(p.statement.out)
            lines.append(f"  for (int h = 0; h < H; h++) r{out.number}[h] = q{out.number}[h];")
        lines += ["  }"] * len(names)
        return lines

    def _statement(
        self, p: Placed, names: list[str], number: int, index: int, rows: int
    ) -> list[str]:
        s, out = p.statement, self._storage(p.statement.out)
        vector = p.lane is not None or self.runs
        inner = [f"k{i}" for i in range(len(p.inner))]
        context = Context(p, self._axis_names(p, names, inner), number, index, rows)
        if s.operation in ("gather", "scatter", "scatter_add"):
            return self._table_statement(p, context)
        given = [self._operand(view, context, vector) for view in s.arguments]
        if s.operation in FUNCTIONS:
            self.functions.add(s.operation)
        if p.sums_rows:
            total = f"q{out.number}[u % H]"
            if p.masked:
                other = start_of("sum" if s.operation == "dot" else s.operation, vector=True)
                given = [f"SEL(valid, {text}, {other})" for text in given]
            return [f"    {accumulate(s.operation, total, given, vector=True)}"]
        kind = ("I" if s.out.mask else "V") if vector else ("J" if s.out.mask else "T")
        name = f"x{out.number}" if len(out.placed) == 1 else f"x{out.number}_{out.placed.index(p)}"
        loops = [
            f"for (int {k} = 0; {k} < {s.sizes[d]}; {k}++)"
            for k, d in zip(inner, p.inner, strict=True)
        ]
        if s.operation in REDUCTIONS and p.inner:
            lines = [
                f"    {kind} {name} = {start_of(s.operation, vector=vector)};",
                f"    {' '.join(loops)} {accumulate(s.operation, name, given, vector=vector)}",
            ]
        elif s.operation in ("cumsum", "cumprod"):
            sign = "+" if s.operation == "cumsum" else "*"
            start = "0" if s.operation == "cumsum" else "1"
            store = self._store(p, context, name)
            return [
                f"    {kind} {name} = {f'K({start})' if vector else start};",
                f"    {' '.join(loops)} {{ {name} {sign}= {given[0]}; {store} }}",
            ]
        elif s.operation == "valid":
            lines = [f"    const V {name} = (V)((I)({given[0]}) & valid);"]
        else:
            value = expression(s.operation, given, vector=vector, masks=s.out.mask)
            lines = [f"    const {kind} {name} = {value};"]
        if out.where != "register":
            lines.append(f"    {self._store(p, context, name)}")
        return lines

    # ------------------------------------------------ large products

    def _blocked(self, p: Placed, number: int, index: int, rows: int) -> list[str]:
        """A product whose sums are computed some at a time, in registers."""
        sizes = [p.statement.sizes[d] for d in p.loops]
        axes = 2 if p.sums_rows else 1  # the last loops are cut into blocks
        outer, cut = sizes[:-axes] if sizes else [], sizes[-axes:] if sizes else []
        names = [f"a{i}" for i in range(len(sizes))]
        lines = [
            f"  for (int {n} = 0; {n} < {s}; {n}++) {{" for n, s in zip(names, outer, strict=False)
        ]
        lengths = self._lengths_of_block(p)
        if p.sums_rows:
            body = self._block_of_sums
        else:
            lines.append(
                f"  for (int u = 0; u < U * H; u += {self._vectors_of_block(p, lengths)}) {{"
            )
            body = self._block_of_rows
            if self._cuts_terms(p):
                terms = p.statement.sizes[p.inner[0]]
                lines.append(f"  for (int k = 0; k < {terms}; k += {BLOCK_TERMS}) {{")
                lines.append(
                    f"  const int end = k + {BLOCK_TERMS} < {terms} ? k + {BLOCK_TERMS} : {terms};"
                )
        lines += self._blocks(p, names, len(outer), lengths, cut, body, (number, index, rows))
        return [*lines, *["  }"] * (len(outer) + (not p.sums_rows) + self._cuts_terms(p))]

    def _blocks(
        self, p: Placed, names: list[str], axis: int, lengths: list[int], cut: list[int],
        body: Any, where: tuple[int, int, int], offsets: tuple[tuple[str, int], ...] = (),
    ) -> list[str]:  # fmt: skip
        """Loops over whole blocks of each axis that is cut, and over what is left of it."""
        if not cut:
            return list(body(p, names, offsets, where))
        name, size, length = names[axis], cut[0], lengths[0]
        whole = size // length * length
        lines = []
        for first, end, step in ((0, whole, length), (whole, size, size - whole)):
            if first < end:
                inner = self._blocks(
                    p, names, axis + 1, lengths[1:], cut[1:], body, where, (*offsets, (name, step))
                )
                lines += [
                    f"  for (int {name} = {first}; {name} < {end}; {name} += {step}) {{",
                    *inner,
                    "  }",
                ]
        return lines

    def _lengths_of_block(self, p: Placed) -> list[int]:
        """How many indices of each axis that is cut a block has."""
        sizes = [p.statement.sizes[d] for d in p.loops]
        if p.sums_rows:
            wanted = [3, 4] if len(sizes) > 1 else [8]
            return [min(size, n) for size, n in zip(sizes[-2:], wanted, strict=True)]
        tile = self.schedule.tile(p.statement.sizes[p.lane or 0])
        return [min(size, 3 if tile % 4 == 0 else 6) for size in sizes[-1:]]

    def _cuts_terms(self, p: Placed) -> bool:
        """Whether the terms are added some at a time, for several blocks of entries in turn."""
        if p.sums_rows or len(p.inner) != 1 or self._storage(p.statement.out).where != "tile":
            return False
        return p.statement.sizes[p.inner[0]] > BLOCK_TERMS and len(p.loops) > 0

    def _vectors_of_block(self, p: Placed, lengths: list[int]) -> int:
        """How many vectors of rows a block has: a divisor of the tile."""
        tile = self.schedule.tile(p.statement.sizes[p.lane or 0])
        most = max(1, MAX_SUMS // math.prod(lengths))
        return max(d for d in range(1, tile + 1) if tile % d == 0 and d <= most)

    def _block_of_rows(
        self, p: Placed, names: list[str], offsets: tuple[tuple[str, int], ...],
        where: tuple[int, int, int],
    ) -> list[str]:  # fmt: skip
        """Sums of products for some entries and some vectors of rows."""
        number, index, rows = where
        inner = [f"k{i}" for i in range(len(p.inner))]
        vectors = self._vectors_of_block(p, self._lengths_of_block(p))
        terms: dict[str, str] = {}
        products, stores, places, sums = [], [], [], []
        for shift in _shifts(offsets):
            moved = [f"({n} + {shift[n]})" if shift.get(n) else n for n in names]
            context = Context(p, self._axis_names(p, moved, inner), number, index, rows)
            for v in range(vectors):
                given = [
                    terms.setdefault(
                        _at_vector(self._operand(a, context, True), v), f"y{len(terms)}"
                    )
                    for a in p.statement.arguments
                ]
                q = f"q{len(sums)}"
                sums.append(q)
                products.append(f"{q} = vfma({given[0]}, {given[1]}, {q});")
                stores.append(_at_vector(self._store(p, context, q), v))
                places.append(stores[-1].split(" = ")[0])
        loops = " ".join(
            f"for (int {k} = 0; {k} < {p.statement.sizes[d]}; {k}++)"
            for k, d in zip(inner, p.inner, strict=True)
        )
        start = [f"    V {', '.join(f'{q} = K(0)' for q in sums)};"]
        if self._cuts_terms(p):
            loops = "for (int k0 = k; k0 < end; k0++)"
            start += [
                "    if (k) {",
                *(f"      {q} = {place};" for q, place in zip(sums, places, strict=True)),
                "    }",
            ]
        return [
            *start,
            f"    {loops} {{",
            *(f"      {_term(y, text, ' '.join(products))}" for text, y in terms.items()),
            *(f"      {line}" for line in products),
            "    }",
            *(f"    {line}" for line in stores),
        ]

    def _block_of_sums(
        self, p: Placed, names: list[str], offsets: tuple[tuple[str, int], ...],
        where: tuple[int, int, int],
    ) -> list[str]:  # fmt: skip
        """Sums of products over rows for some pairs of entries."""
        number, index, rows = where
        out = self._storage(p.statement.out)
        terms: dict[str, str] = {}
        loads, products, stores = [], [], []
        for shift in _shifts(offsets):
            moved = [f"({n} + {shift[n]})" if shift.get(n) else n for n in names]
            context = Context(p, self._axis_names(p, moved, []), number, index, rows)
            given = [
                terms.setdefault(self._operand(a, context, True), f"y{len(terms)}")
                for a in p.statement.arguments
            ]
            at = f"s{out.number}[({self._index(p.statement.place, p, moved)}) * H + h]"
            q = f"q{len(loads)}"
            loads.append(f"V {q} = {at};")
            products.append(f"{q} = vfma({given[0]}, {given[1]}, {q});")
            stores.append(f"{at} = {q};")
        return [
            "    for (int h = 0; h < H; h++) {",
            *(f"      {line}" for line in loads),
            "      for (int u = h; u < U * H; u += H) {",
            *(f"        {_term(y, text, ' '.join(products))}" for text, y in terms.items()),
            *(f"        {line}" for line in products),
            "      }",
            *(f"      {line}" for line in stores),
            "    }",
        ]

    # ------------------------------------------------ tables

    def _table_statement(self, p: Placed, context: Context) -> list[str]:
        """Scalar loops that read or write the entries named by a table."""
        s = p.statement
        assert s.table is not None
        table = self._table(s.table)
        at = self._polynomial(
            [(context.names[d], step) for d, step in enumerate(contiguous_all(s.sizes))], 0
        )
        entry = f"tab[{table} + {at}]"
        if self.runs:
            return self._table_statement_of_runs(p, context, entry)
        if s.operation == "gather":
            node = s.arguments[0].node
            assert node is not None
            if node.kind == "weight":
                value = f"w[{node.base} + {entry}]"
            else:
                pointer = "(J *)" if node.mask else ""
                value = f"({pointer}(work + {self._offsets[id(node)]}))[{entry}]"
            return [f"    {self._store(p, context, value)}"]
        value = self._operand(s.arguments[0], context, False)
        sign = "+=" if s.operation == "scatter_add" else "="
        return [f"    work[{self._offsets[id(s.out)]} + {entry}] {sign} {value};"]

    def _table_statement_of_runs(self, p: Placed, context: Context, entry: str) -> list[str]:
        s = p.statement
        if s.operation == "gather":
            node = s.arguments[0].node
            assert node is not None
            if node.kind == "weight":
                return [f"    {self._store(p, context, f'w[({node.base} + {entry}) * U * H + u]')}"]
            return [
                f"    {self._store(p, context, f't{self._storage(node).number}[({entry}) * U * H + u]')}"
            ]
        value = self._operand(s.arguments[0], context, True)
        sign = "+=" if s.operation == "scatter_add" else "="
        return [f"    t{self._storage(s.out).number}[({entry}) * U * H + u] {sign} {value};"]

    def _axis_names(self, p: Placed, loops: list[str], inner: list[str]) -> dict[int, str]:
        names = dict(zip(p.loops, loops, strict=True))
        names.update(zip(p.inner, inner, strict=True))
        return names

    # ------------------------------------------------ reading and writing

    def _storage(self, node: Node) -> Storage:
        return self.schedule.storage[id(node)]

    def _operand(self, view: View, context: Context, vector: bool) -> str:
        """C text of an argument, as a vector or as a number."""
        text, wide = self._read(view, context)
        if vector and not wide:
            mask = view.node is not None and view.node.mask
            return f"KI({text})" if mask else f"K({text})"
        assert vector or not wide
        return text

    def _read(self, view: View, context: Context) -> tuple[str, bool]:
        node, p = view.node, context.placed
        if node is None:
            return self._number(view.value), False
        if node.kind == "constant":
            return self._constant(view, context)
        if node.kind == "weight":
            at, step = self._address(view, context, node.strides, None)
            if self.runs:
                return f"w[({node.base} + {at}) * U * H + u]", True
            return self._load(f"w + {node.base} + {at}", step, "V", p)
        storage = self._storage(node)
        here = storage.kernel == context.kernel
        if self.runs or (here and storage.where != "memory"):
            same = storage.where == "register"
            if same:
                return f"x{storage.number}", p.lane is not None or self.runs
            at = self._tile_place(view, storage, context)
            return f"t{storage.number}[({at}) * U * H + u]", True
        first = storage.placed[0]
        if (here and storage.group == context.group and len(storage.placed) == 1
                and not first.sums_rows and self.schedule._same_entry(view, p)):  # fmt: skip
            return f"x{storage.number}", p.lane is not None
        at, step = self._address(view, context, self._layout(storage), storage)
        return self._load(
            f"work + {self._offsets[id(node)]} + {at}", step, "I" if node.mask else "V", p
        )

    def _layout(self, storage: Storage) -> tuple[int, ...]:
        node = storage.node
        if storage.lane is None or node.linear:
            return node.strides
        return row_major(node.sizes, storage.lane, self.schedule.padded(node.sizes[storage.lane]))

    def _load(self, pointer: str, step: int, kind: str, p: Placed) -> tuple[str, bool]:
        """Read memory: a number, neighbouring rows, or rows some entries apart."""
        if p.lane is None or step == 0:
            cast = "(const J *)" if kind == "I" else ""
            return f"({cast}({pointer}))[0]", False
        self._slack = max(self._slack, step * 64 * 8)
        row = "(c + u * LANES)"
        if step == 1:
            return f"*(const {kind}U *)({pointer} + {row})", True
        name = "apart_masks" if kind == "I" else "apart"
        return f"{name}({pointer} + {row} * {step}L, {step}L)", True

    def _address(
        self, view: View, context: Context, layout: Sequence[int], storage: Storage | None
    ) -> tuple[str, int]:
        """The entry in memory without the part of the rows, and the step between rows."""
        lane = context.placed.lane
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
        terms = [(context.names[d], s) for d, s in enumerate(steps) if d != lane and s]
        return self._polynomial(terms, offset), steps[lane] if lane is not None else 0

    def _polynomial(self, terms: Sequence[tuple[str, int]], offset: int) -> str:
        parts = [name if step == 1 else f"{name} * {step}" for name, step in terms if step]
        if offset or not parts:
            parts.append(str(offset))
        return " + ".join(parts)

    def _tile_place(self, view: View, storage: Storage, context: Context) -> str:
        """The place of an entry within a tile buffer, rows left out."""
        node = storage.node
        if self.runs:
            terms = [(context.names[d], s) for d, s in enumerate(view.strides) if s]
            return self._polynomial(terms, view.offset)
        others = [s for axis, s in enumerate(node.sizes) if axis != storage.lane]
        layout = contiguous_all(others)
        assert storage.lane is not None
        layout.insert(storage.lane, 0)
        return self._address(view, context, layout, storage)[0]

    def _index(self, place: View, p: Placed, names: list[str]) -> str:
        """The entry of a reduction over rows."""
        axes = dict(zip(p.loops, names, strict=True))
        outer = len(p.statement.outer)
        return self._polynomial(
            [(axes[d], s) for d, s in enumerate(place.strides[:outer]) if s], place.offset
        )

    def _store(self, p: Placed, context: Context, value: str) -> str:
        """Write a result where it is kept."""
        s, storage = p.statement, self._storage(p.statement.out)
        scan = s.operation in ("cumsum", "cumprod")
        place = s.place
        if self.runs or storage.where == "tile":
            return f"t{storage.number}[({self._tile_place(place, storage, context)}) * U * H + u] = {value};"
        at, step = self._address(place, context, self._layout(storage), storage)
        pointer = f"work + {self._offsets[id(s.out)]} + {at}"
        kind = "I" if s.out.mask else "V"
        assert not scan or step >= 0
        if p.lane is None:
            cast = "(J *)" if s.out.mask else ""
            return f"({cast}({pointer}))[0] = {value};"
        rows = s.sizes[p.lane]
        row = "(c + u * LANES)"
        own = storage.lane is not None and not s.out.linear and same_row(p, storage.lane)
        if own:
            return f"*({kind}U *)({pointer} + {row}) = {value};"
        self._slack = max(self._slack, step * 64 * 8)
        name = "put_masks" if s.out.mask else "put"
        return f"{name}({pointer} + {row} * {step}L, {step}L, {rows} - {row}, {value});"

    # ------------------------------------------------ constants

    def _number(self, value: float) -> str:
        if math.isnan(value):
            return "NAN_"
        if value in LITERALS:
            if math.isinf(value):
                return "INF_" if value > 0 else "(-INF_)"
            text = repr(value) + ("f" if self.size == 4 else "")
            return f"({text})" if math.copysign(1.0, value) < 0 else text
        if value not in self._numbers:
            self._numbers[value] = len(self.buffers.scalars)
            self.buffers.scalars.append(value)
        return f"sca[{self._numbers[value]}]"

    def _constant(self, view: View, context: Context) -> tuple[str, bool]:
        """A constant: one number, a block of ``uni``, or a block of ``data``."""
        node, lane = view.node, context.placed.lane
        assert node is not None and node.tensor is not None
        axes = [d for d, s in enumerate(view.strides) if s and d != lane]
        axes.sort(key=lambda d: (-view.strides[d], view.shape[d]))
        sizes = [view.shape[d] for d in axes]
        strides = [view.strides[d] for d in axes]
        place = self._polynomial(
            [(context.names[d], n) for d, n in zip(axes, contiguous_all(sizes), strict=True)], 0
        )
        if lane is None or view.strides[lane] == 0:
            key = ("uni", id(node), view.offset, tuple(sizes), tuple(strides))
            if key not in self._known:
                self._known[key] = self._uniform_size
                block = node.tensor.as_strided(sizes, strides, view.offset)
                self.buffers.uniform.append(block)
                self._uniform_size += block.numel()
            at = f"uni + {self._known[key]} + {place}"
            cast = "(const J *)" if node.mask else ""
            return f"({cast}({at}))[0]", False
        rows, places = view.shape[lane], math.prod(sizes)
        width = self.schedule.tile(rows) * 64 // self.size
        key = ("row", id(node), view.offset, tuple(sizes), tuple(strides), rows, view.strides[lane])
        if key not in self._known:
            self._known[key] = self._row_size
            block = node.tensor.as_strided(
                [*sizes, rows], [*strides, view.strides[lane]], view.offset
            )
            self.buffers.rows.append((block, self.schedule.padded(rows), width))
            self._row_size += places * self.schedule.padded(rows)
        kind = "I" if node.mask else "V"
        tiles = "c" if places == 1 else f"c * {places}L"
        return (
            f"*(const {kind} *)(data + {self._known[key]}L + {tiles} + ({place}) * {width} + u * LANES)",
            True,
        )

    def _table(self, table: Tensor) -> int:
        at = self._table_size
        self.buffers.tables.append(table.reshape(-1).to(torch.int32))
        self._table_size += table.numel()
        return at

    # ------------------------------------------------ results

    def result(self, view: View, names: Sequence[str]) -> str:
        """An output, indexed by one name per axis, outside every kernel."""
        placed = Placed(
            Statement("copy", Node("computed", ()), tuple(view.shape), 0, [], view), None,
            tuple(range(len(view.shape))),
        )  # fmt: skip
        context = Context(placed, dict(enumerate(names)), -1, -1, 0)
        return self._operand(view, context, self.runs)


def _term(name: str, text: str, products: str) -> str:
    """A factor of products; kept in a register where it is used again, which compilers undo."""
    again = len(re.findall(rf"\b{name}\b", products)) > 1
    return f"V {name} = {text};" + (f" HOLD({name});" if again else "")


def _shifts(offsets: Sequence[tuple[str, int]]) -> list[dict[str, int]]:
    """All steps within a block, as name -> step."""
    found: list[dict[str, int]] = [{}]
    for name, count in offsets:
        found = [{**shift, name: i} for shift in found for i in range(count)]
    return found


def _at_vector(text: str, v: int) -> str:
    """The same C text for the vector ``u + v`` of the tile."""
    return re.sub(r"\bu\b", f"(u + {v})", text) if v else text


@dataclass(frozen=True)
class Context:
    """Where a statement is written: its axes' names, its kernel and group, the kernel's rows."""

    placed: Placed
    names: dict[int, str]
    kernel: int
    group: int
    rows: int
