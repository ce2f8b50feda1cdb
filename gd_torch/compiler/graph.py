"""Statements over strided views: what a recording becomes before it is scheduled and written as C.

A :class:`Node` is a dense array that is computed by one or more :class:`Statement`. A
:class:`View` looks at a node as torch's strided tensors look at a storage: offset, shape, strides,
all counted in entries of the node in row-major order. Every torch view operation is therefore
arithmetic on strides and needs no code at run time.
"""

from __future__ import annotations

import ctypes
import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from gd_torch.compiler.errors import Unsupported

MAX_STATEMENTS = 4000
"""Statements of one program, at most: compiling takes time that grows with them."""

MASK_OPERATIONS = {"lt", "le", "gt", "ge", "eq", "ne", "and", "or", "not", "ne_mask", "isnan"}


@dataclass(eq=False)
class Node:
    """A dense array: weights, constant data or what statements compute.

    Attributes:
        kind: "weight", "constant" or "computed".
        sizes: its axes, none of length 1, row-major.
        mask: holds truth values instead of numbers.
        tensor: a constant's data, contiguous. base: a weight's first entry among all weights.
        linear: some view of it crosses its axes, so it must lie in memory in row-major order.
    """

    kind: str
    sizes: tuple[int, ...]
    mask: bool = False
    tensor: Tensor | None = None
    base: int = 0
    linear: bool = False
    parts: list[Statement] = field(default_factory=list)

    @property
    def numel(self) -> int:
        """How many entries it has."""
        return math.prod(self.sizes)

    @property
    def strides(self) -> tuple[int, ...]:
        """Row-major strides."""
        return contiguous(self.sizes)


@dataclass(frozen=True, eq=False)
class View:
    """A strided look at a node, or a number (node None) of any shape."""

    graph: Graph
    node: Node | None
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    value: float = 0.0

    @property
    def is_mask(self) -> bool:
        """Whether it holds truth values."""
        return self.node is not None and self.node.mask

    def key(self) -> tuple[object, ...]:
        """Equal for views of the same entries."""
        if self.node is None:
            return ("number", self.value.hex(), self.shape)
        return (id(self.node), self.offset, self.shape, self.strides)

    # ------------------------------------------------ views

    def expand(self, shape: Sequence[int]) -> View:
        """Broadcast to a shape, as torch.expand."""
        missing = len(shape) - len(self.shape)
        strides = [0] * missing + [
            0 if have == 1 and want != 1 else stride
            for have, want, stride in zip(self.shape, shape[missing:], self.strides, strict=True)
        ]
        return replace(self, shape=tuple(shape), strides=tuple(strides))

    def permute(self, dims: Sequence[int]) -> View:
        """Axes in another order."""
        return replace(
            self,
            shape=tuple(self.shape[d] for d in dims),
            strides=tuple(self.strides[d] for d in dims),
        )

    def transpose(self) -> View:
        """The last two axes exchanged."""
        dims = list(range(len(self.shape)))
        dims[-2:] = dims[:-3:-1]
        return self.permute(dims)

    def unsqueeze(self, dim: int) -> View:
        """A new axis of length 1."""
        dim %= len(self.shape) + 1
        shape, strides = list(self.shape), list(self.strides)
        shape.insert(dim, 1)
        strides.insert(dim, 0)
        return replace(self, shape=tuple(shape), strides=tuple(strides))

    def squeeze(self, dim: int) -> View:
        """Without an axis of length 1."""
        dim %= len(self.shape)
        return replace(
            self,
            shape=self.shape[:dim] + self.shape[dim + 1 :],
            strides=self.strides[:dim] + self.strides[dim + 1 :],
        )

    def narrow(self, dim: int, start: int, length: int, step: int = 1) -> View:
        """Some indices of one axis."""
        dim %= len(self.shape)
        shape, strides = list(self.shape), list(self.strides)
        offset = self.offset + start * strides[dim]
        shape[dim], strides[dim] = length, strides[dim] * step
        return replace(self, offset=offset, shape=tuple(shape), strides=tuple(strides))

    def select(self, dim: int, index: int) -> View:
        """One index of one axis."""
        return self.narrow(dim, index, 1).squeeze(dim)

    # ------------------------------------------------ arithmetic

    def apply(self, operation: str, *others: View | float) -> View:
        """A pointwise operation with broadcasting."""
        return self.graph.pointwise(operation, self, *others)

    def __add__(self, other: View | float) -> View:
        return self.apply("add", other)

    def __radd__(self, other: float) -> View:
        return self.graph.pointwise("add", other, self)

    def __sub__(self, other: View | float) -> View:
        return self.apply("sub", other)

    def __rsub__(self, other: float) -> View:
        return self.graph.pointwise("sub", other, self)

    def __mul__(self, other: View | float) -> View:
        return self.apply("mul", other)

    def __rmul__(self, other: float) -> View:
        return self.graph.pointwise("mul", other, self)

    def __truediv__(self, other: View | float) -> View:
        return self.apply("div", other)

    def __rtruediv__(self, other: float) -> View:
        return self.graph.pointwise("div", other, self)

    def __neg__(self) -> View:
        return self.apply("neg")

    def __lt__(self, other: View | float) -> View:
        return self.apply("lt", other)

    def __le__(self, other: View | float) -> View:
        return self.apply("le", other)

    def __gt__(self, other: View | float) -> View:
        return self.apply("gt", other)

    def __ge__(self, other: View | float) -> View:
        return self.apply("ge", other)

    def equals(self, other: View | float) -> View:
        """Where both are equal, as a mask."""
        return self.apply("eq", other)

    def where(self, yes: View | float, no: View | float) -> View:
        """``yes`` where this mask is true, ``no`` elsewhere; the other one is not looked at."""
        return self.apply("where", yes, no)

    def sum(self, dims: Sequence[int] | None = None, keepdim: bool = False) -> View:
        """The sum over some axes, or all."""
        return self.graph.reduce("sum", [self], dims, keepdim)

    def mean(self, dims: Sequence[int] | None = None, keepdim: bool = False) -> View:
        """The mean over some axes, or all."""
        total = self.sum(dims, keepdim)
        return total / (math.prod(self.shape) / max(1, math.prod(total.shape)))


