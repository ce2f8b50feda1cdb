"""The intermediate representation: statements over views."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gd_torch.compiler.axis_mapping import axis_mapping, split_axes
from gd_torch.compiler.errors import Unsupported
from gd_torch.compiler.simplification import simplify
from gd_torch.compiler.strides import broadcast, contiguous, dense
from gd_torch.compiler.views import Node, View

MAX_STATEMENTS = 20_000
"""Largest number of statements of a program, which limits the time of compilation."""

EMPTY_REDUCTIONS = {"sum": 0.0, "dot": 0.0, "prod": 1.0}
"""Results of reductions over no entries."""

MASK_OPERATIONS = {"lt", "le", "gt", "ge", "eq", "ne", "and", "or", "not", "ne_mask", "isnan"}
"""Pointwise operations whose result is a mask."""


@dataclass(eq=False)
class Statement:
    """``out[target] = operation(arguments)`` for every index of a domain.

    Attributes:
        sizes: the domain; its last ``inner`` axes are reduced or scanned over.
        arguments: views whose shape is the domain.
        target: the entries of ``out`` that are written, as a view over the outer axes.
        table: for "gather" and "scatter": per index an entry of the argument or of ``out``.
    """

    operation: str
    out: Node
    sizes: tuple[int, ...]
    inner: int
    arguments: list[View]
    target: View
    table: Tensor | None = None

    @property
    def outer(self) -> tuple[int, ...]:
        """The axes of the result."""
        return self.sizes[: len(self.sizes) - self.inner]


class Graph:
    """Collects statements; of equal ones only the first is added."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        self.dtype = dtype
        self.statements: list[Statement] = []
        self._known: dict[tuple[object, ...], Node] = {}
        self._indices: dict[int, Node] = {}

    def number(self, value: float, shape: Sequence[int] = ()) -> View:
        """A view of a constant number, as torch.full."""
        return View(self, None, 0, tuple(shape), (0,) * len(shape), self.rounded(float(value)))

    def rounded(self, value: float) -> float:
        """Round a number to the program's dtype."""
        return ctypes.c_float(value).value if self.dtype == torch.float32 else value

    def all_entries(self, node: Node, shape: Sequence[int]) -> View:
        """A view of all entries of a node, in row-major order."""
        return View(self, node, 0, tuple(shape), contiguous(shape))

    def as_view(self, operand: View | float) -> View:
        """Convert a number to a view."""
        return operand if isinstance(operand, View) else self.number(operand)

    def pointwise(self, operation: str, *operands: View | float) -> View:
        """Add a pointwise operation with broadcasting."""
        views = [self.as_view(operand) for operand in operands]
        shape = broadcast([view.shape for view in views])
        views = [view.expand(shape) for view in views]
        simple = simplify(operation, views)
        if simple is not None:
            return simple
        mask = operation in MASK_OPERATIONS or (operation == "where" and views[1].is_mask)
        return self._new(operation, views, shape, (), mask=mask)

    def reduce(
        self,
        operation: str,
        operands: Sequence[View],
        dims: Sequence[int] | None,
        keepdim: bool = False,
    ) -> View:
        """Add a reduction: "sum", "prod", "max", "min" of one operand, "dot" of two."""
        shape = broadcast([view.shape for view in operands])
        views = [view.expand(shape) for view in operands]
        over = sorted({d % len(shape) for d in (range(len(shape)) if dims is None else dims)})
        count = math.prod(shape[d] for d in over)
        kept = [s for d, s in enumerate(shape) if d not in over]
        if count == 0 and operation in EMPTY_REDUCTIONS:
            result = self.number(EMPTY_REDUCTIONS[operation], kept)
        elif count == 1:
            result = views[0] if len(views) == 1 else views[0] * views[1]
            for d in reversed(over):
                result = result.squeeze(d)
        elif len(views) == 1 and views[0].node is None and operation in ("sum", "max", "min"):
            result = self.number(views[0].value * (count if operation == "sum" else 1), kept)
        else:
            mask = operation in ("any", "all")
            result = self._new(operation, views, shape, over, mask=mask)
        if keepdim:
            for d in over:
                result = result.unsqueeze(d)
        return result

    def scan(self, operation: str, view: View, dim: int) -> View:
        """Add a cumulative operation along one axis: "cumsum", "cumprod"."""
        dim %= len(view.shape)
        if view.shape[dim] == 1:
            return view
        order = [d for d in range(len(view.shape)) if d != dim] + [dim]
        moved = view.permute(order)
        result = self._new(operation, [moved], moved.shape, (), scan=True)
        return result.permute([order.index(d) for d in range(len(order))])

    def copy(self, view: View) -> View:
        """Copy the entries of a view to a new node, in row-major order."""
        return self._new("copy", [view], view.shape, (), mask=view.is_mask)

    def gather(self, view: View, table: Tensor) -> View:
        """The entries of ``view``'s node at the indices in an integer table, in its shape."""
        assert view.node is not None
        view.node.linear = True
        shape = tuple(table.shape)
        source = replace(view, offset=0, shape=shape, strides=(0,) * len(shape))
        return self._new("gather", [source], shape, (), mask=view.is_mask, table=table)

    def write_regions(
        self,
        shape: Sequence[int],
        regions: Sequence[tuple[View, View]],
        *,
        mask: bool = False,
        scatter: tuple[str, View, Tensor] | None = None,
    ) -> View:
        """Create a node and write its regions in order; later regions overwrite earlier ones.

        Args:
            shape: shape of the result.
            regions: (region, values); the region is a view of a :meth:`placeholder` of this shape.
            scatter: written last: ("scatter" or "scatter_add", values, table of entries).
        """
        targets = [region for region, _ in regions]
        node = Node("computed", dense(shape), mask)
        if any(axis_mapping(replace(target, node=node)) is None for target in targets):
            node = Node("computed", dense((math.prod(shape),)), mask, linear=True)
        for region, values in regions:
            if math.prod(region.shape) == 0:
                continue
            target = replace(region, node=node)
            sizes, (target, values), _ = split_axes(
                target.shape, [target, values.expand(target.shape)]
            )
            self._append(Statement("copy", node, sizes, 0, [values], target))
        if scatter is not None and scatter[2].numel():
            operation, source, table = scatter
            node.linear = True
            sizes, (source,), _ = split_axes(tuple(table.shape), [source.expand(table.shape)])
            unused = View(self, node, 0, sizes, (0,) * len(sizes))
            self._append(Statement(operation, node, sizes, 0, [source], unused, table))
        return self.all_entries(node, shape)

    def constant_indices(self, size: int) -> Node:
        """A constant node of the numbers 0 to size - 1."""
        if size not in self._indices:
            self._indices[size] = Node("constant", (size,), tensor=torch.arange(size))
        return self._indices[size]

    def placeholder(self, shape: Sequence[int]) -> View:
        """A view of a node of this shape that :meth:`write_regions` will create."""
        return self.all_entries(Node("computed", dense(shape)), shape)

    def _new(
        self,
        operation: str,
        views: list[View],
        shape: Sequence[int],
        over: Sequence[int],
        *,
        mask: bool = False,
        table: Tensor | None = None,
        scan: bool = False,
    ) -> View:
        """Add a statement over ``shape`` that reduces the axes ``over``, or reuse an equal one."""
        if math.prod(shape) == 0:
            raise Unsupported("a tensor without entries has no compiled form")
        kept = [d for d in range(len(shape)) if d not in over]
        order = [*kept, *over]
        moved = [view.permute(order) for view in views]
        key = (operation, len(over), *(view.key() for view in moved))
        node = self._known.get(key) if table is None else None
        if node is None:
            sizes, moved, counts = split_axes([shape[d] for d in order], moved)
            split = sum(counts[: len(kept)])
            inner = counts[-1] if scan else len(sizes) - split
            node = Node("computed", sizes[:split], mask)
            self._known[key] = node
            target = self.all_entries(node, sizes[:split])
            self._append(Statement(operation, node, sizes, inner, moved, target, table))
        return self.all_entries(node, [shape[d] for d in kept])

    def _append(self, statement: Statement) -> None:
        """Add a statement."""
        if len(self.statements) >= MAX_STATEMENTS:
            raise Unsupported(f"it has more than {MAX_STATEMENTS} statements")
        self.statements.append(statement)
