"""C text of gather and scatter: scalar loops over the entries listed in an integer table."""

from __future__ import annotations

from gd_torch.compiler.access import Access, LoopContext
from gd_torch.compiler.strides import row_major
from gd_torch.compiler.views import Node


def gather_scatter_statement(access: Access, context: LoopContext) -> str:
    """C text of a "gather", "scatter" or "scatter_add"."""
    statement = context.scheduled.statement
    assert statement.table is not None
    table = access.constants.table(statement.table)
    axes = range(len(statement.sizes))
    entry = f"tab[{table} + {context.index(axes, row_major(statement.sizes))}]"
    argument = statement.arguments[0]
    if statement.operation == "gather":
        assert argument.node is not None
        return access.store(context, _entry_of(access, argument.node, entry, reads=True))
    value = access.operand(argument, context, access.runs_as_lanes)
    sign = "+=" if statement.operation == "scatter_add" else "="
    return f"{_entry_of(access, statement.out, entry)} {sign} {value};"


def _entry_of(access: Access, node: Node, entry: str, reads: bool = False) -> str:
    """C text of an entry of a node."""
    if access.runs_as_lanes:
        if node.kind == "weight":
            return f"w[({node.base} + {entry}) * U * H + u]"
        return f"t{access.schedule.allocations[node].number}[({entry}) * U * H + u]"
    if node.kind == "weight":
        return f"w[{node.base} + {entry}]"
    if not reads:
        return f"work[{access.offsets[node]} + {entry}]"
    cast = "(J *)" if node.mask else ""
    return f"({cast}(work + {access.offsets[node]}))[{entry}]"