@dataclass(eq=False)
class Statement:
    """``out[place] = operation(arguments)`` for every index of a domain.

    Attributes:
        sizes: the domain; its last ``inner`` axes are reduced or scanned over.
        arguments: views whose shape is the domain.
        place: where the result goes, a view of ``out`` over the outer axes.
        table: for "gather" and "scatter": entries of the argument or of ``out``, one per index.
    """

    operation: str
    out: Node
    sizes: tuple[int, ...]
    inner: int
    arguments: list[View]
    place: View
    table: Tensor | None = None

    @property
    def outer(self) -> tuple[int, ...]:
        """The axes of the result."""
        return self.sizes[: len(self.sizes) - self.inner]


class Graph:
    """Collects statements; equal ones are made once."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        self.dtype = dtype
        self.statements: list[Statement] = []
        self._known: dict[tuple[object, ...], Node] = {}
        self._indices: dict[int, Node] = {}

    def number(self, value: float, shape: Sequence[int] = ()) -> View:
        """The same number everywhere."""
        return View(self, None, 0, tuple(shape), (0,) * len(shape), self.rounded(float(value)))

    def rounded(self, value: float) -> float:
        """A number in the program's dtype."""
        return ctypes.c_float(value).value if self.dtype == torch.float32 else value

    def whole(self, node: Node, shape: Sequence[int]) -> View:
        """All entries of a node, row-major."""
        return View(self, node, 0, tuple(shape), contiguous(shape))

    def as_view(self, operand: View | float) -> View:
        """A number as a view."""
        return operand if isinstance(operand, View) else self.number(operand)

    def pointwise(self, operation: str, *operands: View | float) -> View:
        """A pointwise operation with broadcasting."""
        views = [self.as_view(operand) for operand in operands]
        shape = broadcast([view.shape for view in views])
        views = [view.expand(shape) for view in views]
        simple = simplified(operation, views)
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
        """Reduce axes: "sum", "prod", "max", "min" of one operand, "dot" of two."""
        shape = broadcast([view.shape for view in operands])
        views = [view.expand(shape) for view in operands]
        over = sorted({d % len(shape) for d in (range(len(shape)) if dims is None else dims)})
        if math.prod(shape[d] for d in over) == 1:
            result = views[0] if len(views) == 1 else views[0] * views[1]
            for d in reversed(over):
                result = result.squeeze(d)
        elif len(views) == 1 and views[0].node is None and operation in ("sum", "max", "min"):
            count = math.prod(shape[d] for d in over) if operation == "sum" else 1
            kept = [s for d, s in enumerate(shape) if d not in over]
            result = self.number(views[0].value * count, kept)
        else:
            mask = operation in ("any", "all")
            result = self._new(operation, views, shape, over, mask=mask)
        if keepdim:
            for d in over:
                result = result.unsqueeze(d)
        return result

    def scan(self, operation: str, view: View, dim: int) -> View:
        """Running sums or products along one axis: "cumsum", "cumprod"."""
        dim %= len(view.shape)
        if view.shape[dim] == 1:
            return view
        order = [d for d in range(len(view.shape)) if d != dim] + [dim]
        moved = view.permute(order)
        result = self._new(operation, [moved], moved.shape, (), scan=True)
        return result.permute([order.index(d) for d in range(len(order))])

    def copy(self, view: View) -> View:
        """The entries of a view as a new node, row-major."""
        return self._new("copy", [view], view.shape, (), mask=view.is_mask)

    def gather(self, view: View, table: Tensor) -> View:
        """The entries of ``view``'s node that an integer table names, in the table's shape."""
        assert view.node is not None
        view.node.linear = True
        shape = tuple(table.shape)
        source = replace(view, offset=0, shape=shape, strides=(0,) * len(shape))
        return self._new("gather", [source], shape, (), mask=view.is_mask, table=table)

    def assemble(
        self,
        shape: Sequence[int],
        parts: Sequence[tuple[View, View]],
        *,
        mask: bool = False,
        scatter: tuple[str, View, Tensor] | None = None,
    ) -> View:
        """A node written part by part, later parts over earlier ones.

        Args:
            shape: of the result.
            parts: (where, what): where is a view made from :meth:`blank` of the same shape.
            scatter: last of all, ("scatter" or "scatter_add", values, table of entries).
        """
        places = [where for where, _ in parts]
        node = Node("computed", dense(shape), mask)
        if any(mapping(replace(place, node=node)) is None for place in places):
            node = Node("computed", dense((math.prod(shape),)), mask, linear=True)
        for where, what in parts:
            place = replace(where, node=node)
            sizes, (place, what), _ = refine(place.shape, [place, what.expand(place.shape)])
            self._append(Statement("copy", node, sizes, 0, [what], place))
        if scatter is not None:
            operation, values, table = scatter
            node.linear = True
            sizes, (what,), _ = refine(tuple(table.shape), [values.expand(table.shape)])
            nowhere = View(self, node, 0, sizes, (0,) * len(sizes))
            self._append(Statement(operation, node, sizes, 0, [what], nowhere, table))
        return self.whole(node, shape)

    def constant_indices(self, size: int) -> Node:
        """The numbers 0 to size - 1."""
        if size not in self._indices:
            self._indices[size] = Node("constant", (size,), tensor=torch.arange(size))
        return self._indices[size]

    def blank(self, shape: Sequence[int]) -> View:
        """The entries of a node that :meth:`assemble` will make."""
        return self.whole(Node("computed", dense(shape)), shape)

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
        """A statement over ``shape``, its axes ``over`` reduced, unless it is known already."""
        if math.prod(shape) == 0:
            raise Unsupported("a tensor without entries has no compiled form")
        kept = [d for d in range(len(shape)) if d not in over]
        order = [*kept, *over]
        moved = [view.permute(order) for view in views]
        key = (operation, len(over), *(view.key() for view in moved))
        node = self._known.get(key) if table is None else None
        if node is None:
            sizes, moved, counts = refine([shape[d] for d in order], moved)
            split = sum(counts[: len(kept)])
            inner = counts[-1] if scan else len(sizes) - split
            node = Node("computed", sizes[:split], mask)
            self._known[key] = node
            place = self.whole(node, sizes[:split])
            self._append(Statement(operation, node, sizes, inner, moved, place, table))
        return self.whole(node, [shape[d] for d in kept])

    def _append(self, statement: Statement) -> None:
        if len(self.statements) >= MAX_STATEMENTS:
            raise Unsupported(f"it has more than {MAX_STATEMENTS} statements")
        self.statements.append(statement)
        statement.out.parts.append(statement)


