"""Division of rows into tiles of vectors."""

from __future__ import annotations

import math

from gd_torch.compiler.graph import Statement

VECTOR_BYTES = 64
"""Bytes of a virtual vector, independent of the vector size of the processor."""

BLOCK_ROWS = 4096
"""Rows after which the vectors of a sum over rows are reduced, to limit rounding errors."""

MIN_BLOCKED_SUMS = 256
"""Sums of products over rows from which they are computed in blocks."""

LARGE_TILE_VECTORS = 16
"""Virtual vectors per tile in a program with very many sums over rows."""


class Tiles:
    """The tiles of a program.

    Args:
        item_bytes: bytes of a scalar.
        large: use tiles of many vectors, for statements with very many sums over rows.
    """

    def __init__(self, item_bytes: int, large: bool) -> None:
        self.item_bytes, self.large = item_bytes, large

    @property
    def vector_entries(self) -> int:
        """Scalars per virtual vector."""
        return VECTOR_BYTES // self.item_bytes

    def vectors(self, rows: int) -> int:
        """Virtual vectors per tile."""
        vectors = -(-rows * self.item_bytes // VECTOR_BYTES)
        if self.large:
            tiles = -(-vectors // LARGE_TILE_VECTORS)
            return -(-vectors // (2 * tiles)) * 2
        if vectors <= 6:
            return vectors
        return min((4, 5, 6), key=lambda count: (-(-vectors // count) * count - vectors, -count))

    def width(self, rows: int) -> int:
        """Rows per tile."""
        return self.vectors(rows) * VECTOR_BYTES // self.item_bytes

    def padded(self, rows: int) -> int:
        """Rows rounded up to complete tiles."""
        width = self.width(rows)
        return -(-rows // width) * width

    def block(self, rows: int) -> int:
        """Rows per block; the vectors of a sum are reduced after each block."""
        width = self.width(rows)
        return max(1, BLOCK_ROWS // width) * width


def needs_large_tiles(statement: Statement, rows: int) -> bool:
    """Whether a statement is a sum over rows of very many products."""
    reduced = statement.sizes[len(statement.outer) :]
    sums = math.prod(statement.outer)
    return statement.operation == "dot" and rows in reduced and sums >= 16 * MIN_BLOCKED_SUMS
