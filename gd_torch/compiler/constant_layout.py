"""Where constants lie in the buffers of a program, and how the C text names them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gd_torch.compiler.buffers import Buffers
from gd_torch.compiler.tiles import Tiles
from gd_torch.compiler.views import Node

LITERALS = {0.0, 1.0, -1.0, 2.0, 0.5, 3.0, math.inf, -math.inf}
"""Numbers written into the source; any other lies in a table, so that no change of it compiles."""


class ConstantLayout:
    """Adds constants to buffers, equal ones once.

    Args:
        dtype: of the program's numbers. tiles: of its rows.
    """

    def __init__(self, dtype: torch.dtype, tiles: Tiles) -> None:
        self.dtype, self.tiles = dtype, tiles
        self.buffers = Buffers()
        self._places: dict[tuple[object, ...], int] = {}
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
        """A number in the source."""
        if math.isinf(value):
            return "INF_" if value > 0 else "(-INF_)"
        text = repr(value) + ("f" if self.dtype == torch.float32 else "")
        return f"({text})" if math.copysign(1.0, value) < 0 else text

    def uniform(self, node: Node, offset: int, sizes: Sequence[int], strides: Sequence[int]) -> int:
        """The place in ``uni`` of some entries of a constant."""
        assert node.tensor is not None
        key = ("uni", node, offset, tuple(sizes), tuple(strides))
        if key not in self._places:
            block = node.tensor.as_strided(sizes, strides, offset)
            self._places[key] = self._uniform_size
            self.buffers.uniform.append(block)
            self._uniform_size += block.numel()
        return self._places[key]

    def rows(self, node: Node, offset: int, sizes: Sequence[int], strides: Sequence[int]) -> int:
        """The place in ``data`` of some entries of a constant; the last axis is that of rows."""
        assert node.tensor is not None
        key = ("row", node, offset, tuple(sizes), tuple(strides))
        if key not in self._places:
            *places, rows = sizes
            padded = self.tiles.padded(rows)
            block = node.tensor.as_strided(sizes, strides, offset)
            self._places[key] = self._row_size
            self.buffers.rows.append((block, padded, self.tiles.width(rows)))
            self._row_size += math.prod(places) * padded
        return self._places[key]

    def table(self, table: Tensor) -> int:
        """The place in ``tab`` of an integer table."""
        place = self._table_size
        self.buffers.tables.append(table.reshape(-1).to(torch.int32))
        self._table_size += table.numel()
        return place
