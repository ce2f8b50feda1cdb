"""C text of groups of statements: their loops and what one statement computes within them."""

from __future__ import annotations

from collections.abc import Sequence

from gd_torch.compiler.access import Access, Context
from gd_torch.compiler.blocked_products import BlockedProduct
from gd_torch.compiler.kernels import REDUCTIONS, SCANS, TABLE_OPERATIONS, Group, Placed
from gd_torch.compiler.operations import FUNCTIONS, accumulate, expression, start_of
from gd_torch.compiler.tables import table_statement


class Statements:
    """Writes the groups of one program.

    Attributes:
        functions: the elementary functions that the text calls.
    """

    def __init__(self, access: Access) -> None:
        self.access = access
        self.functions: set[str] = set()

    def group(self, group: Group, rows: int) -> list[str]:
        """The loops of a group with its statements.

        Args:
            rows: of the kernel; 0 for scalar code.
        """
        members = group.members
        if members[0].blocked:
            return BlockedProduct(members[0], self.access).lines()
        names = [f"a{i}" for i in range(len(group.loops))]
        sums = [placed for placed in members if placed.sums_rows]
        body = [line for placed in members for line in self._statement(placed, names)]
        if any(placed.masked or placed.statement.operation == "valid" for placed in members):
            body.insert(0, f"    const I valid = rows_left(c + u * LANES, {rows});")
        if rows > 0 or self.access.runs:
            body = ["  for (int u = 0; u < U * H; u++) {", *body, "  }"]
        return [
            *for_loops(names, group.loops),
            *(line for placed in sums for line in self._load_sum(placed, names)),
            *body,
            *(self._store_sum(placed) for placed in sums),
            *["  }"] * len(names),
        ]

    def _load_sum(self, placed: Placed, names: Sequence[str]) -> list[str]:
        """Variables for the vectors of a reduction over rows."""
        number = self.access.storage(placed).number
        entry = self.access.entry_of_sum(placed, names)
        return [
            f"  V *const r{number} = s{number} + ({entry}) * H;",
            f"  V q{number}[H]; for (int h = 0; h < H; h++) q{number}[h] = r{number}[h];",
        ]

    def _store_sum(self, placed: Placed) -> str:
        """The variables back into their buffer."""
        number = self.access.storage(placed).number
        return f"  for (int h = 0; h < H; h++) r{number}[h] = q{number}[h];"

    def _statement(self, placed: Placed, names: Sequence[str]) -> list[str]:
        """What one statement computes, and where its result goes."""
        statement, access = placed.statement, self.access
        operation = statement.operation
        inner = [f"k{i}" for i in range(len(placed.inner))]
        context = Context.of(placed, names, inner)
        if operation in TABLE_OPERATIONS:
            return [f"    {table_statement(access, context)}"]
        vector = placed.row_axis is not None or access.runs
        given = [access.operand(view, context, vector) for view in statement.arguments]
        if operation in FUNCTIONS:
            self.functions.add(operation)
        if placed.sums_rows:
            return [f"    {self._add_row(placed, given)}"]
        loops = " ".join(
            f"for (int {name} = 0; {name} < {size}; {name}++)"
            for name, size in zip(inner, placed.inner_sizes, strict=True)
        )
        name = self._variable(placed)
        kind = KINDS[vector, statement.out.mask]
        if operation in SCANS:
            store = access.store(context, name)
            return _running(operation, kind, name, given[0], loops, store)
        lines = _value(placed, kind, name, given, loops)
        if access.storage(placed).where != "register":
            lines.append(f"    {access.store(context, name)}")
        return lines

    def _variable(self, placed: Placed) -> str:
        """The C variable of a result; each part of a node has its own."""
        storage = self.access.storage(placed)
        if len(storage.placed) == 1:
            return f"x{storage.number}"
        return f"x{storage.number}_{storage.placed.index(placed)}"

    def _add_row(self, placed: Placed, given: Sequence[str]) -> str:
        """One more row of a reduction over rows."""
        operation = placed.statement.operation
        if placed.masked:
            other = start_of("sum" if operation == "dot" else operation, vector=True)
            given = [f"SEL(valid, {text}, {other})" for text in given]
        total = f"q{self.access.storage(placed).number}[u % H]"
        return accumulate(operation, total, given, vector=True)


KINDS = {(True, False): "V", (True, True): "I", (False, False): "T", (False, True): "J"}
"""C types by (vector, mask)."""


def for_loops(names: Sequence[str], sizes: Sequence[int]) -> list[str]:
    """The first lines of nested loops."""
    return [
        f"  for (int {name} = 0; {name} < {size}; {name}++) {{"
        for name, size in zip(names, sizes, strict=True)
    ]


def _value(placed: Placed, kind: str, name: str, given: Sequence[str], loops: str) -> list[str]:
    """A variable with the result of a pointwise operation, or of a reduction in inner loops."""
    statement = placed.statement
    operation, vector = statement.operation, kind in "VI"
    if operation in REDUCTIONS and loops:
        return [
            f"    {kind} {name} = {start_of(operation, vector=vector)};",
            f"    {loops} {accumulate(operation, name, given, vector=vector)}",
        ]
    if operation == "valid":
        return [f"    const V {name} = (V)((I)({given[0]}) & valid);"]
    value = expression(operation, given, vector=vector, masks=statement.out.mask)
    return [f"    const {kind} {name} = {value};"]


def _running(operation: str, kind: str, name: str, term: str, loops: str, store: str) -> list[str]:
    """A running sum or product, stored after every term."""
    sign, start = ("+", "0") if operation == "cumsum" else ("*", "1")
    first = f"K({start})" if kind in "VI" else start
    return [
        f"    {kind} {name} = {first};",
        f"    {loops} {{ {name} {sign}= {term}; {store} }}",
    ]
