"""The arrays that a generated function reads besides the weights, and their contents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

SPARE_ENTRIES = 64
"""Entries after the end of ``data`` and ``uni``: a vector read may start at the last number."""


@dataclass
class Buffers:
    """The contents of the arrays, before they are allocated.

    Attributes:
        rows: (tensor of shape (..., rows), padded rows, rows per tile) of each block of ``data``.
        uniform: tensors of ``uni``, in order.
        scalars: numbers of ``sca``.
        tables: tensors of ``tab``, int32.
        work: entries of ``work``.
    """

    rows: list[tuple[Tensor, int, int]] = field(default_factory=list)
    uniform: list[Tensor] = field(default_factory=list)
    scalars: list[float] = field(default_factory=list)
    tables: list[Tensor] = field(default_factory=list)
    work: int = 0

    def reserve(self, entries: int) -> int:
        """Reserve entries of ``work`` and return their offset, a multiple of 16."""
        offset = self.work
        self.work += -(-entries // 16) * 16
        return offset


@dataclass(frozen=True, eq=False)
class Arrays:
    """The contents of ``data``, ``uni``, ``sca`` and ``tab``, and the size of ``work``."""

    data: Tensor
    uniform: Tensor
    scalars: Tensor
    tables: Tensor
    work: Tensor


def fill_buffers(buffers: Buffers, dtype: torch.dtype) -> Arrays:
    """Allocate and fill the arrays of a program of this dtype."""
    return Arrays(
        data=_row_data(buffers.rows, dtype),
        uniform=_uniform_data(buffers.uniform, dtype),
        scalars=torch.tensor([*buffers.scalars, 0.0], dtype=dtype),
        tables=torch.cat([*buffers.tables, torch.zeros(1, dtype=torch.int32)]),
        work=torch.zeros(buffers.work, dtype=dtype),
    )


def _row_data(rows: Sequence[tuple[Tensor, int, int]], dtype: torch.dtype) -> Tensor:
    """The blocks of ``data``, tile by tile; padding rows repeat the last row."""
    blocks = []
    for view, padded, width in rows:
        count = view.shape[-1]
        values = _as_numbers(view.reshape(-1, count), dtype)  # (entries, rows)
        if padded > count:
            values = torch.cat([values, values[:, -1:].expand(-1, padded - count)], 1)
        tiles = values.reshape(len(values), padded // width, width)
        blocks.append(tiles.transpose(0, 1).reshape(-1))
    return torch.cat([*blocks, torch.zeros(SPARE_ENTRIES, dtype=dtype)])


def _uniform_data(blocks: Sequence[Tensor], dtype: torch.dtype) -> Tensor:
    """The concatenated blocks of ``uni``."""
    numbers = [_as_numbers(block.reshape(-1), dtype) for block in blocks]
    return torch.cat([*numbers, torch.zeros(SPARE_ENTRIES, dtype=dtype)])


def _as_numbers(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Numbers in the program's dtype; booleans as masks with all bits 1 or 0."""
    if values.dtype != torch.bool:
        values = values.to(dtype)
        if dtype == torch.float32:  # kernels over rows flush subnormal numbers to zero
            values = torch.where(values.abs() < torch.finfo(dtype).tiny, 0.0, values)
        return values
    integer = torch.int32 if dtype == torch.float32 else torch.int64
    return (-values.to(integer)).view(dtype)
