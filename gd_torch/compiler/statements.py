"""C text of groups of statements: the loops and the computation of each statement."""

from __future__ import annotations

from collections.abc import Sequence

from gd_torch.compiler.access import Access, LoopContext
from gd_torch.compiler.blocked_products import BlockedProduct
from gd_torch.compiler.gather_scatter import gather_scatter_statement
from gd_torch.compiler.kernels import REDUCTIONS, SCANS, TABLE_OPERATIONS, Group, ScheduledStatement
from gd_torch.compiler.operations import FUNCTIONS, accumulate, expression, initial_value


class StatementWriter:
    """Generates the C text of the groups of one program.

    Attributes:
        functions: names of the elementary functions that the text calls.
    """

    def __init__(self, access: Access) -> None:
        self.access = access
        self.functions: set[str] = set()

    def group(self, group: Group, rows: int) -> list[str]:
        """The lines of a group: its loops and statements.

        Args:
            group: the group.
            rows: number of rows of the kernel; 0 for scalar code.
        """
        members = group.members
        if members[0].blocked:
            return BlockedProduct(members[0], self.access).lines()
        names = [f"a{i}" for i in range(len(group.loops))]
        sums = [scheduled for scheduled in members if scheduled.sums_rows]
        body = [line for scheduled in members for line in self._statement(scheduled, names)]
        if any(
            scheduled.masked or scheduled.statement.operation == "valid" for scheduled in members
        ):
            body.insert(0, f"    const I valid = valid_rows(c + u * LANES, {rows});")
        if rows > 0 or self.access.runs_as_lanes:
            body = ["  for (int u = 0; u < U * H; u++) {", *body, "  }"]
        return [
            *for_loops(names, group.loops),
            *(line for scheduled in sums for line in self._load_sum(scheduled, names)),
            *body,
            *(self._store_sum(scheduled) for scheduled in sums),
            *["  }"] * len(names),
        ]

    def _load_sum(self, scheduled: ScheduledStatement, names: Sequence[str]) -> list[str]:
        """Load the vectors of a reduction over rows into local variables."""
        number = self.access.allocation(scheduled).number
        entry = self.access.entry_of_sum(scheduled, names)
        return [
            f"  V *const r{number} = s{number} + ({entry}) * H;",
            f"  V q{number}[H]; for (int h = 0; h < H; h++) q{number}[h] = r{number}[h];",
        ]

    def _store_sum(self, scheduled: ScheduledStatement) -> str:
        """Store the local variables of a reduction over rows."""
        number = self.access.allocation(scheduled).number
        return f"  for (int h = 0; h < H; h++) r{number}[h] = q{number}[h];"

    def _statement(self, scheduled: ScheduledStatement, names: Sequence[str]) -> list[str]:
        """The lines that compute a statement and store its result."""
        statement, access = scheduled.statement, self.access
        operation = statement.operation
        inner = [f"k{i}" for i in range(len(scheduled.inner))]
        context = LoopContext.of(scheduled, names, inner)
        if operation in TABLE_OPERATIONS:
            return [f"    {gather_scatter_statement(access, context)}"]
        vector = scheduled.row_axis is not None or access.runs_as_lanes
        operands = [access.operand(view, context, vector) for view in statement.arguments]
        if operation in FUNCTIONS:
            self.functions.add(operation)
        if scheduled.sums_rows:
            return [f"    {self._add_row(scheduled, operands)}"]
        loops = " ".join(
            f"for (int {name} = 0; {name} < {size}; {name}++)"
            for name, size in zip(inner, scheduled.inner_sizes, strict=True)
        )
        name = self._variable(scheduled)
        kind = KINDS[vector, statement.out.mask]
        if operation in SCANS:
            store = access.store(context, name)
            return _cumulative(operation, kind, name, operands[0], loops, store)
        lines = _value(scheduled, kind, name, operands, loops)
        if access.allocation(scheduled).where != "register":
            lines.append(f"    {access.store(context, name)}")
        return lines

    def _variable(self, scheduled: ScheduledStatement) -> str:
        """Name of the C variable of a result; every writer of a node has its own."""
        allocation = self.access.allocation(scheduled)
        if len(allocation.writers) == 1:
            return f"x{allocation.number}"
        return f"x{allocation.number}_{allocation.writers.index(scheduled)}"

    def _add_row(self, scheduled: ScheduledStatement, operands: Sequence[str]) -> str:
        """C statement that adds a row to a reduction over rows."""
        operation = scheduled.statement.operation
        if scheduled.masked:
            other = initial_value("sum" if operation == "dot" else operation, vector=True)
            operands = [f"SEL(valid, {text}, {other})" for text in operands]
        total = f"q{self.access.allocation(scheduled).number}[u % H]"
        return accumulate(operation, total, operands, vector=True)


KINDS = {(True, False): "V", (True, True): "I", (False, False): "T", (False, True): "J"}
"""C types by (vector, mask)."""


def for_loops(names: Sequence[str], sizes: Sequence[int]) -> list[str]:
    """The first lines of nested loops."""
    return [
        f"  for (int {name} = 0; {name} < {size}; {name}++) {{"
        for name, size in zip(names, sizes, strict=True)
    ]


def _value(
    scheduled: ScheduledStatement, kind: str, name: str, operands: Sequence[str], loops: str
) -> list[str]:
    """Assign the result of a pointwise operation, or of a reduction in inner loops."""
    statement = scheduled.statement
    operation, vector = statement.operation, kind in "VI"
    if operation in REDUCTIONS and loops:
        return [
            f"    {kind} {name} = {initial_value(operation, vector=vector)};",
            f"    {loops} {accumulate(operation, name, operands, vector=vector)}",
        ]
    if operation == "valid":
        return [f"    const V {name} = (V)((I)({operands[0]}) & valid);"]
    value = expression(operation, operands, vector=vector, masks=statement.out.mask)
    return [f"    const {kind} {name} = {value};"]


def _cumulative(
    operation: str, kind: str, name: str, term: str, loops: str, store: str
) -> list[str]:
    """A cumulative sum or product, stored after every term."""
    sign, start = ("+", "0") if operation == "cumsum" else ("*", "1")
    first = f"K({start})" if kind in "VI" else start
    return [
        f"    {kind} {name} = {first};",
        f"    {loops} {{ {name} {sign}= {term}; {store} }}",
    ]
