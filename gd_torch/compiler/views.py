"""Arrays and strided views of them.

A :class:`Node` is a dense array of a generated program. A :class:`View` selects entries of a node
as torch's strided tensors select entries of a storage: by offset, shape and strides, all counted in
entries of the node in row-major order. Every torch view operation is therefore arithmetic on
strides and generates no code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from torch import Tensor

from gd_torch.compiler.strides import contiguous

if TYPE_CHECKING:
    from gd_torch.compiler.graph import Graph


@dataclass(eq=False)
class Node:
    """A dense array: a weight, a constant or the result of statements.

    Attributes:
        kind: "weight", "constant" or "computed".
        sizes: lengths of its axes, none of length 1, row-major.
        mask: whether it contains booleans instead of numbers.
        tensor: the data of a constant, contiguous.
        base: index of the first entry of a weight among all weights.
        linear: whether it must be row-major in memory, as a view extends over several axes.
    """

    kind: str
    sizes: tuple[int, ...]
    mask: bool = False
    tensor: Tensor | None = None
    base: int = 0
    linear: bool = False

    @property
    def numel(self) -> int:
        """Number of entries."""
        return math.prod(self.sizes)

    @property
    def strides(self) -> tuple[int, ...]:
        """Row-major strides."""
        return contiguous(self.sizes)


@dataclass(frozen=True, eq=False)
class View:
    """A strided view of a node, or a constant number of any shape (``node`` None)."""

    graph: Graph
    node: Node | None
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    value: float = 0.0

    @property
    def is_mask(self) -> bool:
        """Whether it contains booleans."""
        return self.node is not None and self.node.mask

    def key(self) -> tuple[object, ...]:
        """A key that is equal for views of the same entries."""
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
        """Reorder the axes, as torch.permute."""
        return replace(
            self,
            shape=tuple(self.shape[d] for d in dims),
            strides=tuple(self.strides[d] for d in dims),
        )

    def transpose(self) -> View:
        """Exchange the last two axes."""
        dims = list(range(len(self.shape)))
        dims[-2:] = dims[:-3:-1]
        return self.permute(dims)

    def unsqueeze(self, dim: int) -> View:
        """Insert an axis of length 1."""
        dim %= len(self.shape) + 1
        shape, strides = list(self.shape), list(self.strides)
        shape.insert(dim, 1)
        strides.insert(dim, 0)
        return replace(self, shape=tuple(shape), strides=tuple(strides))

    def squeeze(self, dim: int) -> View:
        """Remove an axis of length 1."""
        dim %= len(self.shape)
        return replace(
            self,
            shape=self.shape[:dim] + self.shape[dim + 1 :],
            strides=self.strides[:dim] + self.strides[dim + 1 :],
        )

    def narrow(self, dim: int, start: int, length: int, step: int = 1) -> View:
        """Select a range of one axis, as torch.narrow, with a step."""
        dim %= len(self.shape)
        shape, strides = list(self.shape), list(self.strides)
        offset = self.offset + start * strides[dim]
        shape[dim], strides[dim] = length, strides[dim] * step
        return replace(self, offset=offset, shape=tuple(shape), strides=tuple(strides))

    def select(self, dim: int, index: int) -> View:
        """Select one index of one axis, as torch.select."""
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
        """``yes`` where this mask is true, else ``no``."""
        return self.apply("where", yes, no)

    def sum(self, dims: Sequence[int] | None = None, keepdim: bool = False) -> View:
        """The sum over some or all axes."""
        return self.graph.reduce("sum", [self], dims, keepdim)

    def mean(self, dims: Sequence[int] | None = None, keepdim: bool = False) -> View:
        """The mean over some or all axes."""
        total = self.sum(dims, keepdim)
        return total / (math.prod(self.shape) / max(1, math.prod(total.shape)))
