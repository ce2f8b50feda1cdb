"""C text of large matrix products, computed in blocks of sums that fit in registers.

A "dot" whose result has rows (:meth:`BlockedProduct._sums_of_block`) adds many products for each
row; a block is some entries times some vectors of rows. A "dot" over rows
(:meth:`BlockedProduct._row_sums_of_block`) has many sums; a block is some pairs of entries.
Each factor of a block is read once. The order of the terms of a sum, and so the result, does not
depend on the constants below.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from gd_torch.compiler.access import Access, LoopContext
from gd_torch.compiler.kernels import ScheduledStatement

MAX_SUMS = 12
"""Largest number of sums of a block."""

BLOCK_TERMS = 64
"""Terms of a long product added before the next block of entries; they stay in the L1 cache."""

Offsets = tuple[tuple[str, int], ...]
"""(loop, count): a block covers ``count`` indices of that loop, starting at its loop variable."""


class BlockedProduct:
    """C text of one large product.

    Args:
        scheduled: a "dot" with a row axis.
        access: of the program.
    """

    def __init__(self, scheduled: ScheduledStatement, access: Access) -> None:
        self.scheduled, self.access = scheduled, access
        self.sizes = scheduled.loop_sizes
        self.names = [f"a{i}" for i in range(len(self.sizes))]
        self.inner = [f"k{i}" for i in range(len(scheduled.inner))]
        axes = 2 if scheduled.sums_rows else 1  # the last loops are divided into blocks
        self.first_divided = max(0, len(self.sizes) - axes)
        self.lengths = self._lengths()
        self.terms = scheduled.inner_sizes
        self.divides_terms = self._divides_terms()

    def lines(self) -> list[str]:
        """The lines of the product."""
        lines = [
            f"  for (int {name} = 0; {name} < {size}; {name}++) {{"
            for name, size in zip(self.names, self.sizes[: self.first_divided], strict=False)
        ]
        if not self.scheduled.sums_rows:
            lines.append(f"  for (int u = 0; u < U * H; u += {self._vectors()}) {{")
        if self.divides_terms:
            terms = self.terms[0]
            lines += [
                f"  for (int k = 0; k < {terms}; k += {BLOCK_TERMS}) {{",
                f"  const int end = k + {BLOCK_TERMS} < {terms} ? k + {BLOCK_TERMS} : {terms};",
            ]
        opened = self.first_divided + (not self.scheduled.sums_rows) + self.divides_terms
        return [*lines, *self._blocks(self.first_divided, ()), *["  }"] * opened]

    def _blocks(self, loop: int, offsets: Offsets) -> list[str]:
        """Loops over the complete blocks of each divided axis, then over the remainder."""
        if loop == len(self.sizes):
            over_rows = self.scheduled.sums_rows
            return self._row_sums_of_block(offsets) if over_rows else self._sums_of_block(offsets)
        name, size = self.names[loop], self.sizes[loop]
        length = self.lengths[loop - self.first_divided]
        complete = size // length * length
        lines = []
        for first, end, step in ((0, complete, length), (complete, size, size - complete)):
            if first < end:
                lines += [
                    f"  for (int {name} = {first}; {name} < {end}; {name} += {step}) {{",
                    *self._blocks(loop + 1, (*offsets, (name, step))),
                    "  }",
                ]
        return lines

    # ------------------------------------------------ sizes of blocks

    def _tile(self) -> int:
        """Vectors of a tile."""
        sizes, row_axis = self.scheduled.statement.sizes, self.scheduled.row_axis
        return self.access.schedule.tiles.vectors(sizes[row_axis or 0])

    def _lengths(self) -> list[int]:
        """Indices per block along each divided axis."""
        if self.scheduled.sums_rows:
            preferred = [3, 4] if len(self.sizes) > 1 else [8]
        else:
            preferred = [3 if self._tile() % 4 == 0 else 6]
        cut = self.sizes[self.first_divided :]
        return [min(size, most) for size, most in zip(cut, preferred, strict=False)]

    def _divides_terms(self) -> bool:
        """Whether the terms are divided into ranges, with all blocks of entries for each range."""
        if self.scheduled.sums_rows or len(self.terms) != 1:
            return False
        in_tile = self.access.allocation(self.scheduled).where == "tile"
        return in_tile and self.terms[0] > BLOCK_TERMS and len(self.sizes) > 0

    def _vectors(self) -> int:
        """Vectors of rows per block: a divisor of those of the tile."""
        tile = self._tile()
        most = max(1, MAX_SUMS // math.prod(self.lengths))
        return max(d for d in range(1, tile + 1) if tile % d == 0 and d <= most)

    # ------------------------------------------------ one block

    def _context(
        self, shift: dict[str, int], inner: Sequence[str]
    ) -> tuple[LoopContext, list[str]]:
        """The statement at one entry of a block, and the names of its loops there."""
        indices = [f"({name} + {shift[name]})" if shift.get(name) else name for name in self.names]
        return LoopContext.of(self.scheduled, indices, inner), indices

    def _sums_of_block(self, offsets: Offsets) -> list[str]:
        """Sums of products for some entries and some vectors of rows."""
        factors: dict[str, str] = {}
        products: list[str] = []
        stores: list[str] = []
        for shift in _shifts(offsets):
            context, _ = self._context(shift, self.inner)
            for vector in range(self._vectors()):
                total = f"q{len(products)}"
                operands = [
                    _at_vector(self.access.operand(view, context, True), vector)
                    for view in self.scheduled.statement.arguments
                ]
                products.append(_product(total, operands, factors))
                stores.append(_at_vector(self.access.store(context, total), vector))
        totals = [f"q{i}" for i in range(len(products))]
        return [
            f"    V {', '.join(f'{total} = K(0)' for total in totals)};",
            *self._earlier_terms(totals, stores),
            f"    {self._loops_over_terms()} {{",
            *(f"      {line}" for line in _declarations(factors, products)),
            *(f"      {line}" for line in products),
            "    }",
            *(f"    {line}" for line in stores),
        ]

    def _earlier_terms(self, totals: Sequence[str], stores: Sequence[str]) -> list[str]:
        """Load the sums of earlier terms, if the terms are divided into ranges."""
        if not self.divides_terms:
            return []
        targets = [store.split(" = ")[0] for store in stores]
        loads = [f"{total} = {target};" for total, target in zip(totals, targets, strict=True)]
        return ["    if (k) {", *(f"      {line}" for line in loads), "    }"]

    def _loops_over_terms(self) -> str:
        """The loops within a block of entries and vectors of rows."""
        if self.divides_terms:
            return "for (int k0 = k; k0 < end; k0++)"
        return " ".join(
            f"for (int {name} = 0; {name} < {size}; {name}++)"
            for name, size in zip(self.inner, self.terms, strict=True)
        )

    def _row_sums_of_block(self, offsets: Offsets) -> list[str]:
        """Sums of products over rows for some pairs of entries."""
        number = self.access.allocation(self.scheduled).number
        factors: dict[str, str] = {}
        loads: list[str] = []
        products: list[str] = []
        stores: list[str] = []
        for shift in _shifts(offsets):
            context, indices = self._context(shift, [])
            operands = [
                self.access.operand(view, context, True)
                for view in self.scheduled.statement.arguments
            ]
            target = f"s{number}[({self.access.entry_of_sum(self.scheduled, indices)}) * H + h]"
            total = f"q{len(loads)}"
            loads.append(f"V {total} = {target};")
            products.append(_product(total, operands, factors))
            stores.append(f"{target} = {total};")
        return [
            "    for (int h = 0; h < H; h++) {",
            *(f"      {line}" for line in loads),
            "      for (int u = h; u < U * H; u += H) {",
            *(f"        {line}" for line in _declarations(factors, products)),
            *(f"        {line}" for line in products),
            "      }",
            *(f"      {line}" for line in stores),
            "    }",
        ]


def _product(total: str, operands: Sequence[str], factors: dict[str, str]) -> str:
    """Add one product; each distinct factor becomes one variable."""
    left, right = (factors.setdefault(text, f"y{len(factors)}") for text in operands)
    return f"{total} = vfma({left}, {right}, {total});"


def _declarations(factors: dict[str, str], products: Sequence[str]) -> list[str]:
    """Declare the factors; those used several times are forced into registers."""
    text, lines = " ".join(products), []
    for value, name in factors.items():
        again = len(re.findall(rf"\b{name}\b", text)) > 1
        lines.append(f"V {name} = {value};" + (f" IN_REGISTER({name});" if again else ""))
    return lines


def _shifts(offsets: Offsets) -> list[dict[str, int]]:
    """All index offsets within a block, as loop -> offset."""
    shifts: list[dict[str, int]] = [{}]
    for name, count in offsets:
        shifts = [{**shift, name: i} for shift in shifts for i in range(count)]
    return shifts


def _at_vector(text: str, vector: int) -> str:
    """The same C text for the vector ``u + vector`` of the tile."""
    return re.sub(r"\bu\b", f"(u + {vector})", text) if vector else text
