"""Rewriting a traced step so that small products become loops and the longest axis is innermost.

A net of 14 weights on 150 rows spends its time in calls, not in arithmetic: products this small
are written out, and every buffer is laid out so that the rows fill the vector registers.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten

UNROLL = 8
"""Inner dimensions up to this are written out as a sum of products."""

SMALL = 1 << 17
"""Products of at most so many multiplications are written out too, and all skinny ones."""

FEW = 64
"""A product of at most so many entries, each the sum over a long axis, is left as it lies."""

MANY = 64
"""So many rows fill vector registers: a product is laid out with its rows innermost."""

LANES = 16
"""A last axis shorter than this is too short to fill vector registers."""

LINE = 64
"""Bytes of a cache line; a vector that lies across two of them takes two loads."""

ALIGNED = {
    "comprehensive_padding": True,
    "disable_padding_cpu": False,
    "padding_alignment_bytes": LINE,
    "padding_stride_threshold": 63,
}
"""Inductor's settings by which each row of a buffer, if longer than 63 entries, starts a line."""


def _large(a: Tensor, b: Tensor) -> bool:
    """Whether the BLAS library is quicker than loops for this product."""
    rows, inner, columns = *a.shape[-2:], b.shape[-1]
    return min(rows, inner, columns) > UNROLL and rows * inner * columns > SMALL


def large_products(graph: torch.fx.GraphModule) -> bool:
    """Whether a traced graph calls the BLAS library, which wants its operands row by row."""
    products = (node for node in graph.graph.nodes if node.target in PRODUCTS)
    return any(_large(*(x.meta["val"] for x in node.args)) for node in products)


def columns_aligned(table: Tensor) -> Tensor:
    """The same matrix stored column by column, each column at the start of a cache line."""
    entries = LINE // table.element_size()
    rows, columns = table.shape[-2:]
    pitch = -(-rows // entries) * entries
    columnwise = table.new_empty(*table.shape[:-2], columns, pitch)[..., :rows].mT
    return columnwise.copy_(table)


def _product(a: Tensor, b: Tensor, enough: float = MANY) -> Any:
    """A matrix product as sums of products; rows innermost if they are many or the longer side.

    A product of a few long sums is left as it is: its longest axis is the one summed over.
    """
    if _large(a, b):
        return NotImplemented
    rows, inner, columns = *a.shape[-2:], b.shape[-1]
    if rows >= min(columns + 1, enough) and not (rows < inner and rows * columns <= FEW):
        return _contract(b.mT, a.mT).mT
    return _contract(a, b)


def _contract(a: Tensor, b: Tensor) -> Tensor:
    """(..., m, k) times (..., k, n), n long."""
    inner = a.shape[-1]
    if inner > UNROLL:
        return (a.unsqueeze(-1) * b.unsqueeze(-3)).sum(-2)
    total = a[..., :, 0:1] * b[..., 0:1, :]
    for i in range(1, inner):
        total = total + a[..., :, i : i + 1] * b[..., i : i + 1, :]
    return total


PRODUCTS = (aten.mm.default, aten.bmm.default)
"""The operations that multiply matrices."""


def decompositions(by_rows: bool) -> dict[Any, Any]:
    """What to trace products with; among large ones, which want rows, many rows are not enough."""
    product = functools.partial(_product, enough=math.inf) if by_rows else _product
    return dict.fromkeys(PRODUCTS, product)


class LongAxisLast(torch.fx.Interpreter):
    """Emit pointwise operations again with their longest axis innermost in memory.

    Args:
        graph: a traced function with fake values noted at its nodes.
        leading: axes at the front that stay there, such as one of runs side by side.
    """

    def __init__(self, graph: torch.fx.GraphModule, leading: int) -> None:
        super().__init__(graph)
        self.leading = leading

    def run_node(self, node: torch.fx.Node) -> Any:
        order = self._order(node)
        if order is None:
            return super().run_node(node)
        back = [order.index(i) for i in range(len(order))]

        def turned(argument: Any) -> Any:
            if not isinstance(argument, Tensor) or argument.dim() == 0:
                return argument
            missing = len(order) - argument.dim()
            return argument[(None,) * missing].permute(order)

        arguments, options = self.fetch_args_kwargs_from_env(node)
        turn = torch.utils._pytree.tree_map
        return node.target(*turn(turned, arguments), **turn(turned, options)).permute(back)  # type: ignore[operator]

    def _order(self, node: torch.fx.Node) -> list[int] | None:
        """The axes with the longest one last; None where that changes nothing."""
        value, target = node.meta.get("val"), node.target
        if not (isinstance(value, Tensor) and isinstance(target, torch._ops.OpOverload)):
            return None
        if torch.Tag.pointwise not in target.tags or target._schema.is_mutable:
            return None
        movable = range(self.leading, value.dim())
        if value.dim() < 2 or len(movable) < 2 or value.shape[-1] >= LANES:
            return None
        longest = max(movable, key=lambda axis: value.shape[axis])
        if value.shape[longest] < LANES:
            return None
        return [*(axis for axis in range(value.dim()) if axis != longest), longest]
