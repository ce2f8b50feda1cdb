"""How rows are cut into tiles of vectors."""

from __future__ import annotations

import math

from gd_torch.compiler.graph import Statement

VECTOR_BYTES = 64
"""Bytes of a virtual vector, whatever the size of the processor's own."""

BLOCK_ROWS = 4096
"""Rows after which sums over rows are taken out of the vectors, for exactness."""

MIN_BLOCKED_SUMS = 256
"""So many sums of products over rows are computed in blocks."""

LARGE_TILE = 16
"""Virtual vectors of a tile where there are so many sums."""


class Tiles:
    """The tiles of a program.

    Args:
        item_bytes: bytes of a number.
        large: whether a tile has many vectors, as large sums over rows need them.
    """

    def __init__(self, item_bytes: int, large: bool) -> None:
        self.item_bytes, self.large = item_bytes, large

    @property
    def vector_entries(self) -> int:
        """Numbers of a virtual vector."""
        return VECTOR_BYTES // self.item_bytes

    def vectors(self, rows: int) -> int:
        """How many virtual vectors a tile of these rows has."""
        vectors = -(-rows * self.item_bytes // VECTOR_BYTES)
        if self.large:
            tiles = -(-vectors // LARGE_TILE)
            return -(-vectors // (2 * tiles)) * 2
        if vectors <= 6:
            return vectors
        return min((4, 5, 6), key=lambda count: (-(-vectors // count) * count - vectors, -count))

    def width(self, rows: int) -> int:
        """Rows of one tile."""
        return self.vectors(rows) * VECTOR_BYTES // self.item_bytes

    def padded(self, rows: int) -> int:
        """Rows of whole tiles."""
        width = self.width(rows)
        return -(-rows // width) * width

    def block(self, rows: int) -> int:
        """Rows of the tiles whose sums are added up in vectors."""
        width = self.width(rows)
        return max(1, BLOCK_ROWS // width) * width


def needs_large_tiles(statement: Statement, rows: int) -> bool:
    """Whether a statement is a sum over rows of very many products."""
    reduced = statement.sizes[len(statement.outer) :]
    sums = math.prod(statement.outer)
    return statement.operation == "dot" and rows in reduced and sums >= 16 * MIN_BLOCKED_SUMS
