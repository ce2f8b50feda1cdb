"""Offsets of constants in the buffers of a program, and their C text."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gd_torch.compiler.buffers import Buffers
from gd_torch.compiler.tiles import Tiles
from gd_torch.compiler.views import Node

LITERALS = {0.0, 1.0, -1.0, 2.0, 0.5, 3.0, math.inf, -math.inf}
"""Numbers written as literals; others are read from ``sca``, so that changing one needs no new
compilation."""


class ConstantLayout:
    """Adds constants to the buffers, equal ones once.

    Args:
        dtype: dtype of the program.
        tiles: of its rows.
    """

    def __init__(self, dtype: torch.dtype, tiles: Tiles) -> None:
        self.dtype, self.tiles = dtype, tiles
        self.buffers = Buffers()
        self._offsets: dict[tuple[object, ...], int] = {}
        self._scalars: dict[float, int] = {}
        self._uniform_size = self._row_size = self._table_size = 0

    def number(self, value: float) -> str:
        """C text of a number."""
        if math.isnan(value):
            return "NAN_"
        if value in LITERALS:
            return self._literal(value)
        if value not in self._scalars:
            self._scalars[value] = len(self.buffers.scalars)
            self.buffers.scalars.append(value)
        return f"sca[{self._scalars[value]}]"

    def _literal(self, value: float) -> str:
        """C text of a literal."""
        if math.isinf(value):
            return "INF_" if value > 0 else "(-INF_)"
        text = repr(value) + ("f" if self.dtype == torch.float32 else "")
        return f"({text})" if math.copysign(1.0, value) < 0 else text

    def uniform(self, node: Node, offset: int, sizes: Sequence[int], strides: Sequence[int]) -> int:
        """The offset in ``uni`` of some entries of a constant."""
        assert node.tensor is not None
        key = ("uni", node, offset, tuple(sizes), tuple(strides))
        if key not in self._offsets:
            block = node.tensor.as_strided(sizes, strides, offset)
            self._offsets[key] = self._uniform_size
            self.buffers.uniform.append(block)
            self._uniform_size += block.numel()
        return self._offsets[key]

    def rows(self, node: Node, offset: int, sizes: Sequence[int], strides: Sequence[int]) -> int:
        """The offset in ``data`` of some entries of a constant; the last axis is that of rows."""
        assert node.tensor is not None
        key = ("row", node, offset, tuple(sizes), tuple(strides))
        if key not in self._offsets:
            *outer, rows = sizes
            padded = self.tiles.padded(rows)
            block = node.tensor.as_strided(sizes, strides, offset)
            self._offsets[key] = self._row_size
            self.buffers.rows.append((block, padded, self.tiles.width(rows)))
            self._row_size += math.prod(outer) * padded
        return self._offsets[key]

    def table(self, table: Tensor) -> int:
        """The offset in ``tab`` of an integer table."""
        offset = self._table_size
        self.buffers.tables.append(table.reshape(-1).to(torch.int32))
        self._table_size += table.numel()
        return offset