# ---------------------------------------------------------------- strides


def contiguous(shape: Sequence[int]) -> tuple[int, ...]:
    """Row-major strides; 0 for axes of length 1."""
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step if size != 1 else 0)
        step *= size
    return tuple(reversed(strides))


def broadcast(shapes: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """The shape to which all of these broadcast (torch.broadcast_shapes imports sympy)."""
    rank = max(len(shape) for shape in shapes)
    padded = [(1,) * (rank - len(shape)) + tuple(shape) for shape in shapes]
    result = tuple(next((n for n in sizes if n != 1), 1) for sizes in zip(*padded, strict=True))
    if any(n not in (1, want) for shape in padded for n, want in zip(shape, result, strict=True)):
        raise Unsupported(f"shapes {shapes} do not broadcast")
    return result


def dense(shape: Sequence[int]) -> tuple[int, ...]:
    """The shape without axes of length 1."""
    return tuple(size for size in shape if size != 1)


Mapping = list[tuple[int, list[tuple[int, int]]]]
"""Per axis of a node: its first index and (axis of the view, step) for each axis that moves it."""


def mapping(view: View) -> Mapping | None:
    """The index along each axis of the node, as a sum over the axes of the view; None if not so."""
    assert view.node is not None
    sizes, strides = view.node.sizes, view.node.strides
    rest, result = view.offset, []
    for stride in strides:
        index, rest = divmod(rest, stride)
        result.append((index, []))
    reach = [index for index, _ in result]
    for d, (size, stride) in enumerate(zip(view.shape, view.strides, strict=True)):
        if size == 1 or stride == 0:
            continue
        axis = next((j for j, own in enumerate(strides) if own <= stride), None)
        if axis is None or stride % strides[axis]:
            return None
        step = stride // strides[axis]
        result[axis][1].append((d, step))
        reach[axis] += step * (size - 1)
    return result if all(r < size for r, size in zip(reach, sizes, strict=True)) else None


def cuts(view: View, dim: int) -> list[int] | None:
    """Where an axis of a view must be cut to lie within single axes of its node.

    Returns the lengths of the inner parts, each a multiple of the one before; None if it cannot.
    """
    node = view.node
    size, stride = view.shape[dim], view.strides[dim]
    if node is None or node.kind == "constant" or size == 1 or stride == 0:
        return []
    first, rest = [], view.offset
    for own in node.strides:
        index, rest = divmod(rest, own)
        first.append(index)
    found, inner = [], 1
    while True:
        axis = next((j for j, own in enumerate(node.strides) if own <= stride), None)
        if axis is None or stride % node.strides[axis]:
            return None
        step = stride // node.strides[axis]
        if first[axis] + (size - 1) * step < node.sizes[axis]:
            return found
        if first[axis] or node.sizes[axis] % step:
            return None
        part = node.sizes[axis] // step
        if size % part or part == 1:
            return None
        inner, size, stride = inner * part, size // part, stride * part
        found.append(inner)


def refine(
    shape: Sequence[int], views: list[View]
) -> tuple[tuple[int, ...], list[View], list[int]]:
    """Cut the axes of a domain so that every view maps onto the axes of its node.

    A view for which that is impossible makes its node lie in memory in row-major order. Returns
    the new sizes without axes of length 1, the views over them, and how many new axes each old
    one became.
    """
    sizes: list[int] = []
    strides: list[list[int]] = [[] for _ in views]
    counts = []
    for dim, size in enumerate(shape):
        ends = {1, size}
        for view in views:
            wanted = cuts(view, dim)
            merged = sorted(ends.union(wanted or ()))
            if wanted is None or any(b % a for a, b in zip(merged, merged[1:], strict=False)):
                assert view.node is not None
                view.node.linear = True
            else:
                ends.update(wanted)
        steps = sorted(ends)
        parts = [(b // a, a) for a, b in zip(steps, steps[1:], strict=False)][::-1]
        counts.append(len(parts))
        for length, inner in parts:
            sizes.append(length)
            for own, view in zip(strides, views, strict=True):
                own.append(view.strides[dim] * inner)
    refined = [
        replace(view, shape=tuple(sizes), strides=tuple(own))
        for view, own in zip(views, strides, strict=True)
    ]
    for view in refined:
        if view.node is not None and view.node.kind != "constant" and mapping(view) is None:
            view.node.linear = True
    return tuple(sizes), refined, counts


# ---------------------------------------------------------------- simplification


FOLDED: dict[str, Any] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": operator.truediv,
}  # fmt: skip
"""Operations on two numbers; in float32 rounding the float64 result gives the same bits."""


def simplified(operation: str, views: list[View]) -> View | None:
    """A shorter form of a pointwise operation that gives the same bits, or None."""
    values = [view.value if view.node is None else None for view in views]
    first = views[0]
    if operation == "neg" and values[0] is not None:
        return replace(first, value=-values[0])
    if len(values) == 2 and None not in values and operation in FOLDED:
        try:
            return first.graph.number(FOLDED[operation](*values), first.shape)
        except (ZeroDivisionError, OverflowError):
            return None
    if operation in ("mul", "div") and values[1] == 1.0:
        return first
    if operation == "mul" and values[0] == 1.0:
        return views[1]
    if operation == "div" and values[1] and math.frexp(values[1])[0] in (0.5, -0.5):
        return first * first.graph.number(1.0 / values[1], first.shape)  # a power of two: exact
    if operation == "copy" and first.node is None:
        return first
    return None
