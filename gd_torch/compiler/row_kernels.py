"""C text of the functions that loop over tiles of rows."""

from __future__ import annotations

import torch

from gd_torch.compiler.access import Access
from gd_torch.compiler.kernels import Allocation, Kernel, ScheduledStatement
from gd_torch.compiler.operations import initial_value
from gd_torch.compiler.statements import StatementWriter
from gd_torch.compiler.tiles import VECTOR_BYTES

MAX_TILE_BYTES = 1 << 15
"""Largest size of the tile buffers on the stack of one function; others are in ``work``."""

MAX_LOCAL_SUMS = 64
"""Largest number of sums over rows of a statement on the stack; others are in ``work``."""


def row_kernel(number: int, kernel: Kernel, access: Access, statements: StatementWriter) -> str:
    """C text of the function of a kernel with rows; ``number`` is its index in the schedule."""
    tiles, rows = access.schedule.tiles, kernel.rows
    padded, block = tiles.padded(rows), tiles.block(rows)
    blocks = padded > block
    sums = [
        scheduled for group in kernel.groups for scheduled in group.members if scheduled.sums_rows
    ]
    end = f"(a + {block} < {padded} ? a + {block} : {padded})" if blocks else str(padded)
    flush = access.constants.dtype == torch.float32
    local = [
        *_tile_buffers(number, rows, access),
        *(_buffer_of_sum(scheduled, access) for scheduled in sums),
    ]
    groups = [line for group in kernel.groups for line in statements.group(group, rows)]
    return "\n".join([
        f"static __attribute__((noinline)) void kernel{number}(const T *restrict w, "
        "const T *restrict data, const T *restrict uni, const T *restrict sca, "
        "const int *restrict tab, T *restrict work) {",
        "  FTZ_ON;" if flush else "",
        f"  enum {{ U = {tiles.vectors(rows)} }};",
        *local,
        *([f"  for (long a = 0; a < {padded}; a += {block}) {{"] if blocks else []),
        *(_clear(scheduled, access.allocation(scheduled)) for scheduled in sums),
        f"  for (long c = {'a' if blocks else '0'}; c < {end}; c += {tiles.width(rows)}) {{",
        *groups,
        "  }",
        *(_finish(scheduled, access, blocks) for scheduled in sums),
        *(["  }"] if blocks else []),
        "  FTZ_OFF;" if flush else "",
        "}",
    ])  # fmt: skip


def _tile_buffers(number: int, rows: int, access: Access) -> list[str]:
    """Declarations of the tile buffers, on the stack up to ``MAX_TILE_BYTES``."""
    schedule, buffers = access.schedule, access.constants.buffers
    tile, used, lines = schedule.tiles.vectors(rows), 0, []
    for allocation in schedule.allocations.values():
        if allocation.where != "tile" or allocation.kernel != number:
            continue
        vectors = allocation.node.numel // rows * tile
        kind, name = "I" if allocation.node.mask else "V", f"t{allocation.number}"
        if used + VECTOR_BYTES * vectors > MAX_TILE_BYTES and vectors > tile:
            offset = buffers.reserve(vectors * schedule.tiles.vector_entries)
            lines.append(f"  {kind} *const {name} = ({kind} *)(work + {offset});")
        else:
            used += VECTOR_BYTES * vectors
            lines.append(f"  {kind} {name}[{vectors} * H];")
    return lines


def _buffer_of_sum(scheduled: ScheduledStatement, access: Access) -> str:
    """Declaration of the vectors of a reduction over rows."""
    name, entries = f"s{access.allocation(scheduled).number}", scheduled.statement.out.numel
    if entries <= MAX_LOCAL_SUMS:
        return f"  V {name}[{entries} * H];"
    offset = access.constants.buffers.reserve(entries * access.schedule.tiles.vector_entries)
    return f"  V *const {name} = (V *)(work + {offset});"


def _clear(scheduled: ScheduledStatement, allocation: Allocation) -> str:
    """Initialise the vectors of a reduction over rows."""
    start = initial_value(scheduled.statement.operation, vector=True)
    entries = allocation.node.numel
    return f"  for (int i = 0; i < {entries} * H; i++) s{allocation.number}[i] = {start};"


def _finish(scheduled: ScheduledStatement, access: Access, blocks: bool) -> str:
    """Reduce the vectors of a reduction over rows, and combine it with that of earlier blocks."""
    allocation, operation = access.allocation(scheduled), scheduled.statement.operation
    vectors = f"s{allocation.number} + i * H"
    result = f"work[{access.offsets[allocation.node]} + i]"
    if operation in ("sum", "dot"):
        value = f"lane_sum({vectors})"
        more = f"{result} += {value};"
    elif operation in ("max", "min"):
        value = f"{'lane_max' if operation == 'max' else 'lane_min'}({vectors})"
        more = f"{result} = s_{operation}({result}, {value});"
    else:
        value = f"lane_product({vectors})"
        more = f"{result} *= {value};"
    first = f"{result} = {value};"
    term = f"if (a) {more} else {first}" if blocks else first
    return f"  for (int i = 0; i < {allocation.node.numel}; i++) {{ {term} }}"
